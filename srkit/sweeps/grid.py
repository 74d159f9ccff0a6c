"""Which settings the runs of a sweep have: the product of lists of values, for several seeds."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from srkit.errors import UsageError
from srkit.recipe.layers import Override
from srkit.reports.texts import toml_value

SEED = "seed"
LONGEST = 60  # characters of a setting in the name of a run's folder


@attrs.frozen
class Axis:
    """A key of the recipe and the values that it takes, each as TOML writes it."""

    key: str
    values: tuple[str, ...]


@attrs.frozen
class Point:
    """The settings of one run: by key, in TOML. `seed` is None where it is the recipe's."""

    settings: Mapping[str, str]
    seed: int | None = None

    @property
    def name(self) -> str:
        """What its folder is called: "optimizer.lr=0.0001,seed=1"; settings alone, where it has no seed."""
        parts = [_file_name(f"{key}={value}") for key, value in self.settings.items()]
        return ",".join([*parts, *([] if self.seed is None else [f"{SEED}={self.seed}"])])

    @property
    def overrides(self) -> list[str]:
        """What `--set` is given for it."""
        texts = [f"{key}={value}" for key, value in self.settings.items()]
        return [*texts, *([] if self.seed is None else [f"{SEED}={self.seed}"])]


@attrs.frozen
class Range:
    """A key of the recipe and the numbers between which it lies; `log`: as even in its logarithm."""

    key: str
    low: float
    high: float
    log: bool = False


@attrs.frozen
class Space:
    """What a sweep goes through: lists of values, ranges, and how many seeds each combination has."""

    axes: Sequence[Axis]
    ranges: Sequence[Range]
    seeds: int | None
    trials: int


def parse_space(
    grid: Mapping[str, Sequence[Any]], ranges: Mapping[str, Sequence[Any]], *, trials: int, seeds: int | None
) -> Space:
    """Return what a sweep goes through. Raises UsageError for what cannot be meant."""
    axes = [_axis(key, values) for key, values in grid.items()]
    bounds = [_range(key, values) for key, values in ranges.items()]
    if not axes and not bounds and seeds is None:
        raise UsageError("a sweep needs what differs: --grid 'optimizer.lr=[1e-4, 5e-4]', or --seeds 3")
    if bounds and not trials:
        raise UsageError("--range is for --optuna N, which chooses N combinations; --grid has lists of values")
    if trials < 0 or (trials and not axes and not bounds):
        raise UsageError("--optuna N chooses N combinations, at least 1, of the values of --grid and --range")
    twice = next((axis.key for axis in axes if axis.key in ranges), None)
    if twice is not None:
        raise UsageError(f"{twice} has a list of values and a range: give one of them")
    if seeds is not None and seeds < 1:
        raise UsageError(f"--seeds is at least 1, not {seeds}")
    if seeds is not None and SEED in (*grid, *ranges):
        raise UsageError("--seeds and --grid seed contradict each other: give one of them")
    return Space(axes, bounds, seeds, trials)


def parse_lists(texts: Sequence[str], option: str, example: str) -> dict[str, list[Any]]:
    """Return the lists of texts, KEY=[VALUE, VALUE], by key. Raises UsageError for one that is none, or twice there."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        try:
            value = Override.parse(text).value
        except UsageError:
            value = None
        key = text.partition("=")[0].strip()
        if not isinstance(value, list):
            raise UsageError(f"{option} {text}: write KEY=[VALUE, VALUE], as in {option} '{example}'")
        if key in found:
            raise UsageError(f"{option} {text}: {key} is there twice; write its values as one list")
        found[key] = value
    return found


def _axis(key: str, values: Sequence[Any]) -> Axis:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise UsageError(f"--grid {key}: needs a list of values, not {values!r}")
    if not values:
        raise UsageError(f"--grid {key}: its list of values is empty")
    found = tuple(toml_value(value) for value in values)
    twice = next((value for value in found if found.count(value) > 1), None)
    if twice is not None:
        raise UsageError(f"--grid {key}: {twice} is there twice")
    return Axis(key, found)


def _range(key: str, values: Sequence[Any]) -> Range:
    bounds, more = list(values[:2]), list(values[2:])
    numbers = len(bounds) == 2 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in bounds)
    if not numbers or more not in ([], ["log"]) or not bounds[0] < bounds[1]:
        raise UsageError(f'--range {key}: write two numbers, the lower one first, as in {key}=[1e-5, 1e-3, "log"]')
    if more and bounds[0] <= 0:
        raise UsageError(f"--range {key}: a logarithm needs numbers above 0, and the lower one is {bounds[0]}")
    low, high = bounds
    return Range(key, low, high, bool(more))


def points(axes: Sequence[Axis], seeds: Sequence[int | None]) -> list[Point]:
    """Return a point for each combination of values and each seed, the seeds of one combination together."""
    combinations = itertools.product(*(axis.values for axis in axes))
    keys = [axis.key for axis in axes]
    return [Point(dict(zip(keys, values, strict=True)), seed) for values in combinations for seed in seeds]


def seeds_of(space: Space, first: int) -> list[int | None]:
    """Return the seeds of each combination: so many from the recipe's on, or None for the recipe's alone."""
    return [None] if space.seeds is None else [first + i for i in range(space.seeds)]


def _file_name(text: str) -> str:
    """Return a text for names of files; what had to be changed is told apart by a hash."""
    plain = re.sub(r"[^\w.+=-]", "_", text.replace('"', ""), flags=re.ASCII)
    if plain == text.replace('"', "") and len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
