"""What a network makes of a part of a batch, as losses look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from torch import Tensor

from srkit.engine.data.batches import Batch
from srkit.plugin.settings import named


class Prediction:
    """SR of a part of a batch, what the network returned beside it, and what it is compared with.

    `lr`, `hr` and `sr` are float32 NCHW on the device; where points were sampled, HR and SR are [n, 3, q, 1]. `share`
    is what the part is of its batch, `autocast` gives the context in which networks compute.
    """

    def __init__(
        self,
        lr: Tensor,
        hr: Tensor,
        sr: Tensor,
        extras: Mapping[str, Tensor],
        *,
        share: float = 1.0,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        average: Callable[[], Tensor] | None = None,
    ) -> None:
        self.lr, self.hr, self.sr, self.extras = lr, hr, sr, extras
        self.share, self.autocast = share, autocast
        self._average = average

    @cached_property
    def ema(self) -> Tensor | None:
        """SR of the moving average of the weights, computed when it is first asked for; None where there is none."""
        return None if self._average is None else self._average()

    @property
    def has_computed_ema(self) -> bool:
        """Whether a loss has asked for `ema`."""
        return "ema" in vars(self)

    def words(self, names: Iterable[str], step: int) -> dict[str, Any]:
        """Return those of the words that a loss may declare which are named."""
        return {name: step if name == "step" else getattr(self, name) for name in names}


WORDS = ("size", "points", "hr", "draws")  # what a network's forward is given beside LR, as far as it declares them


def words_of(network: Any, part: Batch, declared: Iterable[str] | None = None) -> dict[str, Any]:
    """Return those of a batch's words that the forward of a network declares; HR and draws are for training alone.

    `declared` are those, for one who has looked them up before.
    """
    names = named(network.forward, WORDS) if declared is None else declared
    return {name: getattr(part, name) for name in names if network.training or name in ("size", "points")}


def split(output: Any) -> tuple[Any, Mapping[str, Tensor]]:
    """Return (SR, extras) of what a network returned: in training it may return both, else SR alone."""
    if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], Mapping):
        return output
    return output, {}


def hr_at(part: Batch) -> Tensor:
    """Return HR where it counts: whole, or [n, 3, q, 1] at the points that were sampled."""
    if part.points is None:
        return part.hr
    rows = part.points[:, None].expand(-1, part.hr.shape[1], -1)
    return part.hr.flatten(2).gather(2, rows)[..., None]
