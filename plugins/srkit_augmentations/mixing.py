"""Samples mixed with each other, or LR with HR.

Each function returns `(lr, hr, draws) -> (lr, hr)`: LR [n, c, h, w] and HR [n, c, h * scale, w * scale], float, on any
device, in any memory format, which is kept. New tensors are returned. A setting outside its range is a ValueError.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import srkit

Change = Callable[[Tensor, Tensor, srkit.Draws], tuple[Tensor, Tensor]]


def mixup(*, most: float = 0.5) -> Change:
    """Return the mean of each sample with the one before it in the batch, weighted by chance.

    Args:
        most: the largest weight of the other sample, above 0 and at most 1; it is uniform from 0.
    """
    if not 0 < most <= 1:
        raise ValueError(f"most must be above 0 and at most 1, not {most:g}")

    def change(lr: Tensor, hr: Tensor, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        weight = most * draws.uniform().view(-1, 1, 1, 1)
        return torch.lerp(lr, lr.roll(1, 0), weight), torch.lerp(hr, hr.roll(1, 0), weight)

    return change


def cutmix(*, least: float = 0.2, most: float = 0.5) -> Change:
    """Return each sample with a rectangle of the one before it in the batch.

    Args:
        least: the least height and width of the rectangle, as a share of the patch's; from 0.
        most: the largest, at most 1.
    """
    _refuse_sides(least, most)

    def change(lr: Tensor, hr: Tensor, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        outside = ~_rectangles(draws, lr, least, most)
        large = F.interpolate(outside.float(), hr.shape[2:], mode="nearest-exact") > 0.5  # at any scale
        return torch.where(outside, lr, lr.roll(1, 0)), torch.where(large, hr, hr.roll(1, 0))

    return change


def cutblur(*, least: float = 0.2, most: float = 0.7) -> Change:
    """Return each sample with LR sharp in a rectangle, or, half of the time, around it; HR is as it was.

    Sharp is HR read at LR's pixels, without the blur of a good shrinking: the network learns how much, and where, to
    sharpen. (Where LR has HR's size, as in the paper, it is HR itself.)

    Args:
        least: the least height and width of the rectangle, as a share of the patch's; from 0.
        most: the largest, at most 1.
    """
    _refuse_sides(least, most)

    def change(lr: Tensor, hr: Tensor, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        around = draws.of("around").uniform().view(-1, 1, 1, 1) < 0.5
        blurred = _rectangles(draws, lr, least, most) == around
        return torch.where(blurred, lr, F.interpolate(hr, lr.shape[2:], mode="bilinear")), hr

    return change


def _refuse_sides(least: float, most: float) -> None:
    if not 0 <= least <= most <= 1:
        raise ValueError(f"least and most must be from 0 to 1, least first, not {least:g} and {most:g}")


def _rectangles(draws: srkit.Draws, images: Tensor, least: float, most: float) -> Tensor:
    """Return [n, 1, h, w], true in a rectangle of each image, of a pixel at least and anywhere in it."""
    drawn = draws.uniform(4)
    inside = []
    for axis, length in enumerate(images.shape[2:]):
        side = ((least + (most - least) * drawn[:, axis]) * length).round().clamp(min=1)
        first = (drawn[:, 2 + axis] * (length - side + 1)).floor()
        places = torch.arange(length, device=images.device)
        inside.append((places >= first[:, None]) & (places < (first + side)[:, None]))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]
