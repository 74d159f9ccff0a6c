"""A network in one file, with the hook by which srkit finds it: `srkit -p tiny.py run tiny.toml`."""

import torch.nn.functional as F
from torch import Tensor, nn

import srkit


class Tiny(nn.Module):
    """Three convolutions that add detail to a bilinear enlargement.

    RGB [n, 3, h, w] in 0..1 to [n, 3, h * scale, w * scale], not clamped.

    Args:
        features: channels of the convolutions.
    """

    def __init__(self, *, scale: int, features: int = 16) -> None:
        super().__init__()
        self.scale = scale
        self.detail = nn.Sequential(
            nn.Conv2d(3, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale, mode="bilinear") + self.detail(x)


@srkit.hookimpl
def srkit_components():
    yield srkit.Component(
        "architecture",
        "tiny",
        f"{__name__}:Tiny",
        summary="Three convolutions beside a bilinear enlargement",
        # The output for a tile is that tile of the output: it looks at no whole image.
        facts={"tileable": True},
    )
