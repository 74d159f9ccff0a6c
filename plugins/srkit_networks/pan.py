"""The network of Zhao et al., "Efficient Image Super-Resolution Using Pixel Attention", arXiv:2010.01073.

Parameter names and shapes are those of the authors' weight files, so that these load by name.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit
from srkit.folding import AttentiveTail, copied, frozen, leaky_, pointwise
from srkit_networks.layers import conv, factors, refuse_below_one

SLOPE = 0.2  # of LeakyReLU


class PixelAttentionConv(nn.Module):
    """A convolution whose output is weighted pixel by pixel, between two others. [n, c, h, w] to the same."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.k2 = nn.Conv2d(features, features, 1)
        self.k3 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.k4 = nn.Conv2d(features, features, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return k4(k3(x) * sigmoid(k2(x)))."""
        out: Tensor = self.k4(self.k3(x) * torch.sigmoid(self.k2(x)))
        return out


class SCPA(nn.Module):
    """Self-calibrated block: one half of the features through pixel attention, the other through a convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        half = features // 2
        self.conv1_a = nn.Conv2d(features, half, 1, bias=False)
        self.conv1_b = nn.Conv2d(features, half, 1, bias=False)
        self.k1 = nn.Sequential(nn.Conv2d(half, half, 3, padding=1, bias=False))
        self.PAConv = PixelAttentionConv(half)
        self.conv3 = nn.Conv2d(2 * half, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, c, h, w] of [n, c, h, w], with the identity beside it."""
        first = _leaky(self.k1(_leaky(self.conv1_a(x))))
        second = _leaky(self.PAConv(_leaky(self.conv1_b(x))))
        out: Tensor = x + self.conv3(torch.cat((first, second), dim=1))
        return out


class PixelAttention(nn.Module):
    """Features times a factor in 0..1 for each of their values."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x * sigmoid(conv(x))."""
        out: Tensor = x * torch.sigmoid(self.conv(x))
        return out


class PAN(nn.Module):
    """Pixel attention network: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    The defaults are the paper's (261 k parameters at x2).

    Args:
        scale: how much larger the output is: 2, 3 or 4.
        features: channels of the trunk; even.
        blocks: self-calibrated blocks of the trunk.
        upsampling_features: channels after enlarging.
    """

    tileable = True

    def __init__(self, *, scale: int, features: int = 40, blocks: int = 16, upsampling_features: int = 24) -> None:
        if scale not in (2, 3, 4):
            raise ValueError(f"pan has scales 2, 3 and 4, not {scale}")
        if features < 2 or features % 2:
            raise ValueError(f"features must be even and at least 2, not {features}")
        refuse_below_one(blocks=blocks, upsampling_features=upsampling_features)
        super().__init__()
        self.scale, self.factors = scale, factors(scale)
        self.conv_first = conv(3, features)
        self.SCPA_trunk = nn.Sequential(*(SCPA(features) for _ in range(blocks)))
        self.trunk_conv = conv(features, features)
        inputs = features
        for step in range(1, len(self.factors) + 1):
            self.add_module(f"upconv{step}", conv(inputs, upsampling_features))
            self.add_module(f"att{step}", PixelAttention(upsampling_features))
            self.add_module(f"HRconv{step}", conv(upsampling_features, upsampling_features))
            inputs = upsampling_features
        self.conv_last = conv(upsampling_features, 3)

    def features(self, x: Tensor) -> Tensor:
        """Return what the trunk makes of an image [n, 3, h, w] in 0..1: [n, features, h, w]."""
        first = self.conv_first(x)
        out: Tensor = first + self.trunk_conv(self.SCPA_trunk(first))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        return self._enlarged(self.features(x), x)

    def stages(self) -> list[srkit.Stage]:
        """Return the network in stages; the last makes the first features once more for its skip."""
        blocks = [srkit.Stage(block, halo=2) for block in self.SCPA_trunk]
        return [srkit.Stage(self.conv_first, halo=1), *blocks, srkit.Stage(self._last, halo=3, scale=self.scale)]

    def for_inference(self) -> nn.Module:
        """Return the same function with folded weights, which are copies: faster, and not to be trained."""
        return FoldedPAN(self)

    def _last(self, x: Tensor, lr: Tensor) -> Tensor:
        return self._enlarged(self.conv_first(lr) + self.trunk_conv(x), lr)

    def _enlarged(self, out: Tensor, x: Tensor) -> Tensor:
        for step, factor in enumerate(self.factors, 1):
            upconv, att, hrconv = (self.get_submodule(f"{name}{step}") for name in ("upconv", "att", "HRconv"))
            out = upconv(F.interpolate(out, scale_factor=factor, mode="nearest"))
            out = _leaky(hrconv(_leaky(att(out))))
        enlarged = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        sr: Tensor = self.conv_last(out) + enlarged
        return sr


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)


class FoldedSCPA(nn.Module):
    """A self-calibrated block whose 1x1 convolutions are products of matrices."""

    def __init__(self, block: SCPA) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Return what the block makes of [n, c, h, w]."""
        block, attention = self.block, self.block.PAConv
        first = leaky_(block.k1(leaky_(pointwise(block.conv1_a, x))))
        entered = leaky_(pointwise(block.conv1_b, x))
        gated = attention.k3(entered) * pointwise(attention.k2, entered).sigmoid_()
        second = leaky_(attention.k4(gated))
        return torch.add(pointwise(block.conv3, torch.cat((first, second), 1)), x)


class FoldedPAN(nn.Module):
    """PAN with fixed weights: RGB [n, 3, h, w] in 0..1 to [n, 3, h * scale, w * scale], not clamped."""

    def __init__(self, network: PAN) -> None:
        super().__init__()
        own = copied(network)
        names = [(f"upconv{step}", f"att{step}.conv", f"HRconv{step}") for step in range(1, len(own.factors) + 1)]
        steps = [tuple(own.get_submodule(name) for name in step) for step in names]
        self.scale = own.scale
        self.conv_first, self.trunk_conv = own.conv_first, own.trunk_conv
        self.trunk = nn.Sequential(*(FoldedSCPA(block) for block in own.SCPA_trunk if isinstance(block, SCPA)))
        self.tail = AttentiveTail(steps, own.factors, own.conv_last)
        frozen(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return SR of LR; SR may leave 0..1."""
        first = self.conv_first(x)
        return self._last(self.trunk(first), x, first)

    def stages(self) -> list[srkit.Stage]:
        """Return the network in stages, those of PAN."""
        last = srkit.Stage(lambda x, lr: self._last(x, lr, self.conv_first(lr)), halo=3, scale=self.scale)
        return [srkit.Stage(self.conv_first, halo=1), *(srkit.Stage(b, halo=2) for b in self.trunk), last]

    def _last(self, x: Tensor, lr: Tensor, first: Tensor) -> Tensor:
        out: Tensor = self.tail(first + self.trunk_conv(x), lr)
        return out
