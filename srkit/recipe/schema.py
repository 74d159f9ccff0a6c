"""The JSON Schema of recipes, made of the recipe's classes and the signatures of all installed components.

    srkit schema > srkit.schema.json

An editor with a TOML language server then completes a recipe, explains its keys and underlines what is wrong, where the
recipe's first line names the file, relative to the recipe:

    #:schema ./srkit.schema.json

It is draft-07: taplo (Even Better TOML) reads up to that one, and older ones have no if/then. It accepts what
`srkit check` accepts, so long as the same components are installed. What JSON Schema cannot say is left to
`srkit check`: what one key says of another, 4.0 for an integer, what a constructor refuses.

The form is chosen for taplo, which looks for what to complete in `properties` and `items`, never in `then`, and
underlines a whole table where `additionalProperties` is false. So a component's table lists the settings of all
components of its kind in `properties`; which of them its `type` has is said in `then`, and a key that is unknown is
refused by a schema that nothing fulfils.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Union

import attrs

from srkit.errors import ComponentError
from srkit.plugin.contracts import KINDS
from srkit.plugin.part import Part
from srkit.plugin.registry import Entry, Registry
from srkit.plugin.settings import parameter_docs, read_settings
from srkit.recipe.layers import DEFAULTS, fields
from srkit.recipe.recipe import Recipe

Schema = dict[str, Any]

# What a recipe file has that a Recipe has not.
EXTENDS = (
    "another recipe, by its path from this one, which this one changes: tables merge key by key, arrays replace, "
    "a table whose type changes replaces the old one whole"
)


@attrs.frozen
class _Choice:
    """A component as recipes may name it; `settings` is None where they cannot be known, so that any are fine."""

    names: tuple[str, ...]
    summary: str
    settings: Mapping[str, _Setting] | None

    @property
    def required(self) -> list[str]:
        return [name for name, setting in (self.settings or {}).items() if setting.required]


@attrs.frozen
class _Setting:
    values: Schema
    doc: str
    default: Schema  # {"default": value}, or empty where JSON has no form for it
    required: bool


def recipe_schema(registry: Registry) -> Schema:
    """Return the JSON Schema of recipes with the components of a registry, as JSON's types. Imports every target.

    A component that is missing, or whose target cannot be imported, accepts any settings.
    """
    known = {kind: _choices(registry, kind) for kind in KINDS}
    within = {
        _name_within(kind, whole=whole): _part({}, kind, known[kind], whole=whole)
        for kind in sorted(_kinds_within(known))
        for whole in (False, True)
    }
    properties = {"extends": {"type": "string", "description": EXTENDS}, **_properties(Recipe, known, whole=False)}
    closed = _closed(properties, "key")
    demanded = _demanded(Recipe, known)
    origins = dict.fromkeys(str(entry.origin) for entry in registry)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "a recipe of srkit",
        "description": f"Made by `srkit schema` with the components of {', '.join(origins)}.",
        "type": "object",
        "properties": properties,
        **({"definitions": within} if within else {}),
        # What a recipe leaves out may stand in the one that it extends.
        "if": {"required": ["extends"]},
        "then": closed,
        "else": {**closed, **demanded, "properties": {**closed["properties"], **demanded["properties"]}},
    }


def _choices(registry: Registry, kind: str) -> list[_Choice]:
    return [_choice(registry, entry) for entry in registry.of_kind(kind)]


def _choice(registry: Registry, entry: Entry) -> _Choice:
    component = entry.component
    names = tuple(dict.fromkeys([registry.name_of(entry), entry.full_name]))
    try:
        settings = read_settings(component.load(), KINDS[component.kind].given)
    except ComponentError:
        return _Choice(names, component.summary or component.missing, None)
    found = {
        setting.name: _Setting(
            _type(setting.type),
            setting.doc,
            {} if setting.required else _default(setting.default),
            setting.required,
        )
        for setting in settings.values()
    }
    return _Choice(names, component.summary, found)


def _properties(cls: Any, known: Mapping[str, Sequence[_Choice]], *, whole: bool) -> dict[str, Schema]:
    """Return the keys of a recipe's class; `whole`: nothing of a table may stand in a recipe that this one extends."""
    declared = {field.name: field for field in fields(cls)}
    docs = parameter_docs(cls, declared)
    return {
        name: {
            **_described(docs.get(name, "")),
            **_type(field.type, lambda member, whole: _table(member, known, whole=whole), whole=whole),
            **_range(field),
            **_default(DEFAULTS.get(name, field.default)),
        }
        for name, field in declared.items()
        if name not in ("settings", "type") or not issubclass(cls, Part)
    }


