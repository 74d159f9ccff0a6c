"""Runs to look at side by side: what each is, and what of it is missing."""

from __future__ import annotations

import contextlib
import json
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


def other_lengths(run: History) -> list[tuple[int, int, int]]:
    """Return where a run went on with another number of steps, which moves its schedule: (step, steps before, after).

    One that was continued as it was is not among them: it has the same bits as one that was never stopped.
    """
    try:
        with open(run.path / "metrics.jsonl", "rb") as file:
            lines = [line for line in file if b'"run_started"' in line]  # a long run's others are not parsed once more
    except OSError:
        return []
    found, before = [], None
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            record = json.loads(line)
            if record["event"] == "run_started":
                step, steps = int(record["step"]), int(record["steps"])
                if before not in (None, steps) and 0 < step <= run.step:
                    found.append((step, int(before or 0), steps))
                before = steps
    return found


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
