"""What a camera does between its sensor and a file: a mosaic of colours, levels, sharpening."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import srkit
from srkit_degradations.canvas import between, check_range, extended
from srkit_degradations.kernels import filtered, gaussian

_CROSS = ((0.0, 0.25, 0.0), (0.25, 1.0, 0.25), (0.0, 0.25, 0.0))
_SQUARE = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))


class Mosaic:
    """One colour of each pixel, as a Bayer sensor sees it, and the others as the mean of their neighbours (bilinear
    demosaicing). Which pixel of the four is red is drawn."""

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None) -> Tensor:
        """Return the images as they are after demosaicing."""
        n, _, height, width = images.shape
        first = self._values(draws)
        y = torch.arange(height, device=images.device)[None, :, None] + (first // 2)[:, None, None]
        x = torch.arange(width, device=images.device)[None, None, :] + (first % 2)[:, None, None]
        red, blue = (y % 2 == 0) & (x % 2 == 0), (y % 2 == 1) & (x % 2 == 1)
        seen = torch.stack([red, ~(red | blue), blue], 1).to(images.dtype)
        if sizes is not None:  # beyond an image there is none of the sensor
            rows = torch.arange(height, device=images.device) < sizes[:, :1]
            columns = torch.arange(width, device=images.device) < sizes[:, 1:]
            seen = seen * (rows[:, None, :, None] & columns[:, None, None, :])
        weights = images.new_tensor([_SQUARE, _CROSS, _SQUARE])[:, None]
        around = F.conv2d(torch.cat([images * seen, seen]), weights, padding=1, groups=3)
        # Where a colour was seen, its own value is kept: its neighbours of that colour are not next to it.
        return torch.where(seen > 0, images, around[:n] / around[n:].clamp(min=0.25))

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the order of colours of each sample."""
        return [f"mosaic {('RGGB', 'GRBG', 'GBRG', 'BGGR')[i]}" for i in self._values(draws).tolist()]

    def _values(self, draws: srkit.Draws) -> Tensor:
        return (draws.uniform()[:, 0] * 4).long().clamp(max=3)


class Quantise:
    """Fewer levels: each value becomes the nearest of them.

    Args:
        bits: least and largest number of bits of a value; 8 are 256 levels.
    """

    def __init__(self, *, bits: tuple[int, int] = (5, 8)) -> None:
        check_range("bits", bits, 1, 16)
        self.bits = bits

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images, clamped to 0..1 and rounded, halves up."""
        most = (2.0 ** self._values(draws) - 1)[:, None, None, None]
        return (images.clamp(0, 1) * most + 0.5).floor() / most

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the bits of each sample."""
        return [f"{bits:.0f} bits" for bits in self._values(draws).tolist()]

    def _values(self, draws: srkit.Draws) -> Tensor:
        count = self.bits[1] - self.bits[0] + 1
        return self.bits[0] + (draws.uniform()[:, 0] * count).floor().clamp(max=count - 1)


class Sharpen:
    """Unsharp masking: what a Gaussian blur takes away is added, where it is more than a threshold.

    Args:
        amount: least and largest weight of what is added.
        sigma: standard deviation of the blur in pixels, at most 16.
        threshold: in levels of 255; around what exceeds it, it is added more and more.
    """

    def __init__(
        self, *, amount: tuple[float, float] = (0.5, 0.5), sigma: float = 8.0, threshold: float = 10.0
    ) -> None:
        check_range("amount", amount, 0, 5)
        check_range("sigma", (sigma, sigma), 0.3, 16)
        check_range("threshold", (threshold, threshold), 0, 255)
        self.amount, self.sigma, self.threshold = amount, sigma, threshold

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None) -> Tensor:
        """Return the images sharpened, clamped to 0..1."""
        return unsharp(images, self._values(draws), self.sigma, self.threshold, sizes)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the weight for each sample."""
        return [f"sharpen {amount:.2f}" for amount in self._values(draws).tolist()]

    def _values(self, draws: srkit.Draws) -> Tensor:
        return between(draws.uniform()[:, 0], self.amount)


def unsharp(images: Tensor, amount: Tensor, sigma: float, threshold: float, sizes: Tensor | None = None) -> Tensor:
    """Return images sharpened by weights [n]: with R the difference from the blurred image B(x), and the mask M =
    B(|R| > threshold), M * clamp(x + weight * R) + (1 - M) * x."""
    kernel = gaussian(2 * round(3.1 * sigma) + 1, sigma, images.device).expand(len(images), -1, -1)
    residual = images - filtered(images, kernel)
    mask = filtered(extended((residual.abs() * 255 > threshold).to(images.dtype), sizes), kernel)
    sharp = torch.addcmul(images, residual, amount[:, None, None, None]).clamp(0, 1)
    return torch.lerp(images, sharp, mask.clamp(0, 1)).clamp(0, 1)


def usm(
    *, amount: float = 0.5, sigma: float = 8.0, threshold: float = 10.0
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the sharpening of HR alone: what the network is to give back is sharper than what LR was made of.

    Args:
        amount: weight of what is added.
        sigma: standard deviation of the blur in pixels, at most 16.
        threshold: in levels of 255; around what exceeds it, it is added more and more.
    """
    step = Sharpen(amount=(amount, amount), sigma=sigma, threshold=threshold)

    def change(lr: Tensor, hr: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        each = [
            unsharp(part, part.new_full((len(part),), amount), step.sigma, step.threshold)
            for part in (
                hr.chunk(len(hr)) if hr.device.type == "cpu" else [hr]
            )  # a sample at a time stays in a core's cache
        ]
        return lr, torch.cat(each).contiguous(memory_format=_format(hr))

    return change


def _format(images: Tensor) -> torch.memory_format:
    wide = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if wide else torch.contiguous_format
