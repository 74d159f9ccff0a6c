"""Noise: of an amplifier, the same everywhere, and of counted photons, more where there is light."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import srkit
from srkit_degradations.canvas import between, check_range, check_share, normals

LEAST = 0.25  # levels: noise of less vanishes when an image is rounded to 8 bits
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class GaussianNoise:
    """Normal noise, independent in each pixel.

    Args:
        sigma: least and largest standard deviation, in levels of 0 to 255.
        grey: the share of the samples in which it is the same in red, green and blue.
    """

    def __init__(self, *, sigma: tuple[float, float] = (1.0, 30.0), grey: float = 0.4) -> None:
        check_range("sigma", sigma, 0, 255)
        if 0 < sigma[1] < LEAST:
            levels = ", ".join(f"{255 * value:g}" for value in sigma)
            text = f"sigma is in levels of 0 to 255, not of 0 to 1, and noise of {sigma[1]:g} vanishes"
            raise ValueError(f"{text}; did you mean [{levels}]?")
        check_share("grey", grey)
        self.sigma, self.grey = sigma, grey

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images with noise, not clamped."""
        sigma, grey = self._values(draws)
        noise = normals(draws.of("noise"), images)
        noise = torch.where(grey[:, None, None, None], noise[:, :1], noise)
        return torch.addcmul(images, noise, sigma[:, None, None, None] / 255)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return sigma and colour of each sample's noise."""
        sigma, grey = self._values(draws)
        return [
            f"noise sigma {s:.1f}{' grey' if g else ''}" for s, g in zip(sigma.tolist(), grey.tolist(), strict=True)
        ]

    def _values(self, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        drawn = draws.uniform(2)
        return between(drawn[:, 0], self.sigma), drawn[:, 1] < self.grey


class PoissonNoise:
    """Noise of photons that are counted: a Poisson count of a mean that the image gives.

    Args:
        photons: least and largest count at white; drawn by its logarithm.
        scale: least and largest factor of the noise that the counts have.
        grey: the share of the samples in which the noise is that of the luma, the same in red, green and blue.
    """

    def __init__(
        self,
        *,
        photons: tuple[float, float] = (256.0, 256.0),
        scale: tuple[float, float] = (0.05, 3.0),
        grey: float = 0.4,
    ) -> None:
        check_range("photons", photons, 1, 1e6)
        check_range("scale", scale, 0, 10)
        check_share("grey", grey)
        self.photons, self.scale, self.grey = photons, scale, grey

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images with noise, not clamped."""
        photons, scale, grey = (values[:, None, None, None] for values in self._values(draws))
        light = images.clamp(0, 1)
        luma = (light * light.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        normal = normals(draws.of("noise"), images)
        light, normal = torch.where(grey, luma, light), torch.where(grey, normal[:, :1], normal)
        mean = light * photons
        return torch.addcmul(images, (counted(mean, normal) - mean) / photons, scale)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return photons, factor and colour of each sample's noise."""
        return [
            f"photons {p:.0f} noise x{s:.2f}{' grey' if g else ''}"
            for p, s, g in zip(*(v.tolist() for v in self._values(draws)), strict=True)
        ]

    def _values(self, draws: srkit.Draws) -> tuple[Tensor, Tensor, Tensor]:
        drawn = draws.uniform(3)
        least, most = map(math.log, self.photons)
        return between(drawn[:, 0], (least, most)).exp(), between(drawn[:, 1], self.scale), drawn[:, 2] < self.grey


def counted(mean: Tensor, normal: Tensor) -> Tensor:
    """Return Poisson counts of a mean, from normal numbers: the quantile of the same probability.

    By the expansion Q_N2 of Giles 2016, doi:10.1145/2699466 (algorithm 955), rounded down; mean and variance are right
    to 3 % from a mean of 1 on. Of a mean of 0 the count is 0.
    """
    mean, square = mean.clamp(min=1e-3), normal.square()
    root = mean.sqrt()
    counts = mean + root * normal + (1 / 3 + square / 6) - normal * (1 / 36 + square / 72) / root
    return torch.where(mean > 0.01, counts.floor().clamp(min=0), torch.zeros_like(mean))
