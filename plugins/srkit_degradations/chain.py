"""The degradation that is a list of distortions."""

from __future__ import annotations

import torch
from torch import Tensor

import srkit
from srkit_degradations.canvas import State, put_together, taken_of
from srkit_degradations.resizing import Mode, check_modes, drawn_mode, resized
from srkit_degradations.sensor import unsharp
from srkit_degradations.steps import Step, streams


class Chain:
    """Distortions one after another, then the size that LR must have, for any scale.

    On the CPU each sample goes through alone: a core's cache holds it, and nothing is computed that it does not need.
    On other devices the batch goes through as one, images of several sizes on a canvas; where
    steps are shuffled, those samples that come to a step at the same time.

    Args:
        steps: the distortions.
        shuffle: whether each sample draws their order.
        modes: in which LR gets its size, of which one is drawn: "nearest", "bilinear", "bicubic", "area".
        usm: weight of an unsharp masking of HR before the first step; 0 for none. For the HR that is learnt from, the
            augmentation `usm` does the same.
    """

    def __init__(
        self,
        *,
        scale: int,
        steps: list[srkit.Distortion] = ("blur", "resize", "gaussian_noise", "jpeg"),  # type: ignore[assignment]
        shuffle: bool = False,
        modes: list[Mode] = ("bilinear", "bicubic", "area"),  # type: ignore[assignment]
        usm: float = 0.0,
    ) -> None:
        check_modes(modes)
        if not 0 <= usm <= 5:
            raise ValueError(f"usm must be from 0 to 5, not {usm:g}")
        self.steps = [Step(step) for step in steps]
        self.shuffle, self.modes, self.usm = shuffle, list(modes), usm

    def __call__(self, hr: Tensor, size: tuple[int, int], draws: srkit.Draws) -> Tensor:
        """Return LR of a batch, [n, 3, *size]."""
        if hr.device.type != "cpu":
            return self.together(hr, size, draws)
        each = [torch.tensor([i]) for i in range(len(hr))]
        return torch.cat([self.together(hr[i].contiguous(), size, draws.at(i)) for i in each])

    def together(self, hr: Tensor, size: tuple[int, int], draws: srkit.Draws) -> Tensor:
        """Return LR of a batch whose samples go through as one."""
        state: State = (hr, None)
        if self.usm:
            state = unsharp(hr, hr.new_full((len(hr),), self.usm), 8.0, 10.0), None
        each = list(streams(draws, self.steps))
        if not self.shuffle:
            for step, own in each:
                state = step(state, own, size)
        else:
            for place in self._orders(draws).unbind(1):
                state = self._one_each(state, place, each, size)
        mode = drawn_mode(draws.of("size").uniform()[:, 0], self.modes)
        goal = torch.tensor(size, device=hr.device).expand(len(hr), 2)
        return resized(state, goal, list(size), mode, self.modes)[0]

    def _orders(self, draws: srkit.Draws) -> Tensor:
        """Return the order of the steps of each sample, int64 [n, steps]."""
        return draws.of("order").uniform(len(self.steps)).argsort(1)

    def _one_each(
        self, state: State, place: Tensor, each: list[tuple[Step, srkit.Draws]], size: tuple[int, int]
    ) -> State:
        """Return each sample after one step, that of its place in the order: those of a step together."""
        groups = [(place == i).nonzero()[:, 0] for i in range(len(each))]  # a GPU is waited for here
        parts = [
            (rows, step(taken_of(state, rows), own.at(rows), size))
            for rows, (step, own) in zip(groups, each, strict=True)
            if len(rows)
        ]
        return put_together(parts)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return what is drawn for each sample, a line a step, in their order."""
        orders = self._orders(draws) if self.steps else draws.uniform(1)[:, :0]
        n = len(orders)
        found = [step.describe(own, n) for step, own in streams(draws, self.steps)]
        mode = drawn_mode(draws.of("size").uniform()[:, 0], self.modes).tolist()
        places = orders.tolist() if self.shuffle else [range(len(self.steps))] * n
        lines = [[found[int(k)][i] for k in places[i]] + [f"LR {self.modes[mode[i]]}"] for i in range(n)]
        return ["\n".join(filter(None, of_one)) for of_one in lines]
