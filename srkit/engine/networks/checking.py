"""Whether what a component's target returned is a usable object of its kind."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from srkit.engine.networks.calling import takes
from srkit.errors import ComponentError
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS
from srkit.plugin.kind import Kind, methods

# Kinds of which a fact says what is called with what: the fact, and what it is called with where that is true or not.
_CALLED = {
    "degradation": ("deterministic", {True: ("hr",), False: ("hr", "draws")}),
    "metric": ("reference", {True: ("sr", "hr"), False: ("sr",)}),
}
_INSTEAD = {
    "degradation": "state deterministic=False of one that takes a batch and draws, and of no other",
    "metric": "state reference=False of one that looks at SR alone, and of no other",
}


def callable_as_stated(component: Component, made: Any) -> Any:
    """Return what a target returned, as `checked` does. Raises ComponentError also where it cannot be called as its
    component's facts say."""
    checked(component, made)
    fault = fault_of_call(component, made)
    if fault is not None:
        raise ComponentError(f"{component.kind} '{component.name}' {fault[0]}; {fault[1]}")
    return made


def fault_of_call(component: Component, made: Callable[..., Any]) -> tuple[str, str] | None:
    """Return why a degradation or a metric cannot be called as its facts say, and what to do instead; None where it
    can, and for other kinds."""
    if component.kind not in _CALLED:
        return None
    fact, words = _CALLED[component.kind]
    given = words[component.facts.get(fact, True)]
    if component.kind == "degradation" and takes(made, "size"):
        given = (given[0], "size", *given[1:])
    try:
        inspect.signature(made).bind(*given)
    except TypeError as error:
        return f"cannot be called with {_in_words(given)}: {error}", _INSTEAD[component.kind]
    except ValueError:  # it has no signature that could be read
        pass
    return None


def _in_words(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def checked(component: Component, made: Any) -> Any:
    """Return what a target returned. Raises ComponentError where it is not usable: a forgotten `return`, most often."""
    fault = _fault(KINDS[component.kind], made)
    if fault:
        raise ComponentError(f"{component.kind} '{component.name}' makes a {type(made).__name__}, {fault}")
    return made


def _fault(kind: Kind, made: Any) -> str:
    """Return what is wrong with an object of a kind, or nothing."""
    if kind.makes:
        module, _, name = kind.makes.partition(":")
        return "" if isinstance(made, getattr(importlib.import_module(module), name)) else f"no torch {name}"
    wanted = methods(kind.protocols[0])
    if "__call__" in wanted:
        return "" if callable(made) else "which cannot be called"
    if kind.events:
        has_one = any(callable(getattr(made, event, None)) for event in wanted)
        return "" if has_one else f"which has none of {', '.join(wanted)}"
    lacking = [name for name in wanted if not hasattr(made, name)]
    return f"which has no {', no '.join(lacking)}" if lacking else ""
