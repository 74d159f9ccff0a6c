"""Networks of any scale: a trunk on LR, then each pixel of SR from the features around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from srkit_networks.edsr import Trunk
from srkit_networks.layers import refuse_below_one

Size = tuple[int, int]
TRUNK = {"features": 64, "blocks": 16, "res_scale": 1.0}  # the default trunk: EDSR's, of the baseline size


class AnyScale(nn.Module):
    """LR [n, 3, h, w] to SR of any size, whole or at sampled pixels.

    A subclass has `prepared(lr)`, what is computed once of an image, and `pixels(prepared, lr, size, rows, columns)`,
    the colours [n, q, 3] of SR's pixels there; rows and columns are [n or 1, q].
    """

    MOST = 2**14  # pixels computed at a time outside training: a large image would take gigabytes
    tileable: bool
    halo: int

    def __init__(self, scale: float) -> None:
        refuse_below_one(scale=scale)
        super().__init__()
        self.scale = scale

    def trunk_of(self, trunk: Any, default: dict[str, Any], **form: Any) -> tuple[nn.Module, int]:
        """Return the trunk, and how many channels its features have: EDSR's of the `default` settings and of `form`
        where `trunk` is None.

        Another one has a method `features(lr)` that makes [n, c, h, w] of LR [n, 3, h, w]; what it does not use for it,
        its tail, is left out. SR is tileable where the trunk has an attribute `tileable = True`. Raises ValueError for
        a trunk that gives no such features, and for default settings beside another trunk.
        """
        refuse_below_one(features=default["features"], blocks=default["blocks"])
        if trunk is None:
            self.tileable = True
            self.halo = 2 * default["blocks"] + 4  # the trunk's, the features around a pixel's, and the next pixel
            return Trunk(**default, **form), default["features"]
        changed = [name for name, value in default.items() if value != TRUNK[name]]
        if changed:
            raise ValueError(f"{changed[0]} is a setting of the default trunk; set it within trunk, where that has it")
        self.tileable = bool(getattr(trunk, "tileable", False))
        return trunk, _without_tail(trunk)

    def forward(self, lr: Tensor, size: Size | None = None, points: Tensor | None = None) -> Tensor:
        """Return SR of LR [n, 3, h, w] in 0..1: [n, 3, *size], `scale` times LR's size where none is given.

        With `points` [n, q], flat indices of SR's pixels (row * width + column), [n, 3, q, 1]. SR may leave 0..1.
        """
        height, width = size or (round(lr.shape[-2] * self.scale), round(lr.shape[-1] * self.scale))
        indices = torch.arange(height * width, device=lr.device)[None] if points is None else points
        prepared = self.prepared(lr)
        most = indices.shape[1] if self.training else max(1, self.MOST // len(lr))
        parts = [
            self.pixels(prepared, lr, (height, width), part // width, part % width)
            for part in (indices[:, first : first + most] for first in range(0, indices.shape[1], most))
        ]
        colors = torch.cat(parts, dim=1).transpose(1, 2)
        return colors.reshape(len(lr), 3, height, width) if points is None else colors[..., None]

    def prepared(self, lr: Tensor) -> Tensor:
        """Return what is computed once of an image."""
        raise NotImplementedError

    def pixels(self, prepared: Tensor, lr: Tensor, size: Size, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the colours of SR's pixels there, [n, q, 3]."""
        raise NotImplementedError


def taken(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the vectors of maps [n, h, w, c] at pixels [n or 1, q]: [n, q, c]."""
    count, height, width, channels = maps.shape
    first = torch.arange(count, device=maps.device)[:, None] * (height * width)
    indices = first + rows * width + columns
    return maps.reshape(-1, channels).index_select(0, indices.flatten()).view(count, -1, channels)


def _without_tail(trunk: nn.Module) -> int:
    """Take out of a trunk what its `features` do not use, and return how many channels they have."""
    features = getattr(trunk, "features", None)
    if not callable(features):
        raise ValueError(f"trunk must have a method features(lr); {type(trunk).__name__} has none")
    device = next((parameter.device for parameter in trunk.parameters()), torch.device("cpu"))
    lr = torch.zeros(1, 3, 16, 16, device=device)
    trunk.eval()  # batch statistics stay as they are
    with torch.enable_grad():
        found = features(lr)
    trunk.train()
    if not isinstance(found, Tensor) or found.dim() != 4 or found.shape[2:] != lr.shape[2:]:
        shape = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(f"trunk must make features of LR's size, [n, c, 16, 16] of [n, 3, 16, 16], not {shape}")
    torch.autograd.backward(found.sum())
    for name, child in trunk.named_children():
        trained = [parameter for parameter in child.parameters() if parameter.requires_grad]
        if trained and all(parameter.grad is None for parameter in trained):
            setattr(trunk, name, nn.Identity())
    trunk.zero_grad()
    return found.shape[1]