def _range(field: Any) -> Schema:
    least, below, pattern = (field.metadata.get(key) for key in ("least", "below", "pattern"))
    found: Schema = {}
    if least is not None:
        found["minimum"] = least
    if below is not None:
        found |= {"maximum": below - 1} if field.type is int else {"exclusiveMaximum": below}
    if pattern is not None:
        found["pattern"] = f"^({pattern})$"
    if typing.get_origin(field.type) is tuple and field.default is attrs.NOTHING:
        found["minItems"] = 1
    return found


def _table(cls: Any, known: Mapping[str, Sequence[_Choice]], *, whole: bool) -> Schema:
    """Return the schema of a table: of a component's, or of one of a recipe's classes."""
    if issubclass(cls, Part):
        return _part(_properties(cls, known, whole=whole), cls.kind, known[cls.kind], whole=whole)
    properties = _properties(cls, known, whole=whole)
    required = {"required": _required(cls)} if whole else {}
    return {
        "type": "object",
        "properties": properties,
        "if": {"type": "object"},
        "then": {**_closed(properties, "key"), **required},
    }


def _part(own: Mapping[str, Schema], kind: str, choices: Sequence[_Choice], *, whole: bool) -> Schema:
    """Return the schema of a component, by its name alone or as a table; `own` are the keys that all of a kind have.

    Where not `whole`, its type and settings may stand in a recipe that this one extends.
    """
    names = _names(choices)
    summaries = {name: choice.summary for choice in choices for name in choice.names}
    named = {
        "description": f"a name that `srkit list {kind}` lists",
        "enum": names,
        "x-taplo": {"docs": {"enumValues": [summaries[name] for name in names]}},
    }
    settings = dict.fromkeys(name for choice in choices for name in choice.settings or {})
    shared = {name for name in settings if _is_shared(name, choices)} | own.keys() | {"type"}
    properties = {name: _hint(name, choices, values=name in shared) for name in settings} | {"type": named, **own}
    branches = [
        {"if": _is_named(choice.names), "then": _branch(kind, choice, shared, own, whole=whole)}
        for choice in choices
        if choice.settings is not None
    ]
    if not whole and all(choice.settings is not None for choice in choices):
        closed = _closed(properties, f"setting of any {kind}")
        branches.append({"if": {"not": {"required": ["type"]}}, "then": closed})
    return {
        **({"anyOf": [{"enum": names}, {}]} if whole else {}),  # for completion alone: names in an array, ["l1"]
        "properties": properties,
        "if": {"type": "object"},
        "then": {**({"required": ["type"]} if whole else {}), "allOf": branches or [{}]},
        "else": {"enum": names},
    }


def _names(choices: Iterable[_Choice]) -> list[str]:
    """Return all names, those with a distribution last."""
    return sorted((name for choice in choices for name in choice.names), key=lambda name: (":" in name, name))


def _is_named(names: Sequence[str]) -> Schema:
    return {"properties": {"type": {"enum": list(names)}}, "required": ["type"]}


def _is_shared(name: str, choices: Sequence[_Choice]) -> bool:
    """Say whether a setting takes the same values in every component that has it or might have it."""
    if any(choice.settings is None for choice in choices):
        return False
    values = [choice.settings[name].values for choice in choices if choice.settings and name in choice.settings]
    return all(value == values[0] for value in values)


def _hint(name: str, choices: Sequence[_Choice], *, values: bool) -> Schema:
    """Return what an editor shows of a setting: what each component says of it, and the values that all take."""
    found = {c.names[0]: c.settings[name] for c in choices if c.settings is not None and name in c.settings}
    docs = {setting.doc for setting in found.values()}
    text = "\n\n".join(f"{owner}: {setting.doc}" for owner, setting in found.items() if setting.doc)
    first, *others = found.values()
    same = all(other.default == first.default for other in others)
    return {
        **_described(first.doc if len(docs) == 1 else text),
        **(first.values if values else {}),
        **(first.default if same else {}),
    }


