"""The networks of Lai et al., "Deep Laplacian Pyramid Networks", arXiv:1704.03915, and its successor, arXiv:1710.01992.

Each level doubles the image: one branch enlarges features, the other the image, to which a residual is added.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkit_networks.layers import conv, refuse_below_one

SLOPE = 0.2  # of LeakyReLU
SCALES = (2, 4, 8)


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution, [n, c, h, w] to [n, c, 2h, 2w], that starts as bilinear interpolation.

    The image goes on beyond its edge as its last pixels do, which zeros would darken.
    """

    def __init__(self, channels: int, *, mixing: bool) -> None:
        groups = 1 if mixing else channels
        super().__init__(channels, channels, 4, stride=2, padding=3, groups=groups, bias=False)
        line = torch.tensor([0.25, 0.75, 0.75, 0.25])
        kernel = line[:, None] * line
        with torch.no_grad():
            self.weight.zero_()
            for channel in range(channels):
                self.weight[channel, channel if mixing else 0] = kernel

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return x enlarged twofold."""
        return super().forward(F.pad(x, (1, 1, 1, 1), mode="replicate"), output_size)


class Level(nn.Module):
    """What doubles features and image once."""

    def __init__(self, features: int, depth: int, recursions: int) -> None:
        super().__init__()
        self.recursions = recursions
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.LeakyReLU(SLOPE), conv(features, features)]
        self.block = nn.Sequential(*layers)
        self.enlarge = nn.Sequential(nn.LeakyReLU(SLOPE), Doubling(features, mixing=True))
        self.residual = conv(features, 3)
        self.image = Doubling(3, mixing=False)

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and image, both of twice the height and width."""
        source = features
        for _ in range(self.recursions):
            features = self.block(features) + source
        features = self.enlarge(features)
        return features, self.image(image) + self.residual(features)


class LapSRN(nn.Module):
    """Laplacian pyramid network: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale] by way of each doubling, not clamped.

    In training it returns `(sr, {"x2": ..., "x4": ...})`, SR and the outputs of the levels below, for the loss
    `deep_supervision`. Asked for a `size` of two, four or eight times LR it gives the output of that level: a network
    for x4 has a x2 output, and one with shared weights has all of them. The defaults are the later paper's D5R2, but
    for its luma alone.

    Args:
        scale: how much larger the output is: 2, 4 or 8.
        features: channels of the features.
        depth: convolutions of a block.
        recursions: how often a level's block is applied, each time beside the level's input.
        weights: "shared" between the levels, or "separate".
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int = 64,
        depth: int = 5,
        recursions: int = 2,
        weights: Literal["shared", "separate"] = "shared",
    ) -> None:
        if scale not in SCALES:
            raise ValueError(f"lapsrn has scales 2, 4 and 8, not {scale}")
        if weights not in ("shared", "separate"):
            raise ValueError(f'weights must be "shared" or "separate", not "{weights}"')
        refuse_below_one(features=features, depth=depth, recursions=recursions)
        super().__init__()
        self.scale, self.shared = scale, weights == "shared"
        self.first = conv(3, features)
        upto = SCALES.index(scale) + 1
        self.scales = SCALES if self.shared else SCALES[:upto]  # which of them it serves
        self.levels = nn.ModuleList(Level(features, depth, recursions) for _ in range(1 if self.shared else upto))

    def forward(self, lr: Tensor, size: tuple[int, int] | None = None) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return SR of LR [n, 3, h, w] in 0..1, of the size (height, width); SR may leave that range.

        Raises ValueError for a size that no level has.
        """
        features, image = self.first(lr), lr
        outputs = {}
        for number in range(self._doublings(lr, size)):
            level = self.levels[0 if self.shared else number]
            features, image = level(features, image)
            outputs[f"x{2 << number}"] = image
        _, sr = outputs.popitem()
        return (sr, outputs) if self.training else sr

    def _doublings(self, lr: Tensor, size: tuple[int, int] | None) -> int:
        height, width = lr.shape[-2:]
        wanted = (height * self.scale, width * self.scale) if size is None else tuple(size)
        for doublings, scale in enumerate(self.scales, 1):
            if wanted == (height * scale, width * scale):
                return doublings
        has = ", ".join(f"x{scale}" for scale in self.scales)
        raise ValueError(f"lapsrn has {has}, and of {height}x{width} none of them makes {wanted[0]}x{wanted[1]}")
