"""The gradients of a batch, summed over its parts and over processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from srkit.engine.distributed import World


class Tree:
    """Gradients of a batch's parts, summed in a binary tree over the parts' index: neighbours first.

    Added one after the other, the sum would depend on how many parts a process has; in a tree a process that has an
    aligned power of two of them sums a subtree, and the processes sum the rest.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums: list[list[Tensor | None]] = []  # of 4, 2 and 1 parts where there were 7

    def take(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take a part's gradients away from the parameters."""
        own = []
        for parameter in parameters:
            own.append(parameter.grad)
            parameter.grad = None
        self._count += 1
        pairs = self._count
        while pairs % 2 == 0:
            own = [_sum(earlier, later) for earlier, later in zip(self._sums.pop(), own, strict=True)]
            pairs //= 2
        self._sums.append(own)

    def give(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give the parameters the sums, of a power of two of parts, and begin anew."""
        (sums,) = self._sums
        for parameter, gradient in zip(parameters, sums, strict=True):
            parameter.grad = gradient
        self._count, self._sums = 0, []


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


@torch.no_grad()
def sum_gradients(
    world: World, parameters: Sequence[nn.Parameter], modules: Sequence[nn.Module], spoilt: Tensor, *, ordered: bool
) -> Tensor:
    """Sum the gradients of the parameters over the processes, and return whether the update of one is `spoilt`.

    In the same message the buffers of the first process's modules go to the others: after an update all have one state.
    A parameter without a gradient in all of them stays so, since an optimizer passes it over.
    """
    # Those that training may change; looked up each time, since a module may have put a new one in its place.
    buffers = [b for module in modules for b in module.buffers() if b.is_floating_point()]
    if buffers and not world.is_first:
        torch._foreach_zero_(buffers)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    present = spoilt.new_tensor([p.grad is not None for p in parameters], dtype=torch.float32)
    bad = spoilt.float()
    world.sum([*gradients, *buffers, present, bad], ordered=ordered)
    if any(p.grad is None for p in parameters):
        for parameter, gradient, count in zip(parameters, gradients, present.tolist(), strict=True):
            parameter.grad = gradient if count else None
    return bad > 0
