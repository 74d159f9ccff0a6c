"""Averages of a network's weights, which are scored and kept in their place."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Averaged(Protocol):
    """A copy of a network with other weights than its own."""

    @property
    def module(self) -> nn.Module:
        """The copy, as it is now."""

    def update(self, network: nn.Module, *, first: bool) -> None:
        """Take an update of the network in."""


def average_of(network: nn.Module, decay: float, optimizer: Optimizer) -> Averaged | None:
    """Return the moving average, where there is a decay, or else the optimizer's own average, where it has one."""
    if decay:
        return Average(network, decay)
    return OptimizersAverage(network, optimizer) if callable(getattr(optimizer, "averaged", None)) else None


class OptimizersAverage:
    """A copy of a network whose parameters are what its optimizer says of each; buffers are copied."""

    def __init__(self, network: nn.Module, optimizer: Any) -> None:
        _detach_computed(network)
        self._copy, self._network, self._optimizer = copy.deepcopy(network), network, optimizer

    @property
    def module(self) -> nn.Module:
        """The copy, as it is now: worked out anew each time."""
        with torch.no_grad():
            for own, parameter in zip(self._copy.parameters(), self._network.parameters(), strict=True):
                own.copy_(self._optimizer.averaged(parameter))
            for buffer, current in zip(self._copy.buffers(), self._network.buffers(), strict=True):
                buffer.copy_(current)
        return self._copy

    def update(self, network: nn.Module, *, first: bool) -> None:
        """Do nothing: the optimizer has its average in its state."""


class Average:
    """A copy of a network whose parameters follow its own slowly; buffers are copied.

    Averaged, a table of indices and a mask of -inf would be spoilt.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        _detach_computed(network)
        self.module = copy.deepcopy(network)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, *, first: bool) -> None:
        """Take an update of the network in; the first is taken as it is. Nothing waits for the device."""
        averaged, current = ([p.detach() for p in of.parameters()] for of in (self.module, network))
        if first:
            torch._foreach_copy_(averaged, current)
        else:
            torch._foreach_lerp_(averaged, current, 1 - self._decay)
        for buffer, own in zip(self.module.buffers(), network.buffers(), strict=True):
            buffer.copy_(own)


def _detach_computed(network: nn.Module) -> None:
    """Detach tensors that modules have computed and keep: torch copies none that has a history.

    The first weight norm and spectral norm of torch keep a layer's weight so; they compute it anew for each call.
    """
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                vars(module)[name] = value.detach()
