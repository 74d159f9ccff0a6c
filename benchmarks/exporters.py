"""How long exported files take beside torch, in their runtimes on this machine's CPU, one thread, interleaved.

    python benchmarks/exporters.py MODEL FILE... [--size 256x256] [--rounds 15]

MODEL is what the files were exported from. Prints a row for each: bytes, median milliseconds, times torch, and the
largest difference from torch of values in 0..1.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import srkit
from srkit.engine.exporting.opened import exporter_of, open_model
from srkit.plugin.discovery import installed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    height, width = map(int, arguments.size.split("x"))
    lr = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    networks = {"torch": srkit.load(arguments.model)}
    for path in arguments.files:
        entry = exporter_of(path, installed())
        assert entry is not None, path
        networks[str(path)] = open_model(path, entry, installed()).network
    times: dict[str, list[float]] = {name: [] for name in networks}
    made = {}
    with torch.no_grad():
        for _ in range(arguments.rounds):
            for name, network in networks.items():
                start = time.perf_counter()
                made[name] = network(lr).numpy()
                times[name].append(time.perf_counter() - start)
    of_torch = median(times["torch"])
    for name, taken in times.items():
        size = sum(path.stat().st_size for path in family(Path(name))) if name != "torch" else 0
        off = np.abs(made[name] - made["torch"]).max()
        print(f"{name} | {size:,} | {median(taken) * 1e3:.1f} ms | {median(taken) / of_torch:.2f} | {off:.1e}")


def family(path: Path) -> list[Path]:
    """Return a file and those that belong to it, without the words beside it."""
    found = [path.with_suffix(suffix) for suffix in {path.suffix, ".bin"}]
    return [file for file in found if file.is_file() and (file == path or path.suffix in (".param", ".xml"))]


if __name__ == "__main__":
    main()