def _branch(kind: str, choice: _Choice, shared: set[str], own: Iterable[str], *, whole: bool) -> Schema:
    """Return which settings a component has, and the values of those that `properties` leaves open."""
    settings = choice.settings or {}
    closed = _closed([*settings, *own], f"setting of {kind} '{choice.names[0]}'")
    open_values = {name: setting.values for name, setting in settings.items() if name not in shared}
    closed["properties"] |= {"type": {}, **open_values}
    return {**closed, **({"required": choice.required} if whole and choice.required else {})}


def _demanded(cls: Any, known: Mapping[str, Sequence[_Choice]]) -> Schema:
    """Return what a table must have that stands in no array, in a recipe that extends none."""
    properties = {}
    for field in fields(cls):
        members = [field.type, *typing.get_args(field.type)]
        member = next((m for m in members if inspect.isclass(m) and attrs.has(m)), None)
        if member is None or typing.get_origin(field.type) is tuple:
            continue
        if issubclass(member, Part):
            properties[field.name] = _demanded_of_part(known[member.kind], member.kind, DEFAULTS.get(field.name))
        else:
            properties[field.name] = _demanded(member, known)
    return {"required": _required(cls), "properties": properties}


def _demanded_of_part(choices: Sequence[_Choice], kind: str, default: str | None) -> Schema:
    branches: list[Schema] = [
        {"if": _is_named(choice.names), "then": {"required": choice.required}} for choice in choices if choice.required
    ]
    chosen = next((choice for choice in choices if default in choice.names), None)
    if chosen is not None and chosen.settings is not None:
        then = _branch(kind, chosen, set(chosen.settings), (), whole=True)
        branches.append({"if": {"not": {"required": ["type"]}}, "then": then})
    required = {} if default else {"required": ["type"]}
    return {"if": {"type": "object"}, "then": {**required, "allOf": branches or [{}]}}


def _required(cls: Any) -> list[str]:
    """Return the keys that a table must have. A recipe without a title has the file's name, without a loss `l1`."""
    optional = {"title", *DEFAULTS} if cls is Recipe else set()
    return [field.name for field in fields(cls) if field.default is attrs.NOTHING and field.name not in optional]


def _closed(names: Iterable[str], what: str) -> Schema:
    """Return the schema that no other keys fulfil. Where one is refused, its title is what an editor shows."""
    names = list(names)
    there_are = f"; there are: {', '.join(sorted(names))}" if names else ""
    return {
        "properties": {name: {} for name in names},
        "additionalProperties": {"not": {"title": f"unknown {what}{there_are}"}},
    }


def _described(text: str) -> Schema:
    return {"description": text} if text else {}


def _type(hint: Any, table: Callable[..., Schema] | None = None, *, whole: bool = False) -> Schema:
    """Return the schema of a type that TOML can write; `table` makes those of classes, whole ones in arrays."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    plain = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if hint in plain:
        return {"type": plain[hint]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        members = [_type(a, table, whole=whole) for a in arguments if a is not type(None)]
        if len(members) == 1:
            return members[0]
        scalars = [member["type"] for member in members if member.keys() == {"type"}]
        return {"type": scalars} if len(scalars) == len(members) else {"anyOf": members}
    if origin is list or (origin is tuple and Ellipsis in arguments):
        return {"type": "array", "items": _type(arguments[0], table, whole=True)}
    if origin is tuple:
        items = [_type(a, table, whole=True) for a in arguments]
        return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(arguments[1], table, whole=True)}
    if table is not None:
        return table(hint, whole=whole)
    return {"$ref": f"#/definitions/{_name_within(hint.kind, whole=whole)}"}


def _name_within(kind: str, *, whole: bool) -> str:
    """Return what the definition of components of a kind that are settings of others is called."""
    return f"{kind}_whole" if whole else kind


def _kinds_within(known: Mapping[str, Sequence[_Choice]]) -> set[str]:
    """Return the kinds whose components are settings of others."""
    choices = itertools.chain.from_iterable(known.values())
    settings = itertools.chain.from_iterable((choice.settings or {}).values() for choice in choices)
    refers = re.compile(r"#/definitions/([a-z]+)")
    return {kind for setting in settings for kind in refers.findall(json.dumps(setting.values))}


def _default(value: Any) -> Schema:
    """Return {"default": value}, as JSON has it, or nothing for what a recipe cannot have (None, an infinity)."""
    try:
        return {"default": _as_json(value)}
    except ValueError:
        return {}


def _as_json(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [_as_json(member) for member in value]
    if isinstance(value, Mapping):
        return {str(key): _as_json(member) for key, member in value.items()}
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"a recipe cannot have {value!r}")
