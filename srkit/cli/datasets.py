"""Datasets that a command line names: TYPE:PATH, or a path that says its format by its manifest or its ending."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.errors import RecipeError, UsageError, describe, nearest
from srkit.images.manifest import FILE, Manifest
from srkit.recipe.reading import read_part

if TYPE_CHECKING:
    from srkit.plugin.contracts import Dataset
    from srkit.plugin.registry import Registry


def make_dataset(text: str, registry: Registry, what: str) -> tuple[str, Dataset]:
    """Return the dataset that [NAME=]TYPE[:PATH] names, and its name: NAME, or else the path's.

    Errors begin with `what` and the text. Raises UsageError, and InputRejected for what lies at the path.
    """
    from srkit.engine.builder import Builder

    name, equals, rest = text.partition("=")
    if not equals or ":" in name:  # in the path, that is
        name, rest = "", text
    kind, path = split(rest, registry)
    if not path and kind not in type_names(registry) and Path(rest).exists():
        meant = format_of(registry, "dataset", Path(rest))
        raise UsageError(f"{what}{text}: is a path; say what reads it, {meant}:{rest}")
    try:
        part = read_part(registry, "dataset", kind, [f"path={json.dumps(path)}"] if path else [])
        made: Dataset = Builder(registry).make(part)
    except RecipeError as error:
        reason = "; ".join(problem.removeprefix(f"--set path={json.dumps(path)}: ") for problem in error.problems)
        raise UsageError(f"{what}{text}: {reason}") from None
    except (ArithmeticError, OSError, RuntimeError, TypeError, ValueError) as error:  # of its constructor
        raise UsageError(f"{what}{text}: {describe(error)}") from None
    return name or Path(path).stem or kind, made


def names_dataset(text: str, registry: Registry) -> bool:
    """Say whether a text that is no file's names a dataset: TYPE, or TYPE:PATH, of which TYPE may be mistyped."""
    kind = split(text, registry)[0]
    there_are = type_names(registry)
    return kind in there_are or (":" in text and nearest(kind, there_are) is not None)


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
