"""Networks made without memory for their weights, though their constructors look at values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

# What constructors make numbers with and read them again: rates of layers, places in a window, notes in a buffer.
READ = (torch.arange, torch.linspace, torch.tensor)
LONGEST = 64  # of torch.arange: windows are squared, and squared again


# Modules, parameters and buffers of a network. The largest of the field have some ten thousand.
MOST_PARTS = 50_000


class TooManyParts(ValueError):
    """Raised while a network is made that has more parts than it may."""


@contextlib.contextmanager
def at_most(parts: int) -> Iterator[None]:
    """Let nothing be made here that registers more modules, parameters and buffers than this. Raises TooManyParts.

    A setting of a file or a recipe may ask for any number of them, and each takes time and memory.
    """
    count = 0

    def register(*registered: Any) -> None:
        nonlocal count
        count += 1
        if count > parts:
            raise TooManyParts(f"the network has more than {parts:,} modules, parameters and buffers")

    hooks = [
        torch_module.register_module_module_registration_hook(register),
        torch_module.register_module_parameter_registration_hook(register),
        torch_module.register_module_buffer_registration_hook(register),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def sketch(create: Callable[[], nn.Module]) -> nn.Module | None:
    """Return the network that `create` makes with its weights on the meta device, or None where torch cannot.

    What else `create` raises passes through. Chance is left as it was.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), _FewValues():
            return create().to("meta")
    except RuntimeError as error:  # NotImplementedError is one, too
        if "meta" not in str(error):
            raise
        return None


def sketch_or_make(create: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that `create` makes, without memory where that can be. Chance is left as it was."""
    sketched = sketch(create)
    if sketched is not None:
        return sketched
    with torch.random.fork_rng(devices=[]):
        return create()


class _FewValues(TorchFunctionMode):
    """Within `torch.device("meta")`: leaves on the CPU what is small and read, and takes nothing else from there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == torch.Tensor.data.__set__ and args[0].is_meta:  # type: ignore[attr-defined]
            args = (args[0], args[1].to("meta"))
        elif func in READ:
            count = func(*args, **kwargs).numel()
            # An empty tensor is how torch.get_default_device() asks.
            if count and (func is not torch.arange or count <= LONGEST):
                kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)
