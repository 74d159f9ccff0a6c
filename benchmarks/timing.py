"""Things that are timed in turn, so that a busy machine slows all of them, and the ratio of the medians of two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]


def interleaved(
    works: Mapping[str, Work], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of each piece of work in each round; a round before these warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            started = clock()
            work()
            if number:
                seconds[name].append(clock() - started)
    return seconds


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    """Return the median over the rounds of the time of one piece of work beside another's in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
