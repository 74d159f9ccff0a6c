"""A recipe's files and overrides laid over each other, and where each key was written."""

from __future__ import annotations

import inspect
import json
import shlex
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit.errors import RecipeError, UsageError, did_you_mean, escaped
from srkit.plugin.part import Part
from srkit.recipe import toml
from srkit.recipe.packaged import packaged_recipes
from srkit.recipe.recipe import Recipe
from srkit.recipe.toml import Document, KeyPath, TomlProblem

# What a recipe has where it says nothing else.
DEFAULTS: Mapping[str, Any] = {
    "loss": ["l1"],
    "metric": ["psnr_y", "ssim_y"],
    "optimizer": "adam",
    "schedule": "constant",
}


HEAD = 30  # lines of a recipe's first comment that are shown where its images are missing
MOST = 1_000  # problems that are listed; a file made to have more takes seconds and helps nobody


class _Removed:
    """What `--set KEY=` gives a key: as if the recipe did not have it."""

    def __repr__(self) -> str:
        return "REMOVED"


# Left in a tree only where there was no such key to take away, so that a mistyped one is still a problem.
REMOVED = _Removed()


@attrs.frozen
class Problem:
    """What is wrong at a key; `missing`: images that are not there; `cause`: what a component raised, where one did."""

    path: KeyPath
    message: str
    missing: bool = False
    cause: BaseException | None = attrs.field(default=None, eq=False, repr=False)

    def below(self, *keys: str | int) -> Problem:
        """Return the problem as seen from further up: its path begins with these keys."""
        return attrs.evolve(self, path=(*keys, *self.path))


@attrs.frozen
class Override:
    """One `--set KEY=VALUE`; `text` is how messages show it.

    `stage` is the recipe that alone it is for, where there are several by `start.recipe`: `--set STAGE:KEY=VALUE`.
    """

    text: str
    path: tuple[str, ...]
    value: Any
    stage: str = ""

    @staticmethod
    def parse(text: str) -> Override:
        """Read VALUE as TOML, as a string where it is none, and as REMOVED where there is none.

        Raises UsageError for a KEY that is none.
        """
        shown = escaped(text if len(text) <= 100 else f"{text[:97]}...")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"--set {shown}: is not UTF-8") from None
        key, equals, value = text.partition("=")
        stage, node = _stage_and_key(key)
        if not equals or not node or "\n" in key:
            raise UsageError(f"--set {shown}: write KEY=VALUE, as in --set train.steps=500")
        path: tuple[str, ...] = ()
        while isinstance(node, dict):
            ((name, node),) = node.items()
            path += (name,)
        if not value.strip():
            return Override(shown, path, REMOVED, stage)
        return Override(shown, path, _value(value), stage)

    def refuse_stage(self, stages: Collection[str]) -> None:
        """Raise UsageError where it is for a stage, and for none of these; there are none where there is no recipe."""
        if self.stage and not stages:
            raise UsageError(f"--set {self.text}: write KEY=VALUE, as in --set train.steps=500")
        if self.stage and self.stage not in stages:
            near = did_you_mean(self.stage, stages)
            raise UsageError(f"--set {self.text}: there is no stage '{escaped(self.stage)}'{near}")


def _stage_and_key(text: str) -> tuple[str, Any]:
    """Return the stage before a key, or "", and the key as a tree; nothing for what is no key of TOML.

    A key has a colon only within quotes, and a stage, which is a file's name, may have one anywhere.
    """
    if tree := _try_toml(f"{text} = 0"):
        return "", tree
    colons = [position for position, character in enumerate(text) if character == ":" and position > 0]
    found = ((text[:colon], _try_toml(f"{text[colon + 1 :]} = 0")) for colon in colons)
    return next(((stage, tree) for stage, tree in found if tree), ("", None))


def _value(text: str) -> Any:
    parsed = _try_toml(f"value = {text}")
    return parsed["value"] if parsed and list(parsed) == ["value"] else text


def as_set(key: str, value: str) -> str:
    """Return the `--set` that gives a key this text, to be pasted into a shell."""
    given = value if value.strip() == value and _value(value) == value else json.dumps(value, ensure_ascii=False)
    return f"--set {shlex.quote(f'{key}={given}')}"


def _try_toml(text: str) -> dict[str, Any] | None:
    try:
        return toml.parse(text)
    except TomlProblem:
        return None


