"""Torch's optimizers with typed signatures.

Each raises ValueError for a setting outside its range. Where all parameters are on CUDA the update is one fused kernel,
elsewhere torch chooses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


def _fused(parameters: list[nn.Parameter]) -> bool | None:
    return True if all(parameter.is_cuda for parameter in parameters) else None


def _above_zero(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value:g}")


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value:g}")


def _below_one(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, not {value:g}")


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Return Adam over the parameters.

    Args:
        lr: the learning rate; above 0.
        betas: decay of the running means of the gradient and of its square; each at least 0 and below 1.
        eps: added to the root of the mean square; above 0.
        weight_decay: L2 penalty, added to the gradient; at least 0.
    """
    _above_zero(lr=lr, eps=eps)
    _below_one(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    _not_negative(weight_decay=weight_decay)
    kept = list(parameters)
    return torch.optim.Adam(kept, lr, (betas[0], betas[1]), eps, weight_decay, fused=_fused(kept))


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> torch.optim.Optimizer:
    """Return Adam with decoupled weight decay over the parameters.

    Args:
        lr: the learning rate; above 0.
        betas: decay of the running means of the gradient and of its square; each at least 0 and below 1.
        eps: added to the root of the mean square; above 0.
        weight_decay: the share of each weight, times lr, that a step takes away; at least 0.
    """
    _above_zero(lr=lr, eps=eps)
    _below_one(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    _not_negative(weight_decay=weight_decay)
    kept = list(parameters)
    return torch.optim.AdamW(kept, lr, (betas[0], betas[1]), eps, weight_decay, fused=_fused(kept))


def sgd(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent over the parameters.

    Args:
        lr: the learning rate; above 0.
        momentum: decay of the running sum of gradients; at least 0 and below 1.
        nesterov: look ahead along the momentum, which must then be above 0.
        weight_decay: L2 penalty, added to the gradient; at least 0.
    """
    _above_zero(lr=lr)
    _below_one(momentum=momentum)
    _not_negative(weight_decay=weight_decay)
    if nesterov and momentum == 0:
        raise ValueError("nesterov needs a momentum above 0")
    kept = list(parameters)
    return torch.optim.SGD(kept, lr, momentum, weight_decay=weight_decay, nesterov=nesterov, fused=_fused(kept))
