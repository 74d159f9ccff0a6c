"""Public functions, methods and classes say in a docstring what their types cannot."""

from __future__ import annotations

import ast
import inspect

import pytest

import srkit
from tests.test_floors import CORE, PLUGINS

SPECIAL = ("__call__", "__len__", "__getitem__")


def public(node):
    """Yield the public definitions of a module or class, those of its classes included."""
    for child in getattr(node, "body", []):
        definition = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if definition and (not child.name.startswith("_") or child.name in SPECIAL):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


@pytest.mark.parametrize("paths", [CORE, PLUGINS], ids=["core", "plugins"])
def test_nineteen_of_twenty_are_documented(paths):
    found = {f"{path.name}:{node.name}": ast.get_docstring(node) for path in paths for node in public(parsed(path))}
    silent = [name for name, text in found.items() if not text]
    assert len(silent) <= 0.05 * len(found), silent


def parsed(path):
    return ast.parse(path.read_text())


@pytest.mark.parametrize("name", srkit.__all__)
def test_what_is_exported_is_documented_and_typed(name):
    value = getattr(srkit, name)
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        hints = value.__annotations__
        assert {*inspect.signature(value).parameters, "return"} <= hints.keys()
