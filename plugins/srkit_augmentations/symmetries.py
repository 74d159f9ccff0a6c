"""Symmetries of a patch, each taken by a sample where its draw is below one half.

Each function returns `(lr, hr, draws) -> (lr, hr)`: LR [n, c, h, w] and HR [n, c, h * scale, w * scale] of any dtype,
on any device, in any memory format, which is kept; `draws` [n, 1], uniform in 0..1. New tensors are returned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Change = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _half_of_the_time(turn: Callable[[Tensor], Tensor]) -> Change:
    def change(lr: Tensor, hr: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        kept = (draws[:, 0] >= 0.5)[:, None, None, None]
        # The untouched images come first, because torch.where gives the result their memory format.
        return torch.where(kept, lr, turn(lr)), torch.where(kept, hr, turn(hr))

    return change


def hflip() -> Change:
    """Return the mirroring of left and right."""
    return _half_of_the_time(lambda images: images.flip(3))


def vflip() -> Change:
    """Return the mirroring of top and bottom."""
    return _half_of_the_time(lambda images: images.flip(2))


def rot90() -> Change:
    """Return the quarter turn anticlockwise, as numpy's rot90. It raises ValueError unless the patches are square."""

    def turn(images: Tensor) -> Tensor:
        _refuse_oblong("rot90", images)
        return images.rot90(1, (2, 3))

    return _half_of_the_time(turn)


def transpose() -> Change:
    """Return the swap of height and width. It raises ValueError unless the patches are square."""

    def turn(images: Tensor) -> Tensor:
        _refuse_oblong("transpose", images)
        return images.transpose(2, 3)

    return _half_of_the_time(turn)


def _refuse_oblong(name: str, images: Tensor) -> None:
    height, width = images.shape[2:]
    if height != width:
        raise ValueError(f"{name} needs square patches, not {height}x{width}")
