"""MATLAB's bicubic shrinking, against a plain port of imresize to numpy.

    OMP_NUM_THREADS=1 python benchmarks/resize.py

Both ways are timed in turn, on the same image; the ratio is the median of the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from srkit_resize.matlab import keys, shrink

Image = NDArray[np.uint8]
SIZES = {(480, 480): 15, (1356, 2040): 5}  # (height, width): rounds


def plain(image: Image, scale: int) -> Image:
    """imresize(image, 1 / scale) by its definition: the weights of each output row, then of each output column."""
    values = image.astype(np.float64)
    for axis in (0, 1):
        length = values.shape[axis]
        outputs = -(-length // scale)
        centres = (np.arange(outputs) + 0.5) * scale - 0.5
        positions = np.floor(centres - 2 * scale)[:, None].astype(int) + np.arange(4 * scale + 2)
        weights = keys((centres[:, None] - positions) / scale)
        weights /= weights.sum(1, keepdims=True)
        mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])[positions % (2 * length)]
        rows = [np.tensordot(weights[i], values.take(mirrored[i], axis), (0, axis)) for i in range(outputs)]
        values = np.clip(np.floor(np.stack(rows, axis) + 0.5), 0, 255)
    return values.astype(np.uint8)


def seconds(function: Callable[[Image, int], Any], image: Image, scale: int) -> float:
    start = time.perf_counter()
    function(image, scale)
    return time.perf_counter() - start


def main() -> None:
    for (height, width), rounds in SIZES.items():
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        for scale in (2, 3, 4):
            wrong = int((plain(image, scale) != shrink(image, scale)).sum())
            times = [(seconds(plain, image, scale), seconds(shrink, image, scale)) for _ in range(rounds)]
            ratio = statistics.median(a / b for a, b in times)
            a, b = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
            print(
                f"{width}x{height} /{scale}: plain {a:.1f} ms, ours {b:.1f} ms, {ratio:.1f} times as fast; "
                f"{wrong} values differ"
            )


if __name__ == "__main__":
    main()
