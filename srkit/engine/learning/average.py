"""A moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


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
