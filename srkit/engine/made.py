"""What a component's target has made: whether it is anything that its kind can be used as."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from srkit.component import Component
from srkit.errors import ComponentError

# What is used of those kinds that are not called.
MEMBERS = {
    "dataset": ("__len__", "name", "size", "read", "lr", "fingerprint"),
    "writer": ("add", "finish", "close"),
}
CLASSES = {"architecture": nn.Module, "optimizer": Optimizer}
EVENTS = ("run_started", "logged", "validated", "saved", "run_ended")


def checked(component: Component, made: Any) -> Any:
    """Return what a target has made. Raises ComponentError where it is of no use: a forgotten `return`, most often."""
    kind = component.kind
    if kind in CLASSES:
        fault = "" if isinstance(made, CLASSES[kind]) else f"no torch {CLASSES[kind].__name__}"
    elif kind in MEMBERS:
        lacking = [name for name in MEMBERS[kind] if not hasattr(made, name)]
        fault = f"which has no {', no '.join(lacking)}" if lacking else ""
    elif kind == "observer":
        fault = "" if any(hasattr(made, event) for event in EVENTS) else "which has none of an observer's methods"
    else:
        fault = "" if callable(made) else "which cannot be called"
    if fault:
        raise ComponentError(f"{kind} '{component.name}' makes a {type(made).__name__}, {fault}")
    return made
