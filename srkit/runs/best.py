"""Which scores are the better ones, where some are not finite.

An image that is exact has an infinite PSNR, and one whose SR is no colour has NaN. A metric's score of a set is the
mean over its finite images, and infinite where all of them are; the first metric decides, and the next one where two
have the same. Scores with NaN are never the best.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

Merit = tuple[float, ...]  # the larger, the better


def merit(images: Mapping[str, Mapping[str, float]], higher_is_better: Sequence[bool]) -> Merit | None:
    """Return what {image: {metric: value}} are worth, to be compared with others of the same metrics.

    `higher_is_better` says of each metric, in order, which way is better; metrics that it leaves out do not count.
    Returns None where the first metric has a NaN: such scores are never the best.
    """
    found: list[float] = []
    names = list(next(iter(images.values()), {}))
    for name, higher in zip(names, higher_is_better, strict=False):
        value = mean([scores.get(name, math.nan) for scores in images.values()])
        found.append(-math.inf if math.isnan(value) else value if higher else -value)
        if math.isnan(value) and len(found) == 1:
            return None
    return tuple(found) or None


def mean(values: Sequence[float]) -> float:
    """Return the mean of the finite values, infinite where none is finite, NaN where one is NaN."""
    if any(map(math.isnan, values)):
        return math.nan
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else values[0]


def is_better(new: Merit, old: Merit) -> bool:
    """Say whether scores are better than others; of equals, the first stay. Older runs kept the first metric alone."""
    return new[: len(old)] > old[: len(new)]
