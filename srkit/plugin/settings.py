"""The signature of a target, read as settings, and the target called with them."""

from __future__ import annotations

import builtins
import copy
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, Union

import attrs

from srkit.errors import ComponentError, did_you_mean
from srkit.plugin.contracts import KINDS, kind_of
from srkit.plugin.kind import Kind
from srkit.plugin.part import Part, part_within

REQUIRED: Any = inspect.Parameter.empty
NAMED = "named_parameters"  # an optimizer's word: given where it is declared by name, in the first place or behind


@attrs.frozen
class Setting:
    """One keyword parameter of a target that a recipe can set. `default` is REQUIRED where there is none."""

    name: str
    type: Any
    default: Any
    doc: str

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    @property
    def names_components(self) -> bool:
        """Whether its default names components, which are made before the target is called: `loss: Loss = "l1"`."""
        return not self.required and with_parts(self.default, self.type, lambda *_: _UNMADE) != self.default


_UNMADE = object()


class _Attributes(type):
    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Unwritable(metaclass=_Attributes):
    """Stands in for a type, or a module of types, that cannot be resolved, and so cannot be written in TOML either."""


def read_settings(target: Callable[..., Any], given: Collection[str] = ()) -> dict[str, Setting]:
    """Return the settings of a target: its parameters but for those in `given`, in the signature's order.

    Each is of its type, or else of its default's, where that is plain: `nf=64` is an integer, `depths=(6, 6)` a list of
    integers. A kind's protocol becomes that kind's class of parts. Members of a union that TOML cannot write are
    dropped; a parameter of which nothing is left is no setting.
    Raises ComponentError where such a parameter has no default either: nobody could call the target.
    """
    settings, others = _read(target, given)
    for parameter in others:
        if parameter.default is REQUIRED:
            advice = f"; write {parameter.name}: int, or which type it has" if _is_untyped(parameter) else ""
            raise ComponentError(
                f"{_name(target)} cannot be configured: its parameter '{parameter.name}' has neither a type "
                f"that TOML can write nor a default{advice}"
            )
    return settings


def untyped_parameters(target: Callable[..., Any], given: Collection[str] = ()) -> list[inspect.Parameter]:
    """Return the parameters that are no settings for want of a type: their defaults (None, an empty list, a table) do
    not tell it."""
    return [parameter for parameter in _read(target, given)[1] if _is_untyped(parameter)]


def _read(target: Callable[..., Any], given: Collection[str]) -> tuple[dict[str, Setting], list[inspect.Parameter]]:
    """Return the settings of a target, and its parameters that are none and are not given."""
    function: Any = target.__init__ if inspect.isclass(target) else target
    parameters = list(inspect.signature(function).parameters.values())
    if inspect.isclass(target):
        parameters = parameters[1:]
    hints = _type_hints(function)
    docs = parameter_docs(target, hints)
    found: dict[str, Setting] = {}
    others: list[inspect.Parameter] = []
    for position, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in given:
            continue
        if position == 0 and "parameters" in given and parameter.kind is not parameter.KEYWORD_ONLY:
            continue  # an optimizer's first argument, under any name
        kept = _type_of(parameter.default) if _is_untyped(parameter) else _writable(hints.get(parameter.name))
        if kept is None:
            others.append(parameter)
        else:
            found[parameter.name] = Setting(parameter.name, kept, parameter.default, docs.get(parameter.name, ""))
    return found, others


def _is_untyped(parameter: inspect.Parameter) -> bool:
    """Say whether a parameter has no type, or a bare `list`, which does not tell what is in it."""
    return parameter.annotation in (parameter.empty, list, tuple, dict, "list", "tuple", "dict")


def _type_of(default: Any) -> Any:
    """Return the type that a plain default shows, or None: of a number, a text, and lists of one kind of these."""
    if type(default) in (bool, int, float, str):
        return type(default)
    if type(default) not in (list, tuple):
        return None
    members = {_type_of(member) for member in default}
    members -= {int} if members == {int, float} else set()  # (1, 0.5) are numbers
    if len(members) != 1 or None in members:
        return None
    member = members.pop()
    return types.GenericAlias(*((list, member) if type(default) is list else (tuple, (member, ...))))


