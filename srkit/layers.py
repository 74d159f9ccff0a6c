"""A recipe's files and overrides laid over each other, and where each key was written."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit import toml
from srkit.errors import RecipeError, UsageError
from srkit.recipe import Part, Recipe
from srkit.toml import Document, KeyPath, TomlProblem

# What a recipe has where it says nothing else.
DEFAULTS: Mapping[str, Any] = {
    "loss": ["l1"],
    "metric": ["psnr_y", "ssim_y"],
    "optimizer": "adam",
    "schedule": "constant",
}


@attrs.frozen
class Problem:
    """What is wrong at a key."""

    path: KeyPath
    message: str


@attrs.frozen
class Override:
    """One `--set KEY=VALUE`."""

    text: str
    path: tuple[str, ...]
    value: Any

    @staticmethod
    def parse(text: str) -> Override:
        """Read VALUE as TOML, and as a string where it is none. Raises UsageError for a KEY that is none."""
        key, equals, value = text.partition("=")
        node: Any = _try_toml(f"{key} = 0")
        if not equals or not node or "\n" in key:
            raise UsageError(f"--set {text}: write KEY=VALUE, as in --set train.steps=500")
        path: tuple[str, ...] = ()
        while isinstance(node, dict):
            ((name, node),) = node.items()
            path += (name,)
        parsed = _try_toml(f"value = {value}")
        return Override(text, path, parsed["value"] if parsed and list(parsed) == ["value"] else value)


def _try_toml(text: str) -> dict[str, Any] | None:
    try:
        return toml.parse(text)
    except TomlProblem:
        return None


@attrs.frozen
class Origins:
    """Where each key of a merged tree was written: in the recipe, in a file that it extends, or by --set."""

    documents: tuple[Document, ...]  # the recipe first, then what it extends, outwards
    overrides: tuple[tuple[KeyPath, str], ...] = ()

    def place(self, path: KeyPath) -> tuple[int, int, str]:
        """Return (order, line, text) of a key: text is "x.toml:12", "x.toml" or "--set a.b=c"."""
        for where, text in self.overrides:
            # A table whose `type` was overridden is the override's as a whole.
            if path[: len(where)] == where or (*path, "type") == where:
                return len(self.documents), 0, f"--set {text}"
        for length in range(len(path), 0, -1):
            for order, document in enumerate(self.documents):
                if document.has(path[:length]):
                    line = document.line(path[:length])
                    return order, line or 0, document.label if line is None else f"{document.label}:{line}"
        return 0, 0, self.documents[0].label

    def lines(self, problems: Sequence[Problem]) -> list[str]:
        """Return a line a problem, sorted by place."""
        placed = sorted({(self.place(problem.path), problem.message) for problem in problems})
        return [f"{text}: {message}" for (_, _, text), message in placed]


def read_layers(path: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], Origins]:
    """Return the merged tree of a recipe, the files that it extends and the overrides, and where its keys come from.

    Raises RecipeError for a file that is no TOML or cannot be extended, UsageError for an override that is none.
    """
    parsed = [Override.parse(text) for text in overrides]
    documents = _read_files(path)
    tree = long_forms(DEFAULTS)
    for document in reversed(documents):
        tree = merge(tree, long_forms(document.tree))
    tree.pop("extends", None)
    tree.setdefault("title", path.stem)
    over: dict[str, Any] = {}
    places = []
    for override in parsed:
        places.append((_lay(over, tree, override), override.text))
    return merge(tree, long_forms(over), indexed=True), Origins(tuple(documents), tuple(places))


def _read_files(path: Path) -> list[Document]:
    """Return the recipe and the files it extends, outwards."""
    documents: list[Document] = []
    seen: list[Path] = []
    while True:
        try:
            document = toml.read(path)
        except TomlProblem as error:
            at = "" if error.line is None else f":{error.line}"
            raise RecipeError([f"{path}{at}: {error}"]) from None
        documents.append(document)
        seen.append(path.resolve())
        base = document.tree.get("extends")
        if base is None:
            return documents
        where = f"{document.label}:{document.line(('extends',))}"
        if not isinstance(base, str):
            raise RecipeError([f"{where}: extends must be a string, the path of a recipe"])
        path = path.parent / base
        if path.resolve() in seen:
            raise RecipeError([f"{where}: extends '{base}', which leads back to itself"])
        if not path.is_file():
            raise RecipeError([f"{where}: extends '{base}', but there is no file {path}"])


def merge(base: Mapping[str, Any], over: Mapping[str, Any], *, indexed: bool = False) -> dict[str, Any]:
    """Lay a tree over another: tables key by key, arrays as a whole, a table of another `type` as a whole.

    With `indexed`, a table over an array changes its entries by index.
    """
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge_value(merged.get(key), value, indexed)
    return merged


def _merge_value(below: Any, value: Any, indexed: bool) -> Any:
    if indexed and isinstance(below, list) and isinstance(value, dict):
        entries = {int(key): entry for key, entry in value.items() if key.isdigit() and int(key) < len(below)}
        if len(entries) == len(value):
            return [_merge_value(entry, entries[i], True) if i in entries else entry for i, entry in enumerate(below)]
    if indexed and isinstance(below, dict) and "type" in below and isinstance(value, str):
        value = {"type": value}
    if (
        isinstance(below, dict)
        and isinstance(value, dict)
        and value.get("type", below.get("type")) == below.get("type")
    ):
        return merge(below, value, indexed=indexed)
    return value


def _lay(over: dict[str, Any], tree: Mapping[str, Any], override: Override) -> KeyPath:
    """Put an override into `over` and return its key's path in `tree`.

    An entry of an array is addressed by its index, `loss.0.weight`, or, where it is the only one, without: `loss.type`.
    """
    path: KeyPath = ()
    node: dict[str, Any] = over
    below: Any = tree
    for position, key in enumerate(override.path):
        if isinstance(below, list) and not key.isdigit():
            if len(below) != 1:
                write = ".".join([*map(str, path), "0", *override.path[position:]])
                raise UsageError(
                    f"--set {override.text}: there are {len(below)} entries; write the index, as in {write}"
                )
            node = node.setdefault("0", {})
            path, below = (*path, 0), below[0]
        path = (*path, int(key) if isinstance(below, list) else key)
        if isinstance(below, list):
            below = below[int(key)] if int(key) < len(below) else None
        else:
            below = below.get(key) if isinstance(below, Mapping) else None
        if position == len(override.path) - 1:
            node[key] = override.value
        else:
            node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise UsageError(f"--set {override.text}: another --set gives {'.'.join(map(str, path))} a value")
    return path


def long_forms(tree: Mapping[str, Any], cls: Any = Recipe) -> dict[str, Any]:
    """Write out the short form of a component, "l1" for {type = "l1"}, wherever a recipe has a component."""
    declared = {field.name: field.type for field in fields(cls)}
    return {key: _long_form(value, declared.get(key)) for key, value in tree.items()}


def _long_form(value: Any, cls: Any) -> Any:
    if typing.get_origin(cls) in (typing.Union, types.UnionType):
        cls = typing.get_args(cls)[0]
    if typing.get_origin(cls) is tuple and isinstance(value, list):
        return [_long_form(entry, typing.get_args(cls)[0]) for entry in value]
    if inspect.isclass(cls) and issubclass(cls, Part):
        return {"type": value} if isinstance(value, str) else value
    if inspect.isclass(cls) and attrs.has(cls) and isinstance(value, Mapping):
        return long_forms(value, cls)
    return value


def fields(cls: Any) -> Any:
    """Return the fields of a recipe's class, their types resolved."""
    return attrs.fields(attrs.resolve_types(cls))
