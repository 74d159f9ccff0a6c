"""Networks made without memory for their weights, though their constructors look at values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# What constructors make numbers with and read them again: rates of layers, places in a window, notes in a buffer.
READ = (torch.arange, torch.linspace, torch.tensor)
LONGEST = 64  # of torch.arange: windows are squared, and squared again


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
