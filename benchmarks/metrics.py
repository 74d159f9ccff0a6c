"""PSNR and SSIM on the luma, against the plain way: five full filters of 11x11 in float64.

    OMP_NUM_THREADS=1 python -m benchmarks.metrics

Each of srkit's ways, with arrays and with torch's tensors, is timed in turn with the plain one, on the same images and
in one thread; a ratio is the median of the rounds. The plain way alone uses OpenCV: srkit's are as fast without it.
Then the largest differences, on images made to be hard.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from srkit_metrics.color import luma
from srkit_metrics.gaussian import C1, C2, SIGMA, SIZE
from srkit_metrics.psnr import psnr_y
from srkit_metrics.ssim import ssim_y
from srkit_resize.matlab import enlarge, shrink

from benchmarks.timing import interleaved, ratio

Image = NDArray[np.uint8]
Scores = tuple[float, float]
SIZES = {(512, 512): 41, (1356, 2040): 11}  # (height, width): rounds


def plain(sr: Image, hr: Image) -> Scores:
    x, y = luma(sr), luma(hr)
    line = cv2.getGaussianKernel(SIZE, SIGMA)
    window, cut = line @ line.T, SIZE // 2

    def blur(values: NDArray[Any]) -> NDArray[Any]:
        return cv2.filter2D(values, -1, window)[cut:-cut, cut:-cut]

    mean_x, mean_y = blur(x), blur(y)
    square_x, square_y, product = mean_x**2, mean_y**2, mean_x * mean_y
    var_x, var_y, covariance = blur(x * x) - square_x, blur(y * y) - square_y, blur(x * y) - product
    above = (2 * product + C1) * (2 * covariance + C2)
    below = (square_x + square_y + C1) * (var_x + var_y + C2)
    return 10 * math.log10(255**2 / float(((x - y) ** 2).mean())), float((above / below).mean())


def arrays(sr: Image, hr: Image) -> Scores:
    return psnr_y()(sr, hr), ssim_y()(sr, hr)


def tensors(sr: Image, hr: Image) -> Scores:
    x, y = torch.from_numpy(sr), torch.from_numpy(hr)
    return psnr_y()(x, y), ssim_y()(x, y)


def picture(height: int, width: int) -> Image:
    """Return an image with detail of every size, as photographs have: noise of all scales, enlarged and added."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, 3))
    for scale in (2, 4, 8, 16, 32, 64):
        grain = rng.integers(0, 256, (height // scale + 1, width // scale + 1, 3), dtype=np.uint8)
        total += (enlarge(grain, scale)[:height, :width].astype(float) - 128) * scale / 40
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def seconds(function: Callable[[Image, Image], Scores], sr: Image, hr: Image) -> float:
    start = time.perf_counter()
    function(sr, hr)
    return time.perf_counter() - start


def hard() -> Iterator[tuple[Image, Image]]:
    """Yield pairs of grey images in which small differences stand beside large values."""
    y, x = np.mgrid[:300, :400]
    flat, checker, stripes = 0 * x, (x + y) % 2, x // 24 % 2
    odd = (x == 150) & (y == 140)
    specks = np.random.default_rng(0).integers(0, 8, x.shape)
    for sr, hr in (
        (flat, flat + 255),
        (flat + 254, flat + 255),
        (flat + 255 - odd, flat + 255),
        (255 * odd, flat + 255),
        (255 - specks, flat + 255),
        (255 - specks, 255 - specks[::-1]),
        (254 + checker, 255 - checker),
        (255 * checker, 255 - 255 * checker),
        (x % 256, 255 - x % 256),
        ((x + y) % 255, (x + y) % 255 + checker),
        (50 + 200 * stripes, flat + 150),
        (20 + 210 * stripes + 8 * checker, 20 + 210 * stripes - 8 * checker),
    ):
        grey_sr, grey_hr = (image.astype(np.uint8)[..., None].repeat(3, 2) for image in (sr, hr))
        yield grey_sr, grey_hr


def differences(ours: Callable[[Image, Image], Scores], pairs: list[tuple[Image, Image]]) -> str:
    """Return the largest ones from the plain way, in words."""
    apart = np.abs(np.array([ours(*pair) for pair in pairs]) - [plain(*pair) for pair in pairs]).max(0)
    return f"{apart[0]:.0e} dB, {apart[1]:.0e} SSIM"


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    cv2.setNumThreads(1)
    for (height, width), rounds in SIZES.items():
        hr = picture(height, width)
        sr = enlarge(shrink(hr, 4), 4)
        found = interleaved(
            {"plain": lambda: plain(sr, hr), "srkit": lambda: arrays(sr, hr)},  # noqa: B023 - called here
            rounds,
        )
        yield f"metrics_{width}", ratio(found, "plain", "srkit")


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for (height, width), rounds in SIZES.items():
        hr = picture(height, width)
        sr = enlarge(shrink(hr, 4), 4)
        for way in (arrays, tensors):
            apart = differences(way, [(sr, hr)])  # which warms up, too
            times = [(seconds(plain, sr, hr), seconds(way, sr, hr)) for _ in range(rounds)]
            ratio = statistics.median(a / b for a, b in times)
            a, b = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
            times_as_fast = f"plain {a:.1f} ms, {way.__name__} {b:.1f} ms, {ratio:.1f} times as fast"
            print(f"{width}x{height}: {times_as_fast}; {apart} apart")
    for way in (arrays, tensors):
        print(f"hard images, {way.__name__}: at most {differences(way, list(hard()))} apart")


if __name__ == "__main__":
    main()