@attrs.frozen
class Origins:
    """Where each key of a merged tree was written: in the recipe, in a file that it extends, or by --set."""

    documents: tuple[Document, ...] = ()  # the recipe first, then what it extends, outwards; long forms only
    overrides: tuple[tuple[KeyPath, str], ...] = ()

    def place(self, path: KeyPath) -> tuple[int, int, str]:
        """Return (order, line, text) of a key.

        The text is "x.toml:12", "x.toml" or "--set a.b=c", and of a table of which --set changed a key, both:
        "x.toml:12 with --set a.b=c". It is empty for what neither a file nor --set wrote.
        """
        for where, text in reversed(self.overrides):  # of two for one key, the last has won
            # A table whose `type` was overridden is the override's as a whole.
            if path[: len(where)] == where or (path and (*path, "type") == where):
                return len(self.documents), 0, f"--set {text}"
        order, line, place = self._written(path)
        inside = [f"--set {text}" for where, text in self.overrides if path and where[: len(path)] == path]
        return order, line, " with ".join(filter(None, [place, " and ".join(inside)]))

    def file(self, path: KeyPath) -> Document | None:
        """Return the file that wrote a key, or None where --set wrote or changed it, or no file did."""
        if any(where[: len(path)] == path[: len(where)] for where, _ in self.overrides):
            return None
        return next((document for document in self.documents if document.has(path)), None)

    def error(self, problems: Sequence[Problem]) -> RecipeError:
        """Return the error of these problems.

        Where images are missing, the recipe's first comment (where to get them, how to prepare them) is quoted.
        """
        notes: list[str] = []
        if any(problem.missing and self.file(problem.path) for problem in problems):
            for document in self.documents:  # the recipe itself first, then what it extends
                if any("srkit " in line for line in document.head):
                    notes = ["", f"{document.label} begins with:", *(f"    {line}" for line in document.head[:HEAD])]
                    break
        error = RecipeError(self.lines(problems), [escaped(note) for note in notes])
        error.__cause__ = next((problem.cause for problem in problems if problem.cause is not None), None)
        return error

    def _written(self, path: KeyPath) -> tuple[int, int, str]:
        for length in range(len(path), 0, -1):
            for order, document in enumerate(self.documents):
                if document.has(path[:length]):
                    line = document.line(path[:length])
                    return order, line or 0, document.label if line is None else f"{document.label}:{line}"
        return 0, 0, self.documents[0].label if self.documents else ""

    def lines(self, problems: Sequence[Problem]) -> list[str]:
        """Return a line a problem, sorted by place; of very many, the first and how many more there are."""
        placed = sorted({(self.place(problem.path), problem.message) for problem in problems[:MOST]})
        lines = [escaped(f"{text}: {message}" if text else message) for (_, _, text), message in placed]
        return lines if len(problems) <= MOST else [*lines, f"and {len(problems) - MOST} more problems"]


def read_layers(path: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], Origins]:
    """Return the merged tree of a recipe, the files that it extends and the overrides, and where its keys come from.

    Raises RecipeError for a file that is no TOML or cannot be extended, UsageError for an override that is none, or is
    for another stage.
    """
    documents = _read_files(path)
    defaults = {**long_forms(DEFAULTS), "title": escaped(path.stem)}
    tree = {key: value for key, value in defaults.items() if key != "title"}
    for document in reversed(documents):
        tree = merge(tree, document.tree)
    tree.pop("extends", None)
    tree.setdefault("title", defaults["title"])
    tree, places = lay_overrides(tree, overrides, stage=path.stem)
    return {**defaults, **tree}, Origins(tuple(documents), places)


def lay_overrides(
    tree: Mapping[str, Any], overrides: Sequence[str], *, stage: str = ""
) -> tuple[dict[str, Any], tuple[tuple[KeyPath, str], ...]]:
    """Return a tree with `--set KEY=VALUE`s laid over it, in any order, and the path and text of each.

    Those of `stage` alone are laid last. Raises UsageError for one that is none, that is for another stage, that names
    no entry of an array, or that contradicts another.
    """
    over: dict[str, Any] = {}
    places = []
    parsed = [Override.parse(text) for text in overrides]
    for override in sorted(parsed, key=lambda override: override.stage != ""):
        override.refuse_stage([stage] if stage else [])
        path = _resolve(tree, override)
        _lay(over, path, override)
        places.append((path, override.text))
    return _without_removed(merge(tree, long_forms(over), indexed=True), tree), tuple(places)


