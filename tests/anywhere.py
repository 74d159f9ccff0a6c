"""A network of any scale as a plugin of one file: features of LR, looked up at each pixel of SR."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's component."""
    facts = {"tileable": True, "scale_range": (1.0, 8.0)}
    yield srkit.Component("architecture", "anywhere", f"{__name__}:Anywhere", facts=facts)


class Anywhere(nn.Module):
    """Looks up features between those of LR, and makes a pixel of each.

    Args:
        features: channels of the features
    """

    def __init__(self, *, features: int = 8) -> None:
        super().__init__()
        self.encode = nn.Conv2d(3, features, 3, padding=1)
        self.decode = nn.Sequential(nn.Conv2d(features, features, 1), nn.ReLU(), nn.Conv2d(features, 3, 1))

    def forward(self, lr: Tensor, size: tuple[int, int], points: Tensor | None = None) -> Tensor:
        """Return SR of a size, or its pixels at `points` as [n, 3, q, 1]."""
        (height, width), n = size, len(lr)
        whole = points is None
        if points is None:
            points = torch.arange(height * width, device=lr.device).expand(n, -1)
        y, x = (points // width + 0.5) / height * 2 - 1, (points % width + 0.5) / width * 2 - 1
        at = torch.stack([x, y], -1)[:, :, None]
        found = nn.functional.grid_sample(self.encode(lr), at, padding_mode="border", align_corners=False)
        sr: Tensor = self.decode(found)
        return sr.reshape(n, 3, height, width) if whole else sr
