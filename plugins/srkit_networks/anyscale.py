"""Networks of any scale: a trunk on LR, then each pixel of SR from the features around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from srkit_networks.layers import refuse_below_one

Size = tuple[int, int]


class AnyScale(nn.Module):
    """LR [n, 3, h, w] to SR of any size, whole or at sampled pixels.

    A subclass has `prepared(lr)`, what is computed once of an image, and `pixels(prepared, lr, size, rows, columns)`,
    the colours [n, q, 3] of SR's pixels there; rows and columns are [n or 1, q].
    """

    MOST = 2**14  # pixels computed at a time outside training: a large image would take gigabytes

    def __init__(self, scale: float) -> None:
        refuse_below_one(scale=scale)
        super().__init__()
        self.scale = scale

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
