"""The network of Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks".

arXiv:1807.02758. Parameter names and shapes are those of the authors' weight files; their frozen `sub_mean` and
`add_mean` convolutions are the setting `mean` here and hold no parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

import srkit
from srkit_networks.layers import ChannelAttention, LongSkip, conv, enlarging, factors, refuse_below_one


class RCAB(nn.Module):
    """Residual channel attention block. [n, c, h, w] to the same."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(features, features),
            nn.ReLU(inplace=True),
            conv(features, features),
            ChannelAttention(features, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x + body(x)."""
        out: Tensor = x + self.body(x)
        return out


class ResidualGroup(nn.Module):
    """Blocks and a convolution beside the identity. [n, c, h, w] to the same."""

    def __init__(self, features: int, blocks: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(RCAB(features, reduction) for _ in range(blocks)), conv(features, features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x + body(x)."""
        out: Tensor = x + self.body(x)
        return out

    def stages(self) -> list[srkit.Stage]:
        """Return the group in stages, between which stand the group's input, the last block's, and its residual."""
        blocks = [block for block in self.body if isinstance(block, RCAB)]

        def begun(x: Tensor) -> Tensor:
            return torch.cat((x, x, blocks[0].body[:-1](x)), 1)

        def ended(x: Tensor, mean: Tensor) -> Tensor:
            first, out, residual = x.chunk(3, 1)
            last: Tensor = self.body[-1](out + blocks[-1].body[-1](residual, mean))
            return first + last

        pairs = [_between(before, block) for before, block in itertools.pairwise(blocks)]
        middle = [srkit.Stage(run, halo=2, pooled=_residual) for run in pairs]
        return [srkit.Stage(begun, halo=2), *middle, srkit.Stage(ended, halo=1, pooled=_residual)]


def _between(before: RCAB, block: RCAB) -> Callable[[Tensor, Tensor], Tensor]:
    def run(x: Tensor, mean: Tensor) -> Tensor:
        first, out, residual = x.chunk(3, 1)
        out = out + before.body[-1](residual, mean)
        return torch.cat((first, out, block.body[:-1](out)), 1)

    return run


def _residual(x: Tensor) -> Tensor:
    return x.chunk(3, 1)[2]


class RCAN(LongSkip):
    """Residual channel attention network: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    The defaults are the paper's (15.4 M parameters at x2). The authors' weights want img_range = 255 and
    mean = [0.4488, 0.4371, 0.4040].

    Args:
        scale: how much larger the output is: 2, 3, 4 or 8.
        features: channels of the trunk.
        groups: residual groups of the trunk.
        blocks: residual channel attention blocks of a group.
        reduction: how many times fewer channels there are within channel attention.
        img_range: what the network works in: 1, or 255 for the authors' weights; input and output stay in 0..1.
        mean: RGB in 0..1, taken from the input and added to the output.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
        img_range: float = 1.0,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        if scale not in (2, 3, 4, 8):
            raise ValueError(f"rcan has scales 2, 3, 4 and 8, not {scale}")
        refuse_below_one(features=features, groups=groups, blocks=blocks, reduction=reduction)
        super().__init__(img_range=img_range, mean=mean)
        self.head = nn.Sequential(conv(3, features))
        self.body = nn.Sequential(
            *(ResidualGroup(features, blocks, reduction) for _ in range(groups)), conv(features, features)
        )
        enlarge = [layer for factor in factors(scale) for layer in enlarging(features, factor, "subpixel")]
        self.tail = nn.Sequential(nn.Sequential(*enlarge), conv(features, 3))
        self.scale = scale

    def stages(self) -> list[srkit.Stage]:
        """Return the network in stages: the convolutions of each block, whose channels the next one weighs."""
        groups = [group for group in self.body if isinstance(group, ResidualGroup)]
        return self.in_stages([stage for group in groups for stage in group.stages()], self.scale)

    def for_inference(self) -> nn.Module:
        """Return the same function with folded weights, which are copies: faster, and not to be trained."""
        return self.folded()
