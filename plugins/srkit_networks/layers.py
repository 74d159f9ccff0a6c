"""What several networks are made of: ways to enlarge features, attention, and the frame of EDSR and RCAN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

import srkit
from srkit.folding import copied, frozen, subpixel, times

Upsampler = Literal["subpixel", "deconvolution", "interpolation"]


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """Return a convolution that keeps height and width; `kernel` is odd."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def refuse_below_one(**counts: float) -> None:
    """Raise ValueError for a count or a scale below 1, naming it."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")


def refuse_not_positive(**values: float) -> None:
    """Raise ValueError for a value that is not a finite number above 0, naming it."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value:g}")


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


class LongSkip(nn.Module):
    """A head, a body beside the identity, and a tail; they see values of a range of their own, without a mean.

    A subclass sets `head`, `body` and, where it enlarges, `tail`. EDSR and RCAN are such networks; the frozen
    `sub_mean` and `add_mean` convolutions of their authors are the setting `mean`, and hold no parameters.
    """

    head: nn.Sequential
    body: nn.Sequential
    tail: nn.Sequential
    mean: Tensor

    def __init__(self, *, img_range: float = 1.0, mean: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        refuse_not_positive(img_range=img_range)
        if not all(0 <= value <= 1 for value in mean):
            raise ValueError(f"mean must be in 0..1, not {', '.join(f'{value:g}' for value in mean)}")
        super().__init__()
        self.img_range = float(img_range)
        # Not in the state dict: it is a setting, and the authors' files have no such name.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Return what the body makes of an image [n, 3, h, w] in 0..1, of the same height and width."""
        first = self.first(x)
        out: Tensor = self.body(first) + first
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        return self.enlarged(self.features(x))

    def first(self, x: Tensor) -> Tensor:
        """Return what the head makes of an image [n, 3, h, w] in 0..1."""
        out: Tensor = self.head((x - self.mean) * self.img_range)
        return out

    def enlarged(self, features: Tensor) -> Tensor:
        """Return SR of features."""
        out: Tensor = self.tail(features) / self.img_range + self.mean
        return out

    def folded(self) -> Self:
        """Return a copy with fixed weights: the range is in the first convolution and the last, and pixel shuffles are
        quick ones."""
        own = copied(self)
        (head,) = own.head
        steps, last = own.tail
        layers: list[Any] = list(steps.children())
        own.head = nn.Sequential(times(head, own.img_range, bias=False))
        pairs = zip(layers[::2], layers[1::2], strict=True)
        convs = [subpixel(conv, shuffle.upscale_factor) for conv, shuffle in pairs]
        own.tail = nn.Sequential(nn.Sequential(*convs), times(last, 1 / own.img_range))
        own.img_range = 1.0
        return frozen(own)

    def in_stages(self, between: Sequence[srkit.Stage], scale: int) -> list[srkit.Stage]:
        """Return the network in stages: what stands between head and tail, of which the last convolution of the body is
        in the tail's, where the head is computed once more for its skip."""

        def last(x: Tensor, lr: Tensor) -> Tensor:
            return self.enlarged(self.body[-1](x) + self.first(lr))

        # A pixel for the body's convolution, and less than two for those that enlarge: 1 + 1/2 + 1/4 + ...
        return [srkit.Stage(self.first, halo=1), *between, srkit.Stage(last, halo=3, scale=scale)]


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

    def forward(self, x: Tensor, mean: Tensor | None = None) -> Tensor:
        """Return [n, c, h, w], each channel times a factor in 0..1; `mean` [n, c] is the image's, where x is a part."""
        out: Tensor = x * self.conv_du(x.mean((2, 3), keepdim=True) if mean is None else mean[:, :, None, None])
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
