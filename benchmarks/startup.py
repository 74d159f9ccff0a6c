"""How long `srkit --help` and `srkit list` take beside `import torch`: processes, interleaved in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "srkit --help": [sys.executable, "-m", "srkit", "--help"],
    "srkit list": [sys.executable, "-m", "srkit", "list"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if round_:  # the first fills the page cache
                seconds[name].append(time.perf_counter() - started)
    base = seconds["import torch"]
    for name, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(taken, base, strict=True))
        print(f"{name:16} {1000 * statistics.median(taken):7.0f} ms   {ratio:.3f} of import torch")


if __name__ == "__main__":
    main()
