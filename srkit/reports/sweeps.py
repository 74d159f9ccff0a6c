"""The scores of a sweep: a row a combination of settings, with the mean and the spread over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from srkit.plugin.registry import Registry
from srkit.reports.scores import Entry, Table, side_by_side
from srkit.reports.texts import caption, score_text
from srkit.runs.history import History

FINISHED = "finished"


@attrs.frozen
class Member:
    """A run of a sweep. `state` is "finished", "stopped", "failed" or "waiting", `why` says of a failed one why."""

    name: str
    settings: Mapping[str, str]
    seed: int | None
    path: str
    state: str
    why: str = ""


def document(members: Sequence[Member], histories: Mapping[str, History], registry: Registry) -> dict[str, Any]:
    """Return a sweep as JSON's types: its runs, and a table for each set and protocol.

    `histories` are by the names of the members. The scores are those of best.safetensors, or the last where it is not
    known which way is better; only runs that are finished count. `spread` is the standard deviation over the seeds
    (n - 1), None for one run. `above_bicubic` says whether a row's first metric is better than bicubic's,
    None where that is not known.
    """
    done = {m.name: histories[m.name] for m in members if m.state == FINISHED and m.name in histories}
    return {
        "runs": [attrs.asdict(member) for member in members],
        "tables": [_table(table, members) for table in side_by_side(done, registry)],
    }


def _table(table: Table, members: Sequence[Member]) -> dict[str, Any]:
    entries = {entry.run: entry for entry in table.entries}
    groups: dict[tuple[tuple[str, str], ...], list[Member]] = {}
    for member in members:
        groups.setdefault(tuple(member.settings.items()), []).append(member)
    rows = [_row(table, group, [entries[m.name] for m in group if m.name in entries]) for group in groups.values()]
    rows = [row for row in rows if row["runs"]]
    first = table.metrics[0]
    better = table.better(first)
    values = [row["mean"][first] for row in rows if row["mean"][first] is not None]
    best = None if better is None or len(values) < 2 else max(values) if better else min(values)
    return {
        "data": table.entries[0].last.data,
        "scale": table.entries[0].last.scale,
        "protocol": table.protocol,
        "metrics": table.metrics,
        "bicubic": dict(table.bicubic) or None,
        "rows": [
            row
            | {
                "best": best is not None and row["mean"][first] == best,
                "above_bicubic": _above(row["mean"][first], table.bicubic.get(first), higher_is_better=better),
            }
            for row in rows
        ],
    }


def _above(own: float | None, bicubic: float | None, *, higher_is_better: bool | None) -> bool | None:
    if own is None or bicubic is None or math.isnan(bicubic) or higher_is_better is None:
        return None
    return own > bicubic if higher_is_better else own < bicubic


def _row(table: Table, group: Sequence[Member], entries: Sequence[Entry]) -> dict[str, Any]:
    mean, spread = {}, {}
    for metric in table.metrics:
        found = [entry.mean("best" if "best" in entry.steps else "last").get(metric) for entry in entries]
        values = [value for value in found if value is not None and math.isfinite(value)]
        mean[metric] = statistics.fmean(values) if values else None
        spread[metric] = statistics.stdev(values) if len(values) > 1 else None
    return {
        "settings": dict(group[0].settings),
        "runs": len(entries),
        "of": len(group),
        "mean": mean,
        "spread": spread,
    }


def cells(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Return a table's head, its rows as texts, and what they are."""
    keys = list(dict.fromkeys(key for row in table["rows"] for key in row["settings"]))
    head = [*keys, "runs", *table["metrics"]]
    rows = []
    for row in table["rows"]:
        runs = str(row["runs"]) if row["runs"] == row["of"] else f"{row['runs']} of {row['of']}"
        scores = [_score(metric, row["mean"][metric], row["spread"][metric]) for metric in table["metrics"]]
        rows.append([*(row["settings"].get(key, "-") for key in keys), runs, *scores])
    if table["bicubic"]:
        scores = [_score(metric, table["bicubic"].get(metric), None) for metric in table["metrics"]]
        name = ["bicubic", *[""] * len(keys)] if keys else ["bicubic"]
        rows.append([*name, *scores])
    spread = any(value is not None for row in table["rows"] for value in row["spread"].values())
    what = "mean ± standard deviation over the seeds; " if spread else ""
    return head, rows, f"{what}scores of each run's best.safetensors; {caption(table['protocol'])}"


def _score(metric: str, mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "-"
    return score_text(metric, mean) + ("" if spread is None else f" ± {score_text(metric, spread)}")


def unfinished(members: Sequence[Member]) -> list[str]:
    """Return a line for each run that is not finished: its state, and why where it failed."""
    return [f"{m.name}: {m.state}{f': {m.why}' if m.why else ''}" for m in members if m.state != FINISHED]
