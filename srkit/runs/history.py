"""What a run directory tells of its run, read without a lock: also while it is going on."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit.errors import InputRejected
from srkit.recipe import toml
from srkit.recipe.toml import TomlProblem
from srkit.runs import best

RECIPE = "recipe.toml"
DEPTH = 3  # folders up from the innermost file, checkpoints/step_00001200/weights.safetensors

Numbers = Mapping[str, float | None]  # None: a number that was not finite, which JSON cannot write


@attrs.frozen
class Scores:
    """A table of a validation: the means of the run's network and of bicubic, under one protocol.

    `images` has the network's score of each image, which may be infinite or NaN, and `bicubic_images` bicubic's.
    `exact` and `bicubic_exact` name by metric the images whose score is infinite, which the mean leaves out.
    """

    data: str
    scale: float
    protocol: Mapping[str, Any]
    mean: Numbers
    bicubic: Numbers | None
    images: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict, repr=False)
    exact: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    bicubic_exact: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    bicubic_images: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class History:
    """A run so far. `logged` and `validated` are by step and in its order; `outcome` is "" for a run without an end."""

    path: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    facts: Mapping[str, Any]
    logged: Mapping[int, Numbers]
    validated: Mapping[int, Sequence[Scores]]
    step: int
    outcome: str

    def best_step(self, *, higher_is_better: bool | Sequence[bool]) -> int | None:
        """Return the step that training keeps as the best, by the metrics on the first set; see `srkit.runs.best`.

        `higher_is_better` is of the first metric, or of each in their order. Returns None where no scores can be.
        """
        ways = [higher_is_better] if isinstance(higher_is_better, bool) else higher_is_better
        step, kept = None, None
        for at, tables in self.validated.items():
            found = best.merit(tables[0].images, ways)
            if found is not None and (kept is None or best.is_better(found, kept)):
                step, kept = at, found
        return step

    def metrics(self, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Return the recipe's table of each metric by its name in the scores, where it may be numbered."""
        parts = self.recipe.get("metric")
        parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        return dict(zip(names, parts, strict=False))

    def scores(self, like: Scores) -> dict[int, Scores]:
        """Return the tables of one set under one protocol, by step."""
        return {
            step: table
            for step, tables in self.validated.items()
            for table in tables
            if (table.data, table.scale, table.protocol) == (like.data, like.scale, like.protocol)
        }


def find_run(path: Path) -> Path:
    """Return the run directory that a path is, or that a file lies in. Raises InputRejected, saying what is there."""
    try:
        if path.is_dir():
            if (path / RECIPE).is_file():
                return path
            raise InputRejected(path, f"is no run directory{_holds(path)}")
        if not path.exists():
            raise InputRejected(path, "there is no such file or folder")
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror}") from None
    for parent in path.parents[:DEPTH]:
        if (parent / RECIPE).is_file():
            return parent
    raise InputRejected(path, "lies in no run directory")


def _holds(path: Path) -> str:
    inside = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    runs = [entry for entry in inside if (entry / RECIPE).is_file()]
    if runs:
        return f", but holds some: {_some([str(run) for run in runs])}"
    return f": it has no {RECIPE}, " + (f"but {_some([entry.name for entry in inside])}" if inside else "it is empty")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def read_history(path: Path) -> History:
    """Read a run directory. Raises InputRejected for a recipe that is damaged and for files that cannot be read.

    A line of metrics.jsonl that is not whole is left out, and so is an environment.json that is damaged.
    """
    recipe = _read_recipe(path / RECIPE)
    environment: Any = {}
    with contextlib.suppress(ValueError, RecursionError):
        environment = json.loads(_bytes(path / "environment.json") or b"{}")
    facts: Mapping[str, Any] = {}
    logged: dict[int, Numbers] = {}
    validated: dict[int, Sequence[Scores]] = {}
    last, outcome = 0, ""
    for record in _records(_bytes(path / "metrics.jsonl")):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OverflowError):  # of another form
            event, step = record["event"], int(record["step"])
            last = max(last, step)
            if event == "run_started":
                facts, outcome = dict(record["facts"]), ""
            elif event == "logged":
                logged[step] = _numbers({key: record[key] for key in record if key not in ("event", "step")})
            elif event == "validated":
                tables = [_scores(table) for table in record["tables"]]
                if tables:
                    validated[step] = tables
            elif event == "run_ended":
                outcome = str(record["outcome"])
    return History(
        path=path,
        recipe=recipe,
        environment=environment if isinstance(environment, dict) else {},
        facts=facts,
        logged=dict(sorted(logged.items())),
        validated=dict(sorted(validated.items())),
        step=last,
        outcome=outcome,
    )


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        recipe = toml.parse(_bytes(path).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputRejected(path, "is damaged: it is not UTF-8") from None
    except TomlProblem as problem:
        place = path if problem.line is None else f"{path}:{problem.line}"
        raise InputRejected(place, f"is damaged: {problem}") from None
    for key in ("scale", "architecture", "train"):
        if key not in recipe:
            raise InputRejected(path, f"is damaged: it lacks '{key}'")
    return recipe


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror}") from None


