"""The network of Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", arXiv:1707.02921.

Parameter names and shapes are those of the authors' weight files, so that these load by name; their frozen
`sub_mean` and `add_mean` convolutions are the setting `mean` here and hold no parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, without normalisation. [n, c, h, w] to the same."""

    def __init__(self, features: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(features, features), nn.ReLU(inplace=True), _conv(features, features))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Return x + res_scale * body(x)."""
        return torch.add(x, self.body(x), alpha=self.res_scale)


def _upsampler(features: int, scale: int) -> nn.Sequential:
    factors = (2, 2) if scale == 4 else (scale,)
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [_conv(features, features * factor**2), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class EDSR(nn.Module):
    """Enhanced deep residual network: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    The defaults are the paper's baseline (1.37 M parameters at x2); its large network has features = 256,
    blocks = 32 and res_scale = 0.1. The authors' weights want img_range = 255 and mean = [0.4488, 0.4371, 0.4040].

    Args:
        scale: how much larger the output is: 2, 3 or 4.
        features: channels of the trunk.
        blocks: residual blocks of the trunk.
        res_scale: what a block's residual is multiplied by; 0.1 keeps wide networks stable.
        img_range: what the network works in: 1, or 255 for the authors' weights; input and output stay in 0..1.
        mean: RGB in 0..1, taken from the input and added to the output.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        scale: int,
        features: int = 64,
        blocks: int = 16,
        res_scale: float = 1.0,
        img_range: float = 1.0,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        if scale not in (2, 3, 4):
            raise ValueError(f"edsr has scales 2, 3 and 4, not {scale}")
        for name, count in (("features", features), ("blocks", blocks)):
            if count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
        for name, value in (("res_scale", res_scale), ("img_range", img_range)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0, not {value:g}")
        if not all(0 <= value <= 1 for value in mean):
            raise ValueError(f"mean must be in 0..1, not {', '.join(f'{value:g}' for value in mean)}")
        super().__init__()
        self.img_range = float(img_range)
        # Not in the state dict: it is a setting, and the authors' files have no such name.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.head = nn.Sequential(_conv(3, features))
        self.body = nn.Sequential(
            *(ResidualBlock(features, float(res_scale)) for _ in range(blocks)), _conv(features, features)
        )
        self.tail = nn.Sequential(_upsampler(features, scale), _conv(features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        first = self.head((x - self.mean) * self.img_range)
        out: Tensor = self.tail(self.body(first) + first) / self.img_range + self.mean
        return out
