"""The learning rate's factor as a pure function of the step, from 0.

Each but a sequence begins with `warmup` steps on a straight line: step s has the factor (s + 1) / (warmup + 1), so the
first is above 0 and step `warmup` is the first at full rate. A run that is shorter than its warm-up or its milestones
is no error: it is how one tries a long recipe for a few steps.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate, pairwise

import srkit


def _check(steps: int, warmup: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if warmup < 0:
        raise ValueError(f"warmup must be at least 0, not {warmup}")


def _warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


def constant(*, steps: int, warmup: int = 0) -> Callable[[int], float]:
    """Return a factor of 1 after the warm-up.

    Args:
        steps: the length of the run.
        warmup: steps at the start during which the rate rises.
    """
    _check(steps, warmup)
    return lambda step: _warm(step, warmup)


def multistep(*, steps: int, milestones: list[int], gamma: float = 0.5, warmup: int = 0) -> Callable[[int], float]:
    """Return a factor that is multiplied by gamma at each milestone.

    Args:
        steps: the length of the run.
        milestones: the steps from which on the rate is lower, ascending.
        gamma: what the rate is multiplied by; above 0, at most 1.
        warmup: steps at the start during which the rate rises.
    """
    _check(steps, warmup)
    if any(milestone < 1 for milestone in milestones) or any(a >= b for a, b in pairwise(milestones)):
        raise ValueError(f"milestones must be above 0 and ascend, not {', '.join(map(str, milestones))}")
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be above 0 and at most 1, not {gamma:g}")
    fixed = tuple(milestones)
    return lambda step: _warm(step, warmup) * gamma ** bisect_right(fixed, step)


def cosine(*, steps: int, minimum: float = 0.0, warmup: int = 0) -> Callable[[int], float]:
    """Return half a cosine, from 1 after the warm-up down to the minimum, which would be reached at step `steps`.

    Args:
        steps: the length of the run.
        minimum: the factor at the end; from 0 to 1.
        warmup: steps at the start during which the rate rises.
    """
    _check(steps, warmup)
    if not 0 <= minimum <= 1:
        raise ValueError(f"minimum must be from 0 to 1, not {minimum:g}")

    def factor(step: int) -> float:
        if step < warmup:
            return _warm(step, warmup)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return minimum + (1 - minimum) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def sequence(
    *, steps: int, schedules: list[srkit.Schedule], lengths: list[int], factors: list[float] | None = None
) -> Callable[[int], float]:
    """Return schedules one after the other, each of which goes through all of its run in its own length.

    A cosine falls to its minimum within its length, then. Warm-ups and milestones count in steps of the run, and are
    as much shorter as the length is.

    Args:
        steps: the length of the run.
        schedules: what comes one after the other; one at least.
        lengths: the steps of each but the last, which has the rest.
        factors: what each is multiplied by, none below 0; 1 where absent.
    """
    if not schedules:
        raise ValueError("schedules must name one at least")
    if len(lengths) != len(schedules) - 1:
        raise ValueError(
            f"lengths must be those of all schedules but the last, {len(schedules) - 1}, not {len(lengths)}"
        )
    if any(length < 1 for length in lengths):
        raise ValueError(f"lengths must be at least 1, not {', '.join(map(str, lengths))}")
    gains = [1.0] * len(schedules) if factors is None else list(factors)
    if len(gains) != len(schedules) or not all(0 <= gain < math.inf for gain in gains):
        raise ValueError(f"factors must be one for each schedule, at least 0, not {', '.join(f'{g:g}' for g in gains)}")
    starts = [0, *accumulate(lengths)]
    sides = [*lengths, max(1, steps - starts[-1])]

    def factor(step: int) -> float:
        number = bisect_right(starts, step) - 1
        return gains[number] * float(schedules[number]((step - starts[number]) * steps // sides[number]))

    return factor
