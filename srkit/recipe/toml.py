"""TOML text to a tree, and the line of each key in it."""

from __future__ import annotations

import functools
import itertools
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

# tomllib takes quadratic time for some inputs (dotted keys, nested arrays); within these limits, below a second.
MAX_BYTES = 64 * 1024
MAX_LINES = 1_000
MAX_LINE = 1_024
MAX_DEPTH = 32
WORK = 4_000_000  # characters parsed to look up lines; a file made to be slow gets messages without them

TOO_DEEP = "not valid TOML: nested too deeply"
# A key of as many parts, bare or quoted. No backtracking: a line of word characters alone is read once.
_DEEP_KEY = re.compile(rf"""(?<![\w-])(?>(?:[\w-]++|"(?:[^"\\]|\\.)*+"|'[^']*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}""")

# What a line must hold to end a statement of several lines.
_CLOSES = re.compile(r"]|}|'''|\"\"\"")

Key = str | int
KeyPath = tuple[Key, ...]


class TomlProblem(ValueError):
    """Raised for a file that is no TOML, or too large; `line` is where, or None."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@attrs.frozen
class Document:
    """A TOML file: the name it was given by, its text and its tree."""

    label: str
    text: str = attrs.field(repr=False)
    tree: Mapping[str, Any] = attrs.field(repr=False)

    def line(self, path: KeyPath) -> int | None:
        """Return the line, from 1, of a key, or of the nearest table around it that the file has, or None."""
        known = positions(self.text)
        while path:
            if path in known:
                return known[path]
            path = path[:-1]
        return None

    @property
    def head(self) -> list[str]:
        """The comment that the file begins with, without its signs."""
        lines = itertools.takewhile(lambda line: line.startswith("#"), self.text.splitlines())
        return [line.removeprefix("#").removeprefix(" ").rstrip() for line in lines]

    def has(self, path: KeyPath) -> bool:
        """Say whether the file itself has this key."""
        node: Any = self.tree
        for key in path:
            if isinstance(node, Mapping) and key in node:
                node = node[str(key)]
            elif isinstance(node, list) and isinstance(key, int) and key < len(node):
                node = node[key]
            else:
                return False
        return True


def read(path: Path, label: str | None = None) -> Document:
    """Read a TOML file. Raises TomlProblem, with a line where one is known, for anything wrong with it."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TomlProblem("is no regular file")
            data = file.read(MAX_BYTES + 1) or b""  # None where a file of the kernel's has nothing yet
    except OSError as error:
        raise TomlProblem(f"cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise TomlProblem(f"larger than {MAX_BYTES // 1024} KiB, too large for a recipe")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TomlProblem("is not UTF-8", data.count(b"\n", 0, error.start) + 1) from None
    lines = text.split("\n")
    if len(lines) > MAX_LINES + 1:
        raise TomlProblem(f"longer than {MAX_LINES} lines")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise TomlProblem(f"a line longer than {MAX_LINE} characters", number)
    return Document(label or os.fspath(path), text, parse(text))


def _without_waiting(path: str, flags: int) -> int:
    """Open a file whose reading never waits: a pipe, and some files of the kernel's, would for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag, nor such files


def parse(text: str) -> dict[str, Any]:
    """Parse TOML text. Raises TomlProblem, also for what is nested deeper than MAX_DEPTH."""
    for number, content in enumerate(text.split("\n"), 1):
        if content.count(".") >= MAX_DEPTH and _DEEP_KEY.search(content):
            raise TomlProblem(TOO_DEEP, number)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, at, place = str(error).rpartition(" (at ")
        digits = place.removeprefix("line ").partition(",")[0]
        line = int(digits) if digits.isdigit() else len(text.rstrip("\n").split("\n"))
        raise TomlProblem(f"not valid TOML: {message if at else error}", line) from None
    except RecursionError:
        raise TomlProblem(TOO_DEEP) from None
    except ValueError:  # Python's limit for the digits of an integer
        raise TomlProblem("not valid TOML: an integer of too many digits") from None
    nodes: list[Any] = [tree]
    for _ in range(MAX_DEPTH):
        nodes = [member for node in nodes for member in _members(node)]
    if nodes:
        raise TomlProblem(TOO_DEEP)
    return tree


def _members(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


@functools.lru_cache(maxsize=16)
def positions(text: str) -> Mapping[KeyPath, int]:
    """Return the line, from 1, at which the statement that gives each key of a valid TOML text begins.

    tomllib keeps no positions, so each statement is parsed by itself: a line, and the next ones with it for as long as
    they are not TOML yet (a string or an array of several lines). The keys of a statement that takes too much work have
    no line, nor have those after it.
    """
    found: dict[KeyPath, int] = {}
    table: KeyPath = ()
    arrays: dict[KeyPath, int] = {}
    lines = text.split("\n")
    work = start = 0
    while start < len(lines):
        end = start + 1
        while (tree := _parsed(statement := "\n".join(lines[start:end]))) is None:
            work += len(statement)
            end = next((i for i in range(end, len(lines)) if _CLOSES.search(lines[i])), len(lines)) + 1
            if end > len(lines) or work > WORK:
                return found
        head = lines[start].lstrip()
        if head.startswith("["):
            table = _header(tree, head.startswith("[["), arrays)
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], start + 1)
        else:
            for path in _paths(tree):
                found.setdefault(table + path, start + 1)
        start = end
    return found


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _header(tree: Mapping[str, Any], is_array: bool, arrays: dict[KeyPath, int]) -> KeyPath:
    """Return the path of a header's table, with the index of each array of tables on the way, counting a new one."""
    path: KeyPath = ()
    node: Any = tree
    while isinstance(node, dict) and node:
        key = next(iter(node))
        path += (key,)
        node = node[key]
        if is_array and isinstance(node, list):
            arrays[path] = arrays.get(path, -1) + 1
            return (*path, arrays[path])
        if path in arrays:
            path += (arrays[path],)
    return path


def _paths(node: Any, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    if prefix:
        yield prefix
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _paths(value, (*prefix, key))


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return a tree's leaves by their dotted keys; tables in an array are counted from 0, any other array is a leaf.

    An empty array or text gives no key: it is the same as none.
    """
    if isinstance(tree, Mapping):
        return {k: v for key, member in tree.items() for k, v in flat(member, f"{prefix}{key}.").items()}
    if isinstance(tree, list) and all(isinstance(member, Mapping) for member in tree):
        return {k: v for i, member in enumerate(tree) for k, v in flat(member, f"{prefix}{i}.").items()}
    return {} if tree == "" else {prefix[:-1]: tree}
