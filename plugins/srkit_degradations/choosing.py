"""Distortions that are made of others: for a share of the samples, one of several for each, several as one.

On the CPU a sample that is alone goes through what was chosen for it. Batches go through all of it, and each sample is
taken from what was chosen: nothing waits for the device.
"""

from __future__ import annotations

import itertools

from torch import Tensor

import srkit
from srkit_degradations.canvas import State, alone, check_share, chosen, put_together, taken_of
from srkit_degradations.steps import Step, streams

Size = tuple[int, int] | None


class Maybe:
    """A distortion that a sample gets, or not.

    Args:
        step: the distortion.
        p: the share of the samples that get it; from 0 to 1.
    """

    def __init__(self, *, step: srkit.Distortion = "blur", p: float = 0.5) -> None:  # type: ignore[assignment]
        check_share("p", p)
        self.step, self.p = Step(step), p

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None, size: Size = None) -> State:
        """Return the images and their sizes."""
        state, taken = (images, sizes), self._taken(draws)
        if alone(images):
            return self.step(state, draws.of("step"), size) if bool(taken[0]) else state
        return chosen(taken, self.step(state, draws.of("step"), size), state)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return what each sample gets, or nothing."""
        taken = self._taken(draws).tolist()
        found = self.step.describe(draws.of("step"), len(taken))
        return [text if yes else "" for text, yes in zip(found, taken, strict=True)]

    def _taken(self, draws: srkit.Draws) -> Tensor:
        return draws.uniform()[:, 0] < self.p


class OneOf:
    """A choice: each sample gets one of several distortions.

    Args:
        steps: what there is to choose from; one at least.
        weights: how often each is chosen beside the others, none below 0; all alike where absent.
    """

    def __init__(
        self,
        *,
        steps: list[srkit.Distortion] = ("gaussian_noise", "poisson_noise"),  # type: ignore[assignment]
        weights: list[float] | None = None,
    ) -> None:
        shares = srkit.check_weights(weights, len(steps), "steps")
        there = [(step, share) for step, share in zip(steps, shares, strict=True) if share]
        self.steps = [Step(step) for step, _ in there]
        sums = list(itertools.accumulate(share for _, share in there))
        self.bounds = [bound / sums[-1] for bound in sums[:-1]]

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None, size: Size = None) -> State:
        """Return the images and their sizes."""
        state, choice = (images, sizes), self._choice(draws)
        each = list(streams(draws, self.steps))
        if alone(images):
            step, own = each[int(choice[0])]
            return step(state, own, size)
        found = each[0][0](state, each[0][1], size)
        for i, (step, own) in enumerate(each[1:], 1):
            found = chosen(choice == i, step(state, own, size), found)
        return found

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return what each sample gets."""
        choice = self._choice(draws).tolist()
        found = [step.describe(own, len(choice)) for step, own in streams(draws, self.steps)]
        return [found[which][i] for i, which in enumerate(choice)]

    def _choice(self, draws: srkit.Draws) -> Tensor:
        drawn = draws.uniform()[:, 0]
        return sum((drawn >= bound).long() for bound in self.bounds) if self.bounds else (drawn < 0).long()  # type: ignore[return-value]


class Sequence:
    """Several distortions, one after another, where one is asked for.

    Args:
        steps: the distortions.
        shuffle: whether each sample draws their order.
    """

    def __init__(
        self,
        *,
        steps: list[srkit.Distortion] = ("blur", "gaussian_noise"),  # type: ignore[assignment]
        shuffle: bool = False,
    ) -> None:
        self.steps, self.shuffle = [Step(step) for step in steps], shuffle

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None, size: Size = None) -> State:
        """Return the images and their sizes."""
        state: State = (images, sizes)
        each = list(streams(draws, self.steps))
        if not self.shuffle:
            for step, own in each:
                state = step(state, own, size)
            return state
        for place in self._orders(draws).unbind(1):
            # Those samples together that come to a step at the same time; a GPU is waited for here.
            groups = [(place == i).nonzero()[:, 0] for i in range(len(each))]
            state = put_together(
                [
                    (rows, step(taken_of(state, rows), own.at(rows), size))
                    for rows, (step, own) in zip(groups, each, strict=True)
                    if len(rows)
                ]
            )
        return state

    def _orders(self, draws: srkit.Draws) -> Tensor:
        """Return the order of the steps of each sample, int64 [n, steps]."""
        return draws.of("order").uniform(len(self.steps)).argsort(1)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return what each sample gets, a line a step, in their order."""
        orders = self._orders(draws).tolist()
        found = [step.describe(own, len(orders)) for step, own in streams(draws, self.steps)]
        places = orders if self.shuffle else [range(len(self.steps))] * len(orders)
        return ["\n".join(filter(None, (found[k][i] for k in places[i]))) for i in range(len(orders))]
