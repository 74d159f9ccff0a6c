"""The signature of a target, read as settings, and the target called with them."""

from __future__ import annotations

import builtins
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, Union

import attrs

from srkit.errors import ComponentError, did_you_mean
from srkit.plugin.kind import Kind

if TYPE_CHECKING:
    from srkit.plugin.component import Component

REQUIRED: Any = inspect.Parameter.empty


@attrs.frozen
class Setting:
    """One typed keyword parameter of a target. `default` is REQUIRED where there is none."""

    name: str
    type: Any
    default: Any
    doc: str

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED


class _Unwritable:
    """Stands in for a type that cannot be resolved, and so cannot be written in TOML either."""


def read_settings(target: Callable[..., Any], given: Collection[str] = ()) -> dict[str, Setting]:
    """Return the settings of a target: its typed parameters but for those in `given`, in the signature's order.

    Members of a union that TOML cannot write are dropped; a parameter of which nothing is left, or without a type,
    is no setting. Raises ComponentError where such a parameter has no default either: nobody could call the target.
    """
    function: Any = target.__init__ if inspect.isclass(target) else target
    parameters = list(inspect.signature(function).parameters.values())
    if inspect.isclass(target):
        parameters = parameters[1:]
    hints = _type_hints(function)
    docs = parameter_docs(target, hints)
    found: dict[str, Setting] = {}
    for position, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in given:
            continue
        if position == 0 and "parameters" in given and parameter.kind is not parameter.KEYWORD_ONLY:
            continue  # an optimizer's first argument, under any name
        kept = _writable(hints.get(parameter.name))
        if kept is None:
            if parameter.default is REQUIRED:
                raise ComponentError(
                    f"{_name(target)} cannot be configured: its parameter '{parameter.name}' has neither a type "
                    "that TOML can write nor a default"
                )
            continue
        found[parameter.name] = Setting(parameter.name, kept, parameter.default, docs.get(parameter.name, ""))
    return found


def declared(function: Callable[..., Any], words: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `words` that a callable declares by name; all of them where it takes any keyword, or is of C
    and has no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return dict(words)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(words)
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {name: value for name, value in words.items() if name in names}


def call(kind: Kind, target: Callable[..., Any], words: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """Return what a target makes of its settings and of those of `words` that its kind is given and it declares."""
    given = {name: words[name] for name in kind.given if name in words}
    first = [given.pop(kind.first)] if kind.first in given else []
    return target(*first, **declared(target, given), **settings)


def refuse_unknown(component: Component, names: Collection[str], known: Collection[str]) -> None:
    """Raise ComponentError, naming the nearest setting, if one of `names` is not among `known`."""
    for name in names:
        if name not in known:
            raise ComponentError(
                f"{component.kind} '{component.name}' has no setting '{name}'{did_you_mean(name, known)}"
            )


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
    """Return what of a type TOML can write, or None."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
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
    if origin is Literal:
        return " or ".join(f'"{a}"' if isinstance(a, str) else str(a).lower() for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(a) for a in arguments)
    if origin is list or (origin is tuple and Ellipsis in arguments):
        return f"list of {type_name(arguments[0])}s"
    if origin is tuple:
        names = list(dict.fromkeys(type_name(a) for a in arguments))
        if len(names) == 1:
            return f"list of {len(arguments)} {names[0]}s"
        return f"list of {len(arguments)} values ({', '.join(map(type_name, arguments))})"
    return f"table of {type_name(arguments[1])}s" if origin is dict else str(hint)


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
