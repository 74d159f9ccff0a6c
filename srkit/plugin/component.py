"""Components, names for callables with what must be known of them, and the hook by which a plugin gives them."""

from __future__ import annotations

import contextlib
import importlib
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
import pluggy

from srkit.errors import ComponentError, SrkitError, located, nearest, public, reason_of
from srkit.plugin.contracts import KINDS
from srkit.plugin.settings import read_settings

hookspec = pluggy.HookspecMarker("srkit")
hookimpl = pluggy.HookimplMarker("srkit")

LONGEST = 200  # characters of a summary: it is a line of a table


def one_line(text: Any, most: int = LONGEST) -> Any:
    """Return a text on one line, cut where it is longer than `most` characters; what is no text as it is."""
    if not isinstance(text, str):
        return text
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@attrs.frozen
class Component:
    """A name for a callable, and what must be known of it without importing it.

    `target` is "package.module:Name"; it is imported when the component is first used, never to list it.
    `facts` are the keys that the component's kind allows (see `srkit.plugin.contracts`). `missing` says what must be
    installed before a component can be used that is named nevertheless, so that people learn of it. `summary` and
    `source` are a line each, of at most 200 characters: what is longer is cut.
    """

    kind: str
    name: str
    target: str
    summary: str = attrs.field(default="", kw_only=True, converter=one_line)
    source: str = attrs.field(default="", kw_only=True, converter=one_line)
    facts: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    missing: str = attrs.field(default="", kw_only=True)

    def load(self) -> Callable[..., Any]:
        """Import the target and return it.

        Raises ComponentError, with the import's own error as its cause, and for a target that recipes could not set.
        """
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
            reason = f"importing {public(self.target)} failed with {located(error)}"
            if isinstance(error, AttributeError) and module_name in sys.modules:
                near = nearest(attribute, vars(sys.modules[module_name]))
                reason += f"; did you mean '{public(module_name)}:{near}'?" if near not in (None, attribute) else ""
            raise ComponentError(f"{self.kind} '{self.name}' cannot be used: {reason}") from error
        if not callable(target):
            raise ComponentError(f"{self.kind} '{self.name}' cannot be used: {self.target} is not callable")
        self.refuse_keys(target)
        return typing.cast("Callable[..., Any]", target)

    def facts_of(self, made: Any) -> Mapping[str, Any]:
        """Return what is known of an object that the target made: an attribute of it, of a fact's name and type, goes
        before the fact, which may depend on settings then."""
        known = KINDS[self.kind].facts
        own = {name: getattr(made, name) for name in known if name != "deviations" and hasattr(made, name)}
        return {**self.facts, **{name: value for name, value in own.items() if known[name].holds(value)}}

    def refuse_keys(self, target: Any) -> None:
        """Raise ComponentError for a setting whose name is a key of srkit's: a recipe could never set it."""
        kind = KINDS.get(self.kind)
        if kind is None:
            return
        try:
            settings = read_settings(target, kind.given)
        except (ComponentError, TypeError, ValueError):  # who reads the settings is told then
            return
        for name in kind.keys:
            if name in settings:
                raise ComponentError(
                    f"{self.kind} '{self.name}' cannot be used: no recipe could set its parameter '{name}', since "
                    f"'{name}' in a table of kind '{self.kind}' is srkit's own key; give the parameter another name"
                )


@hookspec
def srkit_components() -> Iterable[Component]:  # type: ignore[empty-body]
    """Return the components that this plugin gives, as a list or by yielding them.

    Called once, when the plugin is loaded. It only declares: what a component's target needs (torch, numpy) is
    imported when the component is used.
    """


@contextlib.contextmanager
def making(component: Component, *passing: type[Exception]) -> Iterator[None]:
    """Raise ComponentError, a line, for anything that a component's target raises when it is called.

    Errors that are lines already, a lack of memory, a person's Ctrl-C and what is `passing` pass through.
    """
    ours: tuple[type[BaseException], ...] = (SrkitError, MemoryError, KeyboardInterrupt, *passing)
    try:
        yield
    except ours:
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        # A registry notes which part within the component it was.
        within = [note for note in reversed(getattr(error, "__notes__", ())) if note.partition(" '")[0] in KINDS]
        where = ": ".join((f"{component.kind} '{component.name}'", *within))
        raise ComponentError(f"{where}: {reason_of(error)}") from error
