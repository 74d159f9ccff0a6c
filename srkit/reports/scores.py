"""The scores of several runs in tables, each of one protocol."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit.errors import ComponentError
from srkit.plugin.registry import Registry
from srkit.protocol import OF_NETWORKS
from srkit.reports.curves import Curve
from srkit.runs.history import History, Numbers, Scores

SAME_BICUBIC = 1e-4  # relative; the last digit that is shown. Another device may round another pixel of millions.

MAX_HEAD = 2**24  # bytes of the head of a model file; that of a network of 10,000 tensors has a million

Better = bool | None  # higher (True), lower (False), or not known here


@attrs.frozen
class Entry:
    """A run's scores on a set, under the protocol of the last of them."""

    run: str
    points: Mapping[int, Scores]
    steps: Mapping[str, int]  # "last" and, where it is known, "best"
    metrics: Mapping[str, Mapping[str, Any]]  # the recipe's table of each
    better: Mapping[str, Better]

    @property
    def last(self) -> Scores:
        """The scores of the last validation."""
        return self.points[self.steps["last"]]

    def mean(self, when: str) -> Numbers:
        """Return the "best" or the "last" scores, or nothing where there are none."""
        return self.points[self.steps[when]].mean if when in self.steps else {}

    def exact(self, when: str, *, bicubic: bool = False) -> Mapping[str, Sequence[str]]:
        """Return the images that are in no mean of the "best" or the "last" scores, or of bicubic's, by metric."""
        if when not in self.steps:
            return {}
        scores = self.points[self.steps[when]]
        return scores.bicubic_exact if bicubic else scores.exact


@attrs.frozen
class Table:
    """Scores that can be compared: one set, one scale, one protocol for each metric; a row a run."""

    entries: list[Entry]

    @property
    def name(self) -> str:
        """The set and the scale, "Set5 x2"."""
        return f"{self.entries[0].last.data} x{self.entries[0].last.scale}"

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics of any of the runs."""
        return list(dict.fromkeys(metric for entry in self.entries for metric in entry.last.mean))

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol of the scores, with what it says of each metric and of each network."""
        stated = {key: value for e in reversed(self.entries) for key, value in e.last.protocol.items()}
        return {
            key: {name: word for e in self.entries for name, word in e.last.protocol.get(key, {}).items()}
            if isinstance(value, Mapping)  # by metric, or by network, of which the runs may have different ones
            else value
            for key, value in stated.items()
        }

    @property
    def bicubic(self) -> Numbers:
        """The scores of bicubic."""
        rows = [entry.last.bicubic for entry in reversed(self.entries) if entry.last.bicubic]
        return {metric: value for row in rows for metric, value in row.items()}

    @property
    def reference(self) -> str | None:
        """What differences are to: the first run, or bicubic where there is no run beside it."""
        if len(self.entries) > 1:
            return self.entries[0].run
        return "bicubic" if self.bicubic else None

    def better(self, metric: str) -> Better:
        """Return which scores of a metric are better; None where no run's plugin says it."""
        return next((entry.better[metric] for entry in self.entries if metric in entry.better), None)

    def differences(self, entry: Entry, when: str) -> dict[str, float]:
        """Return how far a run's scores are from the reference's."""
        alone = len(self.entries) == 1
        if entry is self.entries[0] and not alone:
            return {}
        base = self.bicubic if alone else self.entries[0].mean(when)
        other = entry.exact(when, bicubic=True) if alone else self.entries[0].exact(when)
        pairs = {metric: (value, base.get(metric)) for metric, value in entry.mean(when).items()}
        own = entry.exact(when)  # means of other images have no difference
        return {
            metric: a - b
            for metric, (a, b) in pairs.items()
            if a is not None and b is not None and own.get(metric) == other.get(metric)
        }

    def apart(self, other: Table) -> list[str]:
        """Return why the scores of two tables cannot be compared."""
        pairs = [(one, another) for one in self.entries for another in other.entries]
        return list(dict.fromkeys(word for pair in pairs for word in apart(*pair)))

    def curve(self) -> Curve:
        """Return the first metric's."""
        metric = self.metrics[0]
        best = {True: "highest", False: "lowest", None: ""}[self.better(metric)]
        points = {
            entry.run: {step: scores.mean[metric] for step, scores in entry.points.items() if metric in scores.mean}
            for entry in self.entries
        }
        return Curve(self.name, metric, {run: found for run, found in points.items() if found}, best)

    def document(self) -> dict[str, Any]:
        """Return the table as JSON's types."""
        return {
            "data": self.entries[0].last.data,
            "scale": self.entries[0].last.scale,
            "protocol": self.protocol,
            "reference": self.reference,
            "rows": [
                {"run": entry.run, "best": self._row(entry, "best"), "last": self._row(entry, "last")}
                for entry in self.entries
            ],
            "bicubic": dict(self.bicubic) or None,
        }

    def _row(self, entry: Entry, when: str) -> dict[str, Any] | None:
        if when not in entry.steps:
            return None
        differences = self.differences(entry, when)
        return {"step": entry.steps[when], "mean": dict(entry.mean(when)), "difference": differences}


