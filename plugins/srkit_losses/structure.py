"""Losses of local structure: similarity at several scales, and slopes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE, SIGMA = 11, 1.5  # SSIM's window: Wang et al. 2004, doi:10.1109/TIP.2003.819861, section III-C
C1, C2 = 0.01**2, 0.03**2  # K1 and K2 squared, for images of 0..1
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2, the finest scale first
LEAST = 1e-6  # of a scale's mean: a power of 0 has no finite slope


class MSSSIM(nn.Module):
    """One minus the structural similarity at several scales: Wang, Simoncelli and Bovik 2003,
    doi:10.1109/ACSSC.2003.1292216.

    As the metric `ms_ssim` has it, for images of 0..1: windows that lie wholly inside, each scale the means of 2 x 2
    pixels of the one before, contrast and structure of all scales but the last, SSIM itself there. A scale's mean below
    1e-6 counts as that.

    Args:
        weights: the power of each scale, the finest first. The paper's five want patches of 176 x 176 HR pixels; each
            one less halves that.
    """

    def __init__(self, *, weights: tuple[float, ...] = WEIGHTS) -> None:
        if not weights or not all(0 < weight < math.inf for weight in weights):
            raise ValueError(f"weights must be numbers above 0, one a scale, not {list(weights)}")
        super().__init__()
        self.weights = tuple(weights)
        self.min_size = SIZE * 2 ** (len(weights) - 1)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the mean over images and colours, 0..1, of two float images [n, 3, h, w] of one shape.

        Raises ValueError for images too small for the number of scales.
        """
        height, width = hr.shape[-2:]
        if min(height, width) < self.min_size:
            raise ValueError(
                f"ms_ssim with {len(self.weights)} weights wants patches of at least {self.min_size}x{self.min_size} "
                f"HR pixels, not {width}x{height}: let data.patch be larger, or name fewer weights"
            )
        similarity = sr.new_ones(())
        for scale, weight in enumerate(self.weights, 1):
            last = scale == len(self.weights)
            similarity = similarity * _mean(sr, hr, with_luminance=last).clamp(min=LEAST) ** weight
            if not last:
                sr, hr = _half(sr), _half(hr)
        return 1 - similarity.mean()


def _mean(x: Tensor, y: Tensor, *, with_luminance: bool) -> Tensor:
    """Return the mean over all windows of each colour, [n, 3], of contrast and structure, or of SSIM itself."""
    # Sum and difference: their variances need one plane fewer than those of x, of y and of both.
    p, q, a, b = _filter(torch.cat([x + y, x - y, (x + y) ** 2, (x - y) ** 2])).chunk(4)
    p, q = p * p, q * q
    a, b = a - p, b - q
    term = (a - b + 2 * C2) / (a + b + 2 * C2)
    if with_luminance:
        term = term * (p - q + 2 * C1) / (p + q + 2 * C1)
    return term.mean((2, 3))


def _filter(images: Tensor) -> Tensor:
    """Return the means of windows that lie wholly inside, [n, c, h, w] to [n, c, h - 10, w - 10]."""
    offsets = torch.arange(SIZE, dtype=images.dtype, device=images.device) - SIZE // 2
    window = torch.softmax(-(offsets**2) / (2 * SIGMA**2), 0)
    colors = images.shape[1]
    across = window.expand(colors, 1, 1, SIZE)
    return F.conv2d(F.conv2d(images, across, groups=colors), across.mT, groups=colors)


def _half(images: Tensor) -> Tensor:
    """Return the means of 2 x 2 pixels; the last row or column of an odd side is repeated."""
    height, width = images.shape[-2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)


class Gradient(nn.Module):
    """The absolute difference of the slopes of SR and HR, across and down, by Sobel's operator.

    The operator is divided by 8, so that a ramp of 0.1 a pixel has the slope 0.1. Pixels at the border, which lack
    neighbours, are left out; what SR and HR differ by everywhere alike is not seen.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the mean over both slopes of two float images of one shape, [n, 3, h, w], of 3 x 3 pixels at least."""
        d = sr - hr
        across = d[..., 2:] - d[..., :-2]
        across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
        down = d[..., 2:, :] - d[..., :-2, :]
        down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
        return (across.abs().mean() + down.abs().mean()) / 16
