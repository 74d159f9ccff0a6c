"""A component and its settings, as data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs


@attrs.frozen
class Part:
    """A component's table: the component's name and all its settings, checked against its signature.

    Where a setting takes a component, its value is a part, too, or a list or table of parts.
    """

    kind: ClassVar[str] = ""
    type: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)


@functools.cache
def part_within(kind: str) -> type[Part]:
    """Return the class of the parts of a kind that are settings of other parts: they have no keys beside settings."""
    return attrs.frozen(type(f"{kind.capitalize()}Within", (Part,), {"kind": kind, "__module__": __name__}))


def as_tree(value: Any) -> Any:
    """Return a part, or what has parts in it, as TOML's types: tables, lists and scalars. None has no form there
    and is left out."""
    if isinstance(value, Part):
        own = {name: member for name, member in _fields(value).items() if name not in ("type", "settings")}
        return {"type": value.type, **as_tree({**own, **value.settings})}
    if attrs.has(type(value)):
        value = _fields(value)
    if isinstance(value, Mapping):
        return {key: as_tree(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [as_tree(member) for member in value]
    return value


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of an attrs object, but for those that are `silent` of their default."""
    found = {field: getattr(value, field.name) for field in attrs.fields(type(value))}
    return {
        field.name: member
        for field, member in found.items()
        if not (field.metadata.get("silent") and member in (field.default, {}))
    }
