"""Forms of networks for inference: the same function of other, fewer or faster layers, with fixed weights.

Weights are folded in float64. Inputs are never written to, since strips of a map share their rows.
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
    """Return a network in eval mode whose weights are not trained, in the layout that convolutions are fastest in."""
    network.eval().requires_grad_(requires_grad=False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def copied(network: Module) -> Module:
    """Return a copy of a network to fold weights of, without gradients."""
    return frozen(copy.deepcopy(network))


def convolution(weight: Tensor, bias: Tensor | None, like: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution of a weight [outputs, inputs, k, k], k odd, and a bias, in the dtype and on the device of
    another; it keeps height and width."""
    outputs, inputs, kernel, _ = weight.shape
    made = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias is not None)
    made = made.to(like.weight.device, like.weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias)
    return made


def times(conv: Any, factor: float, *, bias: bool = True) -> nn.Conv2d:
    """Return a convolution whose output is another's, times a factor; without `bias`, that stays as it is."""
    offset = None if conv.bias is None else conv.bias.double() * (factor if bias else 1)
    return convolution(conv.weight.double() * factor, offset, conv)


class SpreadConv(nn.Module):
    """A convolution whose channels become the pixels of an image `factor` times as large.

    In channels_last the pixels of one row that a pixel becomes lie together, and are moved in one piece; torch's pixel
    shuffle moves single values. `weight` is [factor, factor, outputs, inputs, k, k]: row, column, channel.
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
    """Return what makes the same of an image as nearest neighbours and a 3x3 convolution behind them.

    A row of the large image sees three, which are two or three of the small one: the taps on equal ones are added up.
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
    """Return what makes the same of an image as a convolution and a pixel shuffle."""
    pixels = (-1, factor, factor)
    weight = conv.weight.reshape(*pixels, *conv.weight.shape[1:]).permute(1, 2, 0, 3, 4, 5)
    bias = None if conv.bias is None else conv.bias.reshape(pixels).permute(1, 2, 0)
    return SpreadConv(weight, bias, conv)


class AttentiveTail(nn.Module):
    """The end of PAN: each step enlarges, weighs each value and convolves; the image itself is added, enlarged.

    A step is (what enlarges, what the attention is a sigmoid of, the convolution behind it).
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
    """Return a 1x1 convolution of [n, c, h, w] as a product of matrices: torch has none for those of few channels that
    is fast in channels_last, and slices of channels need not be copied for it."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias).permute(0, 3, 1, 2)


def leaky_(x: Tensor) -> Tensor:
    """Return a LeakyReLU of slope 0.2, written over its input."""
    return F.leaky_relu_(x, 0.2)
