"""What several networks are made of: ways to enlarge features, and attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Upsampler = Literal["subpixel", "deconvolution", "interpolation"]


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """Return a convolution that keeps height and width; `kernel` is odd."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def factors(scale: int) -> tuple[int, ...]:
    """Return the steps that enlarge by a scale: doublings where these make it up, otherwise one step."""
    steps = scale.bit_length() - 1
    return (2,) * steps if scale == 2**steps else (scale,)


def enlarging(features: int, factor: int, upsampler: Upsampler) -> list[nn.Module]:
    """Return layers from [n, features, h, w] to [n, features, h * factor, w * factor].

    "subpixel": a convolution and a pixel shuffle (arXiv:1609.05158); "deconvolution": a transposed convolution with
    about twice the factor as kernel; "interpolation": nearest neighbours, then a convolution.
    """
    if upsampler == "subpixel":
        return [conv(features, features * factor**2), nn.PixelShuffle(factor)]
    if upsampler == "deconvolution":
        kernel = 2 * factor - factor % 2  # so that the padding is a whole number
        return [nn.ConvTranspose2d(features, features, kernel, stride=factor, padding=(kernel - factor) // 2)]
    return [nn.Upsample(scale_factor=factor, mode="nearest"), conv(features, features)]


class ChannelAttention(nn.Module):
    """Channels weighted by what their means over the image say (RCAN, arXiv:1807.02758, 3.3).

    The names are those of the authors' files.
    """

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        inner = max(1, features // reduction)
        self.conv_du = nn.Sequential(
            nn.Conv2d(features, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, features, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, c, h, w], each channel times a factor in 0..1."""
        out: Tensor = x * self.conv_du(x.mean((2, 3), keepdim=True))
        return out


class ChannelAndSpatialAttention(nn.Module):
    """Channels, then pixels, weighted by their means and maxima (CBAM, arXiv:1807.06521)."""

    def __init__(self, features: int, reduction: int, kernel: int = 7) -> None:
        super().__init__()
        inner = max(1, features // reduction)
        self.channels = nn.Sequential(
            nn.Conv2d(features, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, features, 1)
        )
        self.pixels = conv(2, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, c, h, w], times a factor in 0..1 for each channel, and one for each pixel."""
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self.channels(mean) + self.channels(largest))
        seen = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), dim=1)
        return x * torch.sigmoid(self.pixels(seen))
