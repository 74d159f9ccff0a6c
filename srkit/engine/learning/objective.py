"""What training minimises: the losses of a recipe, with their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from torch import Tensor, nn

from srkit.engine.builder import Builder, numbered
from srkit.recipe.recipe import LossPart


@attrs.frozen
class WeightedLoss:
    """One term. `is_sum`: the loss is a sum over the batch, so that the parts of a batch add up by themselves."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    weight: float
    is_sum: bool


def make_losses(builder: Builder, parts: Sequence[LossPart]) -> list[WeightedLoss]:
    """Return the losses, each with a name that no other has: l1, l1_2."""
    losses = []
    for part, name in zip(parts, numbered([part.type for part in parts]), strict=True):
        function = builder.make(part)
        reduction = getattr(function, "reduction", builder.facts(part).get("reduction", "mean"))
        losses.append(WeightedLoss(name, function, part.weight, reduction == "sum"))
    return losses


def trainable(network: nn.Module, losses: Sequence[WeightedLoss]) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters to train, with their names: the network's, and its losses' behind the loss's name."""
    modules = {"": network, **{f"{loss.name}.": loss.function for loss in losses}}
    return [
        (prefix + name, parameter)
        for prefix, module in modules.items()
        if isinstance(module, nn.Module)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
