"""Images of several sizes in one batch: each at the top left of a canvas, beyond which its last row and column repeat.

A state is `(images, sizes)`: float32 [n, c, h, w], and int64 [n, 2] with the height and width of each, or None where
all fill the canvas. A sample that is alone on the CPU has a canvas of its size, and sizes None.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

import srkit

State = tuple[Tensor, Tensor | None]

_TILE = 64  # pixels of the side of a square of noise


def alone(images: Tensor) -> bool:
    """Say whether a batch is one sample on the CPU, for which nothing has to be computed that it does not need."""
    return len(images) == 1 and images.device.type == "cpu"


def between(draws: Tensor, limits: tuple[float, float]) -> Tensor:
    """Return draws of 0..1 as numbers within two limits."""
    return limits[0] + (limits[1] - limits[0]) * draws


def check_range(name: str, limits: tuple[float, float], least: float, most: float) -> None:
    """Raise ValueError unless two limits are in order and within others."""
    if not least <= limits[0] <= limits[1] <= most:
        raise ValueError(
            f"{name} must be two numbers from {least:g} to {most:g}, the smaller first, "
            f"not {limits[0]:g} and {limits[1]:g}"
        )


def check_share(name: str, share: float) -> None:
    """Raise ValueError unless a share is from 0 to 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must be from 0 to 1, not {share:g}")


def sizes_of(state: State) -> Tensor:
    """Return the height and width of each image, int64 [n, 2]."""
    images, sizes = state
    if sizes is not None:
        return sizes
    return torch.tensor(images.shape[2:], device=images.device).expand(len(images), 2)


def extended(images: Tensor, sizes: Tensor | None) -> Tensor:
    """Return images whose last row and column, by their sizes, are repeated to the canvas's edge."""
    if sizes is None:
        return images
    for axis, side in enumerate(images.shape[2:]):
        places = torch.arange(side, device=images.device).minimum(sizes[:, axis, None] - 1)
        shape = [len(images), 1, side, 1] if axis == 0 else [len(images), 1, 1, side]
        images = images.gather(2 + axis, places.view(shape).expand_as(images))
    return images


def chosen(taken: Tensor, changed: State, kept: State) -> State:
    """Return the samples of `changed` that are taken, and the others of `kept`, on a canvas that holds both."""
    canvas = [max(sides) for sides in zip(changed[0].shape[2:], kept[0].shape[2:], strict=True)]
    a, b = (_wider(images, canvas) for images, _ in (changed, kept))
    images = torch.where(taken[:, None, None, None], a, b)
    if changed[1] is None and kept[1] is None and changed[0].shape == kept[0].shape:
        return images, None
    return images, torch.where(taken[:, None], sizes_of(changed), sizes_of(kept))


def taken_of(state: State, rows: Tensor) -> State:
    """Return some samples, int64 [k], on a canvas that is no larger than they need."""
    images, sizes = state
    if sizes is None:
        return images[rows], None
    own = sizes[rows]
    height, width = own.amax(0).tolist()
    return images[rows][..., :height, :width], own


def put_together(parts: list[tuple[Tensor, State]]) -> State:
    """Return samples, each part with its rows, as one batch in the order of the rows."""
    if len(parts) == 1:
        return parts[0][1]
    canvas = [max(part[0].shape[axis] for _, part in parts) for axis in (2, 3)]
    back = torch.cat([rows for rows, _ in parts]).argsort()
    images = torch.cat([_wider(part[0], canvas) for _, part in parts])[back]
    return images, torch.cat([sizes_of(part) for _, part in parts])[back]


def _wider(images: Tensor, canvas: list[int]) -> Tensor:
    height, width = images.shape[2:]
    return F.pad(images, (0, canvas[1] - width, 0, canvas[0] - height), mode="replicate")


def normals(draws: srkit.Draws, images: Tensor) -> Tensor:
    """Return noise for images, of their shape, in which a pixel's does not depend on the size of the canvas."""
    channels, height, width = images.shape[1:]
    side = -(-max(height, width) // _TILE)
    squares = draws.normal(side * side, channels, _TILE, _TILE)[:, _order(side).to(images.device)]
    field = squares.view(-1, side, side, channels, _TILE, _TILE).permute(0, 3, 1, 4, 2, 5)
    whole: Tensor = field.reshape(-1, channels, side * _TILE, side * _TILE)
    return whole[..., :height, :width]


@functools.lru_cache(maxsize=64)
def _order(side: int) -> Tensor:
    """Return which square of noise lies where, [side * side]: those of a smaller canvas are the first of a larger."""
    row, column = torch.arange(side)[:, None], torch.arange(side)[None, :]
    ring = torch.maximum(row, column)
    return torch.where(row == ring, ring * ring + column, ring * ring + 2 * ring - row).flatten()
