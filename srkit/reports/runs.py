"""Runs to look at side by side: what each is, and what of it is missing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srkit.plugin.registry import Registry
from srkit.recipe import toml
from srkit.reports.curves import LOSS
from srkit.reports.scores import best_step, deciding_metric
from srkit.runs import history
from srkit.runs.history import History


def named_runs(paths: Sequence[Path]) -> dict[str, History]:
    """Read each run once; its name is its directory's, or its path where that would be no name."""
    places: dict[Path, Path] = {}
    for path in paths:
        places.setdefault(path.resolve(), path)
    names = [place.name for place in places]
    runs = {}
    for place, path in places.items():
        name = str(path) if names.count(place.name) > 1 else place.name
        runs[str(place) if name in ("", "bicubic") else name] = history.read_history(path)
    return runs


def describe(name: str, run: History) -> dict[str, Any]:
    """Return what a run is and how far it has come, as JSON's types."""
    speeds = [speed for values in run.logged.values() if (speed := values.get("images_per_s")) is not None]
    settings = toml.flat(run.recipe)
    return {
        "name": name,
        "path": str(run.path),
        "title": settings.get("title"),
        "architecture": settings.get("architecture.type"),
        "scale": settings.get("scale"),
        "parameters": run.facts.get("parameters"),
        "step": run.step,
        "steps": settings.get("train.steps"),
        "outcome": run.outcome or None,
        "images_per_s": statistics.median(speeds) if speeds else None,
    }


def missing(run: History, registry: Registry) -> list[str]:
    """Return what of a run is not shown, and why."""
    found = []
    if not run.validated:
        found.append("no scores yet" if run.recipe.get("validate") else "no scores: its recipe has no [[validate]]")
    elif best_step(run, registry) is None:
        metric = deciding_metric(run)
        found.append(f"its best step is not known: metric '{metric}' is not installed (-p FILE adds a plugin)")
    if not any(LOSS in values for values in run.logged.values()):
        found.append("no loss logged yet")
    return found
