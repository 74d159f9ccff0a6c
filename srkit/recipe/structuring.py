"""Trees of TOML's types to values of the recipe's classes, or every problem at once."""

from __future__ import annotations

import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

import attrs
import cattrs

from srkit.errors import ComponentError, InputRejected, did_you_mean, reason_of
from srkit.plugin.contracts import KINDS
from srkit.plugin.part import Part
from srkit.plugin.registry import Registry
from srkit.plugin.settings import Setting, advice_on, is_part, of_type, read_settings, type_name
from srkit.recipe.layers import REMOVED, Problem, fields
from srkit.recipe.recipe import Data, Recipe, Train

# What other programs call the keys of a recipe.
OTHER_WORDS = {
    "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr",
    "batch_size": "data.batch",
    "patch_size": "data.patch",
    "iterations": "train.steps",
    "network": "architecture",
    "model": "architecture",
}

# Makes a part's component and throws it away, and returns its facts; it may be given the words, the recipe's scale and
# steps. Raises what the target raises.
TryOut = Callable[[Part, Mapping[str, Any]], Mapping[str, Any]]

DEEPEST = 16  # components within each other; defaults that lead back to themselves would have no end


class Problems(Exception):
    """Carries the problems of a table through the converter."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)


def structured(tree: Any, cls: Any, registry: Registry, words: Mapping[str, Any], try_out: TryOut | None) -> Any:
    """Return a tree as a value of a class, each component in it checked, and tried out where `try_out` is given.

    No value is taken for another: no "4" for 4, no 4.9 for 4; an integer is a fine float. Raises Problems.
    """
    strict = cattrs.Converter()
    parts = _Parts(strict, registry, words, try_out)
    for scalar in (bool, int, float, str):
        strict.register_structure_hook(scalar, _scalar)
    hooks: list[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]] = [
        (lambda t: typing.get_origin(t) is Literal, _choice),
        (lambda t: typing.get_origin(t) in (Union, types.UnionType), lambda v, t: _union(strict, v, t)),
        (lambda t: typing.get_origin(t) in (list, tuple), lambda v, t: _array(strict, v, t)),
        (lambda t: typing.get_origin(t) is dict, lambda v, t: _dictionary(strict, v, t)),
        (lambda t: inspect.isclass(t) and attrs.has(t), lambda v, t: _table(strict, v, t)),
        (is_part, parts.read),
    ]
    for predicate, hook in hooks:  # cattrs asks the last registered first
        strict.register_structure_hook_func(predicate, hook)
    return strict.structure(tree, cls)


def _structure(strict: cattrs.Converter, value: Any, cls: Any, key: str | int, problems: list[Problem]) -> Any:
    """Return a value structured; what is wrong with it goes to `problems`, under its key."""
    try:
        return strict.structure(value, cls)
    except Problems as error:
        problems += [_of(key, problem).below(key) for problem in error.problems]
    except ValueError as error:
        name = f"'{key}'" if isinstance(key, str) else f"entry {key}"
        problems.append(Problem((key,), f"{name} {error}"))
    return None


def _of(key: str | int, problem: Problem) -> Problem:
    """Return a problem of an entry with the name of the list that it is in."""
    if isinstance(key, int) or len(problem.path) != 1 or not isinstance(problem.path[0], int):
        return problem
    return attrs.evolve(problem, message=re.sub(r"^entry (\d+) must", rf"entry \1 of '{key}' must", problem.message))


def _scalar(value: Any, cls: type) -> Any:
    if type(value) is int and value.bit_length() > 64:
        raise ValueError(f"must be {of_type(cls)}, not {_show(value)}")
    if cls is float and type(value) is int:
        return float(value)
    if type(value) is not cls:
        raise ValueError(f"must be {of_type(cls)}, not {_show(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}")
    return value


def _choice(value: Any, cls: Any) -> Any:
    for choice in typing.get_args(cls):
        if type(choice) is type(value) and choice == value:
            return value
    raise ValueError(f"must be {type_name(cls)}, not {_show(value)}")


def _union(strict: cattrs.Converter, value: Any, cls: Any) -> Any:
    members = [member for member in typing.get_args(cls) if member is not type(None)]
    if len(members) == 1:
        return strict.structure(value, members[0])
    # An exact type goes first, so that 3 stays an integer in `float | int`.
    for member in sorted(members, key=lambda member: member is not type(value)):
        try:
            return strict.structure(value, member)
        except ValueError:
            continue
        except Problems:
            if is_part(member) and isinstance(value, Mapping):
                raise  # a component's table, and this is what is wrong with it
    raise ValueError(f"must be {of_type(cls)}, not {_show(value)}")


def _array(strict: cattrs.Converter, value: Any, cls: Any) -> Any:
    origin, members = typing.get_origin(cls), typing.get_args(cls)
    fixed = origin is tuple and Ellipsis not in members
    if isinstance(value, str) and value.lstrip().startswith("["):  # --set took it for text, since it is no TOML
        raise ValueError(f'must be an array in which text stands in quotes, ["l1", "l2"], not {_show(value)}')
    if not isinstance(value, list):
        what = "a " + type_name(cls)
        named = isinstance(value, str) and (members[0] is str or is_part(members[0])) and not value.startswith("{")
        if named and (is_part(members[0]) or "," in value):
            entries = [_show(entry.strip()) for entry in value.split(",") if entry.strip()] or [_show(value)]
            what = f"an array, [{', '.join(entries)}]"
        elif inspect.isclass(members[0]) and attrs.has(members[0]):
            what = "an array of tables, [[...]]"
        raise ValueError(f"must be {what}, not {_show(value)}")
    if fixed and len(value) != len(members):
        raise ValueError(f"must be a {type_name(cls)}, not one of {len(value)}")
    problems: list[Problem] = []
    entries = [
        _structure(strict, entry, members[i] if fixed else members[0], i, problems) for i, entry in enumerate(value)
    ]
    if problems:
        raise Problems(problems)
    return tuple(entries) if origin is tuple else entries


def _dictionary(strict: cattrs.Converter, value: Any, cls: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table, not {_show(value)}")
    problems: list[Problem] = []
    entries = {key: _structure(strict, member, typing.get_args(cls)[1], key, problems) for key, member in value.items()}
    if problems:
        raise Problems(problems)
    return entries


def _table(strict: cattrs.Converter, value: Any, cls: Any) -> Any:
    _refuse_bare_table(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table, not {_show(value)}")
    declared = {field.name: field for field in fields(cls)}
    problems = [
        Problem((key,), f"unknown key '{key}'{_elsewhere(key) or did_you_mean(key, declared)}")
        for key in value
        if key not in declared
    ]
    value = {key: member for key, member in value.items() if member is not REMOVED}
    values = {}
    for name, field in declared.items():
        if name in value:
            values[name] = _structure(strict, value[name], field.type, name, problems)
            problems += out_of_range(field, values[name])
        elif field.default is attrs.NOTHING:
            problems.append(Problem((), f"missing key '{name}'"))
    if problems:
        raise Problems(problems)
    return cls(**values)


def _elsewhere(key: str) -> str:
    """Return "; did you mean 'data.batch'?" for a key of another table, or for what other programs call one."""
    tables = {"": Recipe, "data.": Data, "train.": Train}
    found = [f"{table}{key}" for table, cls in tables.items() if key in attrs.fields_dict(cls)]
    found += [OTHER_WORDS[key]] if key in OTHER_WORDS else []
    if not found:
        return ""
    return f"; did you mean '{found[0]}'{' at the top level' if found[0] == key else ''}?"


def _refuse_bare_table(value: Any) -> None:
    """Raise ValueError for a table that --set took for text, since it is no TOML."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        bare = r"=\s*(?!true\b|false\b)([A-Za-z_./~][^,}\"']*?)(\s*[,}])"
        quoted = re.sub(bare, r'= "\1"\2', value.strip())
        raise ValueError(f"must be a table in which text stands in quotes, {quoted}, not {_show(value)}")


def out_of_range(field: Any, value: Any) -> list[Problem]:
    least, below = field.metadata.get("least"), field.metadata.get("below")
    if not isinstance(value, int | float) or least is None or (value >= least and (below is None or value < below)):
        return []
    upper = "" if below is None else f" and below {below}"
    return [Problem((field.name,), f"'{field.name}' must be at least {least}{upper}, not {value}")]


@attrs.define
class _Parts:
    """Checks components' tables against the signatures of their targets, those of components within them, too."""

    strict: cattrs.Converter
    registry: Registry
    words: Mapping[str, Any]
    try_out: TryOut | None
    _outer: list[str] = attrs.field(factory=list)  # the components that the one being read is a setting of

    def read(self, value: Any, cls: type[Part]) -> Part:
        """Return a component's part, its defaults written out. Raises Problems with all that is wrong."""
        if isinstance(value, str) and not value.lstrip().startswith("{"):
            value = {"type": value}
        _refuse_bare_table(value.get("type") if isinstance(value, Mapping) else value)
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table with a type, or the name of a component, not {_show(value)}")
        if "type" not in value or value["type"] is REMOVED:
            raise Problems([Problem((), f"missing key 'type': which {cls.kind}?")])
        if not isinstance(value["type"], str):
            raise Problems([Problem(("type",), f"'type' must be a string, not {_show(value['type'])}")])
        if len(self._outer) == DEEPEST:
            shown = " > ".join([*dict.fromkeys(self._outer), value["type"]])
            raise Problems([Problem((), f"a component within {DEEPEST} others, and none may be deeper: {shown}")])
        self._outer.append(value["type"])
        try:
            return self._read(value, cls)
        finally:
            self._outer.pop()

    def _read(self, table: Mapping[str, Any], cls: type[Part]) -> Part:
        own = {field.name: field for field in fields(cls) if field.name not in ("type", "settings")}
        problems: list[Problem] = []
        target, known = self._signature(table, cls, own)
        there = {key: member for key, member in table.items() if member is not REMOVED}
        extra = {key: _structure(self.strict, there[key], own[key].type, key, problems) for key in there if key in own}
        for key, member in extra.items():
            problems += out_of_range(own[key], member)
        settings = {
            key: _structure(self.strict, member, known[key].type, key, problems)
            for key, member in there.items()
            if key in known and key not in own
        }
        what = f"of {cls.kind} '{self.registry.find(cls.kind, table['type']).component.name}'"
        for key in table:
            if key not in own and key not in known and key != "type":
                advice = advice_on(key, target, KINDS[cls.kind].given, [*known, *own])
                problems.append(Problem((key,), f"unknown setting '{key}' {what}{advice}"))
        for name, setting in known.items():
            if name in there:
                continue
            if setting.required:
                problems.append(Problem((), f"missing setting '{name}' {what} ({type_name(setting.type)})"))
                continue
            try:
                settings[name] = self.strict.structure(_as_toml(setting.default), setting.type)
            except ValueError:
                pass  # what TOML cannot write (None, an infinity) stays the target's own default
            except Problems as error:
                problems += [problem.below(name) for problem in error.problems if setting.names_components]
        if problems:
            raise Problems(problems)
        part = cls(table["type"], {name: settings[name] for name in known if name in settings}, **extra)
        self._try(part, there)
        return part

    def _signature(
        self, table: Mapping[str, Any], cls: type[Part], own: Mapping[str, Any]
    ) -> tuple[Callable[..., Any], Mapping[str, Setting]]:
        """Return a component's target and its settings. Raises Problems, those of `own` keys beside, where it has
        none."""
        try:
            target = self.registry.find(cls.kind, table["type"]).component.load()
            return target, read_settings(target, KINDS[cls.kind].given)
        except ComponentError as error:
            is_path = cls.kind == "dataset" and os.path.exists(table["type"])
            hint = f'; a path is written {{ type = "...", path = "{table["type"]}" }}' if is_path else ""
            advice = hint or _plugins_hint(self.registry, str(error))
            problems = [Problem(("type",), f"{error}{advice}", cause=error)]
            for key in own.keys() & table.keys():
                if table[key] is not REMOVED:
                    _structure(self.strict, table[key], own[key].type, key, problems)
            raise Problems(problems) from None

    def _try(self, part: Part, table: Mapping[str, Any]) -> None:
        """Make the component and throw it away. Raises Problems with what its target raises."""
        if self.try_out is None:
            return
        words, scales = self.words, self.registry.find(part.kind, part.type).component.facts.get("scales", ())
        if scales and words["scale"] not in scales:  # a problem of its own, which the constructor would repeat
            words = {**words, "scale": scales[0]}
        try:
            self.try_out(part, words)
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            rejected = error.path if isinstance(error, InputRejected) else ""
            missing = bool(rejected) and not os.path.exists(rejected) and part.kind == "dataset"
            path = tuple(name for name in table if rejected and part.settings.get(name) == rejected)[:1]
            raise Problems([Problem(path, reason_of(error), missing, error)]) from None


def _plugins_hint(registry: Registry, text: str) -> str:
    """Return what -p added, or that it adds more, for an unknown component that is near to none."""
    if not text.startswith("unknown ") or "did you mean" in text or "failed to load" in text:
        return ""
    return registry.of_files()


def _as_toml(value: Any) -> Any:
    """Return a default as TOML would give it: lists for tuples, text for paths."""
    if isinstance(value, list | tuple):
        return [_as_toml(member) for member in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) < 60 else f'"{value[:57]}..."'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, int) and value.bit_length() > 64:
        return "one of more than 64 bits"
    return "a list" if isinstance(value, list) else str(value)
