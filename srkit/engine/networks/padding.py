"""Networks that want sizes of their own, given images of any size."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from srkit.plugin.component import Component


def fit(network: nn.Module, component: Component) -> nn.Module:
    """Let a network take LR of any size, where its component states a `min_size` or what sides are a `multiple_of`.

    LR is padded at the right and the bottom by its mirror image, and SR is cut. The network itself is returned, of a
    class of its own, so that the names of its weights stay what they are.
    """
    least, multiple = component.facts.get("min_size", 1), component.facts.get("multiple_of", 1)
    if least <= 1 and multiple <= 1:
        return network
    cls = type(network)

    def forward(self: Any, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = _padded(x, fitting(height, least, multiple), fitting(width, least, multiple))
        sr: Tensor = cls.forward(self, padded)
        scale = sr.shape[-2] // padded.shape[-2]
        return sr[..., : height * scale, : width * scale]

    network.__class__ = type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__})
    return network


def fitting(side: int, least: int, multiple: int) -> int:
    """Return the smallest side that is not below this one and that a network takes."""
    return -(-max(side, least) // multiple) * multiple


def _padded(x: Tensor, height: int, width: int) -> Tensor:
    """Return images with more rows and columns; a mirror shows at most all of an image, so small ones want several."""
    while x.shape[-2:] != (height, width):
        down, right = height - x.shape[-2], width - x.shape[-1]
        if min(x.shape[-2:]) == 1:  # which has no mirror image
            return F.pad(x, (0, right, 0, down), mode="replicate")
        x = F.pad(x, (0, min(right, x.shape[-1] - 1), 0, min(down, x.shape[-2] - 1)), mode="reflect")
    return x
