"""The degradation that is a list of distortions."""

from __future__ import annotations

import torch
from torch import Tensor

import srkit
from srkit_degradations.choosing import Sequence
from srkit_degradations.resizing import Mode, check_modes, drawn_mode, resized
from srkit_degradations.sensor import unsharp


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
        self.steps = Sequence(steps=steps, shuffle=shuffle)
        self.modes, self.usm = list(modes), usm

    def __call__(self, hr: Tensor, size: tuple[int, int], draws: srkit.Draws) -> Tensor:
        """Return LR of a batch, [n, 3, *size]."""
        if hr.device.type != "cpu":
            return self.together(hr, size, draws)
        each = [torch.tensor([i]) for i in range(len(hr))]
        return torch.cat([self.together(hr[i].contiguous(), size, draws.at(i)) for i in each])

    def together(self, hr: Tensor, size: tuple[int, int], draws: srkit.Draws) -> Tensor:
        """Return LR of a batch whose samples go through as one."""
        sharp = unsharp(hr, hr.new_full((len(hr),), self.usm), 8.0, 10.0) if self.usm else hr
        state = self.steps(sharp, draws, size=size)
        goal = torch.tensor(size, device=hr.device).expand(len(hr), 2)
        return resized(state, goal, list(size), self._mode(draws), self.modes)[0]

    def _mode(self, draws: srkit.Draws) -> Tensor:
        return drawn_mode(draws.of("size").uniform()[:, 0], self.modes)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return what is drawn for each sample, a line a step, in their order."""
        modes = [self.modes[i] for i in self._mode(draws).tolist()]
        steps = self.steps.describe(draws)
        return [f"{text}\nLR {mode}".lstrip() for text, mode in zip(steps, modes, strict=True)]