def _records(data: bytes) -> Iterator[Any]:
    for line in data.splitlines():
        with contextlib.suppress(ValueError, RecursionError):  # the last line of a run that was killed, say
            yield json.loads(line)


def _scale(value: Any) -> float:
    """Return a scale as it is shown, x4 or x2.7. Raises TypeError and ValueError for what is none."""
    return int(value) if int(value) == value else float(value)


def _scores(table: Mapping[str, Any]) -> Scores:
    own, *others = table["rows"]
    if not own["mean"]:
        raise ValueError("a table without a metric")
    baseline = next((row for row in others if row["model"] == "bicubic"), None)
    bicubic = None if baseline is None else _numbers(baseline["mean"])
    protocol = table["protocol"]
    if not isinstance(protocol, dict) or not isinstance(protocol.get("color", {}), dict):
        raise TypeError("a protocol is an object")
    exact, bicubic_exact = (dict((row or {}).get("exact", {})) for row in (own, baseline))
    mean = _numbers(own["mean"])
    return Scores(
        data=str(table["data"]),
        scale=_scale(table["scale"]),
        protocol=protocol,
        mean=mean,
        bicubic=bicubic,
        images=_images(own, mean),
        exact=exact,
        bicubic_exact=bicubic_exact,
        bicubic_images={} if baseline is None or bicubic is None else _images(baseline, bicubic),
    )


def _images(row: Mapping[str, Any], mean: Numbers) -> dict[str, dict[str, float]]:
    """Return the scores of a row's images; where JSON has none, the image was exact or was spoilt.

    `exact` names those that were exact. A row without it is of srkit 0.1, or has none that was: there, a network that
    has any score of an image has not spoilt it.
    """
    exact = row.get("exact")
    images = row.get("images")
    if not images:  # a table that was cut down to its means
        return {"": {metric: math.nan if value is None else value for metric, value in mean.items()}}
    found = {}
    for name, scores in images.items():
        numbers = _numbers(scores)
        spoilt = all(value is None for value in numbers.values())

        def is_exact(metric: str, name: str = name, spoilt: bool = spoilt) -> bool:
            return name in exact.get(metric, ()) if isinstance(exact, dict) else not spoilt

        found[str(name)] = {
            metric: value if value is not None else math.inf if is_exact(metric) else math.nan
            for metric, value in numbers.items()
        }
    return found


def _numbers(values: Mapping[str, Any]) -> dict[str, float | None]:
    found = {key: None if value is None else float(value) for key, value in values.items()}
    return {key: value if value is not None and math.isfinite(value) else None for key, value in found.items()}


@attrs.frozen
class Difference:
    """A key that differs: a value for each run, None where it is not set.

    `of` names the component whose setting it is, where the runs have different ones there; the others have None.
    """

    key: str
    of: str
    values: Sequence[Any]


def recipe_differences(recipes: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return the keys that differ, in a reader's order. A setting is compared among runs with the same component."""
    flats = [toml.flat(recipe) for recipe in recipes]
    found = []
    for key in _ordered(flats):
        table = _table(key, flats)
        types = [one.get(f"{table}.type") if table else None for one in flats]
        groups: dict[str, list[int]] = {}
        for i, name in enumerate(types):
            groups.setdefault(repr(name), []).append(i)
        for members in groups.values():
            values = [one.get(key) if i in members else None for i, one in enumerate(flats)]
            if len({repr(values[i]) for i in members}) > 1:
                found.append(Difference(key, str(types[members[0]]) if len(groups) > 1 else "", values))
    return found


def environment_differences(environments: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return what differs in what runs were made with, as far as it decides their numbers.

    What is known of one alone is no difference: the other may have had no such images, or no use for that plugin.
    """
    kept = []
    for environment in environments:
        one = {key: environment[key] for key in ("srkit", "torch", "device", "threads") if key in environment}
        for table in ("plugins", "fingerprints"):
            members = environment.get(table)
            one |= {f"{table}.{key}": value for key, value in members.items()} if isinstance(members, dict) else {}
        kept.append(one)
    found = []
    for key in dict.fromkeys(key for one in kept for key in one if key != "plugins.srkit"):
        values = [one.get(key) for one in kept]
        if len({repr(value) for value in values if value is not None}) > 1:
            found.append(Difference(key, "", values))
    return found


def _ordered(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all keys: tables in the order in which they are met first, and so the keys of each."""
    keys = list(dict.fromkeys(key for one in flats for key in one))
    tables = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    return sorted(keys, key=lambda key: tables.index(key.partition(".")[0]))


def _table(key: str, flats: Sequence[Mapping[str, Any]]) -> str:
    """Return the innermost table with a `type` around a key, or ""; a `type` is a key of the table further out."""
    table = key.removesuffix(".type") if key.endswith(".type") else key
    while "." in table:
        table = table.rpartition(".")[0]
        if any(f"{table}.type" in one for one in flats):
            return table
    return ""
