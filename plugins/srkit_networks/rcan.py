"""The network of Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks".

arXiv:1807.02758. Parameter names and shapes are those of the authors' weight files; their frozen `sub_mean` and
`add_mean` convolutions are the setting `mean` here and hold no parameters.
"""

from __future__ import annotations

from torch import Tensor, nn

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
