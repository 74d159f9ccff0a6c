"""The network of Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN".

arXiv:1609.05158.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ESPCN(nn.Module):
    """Three convolutions on LR and a sub-pixel shuffle: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    Kernels 5-3-3 and tanh, as in the paper, with zero padding; the paper works on luma alone.

    Args:
        scale: how much larger the output is; any integer from 1.
        channels: channels after the first and the second convolution.
    """

    def __init__(self, *, scale: int, channels: tuple[int, int] = (64, 32)) -> None:
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        if min(channels) < 1:
            raise ValueError(f"channels must be at least 1 each, not {channels[0]} and {channels[1]}")
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 5, padding=2)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 3, padding=1)
        self.conv3 = nn.Conv2d(channels[1], 3 * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        out: Tensor = self.shuffle(self.conv3(torch.tanh(self.conv2(torch.tanh(self.conv1(x))))))
        return out
