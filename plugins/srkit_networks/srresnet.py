"""The generator of Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", arXiv:1609.04802.

Its settings are the field's usual questions: batch normalisation or not, how features are enlarged, and where.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from srkit_networks.layers import ChannelAndSpatialAttention, Upsampler, conv, enlarging, factors, refuse_below_one

Norm = Literal["batch", "none"]
Place = Literal["after", "steps", "before"]
REDUCTION = 16  # of the channels within attention


class Block(nn.Module):
    """Two convolutions beside the identity. [n, c, h, w] to the same."""

    def __init__(self, features: int, norm: Norm, *, attention: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(features, features), *_norm(features, norm), nn.PReLU()]
        layers += [conv(features, features), *_norm(features, norm)]
        layers += [ChannelAndSpatialAttention(features, REDUCTION)] if attention else []
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + body(x)."""
        out: Tensor = x + self.body(x)
        return out


class SRResNet(nn.Module):
    """Residual network: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    The defaults are the paper's (1.4 M parameters at x2).

    Args:
        scale: how much larger the output is: 1, 2, 3, 4 or 8.
        features: channels of the trunk.
        blocks: residual blocks of the trunk.
        norm: "batch" normalisation in each block, or "none".
        upsampler: "subpixel" (a convolution and a pixel shuffle), "deconvolution", or "interpolation" (nearest
            neighbours, then a convolution).
        place: where features are enlarged: "after" the blocks, in "steps" with a share of the blocks before each, or
            "before" them all, where LR itself is enlarged by bicubic and `upsampler` has no effect.
    """

    attention = False  # at the end of each block
    tileable = True

    def __init__(
        self,
        *,
        scale: int,
        features: int = 64,
        blocks: int = 16,
        norm: Norm = "batch",
        upsampler: Upsampler = "subpixel",
        place: Place = "after",
    ) -> None:
        if scale not in (1, 2, 3, 4, 8):
            raise ValueError(f"srresnet has scales 1, 2, 3, 4 and 8, not {scale}")
        refuse_below_one(features=features, blocks=blocks)
        steps = [] if place == "before" else factors(scale)
        shares = len(steps) + 1 if place == "steps" else 1
        if blocks < shares:
            raise ValueError(f"blocks must be at least {shares} for steps at scale {scale}, not {blocks}")
        super().__init__()
        self.enlarged_by = scale if place == "before" else 1
        self.head = nn.Sequential(conv(3, features, 9), nn.PReLU())
        ends = [blocks * (share + 1) // shares for share in range(shares)]
        trunk = [Block(features, norm, attention=self.attention) for _ in range(blocks)]
        self.trunk = nn.Sequential(*trunk[: ends[0]], conv(features, features), *_norm(features, norm))
        tail: list[nn.Module] = []
        for number, factor in enumerate(steps, 1):
            tail += [*enlarging(features, factor, upsampler), nn.PReLU()]
            tail += trunk[ends[number - 1] : ends[number]] if place == "steps" else []
        self.tail = nn.Sequential(*tail, conv(features, 3, 9))

    def features(self, x: Tensor) -> Tensor:
        """Return what the trunk makes of an image [n, 3, h, w] in 0..1: [n, features, h, w], before it is enlarged.

        Where `place` is "before", the image is enlarged first.
        """
        if self.enlarged_by > 1:
            x = F.interpolate(x, scale_factor=self.enlarged_by, mode="bicubic", align_corners=False)
        first = self.head(x)
        out: Tensor = first + self.trunk(first)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        out: Tensor = self.tail(self.features(x))
        return out


class CBAM(SRResNet):
    """Residual network with channel and spatial attention: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale].

    Blocks without normalisation, each with the attention of Woo et al., arXiv:1807.06521.

    Args:
        scale: how much larger the output is: 2, 3, 4 or 8.
        features: channels of the trunk.
        blocks: residual blocks of the trunk.
        upsampler: "subpixel", "deconvolution" or "interpolation", as in `srresnet`.
        place: where features are enlarged: "after" the blocks, in "steps" between them, or "before" them all.
    """

    attention = True
    tileable = False

    def __init__(
        self,
        *,
        scale: int,
        features: int = 64,
        blocks: int = 16,
        upsampler: Upsampler = "subpixel",
        place: Place = "after",
    ) -> None:
        super().__init__(scale=scale, features=features, blocks=blocks, norm="none", upsampler=upsampler, place=place)


def _norm(features: int, norm: Norm) -> list[nn.Module]:
    return [nn.BatchNorm2d(features)] if norm == "batch" else []
