"""Optimizers, and schedules of the learning rate."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    from importlib.util import find_spec

    package = "pytorch_optimizer"
    missing = "" if find_spec(package) else "it needs pytorch-optimizer: pip install 'srkit[optimizers]'"
    yield srkit.Component(
        "optimizer", "adam", "srkit_optimizers.optimizers:adam", summary="Adam", source="arXiv:1412.6980"
    )
    yield srkit.Component(
        "optimizer",
        "adamw",
        "srkit_optimizers.optimizers:adamw",
        summary="Adam with decoupled weight decay",
        source="arXiv:1711.05101",
    )
    yield srkit.Component(
        "optimizer", "sgd", "srkit_optimizers.optimizers:sgd", summary="Stochastic gradient descent with momentum"
    )
    yield srkit.Component(
        "optimizer",
        "adan",
        "srkit_optimizers.optimizers:adan",
        summary="Adam with a Nesterov momentum of the gradient's changes",
        source="arXiv:2208.06677",
        missing=missing,
    )
    yield srkit.Component(
        "optimizer",
        "schedule_free",
        "srkit_optimizers.schedule_free:schedule_free",
        summary="AdamW that needs no schedule, since it averages the weights",
        source="arXiv:2405.15682",
        missing=missing,
    )
    yield srkit.Component(
        "schedule", "constant", "srkit_optimizers.schedules:constant", summary="The same learning rate at every step"
    )
    yield srkit.Component(
        "schedule",
        "multistep",
        "srkit_optimizers.schedules:multistep",
        summary="A lower learning rate from each milestone",
    )
    yield srkit.Component(
        "schedule",
        "cosine",
        "srkit_optimizers.schedules:cosine",
        summary="Half a cosine from 1 to a minimum",
        source="arXiv:1608.03983",
    )
    yield srkit.Component(
        "schedule",
        "sequence",
        "srkit_optimizers.schedules:sequence",
        summary="Schedules one after the other, as restarts of a cosine",
    )
