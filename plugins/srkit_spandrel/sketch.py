"""Networks made without memory for their weights, though their constructors look at values."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What constructors make numbers with and read them again: rates of layers, places in a window, notes in a buffer.
READ = (torch.arange, torch.linspace, torch.tensor)
LONGEST = 64  # of torch.arange: windows are squared, and squared again


class Sketch(TorchFunctionMode):
    """Within `torch.device("meta")`: leaves on the CPU what is small and read, and takes nothing else from there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == torch.Tensor.data.__set__ and args[0].is_meta:  # type: ignore[attr-defined]
            args = (args[0], args[1].to("meta"))
        elif func in READ and (func is not torch.arange or func(*args, **kwargs).numel() <= LONGEST):
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)