def declared(function: Callable[..., Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `words` that a callable declares by name; all of them where it takes any keyword, or is of C
    and has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return dict(words)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(words)
    return {name: words[name] for name in named(function, words)}


def named(function: Callable[..., Any], words: Iterable[str]) -> tuple[str, ...]:
    """Return those of `words` that a callable has a parameter for; none where it is of C and has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return ()
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return tuple(word for word in words if word in names)


def call(kind: Kind, target: Callable[..., Any], words: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Return what a target makes of its settings and of those of `words` that its kind is given and it declares."""
    given = {name: words[name] for name in kind.given if name in words}
    names = _parameter_names(target)
    if NAMED not in names:
        given.pop(NAMED, None)  # a target of any keyword hands them on, to torch most often, which takes no such word
    elif names[0] == NAMED:
        given.pop(kind.first, None)
    first = [given.pop(kind.first)] if kind.first in given else []
    return target(*first, **declared(target, given), **settings)


def _parameter_names(target: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(target).parameters)
    except ValueError:  # of C
        return []


def with_parts(value: Any, hint: Any, make: Callable[[str, str, Mapping[str, Any]], Any]) -> Any:
    """Return a setting's value with the components in it made by `make(kind, name, settings)`, and all else copied.

    A component is a part, or by its name or a table with a `type` where the setting's type is a kind's; one that is
    made already stays as it is. A target may append to a list that it is given: so lists and tables are copies.
    """
    if isinstance(value, Part):
        return make(value.kind, value.type, value.settings)
    members = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    for member in members:
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if is_part(member) and isinstance(value, str) and str not in members:
            return make(member.kind, value, {})
        if is_part(member) and isinstance(value, Mapping) and isinstance(value.get("type"), str):
            return make(member.kind, value["type"], {key: entry for key, entry in value.items() if key != "type"})
        if origin in (list, tuple) and isinstance(value, list | tuple):
            entries = [with_parts(entry, arguments[0], make) for entry in value]
            return tuple(entries) if isinstance(value, tuple) else entries
        if origin is dict and isinstance(value, Mapping):
            return {key: with_parts(entry, arguments[1], make) for key, entry in value.items()}
    return copy.deepcopy(value) if isinstance(value, list | dict) else value


def advice_on(name: str, target: Callable[..., Any], given: Collection[str], known: Collection[str]) -> str:
    """Return what to write in place of a setting that a target does not have: the nearest of those `known`, or a type
    where it is a parameter without one."""
    if any(parameter.name == name for parameter in untyped_parameters(target, given)):
        return f": that parameter has no type; write {name}: int, or which type it has, in the signature"
    return did_you_mean(name, known)


def _name(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{getattr(target, '__qualname__', repr(target))}"


def _type_hints(function: Any) -> dict[str, Any]:
    unknown: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(function, localns=unknown)
        except NameError as error:  # imported for type checkers alone: not a type of TOML's
            if error.name is None or error.name in unknown or hasattr(builtins, error.name):
                return {}
            unknown[error.name] = _Unwritable
        except (TypeError, AttributeError):
            return {}


def _writable(hint: Any) -> Any:
    """Return what of a type TOML can write, or None; for a kind's protocol, the class of that kind's parts."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if (kind := kind_of(hint)) is not None:
        return part_within(kind.name)
    if hint in (bool, int, float, str) or origin is Literal:
        return hint
    if inspect.isclass(hint) and issubclass(hint, os.PathLike):
        return str
    if origin in (Union, types.UnionType):
        kept = list(dict.fromkeys(_writable(a) for a in arguments if a is not type(None)))
        kept = [member for member in kept if member is not None]
        return Union[tuple(kept)] if kept else None  # noqa: UP007 (the members are known at run time only)
    if origin in (list, tuple) or _is_abstract(origin, "Sequence", "Iterable", "Collection"):
        members = [_writable(a) for a in arguments if a is not Ellipsis]
        if not members or None in members:
            return None
        if origin is tuple and Ellipsis not in arguments:
            return types.GenericAlias(tuple, tuple(members))
        return types.GenericAlias(
            tuple if origin is tuple else list, (members[0], ...) if origin is tuple else members[0]
        )
    if (origin is dict or _is_abstract(origin, "Mapping")) and arguments and arguments[0] is str:
        member = _writable(arguments[1])
        return None if member is None else types.GenericAlias(dict, (str, member))
    return None


def _is_abstract(origin: Any, *names: str) -> bool:
    return getattr(origin, "__module__", "") == "collections.abc" and origin.__name__ in names


def type_name(hint: Any) -> str:
    """Return a setting's type in TOML's words: "integer", "list of strings", "\\"mean\\" or \\"sum\\""."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    plain = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if hint in plain:
        return plain[hint]
    if is_part(hint):
        return str(hint.kind)
    if origin is Literal:
        return " or ".join(f'"{a}"' if isinstance(a, str) else str(a).lower() for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments)
    if origin is list or (origin is tuple and Ellipsis in arguments):
        return f"list of {_plural(type_name(arguments[0]))}"
    if origin is tuple:
        names = list(dict.fromkeys(type_name(a) for a in arguments))
        if len(names) == 1:
            return f"list of {len(arguments)} {_plural(names[0])}"
        return f"list of {len(arguments)} values ({', '.join(map(type_name, arguments))})"
    return f"table of {_plural(type_name(arguments[1]))}" if origin is dict else str(hint)


def _plural(noun: str) -> str:
    head, of, rest = noun.partition(" of ")
    return f"{KINDS[head].plural if head in KINDS else f'{head}s'}{of}{rest}"


def is_part(hint: Any) -> bool:
    """Say whether a type is a class of parts."""
    return inspect.isclass(hint) and issubclass(hint, Part)


def of_type(hint: Any) -> str:
    """Return a type as a message names it: "an integer", "a list of strings"."""
    noun = type_name(hint)
    if noun[0] == '"':
        return noun
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def parameter_docs(target: Callable[..., Any], names: Collection[str]) -> dict[str, str]:
    """Return what the `Args:` sections of a target's docstring (and of its `__init__`) say of the parameters `names`.

    Indentation is not looked at: a line "name: text" begins a parameter's text, an empty line ends it.
    """
    docs: dict[str, str] = {}
    for text in [target.__doc__, *([target.__init__.__doc__] if inspect.isclass(target) else [])]:
        inside, name = False, ""
        for line in map(str.strip, inspect.cleandoc(text or "").splitlines()):
            head, colon, rest = line.partition(":")
            word = head.partition(" (")[0]
            if line in ("Args:", "Arguments:", "Parameters:"):
                inside, name = True, ""
            elif inside and colon and word in names:
                name = word
                docs[name] = rest.strip()
            elif not line:
                name = ""
            elif inside and name:
                docs[name] = f"{docs[name]} {line}"
    return docs
