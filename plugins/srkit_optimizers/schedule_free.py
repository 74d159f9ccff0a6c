"""Schedule-free AdamW, of the package pytorch-optimizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pytorch_optimizer.optimizer.schedulefree import ScheduleFreeAdamW
from torch import Tensor, nn

from srkit_optimizers.optimizers import above_zero, below_one, groups_of, not_negative


class ScheduleFree(ScheduleFreeAdamW):
    """The package's optimizer, whose average is computed aside: its own eval() and train() move the weights there and
    back, and round them on the way, so that a run would depend on when it is scored."""

    @torch.no_grad()
    def averaged(self, parameter: Tensor) -> Tensor:
        """Return what a parameter is to be where the network is scored or kept; nothing is changed."""
        end = self.state[parameter].get("z") if parameter in self.state else None
        return parameter if end is None else parameter.lerp(end, 1 - 1 / self.defaults["betas"][0])


def schedule_free(
    parameters: Iterable[nn.Parameter],
    *,
    named_parameters: Iterable[tuple[str, nn.Parameter]] | None = None,
    lr: float = 2.5e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    no_decay: list[str] | None = None,
) -> torch.optim.Optimizer:
    """Return schedule-free AdamW over the parameters: it wants the schedule "constant", with a warm-up.

    What is scored and kept is its average of the weights; statistics of batches are those of the weights themselves.

    Args:
        lr: the learning rate, higher than Adam's; above 0.
        betas: how much of the average the weights keep, above 0, and decay of the running mean of the gradient's
            square; both below 1.
        eps: added to the root of the mean square; above 0.
        weight_decay: how much each step shrinks the weights, times lr; at least 0.
        no_decay: patterns of the names of parameters without weight decay, "*.bias"; each must match one.
    """
    above_zero(lr=lr, eps=eps, **{"betas[0]": betas[0]})
    below_one(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    not_negative(weight_decay=weight_decay)
    groups = groups_of(list(parameters), named_parameters, no_decay)
    made: torch.optim.Optimizer = ScheduleFree(
        groups, lr=lr, betas=(betas[0], betas[1]), weight_decay=weight_decay, eps=eps
    )
    return made
