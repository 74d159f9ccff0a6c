"""The network of Chen, Gu and Zhang, "Attention in Attention Network for Image Super-Resolution", arXiv:2104.09497.

Parameter names and shapes are those of the authors' weight files, so that these load by name.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit

SLOPE = 0.2  # of every LeakyReLU, as in the authors' network
TEMPERATURE = 30.0  # of the softmax over the two branches


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


def _conv(inputs: int, outputs: int, kernel: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class PixelAttention(nn.Module):
    """Weigh each value by a sigmoid of a 1x1 convolution of its pixel. [n, c, h, w] to the same."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = _conv(features, features, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return x times its gates, each in 0..1."""
        out: Tensor = x * torch.sigmoid(self.conv(x))
        return out


class AttentionBranch(nn.Module):
    """Convolutions gated by a pixel attention with a wider view. [n, c, h, w] to the same."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.k1 = _conv(features, features, 3, bias=False)
        self.k2 = _conv(features, features, 1, bias=True)
        self.k3 = _conv(features, features, 3, bias=False)
        self.k4 = _conv(features, features, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated features, in the shape of x."""
        gate = torch.sigmoid(self.k2(_lrelu(self.k1(x))))
        out: Tensor = self.k4(self.k3(x) * gate)
        return out


class AttentionInAttentionBlock(nn.Module):
    """A residual block of an attention and a plain branch, weighed image by image. [n, c, h, w] to the same."""

    def __init__(self, features: int, non_attention_kernel: int) -> None:
        super().__init__()
        self.conv_first = _conv(features, features, 1, bias=False)
        self.conv_last = _conv(features, features, 1, bias=False)
        hidden = max(1, features // 4)
        self.ADM = nn.Sequential(
            nn.Linear(features, hidden, bias=False), nn.ReLU(inplace=True), nn.Linear(hidden, 2, bias=False)
        )
        self.attention = AttentionBranch(features)
        self.non_attention = _conv(features, features, non_attention_kernel, bias=False)

    def entered(self, x: Tensor) -> Tensor:
        """Return what both branches see of x, and the weights' mean is taken of."""
        return _lrelu(self.conv_first(x))

    def forward(self, x: Tensor, mean: Tensor | None = None) -> Tensor:
        """Return x plus the mix of both branches; an image's two branch weights sum to 1.

        `mean` [n, c] is that of `entered` over the image, where x is only a part of it.
        """
        u = self.entered(x)
        mean = u.mean((2, 3)) if mean is None else mean
        weights = torch.softmax(self.ADM(mean) / TEMPERATURE, dim=1)[:, :, None, None, None]
        mixed = weights[:, 0] * self.attention(u) + weights[:, 1] * self.non_attention(u)
        out: Tensor = self.conv_last(_lrelu(mixed)) + x
        return out


class A2N(nn.Module):
    """Attention in Attention Network: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    Args:
        scale: how much larger the output is: 2, 3 or 4.
        features: channels of the trunk; at least 4.
        blocks: attention-in-attention blocks of the trunk.
        upsampling_features: channels after enlarging.
        img_range: what the network works in: 1, or 255 for the authors' weights; input and output stay in 0..1.
        non_attention_kernel: kernel size of the plain branch: 3, or 1 for the smaller A2N-M.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int = 40,
        blocks: int = 16,
        upsampling_features: int = 24,
        img_range: float = 1.0,
        non_attention_kernel: Literal[1, 3] = 3,
    ) -> None:
        if scale not in (2, 3, 4):
            raise ValueError(f"a2n has scales 2, 3 and 4, not {scale}")
        for name, value, least in (
            ("features", features, 4),
            ("blocks", blocks, 1),
            ("upsampling_features", upsampling_features, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if non_attention_kernel not in (1, 3):
            raise ValueError(f"non_attention_kernel must be 1 or 3, not {non_attention_kernel}")
        if not 0 < img_range < float("inf"):
            raise ValueError(f"img_range must be above 0, not {img_range:g}")
        super().__init__()
        self.scale = scale
        self.img_range = float(img_range)
        self.conv_first = _conv(3, features, 3, bias=True)
        self.AAB_trunk = nn.Sequential(
            *(AttentionInAttentionBlock(features, non_attention_kernel) for _ in range(blocks))
        )
        self.trunk_conv = _conv(features, features, 3, bias=True)
        self.upconv1 = _conv(features, upsampling_features, 3, bias=True)
        self.att1 = PixelAttention(upsampling_features)
        self.HRconv1 = _conv(upsampling_features, upsampling_features, 3, bias=True)
        if scale == 4:
            self.upconv2 = _conv(upsampling_features, upsampling_features, 3, bias=True)
            self.att2 = PixelAttention(upsampling_features)
            self.HRconv2 = _conv(upsampling_features, upsampling_features, 3, bias=True)
        self.conv_last = _conv(upsampling_features, 3, 3, bias=True)

    def features(self, x: Tensor) -> Tensor:
        """Return what the trunk makes of an image [n, 3, h, w] in 0..1: [n, features, h, w]."""
        first = self._first(x)
        out: Tensor = first + self.trunk_conv(self.AAB_trunk(first))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        return self._enlarged(self.features(x), x)

    def stages(self) -> list[srkit.Stage]:
        """Return the network in stages. Features of LR's size alone are kept between them: the last makes the first
        features once more for its skip."""
        trunk = [srkit.Stage(block, halo=2, pooled=block.entered) for block in self.blocks()]
        return [srkit.Stage(self._first, halo=1), *trunk, srkit.Stage(self._last, halo=3, scale=self.scale)]

    def for_inference(self) -> nn.Module:
        """Return the same function with folded weights, which are copies: faster, and not to be trained."""
        from srkit_a2n.folded import FoldedA2N  # which is made of what is here

        return FoldedA2N(self)

    def blocks(self) -> list[AttentionInAttentionBlock]:
        """Return the blocks of the trunk."""
        return [block for block in self.AAB_trunk if isinstance(block, AttentionInAttentionBlock)]

    def _first(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_first(x * self.img_range)
        return out

    def _last(self, x: Tensor, lr: Tensor) -> Tensor:
        return self._enlarged(self._first(lr) + self.trunk_conv(x), lr)

    def _enlarged(self, features: Tensor, x: Tensor) -> Tensor:
        factor = 2.0 if self.scale == 4 else float(self.scale)
        features = F.interpolate(features, scale_factor=factor, mode="nearest")
        features = _lrelu(self.HRconv1(_lrelu(self.att1(self.upconv1(features)))))
        if self.scale == 4:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = _lrelu(self.HRconv2(_lrelu(self.att2(self.upconv2(features)))))

        skip = F.interpolate(x * self.img_range, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        out: Tensor = (self.conv_last(features) + skip) / self.img_range
        return out
