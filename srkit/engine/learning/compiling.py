"""torch.compile, for the blocks that a network repeats: each class is compiled once, in a fraction of the time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def compiled(network: nn.Module) -> Callable[..., Any]:
    """Return what computes a network's output with compiled parts.

    Where the network repeats a block, its blocks are compiled in place: instances of a class share the compiled code.
    Names of parameters stay. Otherwise the whole network is compiled. See `plain`.
    """
    blocks = repeated_blocks(network)
    if not blocks:
        return torch.compile(network)
    for block in blocks:
        block.compile()
    return network


def repeated_blocks(network: nn.Module) -> list[nn.Module]:
    """Return the outermost modules whose class occurs several times in a network, torch's own classes left out.

    Only classes of which an instance has parameters count.
    """
    counts = Counter(type(module) for module in network.modules())
    found: list[nn.Module] = []

    def walk(module: nn.Module) -> None:
        for child in module.children():
            own = not type(child).__module__.startswith("torch.")
            if own and counts[type(child)] > 1 and any(True for _ in child.parameters()):
                found.append(child)
            else:
                walk(child)

    walk(network)
    return found


def plain() -> contextlib.AbstractContextManager[None]:
    """Return a context in which compiled networks compute as if they were not: for images of many sizes, each of which
    would be compiled anew."""
    stance: contextlib.AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance
