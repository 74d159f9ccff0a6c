"""A recipe's tree to a Recipe, or every problem of it at once."""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

import attrs
import cattrs

from srkit.errors import ComponentError, InputRejected, did_you_mean, reason_of
from srkit.plugin.contracts import KINDS
from srkit.plugin.part import Part
from srkit.plugin.registry import Registry
from srkit.plugin.settings import REQUIRED, advice_on, of_type, read_settings, type_name
from srkit.recipe.layers import REMOVED, Origins, Problem, fields, lay_overrides, read_layers, without_removed
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

# Makes a part's component and throws it away; it may be given the words, the recipe's scale and steps. Raises what the
# target raises.
TryOut = Callable[[Part, Mapping[str, Any]], None]


def read_recipe(
    path: str | os.PathLike[str], registry: Registry, *, overrides: Sequence[str] = (), try_out: TryOut | None = None
) -> tuple[Recipe, Origins]:
    """Read a recipe, what it extends and the overrides, and check it whole.

    `try_out` is called for each component whose settings are right, so that a ValueError of a constructor is reported
    beside everything else. Raises RecipeError with all problems, UsageError for an override that is none.
    """
    tree, origins = read_layers(Path(path), overrides)
    there = without_removed(tree)
    problems = _cross_field(there, registry)
    try:
        recipe = _converter(registry, _given(there), try_out).structure(tree, Recipe)
    except Problems as error:
        problems += error.problems
    if problems:
        raise origins.error(problems)
    return recipe, origins


def read_part(registry: Registry, kind: str, name: str, overrides: Sequence[str] = ()) -> Part:
    """Return a component by name with the settings of `--set KEY=VALUE`, checked as a recipe's table would be.

    Raises RecipeError with every problem, UsageError for an override that is none.
    """
    table, places = lay_overrides({"type": name}, overrides)
    cls = next(cls for cls in Part.__subclasses__() if cls.kind == kind)
    try:
        part: Part = _converter(registry, {}, None).structure(table, cls)
        return part
    except Problems as error:
        raise Origins(overrides=places).error(error.problems) from None


def _given(tree: Mapping[str, Any]) -> dict[str, int]:
    """Return the scale and steps that components are tried with: the recipe's, or plain ones where these are wrong."""
    train = tree.get("train")
    scale: Any = tree.get("scale")
    steps: Any = train.get("steps") if isinstance(train, Mapping) else None
    return {
        "scale": scale if _is_right(fields(Recipe).scale, scale) else 2,
        "steps": steps if _is_right(fields(Train).steps, steps) else 1_000,
    }


def _is_right(field: Any, value: Any) -> bool:
    """Say whether a value is an integer within the range of a field."""
    return type(value) is int and not _out_of_range(field, value)


def _cross_field(tree: Mapping[str, Any], registry: Registry) -> list[Problem]:
    """Check what one key says of another. A key that is wrong by itself is left to the converter."""
    problems = []
    data, train = (tree[key] if isinstance(tree.get(key), Mapping) else {} for key in ("data", "train"))
    scale = tree.get("scale")
    parts = {"architecture": tree.get("architecture"), "degradation": data.get("degradation")}
    for kind, part in parts.items():
        name = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(name, str) or not _is_right(fields(Recipe).scale, scale):
            continue
        try:
            scales = registry.find(kind, name).component.facts.get("scales", (scale,))
        except ComponentError:
            continue
        if scale not in scales:
            offered = ", ".join(map(str, scales))
            problems.append(Problem(("scale",), f"{kind} '{name}' has scales {offered}, not {scale}"))
    problems += _patch_problems(tree, registry)
    batch, accumulate = data.get("batch", 16), train.get("accumulate", 1)
    if type(batch) is int and type(accumulate) is int and batch > 0 and accumulate > 0 and batch % accumulate:
        message = f"accumulate is {accumulate}, which does not divide data.batch, {batch}"
        problems.append(Problem(("train", "accumulate"), message))
    device = train.get("device", "auto")
    if isinstance(device, str) and not re.fullmatch(fields(Train).device.metadata["pattern"], device):
        message = f"unknown device '{device}'; there are: auto, cpu, cuda, cuda:0, mps"
        problems.append(Problem(("train", "device"), message))
    start = tree.get("start")
    if isinstance(start, Mapping):
        if start.get("weights") and start.get("recipe"):
            problems.append(Problem(("start", "recipe"), "start.weights is set, too: give one of them"))
        if start.get("fresh") and not (start.get("weights") or start.get("recipe")):
            text = "'fresh' says what may be new beside start.weights or start.recipe, and neither is set"
            problems.append(Problem(("start", "fresh"), text))
        if start.get("key") and not start.get("weights"):
            text = "'key' says which network of start.weights is taken, and that is not set"
            problems.append(Problem(("start", "key"), text))
    problems += [Problem((key,), f"'{key}' must have an entry") for key in ("loss", "metric") if tree.get(key) == []]
    sets = tree.get("validate")
    names = [entry.get("name") for entry in sets if isinstance(entry, Mapping)] if isinstance(sets, list) else []
    for i, given_name in enumerate(names):
        if isinstance(given_name, str) and given_name in names[:i]:
            problems.append(Problem(("validate", i, "name"), f"two validation sets are named '{given_name}'"))
    return problems


def _patch_problems(tree: Mapping[str, Any], registry: Registry) -> list[Problem]:
    """Check that training windows are of a size that the network takes as it is: padding would be trained, too."""
    data, part = tree.get("data"), tree.get("architecture")
    patch = data.get("patch", fields(Data).patch.default) if isinstance(data, Mapping) else None
    name = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(name, str) or not _is_right(fields(Data).patch, patch):
        return []
    try:
        facts = registry.find("architecture", name).component.facts
    except ComponentError:
        return []
    least, multiple = facts.get("min_size", 1), facts.get("multiple_of", 1)
    where = ("data", "patch")
    if patch < least:
        return [Problem(where, f"'patch' is {patch}, and architecture '{name}' takes {least} pixels at least")]
    if patch % multiple:
        return [Problem(where, f"'patch' is {patch}, and architecture '{name}' takes multiples of {multiple}")]
    return []


class Problems(Exception):
    """Carries the problems of a table through the converter."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = list(problems)


def _converter(registry: Registry, given: Mapping[str, int], try_out: TryOut | None) -> cattrs.Converter:
    """Return a converter that takes no value for another: no "4" for 4, no 4.9 for 4; an integer is a fine float."""
    strict = cattrs.Converter()
    for scalar in (bool, int, float, str):
        strict.register_structure_hook(scalar, _scalar)
    hooks: list[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]]] = [
        (lambda t: typing.get_origin(t) is Literal, _choice),
        (lambda t: typing.get_origin(t) in (Union, types.UnionType), lambda v, t: _union(strict, v, t)),
        (lambda t: typing.get_origin(t) in (list, tuple), lambda v, t: _array(strict, v, t)),
        (lambda t: typing.get_origin(t) is dict, lambda v, t: _dictionary(strict, v, t)),
        (lambda t: inspect.isclass(t) and attrs.has(t), lambda v, t: _table(strict, v, t)),
        (
            lambda t: inspect.isclass(t) and issubclass(t, Part),
            lambda v, t: _part(strict, registry, given, try_out, v, t),
        ),
    ]
    for predicate, hook in hooks:  # cattrs asks the last registered first
        strict.register_structure_hook_func(predicate, hook)
    return strict


def _structure(strict: cattrs.Converter, value: Any, cls: Any, key: str | int, problems: list[Problem]) -> Any:
    """Return a value structured; what is wrong with it goes to `problems`, under its key."""
    try:
        return strict.structure(value, cls)
    except Problems as error:
        problems += [problem.below(key) for problem in error.problems]
    except ValueError as error:
        name = f"'{key}'" if isinstance(key, str) else f"entry {key}"
        problems.append(Problem((key,), f"{name} {error}"))
    return None


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
        except (ValueError, Problems):
            continue
    raise ValueError(f"must be {of_type(cls)}, not {_show(value)}")


def _array(strict: cattrs.Converter, value: Any, cls: Any) -> Any:
    origin, members = typing.get_origin(cls), typing.get_args(cls)
    fixed = origin is tuple and Ellipsis not in members
    if isinstance(value, str) and value.lstrip().startswith("["):  # --set took it for text, since it is no TOML
        raise ValueError(f'must be an array in which text stands in quotes, ["l1", "l2"], not {_show(value)}')
    if not isinstance(value, list):
        what = "a " + type_name(cls)
        named = isinstance(value, str) and (members[0] is str or _is_part(members[0])) and not value.startswith("{")
        if named and (_is_part(members[0]) or "," in value):
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


def _is_part(cls: Any) -> bool:
    return inspect.isclass(cls) and issubclass(cls, Part)


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
            problems += _out_of_range(field, values[name])
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
    return f"; did you mean '{found[0]}'?" if found else ""


def _refuse_bare_table(value: Any) -> None:
    """Raise ValueError for a table that --set took for text, since it is no TOML."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        bare = r"=\s*(?!true\b|false\b)([A-Za-z_./~][^,}\"']*?)(\s*[,}])"
        quoted = re.sub(bare, r'= "\1"\2', value.strip())
        raise ValueError(f"must be a table in which text stands in quotes, {quoted}, not {_show(value)}")


def _out_of_range(field: Any, value: Any) -> list[Problem]:
    least, below = field.metadata.get("least"), field.metadata.get("below")
    if value is None or least is None or (value >= least and (below is None or value < below)):
        return []
    upper = "" if below is None else f" and below {below}"
    return [Problem((field.name,), f"'{field.name}' must be at least {least}{upper}, not {value}")]


def _part(
    strict: cattrs.Converter,
    registry: Registry,
    given: Mapping[str, int],
    try_out: TryOut | None,
    value: Any,
    cls: type[Part],
) -> Part:
    """Check a component's table against the signature of its target, and write its defaults out."""
    _refuse_bare_table(value.get("type") if isinstance(value, Mapping) else value)
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table with a type, or the name of a component, not {_show(value)}")
    removed = [key for key, member in value.items() if member is REMOVED]
    value = {key: member for key, member in value.items() if member is not REMOVED}
    if "type" not in value:
        raise Problems([Problem((), f"missing key 'type': which {cls.kind}?")])
    if not isinstance(value["type"], str):
        raise Problems([Problem(("type",), f"'type' must be a string, not {_show(value['type'])}")])
    own = {field.name: field for field in fields(cls) if field.name not in ("type", "settings")}
    try:
        component = registry.find(cls.kind, value["type"]).component
        target = component.load()
        known = read_settings(target, KINDS[cls.kind].given)
    except ComponentError as error:
        is_path = cls.kind == "dataset" and os.path.exists(value["type"])
        hint = f'; a path is written {{ type = "...", path = "{value["type"]}" }}' if is_path else ""
        problems = [Problem(("type",), f"{error}{hint or _plugins_hint(registry, str(error))}", cause=error)]
        for key in own.keys() & value.keys():
            _structure(strict, value[key], own[key].type, key, problems)
        raise Problems(problems) from None

    problems = []
    extra: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for key, member in value.items():
        if key in own:
            extra[key] = _structure(strict, member, own[key].type, key, problems)
            problems += _out_of_range(own[key], extra[key])
        elif key in known:
            settings[key] = _structure(strict, member, known[key].type, key, problems)
    for key in [*value, *removed]:
        if key not in own and key not in known and key != "type":
            advice = advice_on(key, target, KINDS[cls.kind].given, [*known, *own])
            problems.append(Problem((key,), f"unknown setting '{key}' of {cls.kind} '{component.name}'{advice}"))
    for name, setting in known.items():
        if setting.default is REQUIRED and name not in value:
            what = f"missing setting '{name}' of {cls.kind} '{component.name}' ({type_name(setting.type)})"
            problems.append(Problem((), what))
        elif name not in value:
            # What TOML cannot write (None, an infinity) stays the target's own default.
            with contextlib.suppress(ValueError, Problems):
                settings[name] = strict.structure(_as_toml(setting.default), setting.type)
    if problems:
        raise Problems(problems)
    part = cls(value["type"], {name: settings[name] for name in known if name in settings}, **extra)
    if try_out is not None:
        scales = component.facts.get("scales", ())
        if scales and given["scale"] not in scales:  # a problem of its own, which the constructor would repeat
            given = {**given, "scale": scales[0]}
        try:
            try_out(part, given)
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            rejected = error.path if isinstance(error, InputRejected) else ""
            missing = bool(rejected) and not os.path.exists(rejected) and cls.kind == "dataset"
            path = tuple(name for name in value if rejected and settings.get(name) == rejected)[:1]
            raise Problems([Problem(path, reason_of(error), missing, error)]) from None
    return part


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