def side_by_side(runs: Mapping[str, History], registry: Registry) -> list[Table]:
    """Return the scores of all runs, in one table where they can be compared."""
    tables: list[Table] = []
    for name, run in runs.items():
        last_of = {(table.data, table.scale): table for tables_ in run.validated.values() for table in tables_}
        for last in last_of.values():
            parts, points = run.metrics(last.mean), run.scores(last)
            steps = {"best": best_step(run, registry), "last": max(points)}
            known = {when: step for when, step in steps.items() if step in points}
            better = {metric: _better(registry, parts.get(metric, {}).get("type", metric)) for metric in last.mean}
            entry = Entry(name, points, known, parts, better)
            found = next((table for table in tables if not any(apart(entry, e) for e in table.entries)), None)
            if found is None:
                tables.append(Table([entry]))
            else:
                found.entries.append(entry)
    order = list(dict.fromkeys(table.name for table in tables))
    return sorted(tables, key=lambda table: order.index(table.name))


def not_comparable(tables: Sequence[Table], index: int) -> list[dict[str, Any]]:
    """Return the tables before one that have its set and scale, by index, and in what they differ from it."""
    return [
        {"table": i, "differ_in": tables[index].apart(other)}
        for i, other in enumerate(tables[:index])
        if other.name == tables[index].name
    ]


def apart(one: Entry, other: Entry) -> list[str]:
    """Return why the scores of two runs cannot be compared; nothing where they can.

    A score's protocol is its table's without the other metrics'. What it does not say, a metric's settings, is looked
    up in the recipes; and bicubic, which is the same everywhere, must have had the same scores: it is the witness
    that nothing else has changed, a plugin's version for one.
    """
    a, b = one.last, other.last
    found = [word for word in ("data", "scale") if getattr(a, word) != getattr(b, word)]
    keys = [key for key in dict.fromkeys([*a.protocol, *b.protocol]) if key not in OF_NETWORKS]
    by_metric = [key for key in keys if isinstance(a.protocol.get(key), Mapping)]
    found += [key for key in keys if key not in by_metric and a.protocol.get(key) != b.protocol.get(key)]
    common = [metric for metric in a.mean if metric in b.mean]
    for metric in common:
        for key in by_metric:
            if a.protocol[key].get(metric) != (b.protocol.get(key) or {}).get(metric):
                found.append(f"{key} of {metric}")
        if one.metrics.get(metric) != other.metrics.get(metric):
            found.append(f"settings of {metric}")
        x, y = ((scores.bicubic or {}).get(metric) for scores in (a, b))
        if not found and x is not None and y is not None and not math.isclose(x, y, rel_tol=SAME_BICUBIC):
            found.append(f"{metric} of bicubic")
    return found if common else [*found, "metrics"]


def _better(registry: Registry, metric: object) -> Better:
    try:
        return bool(registry.find("metric", str(metric)).component.facts.get("better") != "lower")
    except ComponentError:
        return None


def best_step(run: History, registry: Registry) -> int | None:
    """Return the step that best.safetensors has, or else the one that training keeps as the best.

    None where it is not known which way is better.
    """
    kept = _step_of(run.path / "best.safetensors")
    if kept is not None:
        return kept
    names = next((list(tables[0].mean) for tables in run.validated.values()), [])
    parts = run.metrics(names)
    ways = [_better(registry, parts.get(name, {}).get("type", name)) for name in names]
    known = list(itertools.takewhile(lambda way: way is not None, ways))
    return run.best_step(higher_is_better=[bool(way) for way in known]) if known else None


def _step_of(path: Path) -> int | None:
    """Return the step that a model file was written at, read from its head without torch, or None."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError), open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size <= MAX_HEAD:
            head = json.loads(file.read(size))
            return int(json.loads(head["__metadata__"]["srkit"])["step"])
    return None


def deciding_metric(run: History) -> str:
    """Return the component that decides which step is best."""
    names = next((list(tables[0].mean) for tables in run.validated.values()), [])[:1]
    return next((str(part.get("type", name)) for name, part in run.metrics(names).items()), "".join(names))
