"""How sure a mean difference over images is: paired bootstrap intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import numpy as np

DRAWS = 10_000  # resampled sets of images
SEED = 0  # so that the same scores have the same interval
LEVEL = 0.95


def interval(differences: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean of differences, one an image (Efron and Tibshirani 1993, 13.3).

    None where there are fewer than two images, or a difference that is not finite.
    """
    values = np.array([differences[name] for name in sorted(differences)])
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    generator = np.random.Generator(np.random.Philox(SEED))
    means = np.empty(DRAWS)
    for first in range(0, DRAWS, 500):  # so that a set of a thousand images needs no more than some megabytes
        means[first : first + 500] = values[generator.integers(len(values), size=(500, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def differences(row: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a table's row is from another one: {metric: {"mean", "low", "high"}}, of images of one name.

    They are of the images that are exact in neither; the mean is None where there are none.
    """
    found = {}
    for metric in row["mean"]:
        bounds = interval(_by_image(row, reference, metric))
        found[metric] = {
            "mean": difference(row, reference, metric),
            "low": None if bounds is None else bounds[0],
            "high": None if bounds is None else bounds[1],
        }
    return found


def difference(row: Mapping[str, Any], reference: Mapping[str, Any], metric: str) -> float | None:
    """Return how far a row's mean is from another row's, both of the images that are exact in neither; None for none.

    NaN where a score is NaN.
    """
    if any(metric in each.get("exact", {}) for each in (row, reference)):
        by_image = _by_image(row, reference, metric)
        return statistics.fmean(by_image.values()) if by_image else None
    return float(row["mean"][metric] - reference["mean"][metric])


def _by_image(row: Mapping[str, Any], reference: Mapping[str, Any], metric: str) -> dict[str, float]:
    pairs = {name: (scores[metric], reference["images"][name][metric]) for name, scores in row["images"].items()}
    return {name: one - other for name, (one, other) in pairs.items() if math.inf not in (one, other)}
