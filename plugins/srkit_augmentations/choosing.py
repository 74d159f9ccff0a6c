"""Augmentations that are applied to some samples: each sample draws which.

All of them are computed for the whole batch, and each sample is taken from one: nothing waits for the device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

import srkit

Change = Callable[[Tensor, Tensor, srkit.Draws], tuple[Tensor, Tensor]]


def maybe(*, p: float = 0.5, augmentation: srkit.Augmentation) -> Change:
    """Return an augmentation that a sample gets, or not.

    Args:
        p: the share of the samples that get it; from 0 to 1.
        augmentation: what they get.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be from 0 to 1, not {p:g}")

    def change(lr: Tensor, hr: Tensor, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        taken = draws.uniform()[:, 0] < p
        return _where(taken, augmentation(lr, hr, draws.of("augmentation")), (lr, hr))

    return change


def one_of(*, augmentations: list[srkit.Augmentation], weights: list[float] | None = None) -> Change:
    """Return a choice: each sample gets one of several augmentations.

    Args:
        augmentations: what there is to choose from; one at least.
        weights: how often each is chosen beside the others, none below 0; all alike where absent.
    """
    sums = list(itertools.accumulate(srkit.check_weights(weights, len(augmentations), "augmentations")))
    bounds = [bound / sums[-1] for bound in sums]

    def change(lr: Tensor, hr: Tensor, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        drawn = draws.uniform()[:, 0]
        found, below = (lr, hr), 0.0
        for i, (augmentation, bound) in enumerate(zip(augmentations, bounds, strict=True)):
            if bound > below:  # a weight of 0 is never chosen
                chosen = (drawn >= below) & (drawn < bound)
                found = _where(chosen, augmentation(lr, hr, draws.of(str(i))), found)
                below = bound
        return found

    return change


def _where(taken: Tensor, changed: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the samples of `changed` that are taken, and the others of `kept`, in the memory format of these."""
    rest = ~taken[:, None, None, None]
    return torch.where(rest, kept[0], changed[0]), torch.where(rest, kept[1], changed[1])
