"""Layers that a network's `for_inference` is built from: the same function in fewer or faster layers.

For authors of networks. Weights are folded in float64 and are not trained. No input is written to, but by `leaky_`:
strips of a feature map share their rows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def frozen(network: Module) -> Module:
    """Set a network to eval mode and to channels_last, with weights that are not trained, and return it."""
    network.eval().requires_grad_(requires_grad=False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def copied(network: Module) -> Module:
    """Return a copy of a network, in eval mode and without gradients, whose weights may be folded."""
    return frozen(copy.deepcopy(network))


def convolution(weight: Tensor, bias: Tensor | None, like: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution with this weight [outputs, inputs, k, k], k odd, and bias [outputs], in the dtype and on the
    device of `like`. It keeps height and width."""
    outputs, inputs, kernel, _ = weight.shape
    made = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias is not None)
    made = made.to(like.weight.device, like.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias)
    return made


def times(conv: Any, factor: float, *, bias: bool = True) -> nn.Conv2d:
    """Return a convolution with weight and bias multiplied by a factor; without `bias`, the weight alone."""
    offset = None if conv.bias is None else conv.bias.double() * (factor if bias else 1)
    return convolution(conv.weight.double() * factor, offset, conv)


class SpreadConv(nn.Module):
    """A convolution and a pixel shuffle in one, whose order of channels suits channels_last.

    The values of one output row lie next to each other there and are moved in one piece; torch's pixel shuffle moves
    single values. `weight` is [factor, factor, outputs, inputs, k, k]: row, column, channel.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, like: nn.Conv2d) -> None:
        super().__init__()
        self.factor = weight.shape[0]
        self.conv = convolution(weight.flatten(0, 2), None if bias is None else bias.flatten(), like)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, outputs, h * factor, w * factor] of [n, inputs, h, w]."""
        x = self.conv(x).permute(0, 2, 3, 1)
        n, height, width, channels = x.shape
        rows = x.reshape(n, height, width, self.factor, channels // self.factor).transpose(2, 3)
        return rows.reshape(n, height * self.factor, width * self.factor, -1).permute(0, 3, 1, 2)


def nearest(conv: Any, factor: int) -> SpreadConv:
    """Return one layer for nearest-neighbour upsampling by a factor and a 3x3 convolution behind it.

    Three rows of the large image come from two or three rows of the small one: taps on the same row are added up.
    """
    row = torch.zeros(factor, 3, 3, dtype=torch.float64)  # [row within a pixel, tap of the small image, of the large]
    for within in range(factor):
        for tap in range(3):
            row[within, (within + tap - 1) // factor + 1, tap] = 1
    row = row.to(conv.weight.device)
    weight = torch.einsum("oiab,pya,qxb->pqoiyx", conv.weight.double(), row, row)
    bias = None if conv.bias is None else conv.bias.expand(factor, factor, -1)
    return SpreadConv(weight, bias, conv)


def subpixel(conv: nn.Conv2d, factor: int) -> SpreadConv:
    """Return one layer for a convolution and a pixel shuffle by a factor behind it."""
    pixels = (-1, factor, factor)
    weight = conv.weight.reshape(*pixels, *conv.weight.shape[1:]).permute(1, 2, 0, 3, 4, 5)
    bias = None if conv.bias is None else conv.bias.reshape(pixels).permute(1, 2, 0)
    return SpreadConv(weight, bias, conv)


class AttentiveTail(nn.Module):
    """The tail of PAN and A2N: in each step nearest-neighbour upsampling, pixel attention and a convolution, then the
    last convolution, to which the bilinearly enlarged LR is added.

    A step is (the convolution behind the upsampling, the 1x1 convolution of the attention, the convolution behind it).
    """

    def __init__(self, steps: Sequence[Sequence[nn.Module]], factors: tuple[int, ...], last: nn.Module) -> None:
        super().__init__()
        self.enlarging = nn.ModuleList(nearest(step[0], n) for step, n in zip(steps, factors, strict=True))
        self.attention = nn.ModuleList(step[1] for step in steps)
        self.convs = nn.ModuleList(step[2] for step in steps)
        self.last = last
        self.scale = 1
        for factor in factors:
            self.scale *= factor

    def forward(self, x: Tensor, lr: Tensor) -> Tensor:
        """Return SR of features [n, c, h, w] and of LR [n, 3, h, w]."""
        for enlarge, attend, convolve in zip(self.enlarging, self.attention, self.convs, strict=True):
            x = enlarge(x)
            x = leaky_(x * pointwise(attend, x).sigmoid_())
            x = leaky_(convolve(x))
        skip = F.interpolate(lr, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        return skip.add_(self.last(x))  # in the precision of LR, where the network computes in another


def pointwise(conv: Any, x: Tensor) -> Tensor:
    """Return a 1x1 convolution of [n, c, h, w] as a matrix product: with few channels that is faster in channels_last
    than torch's convolution, and slices of channels are not copied."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias).permute(0, 3, 1, 2)


def leaky_(x: Tensor) -> Tensor:
    """Return a LeakyReLU of slope 0.2, written over its input."""
    return F.leaky_relu_(x, 0.2)
