"""What a component's target has made: whether it is anything that its kind can be used as."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from torch.optim import Optimizer

from srkit.errors import ComponentError
from srkit.plugin.component import Component
from srkit.plugin.contracts import Observer

# What is used of those kinds that are not called.
MEMBERS = {
    "dataset": ("__len__", "name", "size", "read", "lr", "fingerprint"),
    "writer": ("add", "finish", "close"),
}
CLASSES = {"architecture": nn.Module, "optimizer": Optimizer}
EVENTS = tuple(name for name in vars(Observer) if inspect.isfunction(vars(Observer)[name]) and name[0] != "_")


def checked(component: Component, made: Any) -> Any:
    """Return what a target has made. Raises ComponentError where it is of no use: a forgotten `return`, most often."""
    kind = component.kind
    if kind in CLASSES:
        fault = "" if isinstance(made, CLASSES[kind]) else f"no torch {CLASSES[kind].__name__}"
    elif kind in MEMBERS:
        lacking = [name for name in MEMBERS[kind] if not hasattr(made, name)]
        fault = f"which has no {', no '.join(lacking)}" if lacking else ""
    elif kind == "observer":
        has_one = any(callable(getattr(made, event, None)) for event in EVENTS)
        fault = "" if has_one else f"which has none of {', '.join(EVENTS)}"
    else:
        fault = "" if callable(made) else "which cannot be called"
    if fault:
        raise ComponentError(f"{kind} '{component.name}' makes a {type(made).__name__}, {fault}")
    return made
