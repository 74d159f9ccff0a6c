"""PSNR and SSIM on the luma, against the plain way: five full filters of 11x11 in float64.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py

Both ways are timed in turn, on the same images; the ratio is the median of the rounds.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from srkit_metrics.color import luma
from srkit_metrics.psnr import psnr_y
from srkit_metrics.ssim import C1, C2, SIGMA, SIZE, ssim_y
from srkit_resize.matlab import enlarge, shrink

Image = NDArray[np.uint8]
Scores = tuple[float, float]
SIZES = {(512, 512): 15, (1356, 2040): 7}  # (height, width): rounds


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


def ours(sr: Image, hr: Image) -> Scores:
    return psnr_y()(sr, hr), ssim_y()(sr, hr)


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


def main() -> None:
    cv2.setNumThreads(1)
    for (height, width), rounds in SIZES.items():
        hr = picture(height, width)
        sr = enlarge(shrink(hr, 4), 4)
        (psnr_plain, ssim_plain), (psnr_ours, ssim_ours) = plain(sr, hr), ours(sr, hr)
        times = [(seconds(plain, sr, hr), seconds(ours, sr, hr)) for _ in range(rounds)]
        ratio = statistics.median(a / b for a, b in times)
        a, b = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        print(
            f"{width}x{height}: plain {a:.1f} ms, ours {b:.1f} ms, {ratio:.1f} times as fast; PSNR {psnr_ours:.2f} dB, "
            f"differences {abs(psnr_ours - psnr_plain):.0e} dB, {abs(ssim_ours - ssim_plain):.0e} SSIM"
        )


if __name__ == "__main__":
    main()
