"""Datasets that a command line names: TYPE:PATH, a table, or a path whose manifest or ending says its format."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import RecipeError, UsageError, describe
from srkit.images.manifest import FILE, Manifest
from srkit.recipe import toml
from srkit.recipe.reading import read_part

if TYPE_CHECKING:
    from srkit.plugin.contracts import Dataset
    from srkit.plugin.registry import Registry


def make_dataset(text: str, registry: Registry, what: str) -> tuple[str, Dataset]:
    """Return the dataset that [NAME=]TYPE[:PATH] or [NAME=]TABLE names, and its name: NAME, or else the path's.

    A table is a recipe's: {type = "leaves", count = 4}. Errors begin with `what` and the text. Raises UsageError, and
    InputRejected for what lies at the path.
    """
    name, equals, rest = text.partition("=")
    if not equals or ":" in name or "{" in name:  # in the path or the table, that is
        name, rest = "", text
    if is_table(rest):
        table = inline_table(rest, what + text, '{type = "folder", path = "FOLDER"}')
        path, kind = str(table.get("path", "")), str(table.get("type", ""))
        return name or Path(path).stem or kind, _made(table, {}, registry, what + text)
    kind, path = split(rest, registry)
    if not path and kind not in type_names(registry) and Path(rest).exists():
        meant = format_of(registry, "dataset", Path(rest))
        raise UsageError(f"{what}{text}: is a path; say what reads it, {meant}:{rest}")
    return name or Path(path).stem or kind, _made(kind, {"path": path} if path else {}, registry, what + text)


def _made(given: str | Mapping[str, Any], settings: Mapping[str, str], registry: Registry, where: str) -> Dataset:
    """Return the dataset of a name or a table. Errors begin with `where`."""
    from srkit.engine.builder import Builder

    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    try:
        made: Dataset = Builder(registry).make(read_part(registry, "dataset", given, overrides))
    except RecipeError as error:
        places = [f"--set {override}: " for override in overrides]
        problems = [functools.reduce(str.removeprefix, places, problem) for problem in error.problems]
        raise UsageError(f"{where}: {'; '.join(problems)}") from None
    except (ArithmeticError, OSError, RuntimeError, TypeError, ValueError) as error:  # of its constructor
        raise UsageError(f"{where}: {describe(error)}") from None
    return made


def is_table(text: str) -> bool:
    """Say whether a text is meant as a component's table, as a recipe has it in one line."""
    return text.lstrip().startswith("{")


def inline_table(text: str, where: str, example: str) -> dict[str, Any]:
    """Return a table. Raises UsageError, which begins with `where`, for what is none."""
    try:
        table: dict[str, Any] = toml.parse(f"table = {text}")["table"]
    except toml.TomlProblem:
        raise UsageError(f"{where}: is no table; text stands in quotes, as in '{example}'") from None
    return table


def names_dataset(text: str, registry: Registry) -> bool:
    """Say whether a text that is no file's names a dataset: TYPE, or TYPE:PATH, of which TYPE may be mistyped."""
    kind = split(text, registry)[0]
    is_name = re.fullmatch(r"\w{2,}", kind) is not None  # one letter is a drive of Windows
    return kind in type_names(registry) or (":" in text and is_name)


def type_names(registry: Registry) -> list[str]:
    """Return what datasets are called, with their distribution and without."""
    return [*formats(registry, "dataset"), *(entry.full_name for entry in registry.of_kind("dataset"))]


def split(text: str, registry: Registry) -> tuple[str, str]:
    """Return the type and the path of TYPE[:PATH]; a type may be DISTRIBUTION:TYPE."""
    kind, _, path = text.partition(":")
    full = ":".join(text.split(":", 2)[:2])
    if any(full == entry.full_name for entry in registry.of_kind("dataset")):
        return full, text[len(full) + 1 :]
    return kind, path


def format_of(registry: Registry, kind: str, path: Path) -> str:
    """Return the format that a manifest says, or the one that a name ends with, or else "folder"."""
    with contextlib.suppress(OSError, ValueError):
        if (path / FILE).is_file():  # a pipe would be waited for
            return str(Manifest.from_bytes((path / FILE).read_bytes()).made.get("format", "folder"))
    meant = meant_by(path)
    return meant if meant in formats(registry, kind) else "folder"


def meant_by(path: Path) -> str:
    """Return what a path ends with, without the full stop; "h5" for ".hdf5"."""
    suffix = path.suffix[1:].lower()
    return "h5" if suffix == "hdf5" else suffix


def formats(registry: Registry, kind: str) -> list[str]:
    """Return the names of the datasets or writers that there are."""
    return [entry.component.name for entry in registry.of_kind(kind)]