def _without_removed(value: Any, base: Any) -> Any:
    """Return a merged tree without what was removed of what the base has."""
    if isinstance(value, Mapping):
        base = base if isinstance(base, Mapping) else {}
        kept = {key: member for key, member in value.items() if member is not REMOVED or key not in base}
        return {key: _without_removed(member, base.get(key)) for key, member in kept.items()}
    if isinstance(value, list):
        base = base if isinstance(base, list) and len(base) == len(value) else [None] * len(value)
        pairs = zip(value, base, strict=True)
        return [_without_removed(member, below) for member, below in pairs if member is not REMOVED]
    return value


def without_removed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree without any REMOVED."""
    return dict(_without_removed(tree, tree))


def _read_files(path: Path) -> list[Document]:
    """Return the recipe and the files it extends, outwards."""
    documents: list[Document] = []
    seen: list[Path] = []
    while True:
        try:
            document = toml.read(path)
        except TomlProblem as error:
            at = "" if error.line is None else f":{error.line}"
            raise RecipeError([escaped(f"{path}{at}: {error}")]) from None
        documents.append(attrs.evolve(document, tree=long_forms(document.tree)))
        seen.append(path.resolve())
        base = document.tree.get("extends")
        if base is None:
            return documents
        path = path.parent / str(base)
        if problem := _refused(base, path, seen):
            raise RecipeError([escaped(f"{document.label}:{document.line(('extends',))}: {problem}")])


def _refused(base: Any, path: Path, seen: Sequence[Path]) -> str:
    """Return what is wrong with an `extends`, or nothing."""
    if not isinstance(base, str):
        return "extends must be a string, the path of a recipe"
    try:
        if path.resolve() in seen:
            return f"extends '{base}', which leads back to itself"
        found = path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, a circle of links, a zero byte
        found = False
    copy = f"; `srkit new recipe {path.stem}` copies the packaged one here" if path.stem in packaged_recipes() else ""
    return "" if found else f"extends '{base}', but there is no file {path}{copy}"


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
        entries = {int(key): entry for key, entry in value.items() if _is_index(key) and int(key) < len(below)}
        if len(entries) == len(value):
            return [_merge_value(entry, entries[i], True) if i in entries else entry for i, entry in enumerate(below)]
    # A component within another may stand in its short form, which is known by what the other layer has.
    if isinstance(below, dict) and "type" in below and isinstance(value, str):
        value = {"type": value}
    if isinstance(below, str) and isinstance(value, dict) and "type" not in value:
        below = {"type": below}
    if (
        isinstance(below, dict)
        and isinstance(value, dict)
        and value.get("type", below.get("type")) == below.get("type")
    ):
        return merge(below, value, indexed=indexed)
    return value


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 6


def _resolve(tree: Mapping[str, Any], override: Override) -> KeyPath:
    """Return the path in `tree` of an override's key.

    An entry of an array is addressed by its index, `loss.0.weight`, or, where it is the only one, without: `loss.type`.
    """
    path: KeyPath = ()
    below: Any = tree
    for position, key in enumerate(override.path):
        while isinstance(below, list) and not (_is_index(key) and int(key) < len(below)):
            array = ".".join(map(str, path))
            has = f"{array} has {len(below)} {'entry' if len(below) == 1 else 'entries'}"
            if _is_index(key) or not below:
                raise UsageError(f"--set {override.text}: {has}, counted from 0; to add one, give the whole array")
            if len(below) > 1:
                write = ".".join([array, "0", *override.path[position:]])
                raise UsageError(f"--set {override.text}: {has}; write the index, as in {write}")
            path, below = (*path, 0), below[0]
        if isinstance(below, list):
            path, below = (*path, int(key)), below[int(key)]
        else:
            path, below = (*path, key), below.get(key) if isinstance(below, Mapping) else None
    return path


def _lay(over: dict[str, Any], path: KeyPath, override: Override) -> None:
    """Put an override into `over`. Of two for one key the last counts; a value and a key inside it contradict."""
    *tables, last = map(str, path)
    node: Any = over
    for depth, key in enumerate(tables, 1):
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            table = ".".join(tables[:depth])
            write = f"; write {table}.type={node}" if isinstance(node, str) else ""
            raise UsageError(f"--set {override.text}: another --set gives {table} a value{write}")
    old, value = node.get(last), override.value
    if isinstance(old, dict) and not isinstance(value, dict):
        raise UsageError(f"--set {override.text}: another --set gives a key of {'.'.join(map(str, path))} a value")
    node[last] = {**old, **value} if isinstance(old, dict) else value


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
