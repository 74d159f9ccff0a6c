"""Torch's optimizers, and one of a package, with typed signatures.

Each raises ValueError for a setting outside its range. `no_decay` makes two groups of the parameters by their names,
`named_parameters`, which it needs; the second has a weight decay of 0. Where all parameters are on CUDA the update is
one fused kernel, elsewhere torch chooses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn


def _fused(parameters: list[nn.Parameter]) -> bool | None:
    return True if all(parameter.is_cuda for parameter in parameters) else None


def above_zero(**values: float) -> None:
    """Raise ValueError, by its name, for a value that is not above 0."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value:g}")


def not_negative(**values: float) -> None:
    """Raise ValueError, by its name, for a value below 0."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0, not {value:g}")


def below_one(**values: float) -> None:
    """Raise ValueError, by its name, for a value that is not from 0 to below 1."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, not {value:g}")


def groups_of(
    parameters: list[nn.Parameter], named: Iterable[tuple[str, nn.Parameter]] | None, no_decay: list[str] | None
) -> list[Any]:
    """Return the parameters, or groups of them where patterns spare some from weight decay; no group is empty.

    Raises ValueError for a pattern that no name matches. Where a recipe is checked, the only name is "": none is looked
    for.
    """
    if not no_decay:
        return parameters
    if named is None:
        raise ValueError("no_decay needs named_parameters: what has names is given as (name, parameter)")
    names = {id(parameter): name for name, parameter in named}
    known = [name for name in names.values() if name]
    for pattern in no_decay if known else ():
        if not any(fnmatchcase(name, pattern) for name in known):
            more = ", ..." if len(known) > 3 else ""
            raise ValueError(f"no_decay: no parameter is named '{pattern}'; there are {', '.join(known[:3])}{more}")
    spared = {key for key, name in names.items() if any(fnmatchcase(name, pattern) for pattern in no_decay)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if id(p) not in spared]},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    named_parameters: Iterable[tuple[str, nn.Parameter]] | None = None,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    no_decay: list[str] | None = None,
) -> torch.optim.Optimizer:
    """Return Adam over the parameters.

    Args:
        lr: the learning rate; above 0.
        betas: decay of the running means of the gradient and of its square; each at least 0 and below 1.
        eps: added to the root of the mean square; above 0.
        weight_decay: L2 penalty, added to the gradient; at least 0.
        no_decay: patterns of the names of parameters without weight decay, "*.bias"; each must match one.
    """
    above_zero(lr=lr, eps=eps)
    below_one(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    not_negative(weight_decay=weight_decay)
    kept = list(parameters)
    return torch.optim.Adam(
        groups_of(kept, named_parameters, no_decay), lr, (betas[0], betas[1]), eps, weight_decay, fused=_fused(kept)
    )


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    named_parameters: Iterable[tuple[str, nn.Parameter]] | None = None,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    no_decay: list[str] | None = None,
) -> torch.optim.Optimizer:
    """Return Adam with decoupled weight decay over the parameters.

    Args:
        lr: the learning rate; above 0.
        betas: decay of the running means of the gradient and of its square; each at least 0 and below 1.
        eps: added to the root of the mean square; above 0.
        weight_decay: the share of each weight, times lr, that a step takes away; at least 0.
        no_decay: patterns of the names of parameters without weight decay, "*.bias"; each must match one.
    """
    above_zero(lr=lr, eps=eps)
    below_one(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    not_negative(weight_decay=weight_decay)
    kept = list(parameters)
    return torch.optim.AdamW(
        groups_of(kept, named_parameters, no_decay), lr, (betas[0], betas[1]), eps, weight_decay, fused=_fused(kept)
    )


def sgd(
    parameters: Iterable[nn.Parameter],
    *,
    named_parameters: Iterable[tuple[str, nn.Parameter]] | None = None,
    lr: float = 1e-2,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    no_decay: list[str] | None = None,
) -> torch.optim.Optimizer:
    """Return stochastic gradient descent over the parameters.

    Args:
        lr: the learning rate; above 0.
        momentum: decay of the running sum of gradients; at least 0 and below 1.
        nesterov: look ahead along the momentum, which must then be above 0.
        weight_decay: L2 penalty, added to the gradient; at least 0.
        no_decay: patterns of the names of parameters without weight decay, "*.bias"; each must match one.
    """
    above_zero(lr=lr)
    below_one(momentum=momentum)
    not_negative(weight_decay=weight_decay)
    if nesterov and momentum == 0:
        raise ValueError("nesterov needs a momentum above 0")
    kept = list(parameters)
    groups = groups_of(kept, named_parameters, no_decay)
    return torch.optim.SGD(groups, lr, momentum, weight_decay=weight_decay, nesterov=nesterov, fused=_fused(kept))


def adan(
    parameters: Iterable[nn.Parameter],
    *,
    named_parameters: Iterable[tuple[str, nn.Parameter]] | None = None,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    no_decay: list[str] | None = None,
) -> torch.optim.Optimizer:
    """Return Adan over the parameters, of the package pytorch-optimizer.

    Args:
        lr: the learning rate; above 0.
        betas: decay of the running means of the gradient, of its change and of the square of both; each at least 0 and
            below 1.
        eps: added to the root of the mean square; above 0.
        weight_decay: how much each step shrinks the weights, times lr; at least 0.
        no_decay: patterns of the names of parameters without weight decay, "*.bias"; each must match one.
    """
    from pytorch_optimizer.optimizer.adan import Adan

    above_zero(lr=lr, eps=eps)
    below_one(**{f"betas[{i}]": beta for i, beta in enumerate(betas)})
    not_negative(weight_decay=weight_decay)
    groups = groups_of(list(parameters), named_parameters, no_decay)
    made: torch.optim.Optimizer = Adan(
        groups, lr=lr, betas=(betas[0], betas[1], betas[2]), weight_decay=weight_decay, eps=eps
    )
    return made
