"""Whether what a component's target returned is a usable object of its kind."""

from __future__ import annotations

import importlib
from typing import Any

from srkit.errors import ComponentError
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS
from srkit.plugin.kind import Kind, methods


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
