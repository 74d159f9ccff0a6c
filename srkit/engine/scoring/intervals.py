"""How sure a mean difference over images is: paired bootstrap intervals."""

from __future__ import annotations

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
    """Return how far a table's row is from another one: {metric: {"mean", "low", "high"}}, of images of one name."""
    found = {}
    for metric in row["mean"]:
        by_image = {name: scores[metric] - reference["images"][name][metric] for name, scores in row["images"].items()}
        bounds = interval(by_image)
        found[metric] = {
            "mean": row["mean"][metric] - reference["mean"][metric],
            "low": None if bounds is None else bounds[0],
            "high": None if bounds is None else bounds[1],
        }
    return found
