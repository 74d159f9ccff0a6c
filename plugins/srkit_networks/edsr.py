"""The network of Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", arXiv:1707.02921.

Parameter names and shapes are those of the authors' weight files, so that these load by name; their frozen
`sub_mean` and `add_mean` convolutions are the setting `mean` here and hold no parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import srkit
from srkit.folding import frozen, times
from srkit_networks.layers import LongSkip, conv, enlarging, factors, refuse_below_one, refuse_not_positive


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, without normalisation. [n, c, h, w] to the same."""

    def __init__(self, features: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(features, features), nn.ReLU(inplace=True), conv(features, features))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Return x + res_scale * body(x)."""
        return torch.add(x, self.body(x), alpha=self.res_scale)


class Trunk(LongSkip):
    """EDSR without its tail: `features` makes [n, features, h, w] of an image.

    Raises ValueError for settings that make no network.
    """

    tileable = True

    def __init__(
        self,
        *,
        features: int,
        blocks: int,
        res_scale: float,
        img_range: float = 1.0,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        refuse_below_one(features=features, blocks=blocks)
        refuse_not_positive(res_scale=res_scale)
        super().__init__(img_range=img_range, mean=mean)
        self.head = nn.Sequential(conv(3, features))
        self.body = nn.Sequential(
            *(ResidualBlock(features, float(res_scale)) for _ in range(blocks)), conv(features, features)
        )


class EDSR(Trunk):
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
        super().__init__(features=features, blocks=blocks, res_scale=res_scale, img_range=img_range, mean=mean)
        enlarge = [layer for factor in factors(scale) for layer in enlarging(features, factor, "subpixel")]
        self.tail = nn.Sequential(nn.Sequential(*enlarge), conv(features, 3))
        self.scale = scale

    def stages(self) -> list[srkit.Stage]:
        """Return the network in stages."""
        return self.in_stages([srkit.Stage(block, halo=2) for block in list(self.body)[:-1]], self.scale)

    def for_inference(self) -> nn.Module:
        """Return the same function with folded weights, which are copies: faster, and not to be trained."""
        own = self.folded()
        for block in own.body:
            if isinstance(block, ResidualBlock):
                conv_first, relu, conv_last = block.body
                block.body = nn.Sequential(conv_first, relu, times(conv_last, block.res_scale))
                block.res_scale = 1.0
        return frozen(own)
