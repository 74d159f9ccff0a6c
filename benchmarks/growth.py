"""What grows with the number of images: opening a folder of them, the cost of a batch, and a run's memory.

    python -m benchmarks --only folder_cost

The folder's files are names of a few small images. The batches are of a source that makes its windows from nothing, as
`cache = "none"` reads them: 32 windows of 48, x2.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import srkit
from benchmarks.timing import interleaved, ratio
from srkit.engine.data.batches import Batches, BatchPlan
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import SourcePool, large_enough

FILES, LINKS = 100_000, 1_000  # names of one file, which file systems limit
COUNTS = (100, 10_000, 1_000_000)
SIDE = 128


class Many:
    """So many images without a file, each a grey."""

    def __init__(self, count: int, side: int = SIDE) -> None:
        self.count, self.side = count, side

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return str(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.side, self.side

    def read(self, index: int, window: srkit.Window | None = None) -> Any:
        height, width = (self.side, self.side) if window is None else window[2:]
        return np.full((height, width, 3), index % 256, np.uint8)

    def lr(self, scale: int) -> Many:
        return Many(self.count, self.side // scale)

    def fingerprint(self) -> str:
        return "0" * 16


def batches_of(count: int) -> Batches:
    """Return the batches of so many images."""
    pairs = Pairs(Many(count), 2, degradation=None, made_by="files", files=True)
    plan = BatchPlan(seed=1, batch=32, patch=48, scale=2)
    usable, _ = large_enough(pairs, plan.patch)
    return Batches(SourcePool(pairs, usable), plan, torch.device("cpu"))


def folder_cost() -> float:
    """Return the time of opening a folder beside that of listing it and asking for each file's size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            if number % LINKS == 0:
                first = folder / f"{number:06}.png"
                srkit.save_image(first, np.full((8, 8, 3), number // LINKS, np.uint8))
            else:
                os.link(first, folder / f"{number:06}.png")

        def plain() -> None:
            for file in os.listdir(folder):
                os.stat(folder / file)

        opened = interleaved(
            {"plain": plain, "srkit": lambda: len(srkit.create("dataset", "folder", path=name))},  # type: ignore[call-overload]
            rounds=5,
        )
    return ratio(opened, "srkit", "plain")


def batch_cost() -> float:
    """Return the time of a batch of the most images beside one of the fewest."""
    with contextlib.ExitStack() as stack:
        made = {count: stack.enter_context(contextlib.closing(batches_of(count))) for count in COUNTS}
        steps = itertools.count()

        def ten(batches: Batches, first: int) -> None:
            for step in range(first, first + 10):
                batches[step]

        seconds = interleaved(
            {str(count): lambda b=batches: ten(b, 10 * next(steps)) for count, batches in made.items()}, rounds=21
        )
    return ratio(seconds, str(COUNTS[-1]), str(COUNTS[0]))


def bytes_each() -> float:
    """Return by how many bytes an image the largest resident set of a process grows that makes batches."""
    found = []
    for count in (COUNTS[0], COUNTS[-1]):
        command = [sys.executable, "-m", "benchmarks.growth", str(count)]
        found.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return (found[1] - found[0]) / (COUNTS[-1] - COUNTS[0])


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    torch.set_num_threads(1)
    yield "folder_cost", folder_cost()
    yield "batch_cost", batch_cost()
    yield "bytes_an_image", bytes_each()


def main() -> None:
    """Make batches of so many images, and print the bytes of the largest resident set."""
    batches = batches_of(int(sys.argv[1]))
    for step in range(20):
        batches[step]
    batches.close()
    # Not ru_maxrss, which a process has from the one that started it.
    (line,) = re.findall(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    print(int(line) * 1024)


if __name__ == "__main__":
    main()
