"""How long `srkit --help`, `srkit list` and the way to a first step take beside `import torch`: processes, in turn.

Python keeps the compiled modules of all of them, as it does for users unless PYTHONDONTWRITEBYTECODE is set.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Work, interleaved, ratio

ROUNDS = 15
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "srkit --help": [sys.executable, "-m", "srkit", "--help"],
    "srkit list": [sys.executable, "-m", "srkit", "list"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


FEWER = 5
# Writes a byte to the standard output once a first step is done.
FIRST_STEP = """
import os, sys
from srkit.cli import main
import srkit.engine.learning.trainer as trainer
step = trainer.Trainer.step
def seen(self, batch):
    step(self, batch)
    os.write(1, b"x")
trainer.Trainer.step = seen
main(["run", "quickstart", "--out", sys.argv[1]])
"""


def measured() -> dict[str, list[float]]:
    """Return the seconds of each command in each round."""

    def work(command: list[str]) -> Work:
        return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)

    return interleaved({name: work(command) for name, command in COMMANDS.items()}, ROUNDS)


def first_step() -> float:
    """Return the seconds from the command `srkit run quickstart` to the end of its first step, beside import torch."""
    ratios_found = []
    for _ in range(FEWER):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            subprocess.run(COMMANDS["import torch"], check=True, env=ENVIRONMENT)
            torch_took = time.perf_counter() - started
            out = Path(folder) / "run"
            started = time.perf_counter()
            command = [sys.executable, "-c", FIRST_STEP, str(out)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
                assert process.stdout is not None
                process.stdout.read(1)
                ratios_found.append((time.perf_counter() - started) / torch_took)
                process.kill()
    return statistics.median(ratios_found)


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    seconds = measured()
    yield "torch_import_vs_help", ratio(seconds, "import torch", "srkit --help")
    yield "torch_import_vs_list", ratio(seconds, "import torch", "srkit list")
    yield "quickstart_cost", first_step()


def main() -> None:
    seconds = measured()
    for name, taken in seconds.items():
        of_torch = ratio(seconds, name, "import torch")
        print(f"{name:16} {1000 * statistics.median(taken):7.0f} ms   {of_torch:.3f} of import torch")
    print(f"the first step of quickstart: {first_step():.2f} times import torch")


if __name__ == "__main__":
    main()
