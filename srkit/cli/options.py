"""The option file of another toolbox, read as plain data, and which of its keys have not been used yet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from srkit.errors import UsageError, escaped
from srkit.recipe import toml
from srkit.recipe.toml import TomlProblem

LARGEST = 1_000_000  # bytes; the option files of those projects have some thousand
NEEDS_YAML = "YAML is read by PyYAML: pip install pyyaml"

KeyPath = tuple[str | int, ...]


@attrs.define
class Options:
    """A tree of options; `left` holds each value that nothing has taken yet, by its path."""

    name: str
    tree: Mapping[str, Any]
    left: dict[KeyPath, Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.left = dict(_leaves(self.tree, ()))

    def get(self, *path: str | int) -> Any:
        """Return the value at a path, None where there is none, and leave it."""
        node: Any = self.tree
        for key in path:
            if isinstance(node, Mapping):
                node = node.get(key)
            else:
                node = node[key] if isinstance(node, list) and isinstance(key, int) and key < len(node) else None
        return node

    def table(self, *path: str | int) -> Mapping[str, Any]:
        """Return the table at a path, an empty one where there is none."""
        node = self.get(*path)
        return node if isinstance(node, Mapping) else {}

    def take(self, *path: str | int) -> Any:
        """Return the value at a path as used, None where there is none."""
        value = self.get(*path)
        if value is not None:
            self.left.pop(path, None)
        return value

    def text(self, *path: str | int) -> str:
        """Return a text as used, "" where there is none."""
        value = self.get(*path)
        return str(self.take(*path)) if isinstance(value, str | int) and not isinstance(value, bool) else ""

    def number(self, *path: str | int) -> float | None:
        """Return a number as used; YAML reads `1e-4` as a text. Raises UsageError for what is none."""
        value = self.take(*path)
        if value is None:
            return None
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise self.error(f"{dotted(path)} must be a number, not {shown(value)}") from None

    def whole(self, *path: str | int) -> int | None:
        """Return a whole number as used, `5e3` too. Raises UsageError for what is none."""
        value = self.number(*path)
        if value is None:
            return None
        if not value.is_integer():
            raise self.error(f"{dotted(path)} must be a whole number, not {shown(self.get(*path))}")
        return int(value)

    def drop(self, *path: str | int, when: Any) -> None:
        """Use up a value that srkit has as the only choice."""
        if self.get(*path) == when:
            self.left.pop(path, None)

    def error(self, message: str) -> UsageError:
        """Return a problem of this file."""
        return UsageError(f"{self.name}: {message}")


def read_options(path: Path) -> Options:
    """Read a YAML or TOML file; nothing in it is run. Raises UsageError for what is neither, or no table."""
    name = escaped(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UsageError(f"{name}: larger than {LARGEST:,} bytes, too large for options")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is not UTF-8") from None
    tree = _from_toml(text, name) if path.suffix.lower() == ".toml" else _from_yaml(text, name)
    if not isinstance(tree, dict) or not tree:
        raise UsageError(f"{name}: is no table of options")
    return Options(name, tree)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: `train.optim_g.lr`."""
    return ".".join(escaped(str(key)) for key in path)


def shown(value: Any) -> str:
    """Return a value on one line of printable ASCII, as JSON where it can be."""
    text = json.dumps(value, default=str)
    return text.replace("\x7f", "\\u007f")


def _leaves(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(node, Mapping) and (node or not path):
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(node, list) and any(isinstance(value, Mapping) for value in node):
        for index, value in enumerate(node):
            yield from _leaves(value, (*path, index))
    else:
        yield path, node


def _from_toml(text: str, name: str) -> Any:
    try:
        return toml.parse(text.replace("\r\n", "\n"))
    except TomlProblem as problem:
        place = f":{problem.line}" if problem.line else ""
        raise UsageError(f"{name}{place}: {problem}") from None


def _from_yaml(text: str, name: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise UsageError(f"{name}: {NEEDS_YAML}") from None
    from yaml.events import AliasEvent

    class Loader(yaml.SafeLoader):
        """Reads plain data. Aliases are refused: a few lines of them can stand for gigabytes."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(AliasEvent):
                mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
                raise yaml.MarkedYAMLError(problem="an alias; write the value out", problem_mark=mark)
            return super().compose_node(parent, index)

    try:
        return Loader(text).get_single_data()  # a SafeLoader: no tag makes anything but plain data
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{name}{line}: {escaped(str(error.problem))}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"{name}: {escaped(str(error)).splitlines()[0]}") from None
    except RecursionError:
        raise UsageError(f"{name}: is nested too deep") from None
