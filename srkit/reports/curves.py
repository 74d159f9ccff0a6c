"""The curves of several runs, and how they are drawn as lines of characters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import attrs

from srkit.errors import ComponentError
from srkit.plugin.registry import Registry
from srkit.runs.history import History

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = ".:-=+*#@"  # for an encoding without blocks
NOT_FINITE = "x"
LOSS = "loss"
LOG_ABOVE = 3.0  # times its least value: with eight levels, most of such a loss would lie in the lowest two

Points = Mapping[int, float | None]  # a value by step, None where it was not finite


@attrs.frozen
class Curve:
    """Values of several runs that can be drawn on common axes."""

    name: str  # "Set5 x2", or LOSS
    value: str  # the metric, or what the loss is
    runs: Mapping[str, Points]
    best: str  # "lowest", "highest", or "" where it is not known

    def document(self) -> dict[str, Any]:
        """Return the curve as JSON's types."""
        points = {run: [[step, value] for step, value in found.items()] for run, found in self.runs.items()}
        return {"name": self.name, "value": self.value, "best": self.best, "runs": points}


def loss_curves(runs: Mapping[str, History], registry: Registry) -> list[Curve]:
    """Return the curves of the loss; runs share one where their recipes have the same losses of the same size."""
    groups: dict[tuple[str, str], dict[str, History]] = {}
    for name, run in runs.items():
        groups.setdefault((repr(run.recipe.get("loss")), _size(run, registry)), {})[name] = run
    losses = [loss for loss, _ in groups]
    curves = []
    for (loss, size), group in groups.items():
        points = {
            name: {step: values[LOSS] for step, values in run.logged.items() if LOSS in values}
            for name, run in group.items()
        }
        drawn = {name: found for name, found in points.items() if found}
        if drawn:
            value = _loss_name(next(iter(group.values()))) + (f" {size}" if losses.count(loss) > 1 else "")
            curves.append(Curve(LOSS, value, drawn, "lowest"))
    return curves


def _size(run: History, registry: Registry) -> str:
    """Return what the size of a loss depends on: the scale; for a sum, the samples and their size, too."""
    scale = f"x{run.recipe['scale']}"
    data = run.recipe.get("data")
    if isinstance(data, dict) and any(_is_sum(part, registry) for part in _losses(run)):
        return f"{scale}, patch {data.get('patch')}, batch {data.get('batch')}"
    return scale


def _is_sum(part: Mapping[str, Any], registry: Registry) -> bool:
    """Say whether a loss is a sum, which one that is not known here may be."""
    if "reduction" in part:
        return bool(part["reduction"] != "mean")
    try:
        return bool(registry.find("loss", str(part.get("type"))).component.facts.get("reduction") == "sum")
    except ComponentError:
        return True


def _losses(run: History) -> list[dict[str, Any]]:
    parts = run.recipe.get("loss")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _loss_name(run: History) -> str:
    """Return a recipe's losses in a word: "l1 + 0.1 perceptual"."""
    weights = ["" if part.get("weight", 1.0) == 1.0 else f"{part['weight']} " for part in _losses(run)]
    return " + ".join(f"{weight}{part.get('type')}" for weight, part in zip(weights, _losses(run), strict=True))


def columns(points: Points, end: int, width: int) -> list[float | None]:
    """Return a value for each of `width` columns, which share the steps from 1 to `end`.

    It is the mean of the values in a column; in one without any, the next one's, for a loss is the mean since the value
    before. After the last it is None, and NaN where the values were not finite.
    """
    inside: dict[int, list[float]] = {}
    for step, value in points.items():
        column = max(0, math.ceil(step * width / max(1, end)) - 1)
        inside.setdefault(column, []).append(math.nan if value is None else value)
    found: list[float | None] = []
    following = None
    for column in reversed(range(width)):
        if column in inside:
            finite = [value for value in inside[column] if math.isfinite(value)]
            following = statistics.fmean(finite) if finite else math.nan
        found.append(following)
    return found[::-1]


def draw(curve: Curve, *, end: int, width: int, levels: str) -> tuple[list[str], list[str]]:
    """Return a line of characters for each run, over the steps from 1 to `end`, and what must be said of them.

    Each is from levels[0] at the least value of all runs to levels[-1] at the greatest.
    """
    runs = [columns(points, end, width) for points in curve.runs.values()]
    finite = [value for values in runs for value in values if value is not None and math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    log = curve.name == LOSS and 0 < LOG_ABOVE * low < high

    def character(value: float | None) -> str:
        if value is None:
            return " "
        if math.isnan(value):
            return NOT_FINITE
        if low == high:
            return levels[len(levels) // 2]
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return levels[min(len(levels) - 1, int(share * len(levels)))]

    lines = ["".join(map(character, values)) for values in runs]
    notes = ["log scale"] if log else []
    return lines, [*notes, f"{NOT_FINITE} not finite"] if NOT_FINITE in "".join(lines) else notes
