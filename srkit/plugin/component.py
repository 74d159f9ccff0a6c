"""Components, and the signature of their target read as settings."""

from __future__ import annotations

import builtins
import importlib
import inspect
import os
import sys
import traceback
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Union

import attrs

from srkit.errors import ComponentError, did_you_mean, nearest

REQUIRED: Any = inspect.Parameter.empty


@attrs.frozen
class Component:
    """A name for a callable, and what must be known of it without importing it.

    `target` is "package.module:Name"; it is imported when the component is first used, never to list it.
    `facts` are the keys that the component's kind allows (see `srkit.plugin.contracts`). `missing` says what must be
    installed before a component can be used that is named nevertheless, so that people learn of it.
    """

    kind: str
    name: str
    target: str
    summary: str = attrs.field(default="", kw_only=True)
    source: str = attrs.field(default="", kw_only=True)
    facts: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    missing: str = attrs.field(default="", kw_only=True)

    def load(self) -> Callable[..., Any]:
        """Import the target and return it. Raises ComponentError, with the import's own error as its cause."""
        if self.missing:
            raise ComponentError(f"{self.kind} '{self.name}' cannot be used: {self.missing}")
        module_name, _, attribute = self.target.partition(":")
        try:
            target: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                target = getattr(target, part)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may do anything when it is imported, SystemExit included
            reason = f"importing {self.target} failed with {describe(error)}"
            if isinstance(error, AttributeError) and module_name in sys.modules:
                near = nearest(attribute, vars(sys.modules[module_name]))
                reason += f"; did you mean '{module_name}:{near}'?" if near not in (None, attribute) else ""
            raise ComponentError(f"{self.kind} '{self.name}' cannot be used: {reason}") from error
        if not callable(target):
            raise ComponentError(f"{self.kind} '{self.name}' cannot be used: {self.target} is not callable")
        return typing.cast("Callable[..., Any]", target)


def describe(error: BaseException) -> str:
    """Return an error as one line, "ImportError: no module named x"."""
    text = " ".join(str(error).split()).partition(" Exception raised from ")[0]  # torch adds the stack of its C++
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def located(error: BaseException) -> str:
    """Return an error as one line, with the place in the component's own file that it came from."""
    own = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename]
    last = frames[-1] if frames else None
    if last is None or last.filename.startswith(own):
        return describe(error)
    here = os.path.join(os.getcwd(), "")
    return f"{describe(error)} ({last.filename.removeprefix(here)}:{last.lineno})"


@attrs.frozen
class Fact:
    """What a component may state of itself under a name: the type of its value, what it means, and what holds where it
    is not stated (None: nothing is known)."""

    type: Any
    meaning: str
    default: Any = None

    def holds(self, value: Any) -> bool:
        """Say whether a value is of the fact's type."""
        return _is(self.type, value)


def _is(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return any(type(choice) is type(value) and choice == value for choice in arguments)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_is(arguments[0], member) for member in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(
            _is(arguments[0], key) and _is(arguments[1], member) for key, member in value.items()
        )
    return type(value) is hint


@attrs.frozen
class Kind:
    """A row of `srkit.plugin.contracts`: what targets are given beside their settings, and the facts that a component
    may state."""

    name: str
    given: tuple[str, ...]
    facts: Mapping[str, Fact]
    summary: str
    plural: str


@attrs.frozen
class Setting:
    """One typed keyword parameter of a target. `default` is REQUIRED where there is none."""

    name: str
    type: Any
    default: Any
    doc: str

    @property
    def required(self) -> bool:
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
            continue  # an optimizer's first argument, whatever its name
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
