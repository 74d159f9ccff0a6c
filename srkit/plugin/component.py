"""Components: names for callables, and what must be known of them."""

from __future__ import annotations

import contextlib
import importlib
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from srkit.errors import ComponentError, SrkitError, describe, nearest, reason_of


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
        raise ComponentError(f"{component.kind} '{component.name}': {reason_of(error)}") from error
