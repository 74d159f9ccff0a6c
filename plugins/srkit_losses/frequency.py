"""Losses that compare the spectra of SR and HR.

The transform is unitary, so that a value does not depend on how large the patches are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def _spectrum(images: Tensor) -> Tensor:
    """Return the real and imaginary parts of the spectrum of each colour: [n, 3, h, w] to [n, 3, h, w, 2]."""
    return torch.view_as_real(torch.fft.fft2(images, norm="ortho"))


class FFT(nn.Module):
    """The absolute difference of the spectra of SR and HR, of real and imaginary parts, as of Cho et al.,
    arXiv:2108.05054, for one scale.

    Their transform is not divided by the root of the number of pixels: at patches of 128 x 128 pixels their loss is 128
    times this one.
    """

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the mean over all values of two float images of one shape, [n, 3, h, w]."""
        return _spectrum(sr - hr).abs().mean()


class FocalFrequency(nn.Module):
    """The squared distance of the spectra of SR and HR, weighted most where it is largest: Jiang et al., ICCV 2021,
    arXiv:2012.12821.

    The weights are the distance itself to a power, divided by the largest of their image and colour; no gradient flows
    through them.

    Args:
        alpha: the power; 0 weights all frequencies alike.
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha must be 0 at least, not {alpha:g}")
        super().__init__()
        self.alpha = alpha

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the mean over all values of two float images of one shape, [n, 3, h, w]."""
        distance = _spectrum(sr - hr).square().sum(-1)
        weights = distance.detach() ** (self.alpha / 2)
        largest = weights.amax((2, 3), keepdim=True)
        # Equal images have no largest, and nothing to weight.
        weights = weights / torch.where(largest > 0, largest, 1)
        return (weights * distance).mean()
