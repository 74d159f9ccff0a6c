"""MATLAB's bicubic shrinking, of images and of batches, against a plain port of imresize to numpy.

    OMP_NUM_THREADS=1 python -m benchmarks.resize

All ways are timed in turn, on the same images; a ratio is the median of the rounds. Batches are on the CPU, in one
thread, and on the GPU where there is one: there, from uint8 images that are on it to LR images that are on it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from srkit_resize import device
from srkit_resize.matlab import shrink

from benchmarks import timing

Images = NDArray[np.uint8]
Way = Callable[[int], Any]
SIZES = {(1, 480, 480): 15, (32, 192, 192): 5, (1, 1356, 2040): 5}  # (images, height, width): rounds


def plain(images: Images, scale: int) -> Images:
    """imresize(image, 1 / scale) by its definition: the weights of each output row, then of each output column."""
    values = images.astype(np.float64)
    for axis in (1, 2):
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


def keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def ways(images: Images) -> dict[str, Way]:
    """Return what is compared: scale to LR images, [n, c, h, w] where they are torch's."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    found: dict[str, Way] = {
        "plain": lambda scale: plain(images, scale),
        "numpy": lambda scale: np.stack([shrink(image, scale) for image in images]),
        "torch": lambda scale: device.shrink(batch, scale),
    }
    if torch.cuda.is_available():
        there = batch.cuda()
        found["torch on the GPU"] = lambda scale: finished(device.shrink(there, scale))
    return found


def finished(lr: torch.Tensor) -> torch.Tensor:
    torch.cuda.synchronize()
    return lr


def seconds(way: Way, scale: int) -> float:
    start = time.perf_counter()
    way(scale)
    return time.perf_counter() - start


def as_images(made: Any) -> Images:
    return made.permute(0, 2, 3, 1).cpu().numpy() if isinstance(made, torch.Tensor) else made


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    image = np.random.default_rng(0).integers(0, 256, (1356, 2040, 3), dtype=np.uint8)
    found = timing.interleaved({"plain": lambda: plain(image[None], 4), "srkit": lambda: shrink(image, 4)}, 9)
    yield "resize_2040_by_4", timing.ratio(found, "plain", "srkit")


def main() -> None:
    torch.set_num_threads(1)
    for (count, height, width), rounds in SIZES.items():
        images = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        compared = ways(images)
        for scale in (2, 3, 4):
            made = [as_images(way(scale)) for way in compared.values()]  # which warms each up, too
            wrong = [int((lr != made[0]).sum()) for lr in made]
            times = [[seconds(way, scale) for way in compared.values()] for _ in range(rounds)]
            ratios = [statistics.median(row[0] / row[i] for row in times) for i in range(len(compared))]
            medians = [statistics.median(column) * 1000 for column in zip(*times, strict=True)]
            print(f"{count}x{width}x{height} /{scale}: plain {medians[0]:.1f} ms", end="")
            for name, ms, ratio, differing in list(zip(compared, medians, ratios, wrong, strict=True))[1:]:
                print(f"; {name} {ms:.1f} ms, {ratio:.1f} times as fast, {differing} values differ", end="")
            print()


if __name__ == "__main__":
    main()
