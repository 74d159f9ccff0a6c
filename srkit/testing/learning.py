"""What an optimizer and a schedule of the learning rate must do."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srkit import files
from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import Options, Trainer, trainer_of
from srkit.engine.running import checkpoint
from srkit.errors import describe
from srkit.testing.check import Check, Inapplicable, Subject, fail

STEPS = 100  # of the run that a schedule is made for
UPDATES = 50


def parameters_are_all_taken(subject: Subject) -> None:
    """It is a torch.optim.Optimizer of all the parameters that it is given, with names where it declares
    `named_parameters`; they may be a generator. Each of its groups has the learning rate `lr`."""
    network = _network(0)
    for walk, what, instead in (
        (list, "it", "put each parameter into a group, whatever its name"),
        (
            iter,
            "of parameters out of a generator it",
            "make a list of them first: a generator can be walked through only once",
        ),
    ):
        optimizer = subject.make(walk(network.parameters()), named_parameters=walk(network.named_parameters()))
        taken = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        left_out = [name for name, parameter in network.named_parameters() if id(parameter) not in taken]
        if left_out:
            fail(f"{what} leaves out {', '.join(left_out)}", instead)
    for group in optimizer.param_groups:
        if not isinstance(group.get("lr"), float | int):
            fail(f"a group's lr is {group.get('lr')!r}", "keep the learning rate there: the schedule is told by it")


def weights_are_updated(subject: Subject) -> None:
    """One step changes every parameter that has a gradient."""
    network = _network(0)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    _trainer(subject, network).step(_batch())
    same = [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])]
    if same:
        fail(f"a step leaves {', '.join(same)} as it is", "update every parameter in step(), whatever its shape")


def loss_falls(subject: Subject) -> None:
    """Fifty steps make a convex loss smaller."""
    trainer = _trainer(subject, _network(0))
    losses = []
    for _ in range(UPDATES):
        trainer.step(_batch())
        losses.append(trainer.read_losses()["loss"])
    if not losses[-1] < losses[0]:
        fail(
            f"in {UPDATES} steps, a convex loss goes from {losses[0]:.4g} to {losses[-1]:.4g}",
            "step against the gradient, and let the default lr be one that converges",
        )


def learning_rate_is_obeyed(subject: Subject) -> None:
    """The learning rate of its groups is what the schedule sets before each step: half of it makes another step."""
    networks = [_network(0) for _ in range(2)]
    for network, factor in zip(networks, (1.0, 0.5), strict=True):
        _trainer(subject, network, factor).step(_batch())
    whole, half = (nn.utils.parameters_to_vector(network.parameters()) for network in networks)
    if torch.equal(whole, half):
        fail("with half the learning rate, a step is the same", 'read group["lr"] in every step()')


def checkpoint_continues_to_the_bit(subject: Subject) -> None:
    """Its state survives a checkpoint: a run that was stopped goes on with the same bits."""
    batch = _batch()
    straight = _trainer(subject, _network(0))
    for _ in range(3):
        straight.step(batch)
    with tempfile.TemporaryDirectory() as folder:
        try:
            contents = files.read_directory(checkpoint.save(Path(folder), straight, {}))
        except Exception as error:
            fail(
                f"its state cannot be saved: {describe(error)}",
                "let state_dict() hold tensors and plain numbers for each parameter, and plain settings in its groups",
            )
    continued = _trainer(subject, _network(1))
    checkpoint.restore(contents, continued)
    for _ in range(3):
        straight.step(batch)
        continued.step(batch)
    again = dict(continued.network.named_parameters())
    for name, parameter in straight.network.named_parameters():
        if not torch.equal(parameter, again[name]):
            fail(
                f"continued from a checkpoint, {name} becomes another one",
                "keep all that a step depends on in self.state[parameter] or in the groups: state_dict() has these",
            )


def factor_is_a_number(subject: Subject) -> None:
    """At each step of a run, from 0, the factor is a finite float, not below 0."""
    schedule = subject.make(steps=STEPS)
    for step in range(STEPS):
        factor = schedule(step)
        if not isinstance(factor, float | int):
            fail(f"at step {step} of {STEPS} the factor is a {type(factor).__name__}", "return a float")
        if not (math.isfinite(factor) and factor >= 0):
            fail(f"at step {step} of {STEPS} the factor is {factor}", "return a finite number of at least 0")


def factor_is_a_function_of_the_step(subject: Subject) -> None:
    """The factor depends on the step alone: asked again, in another order, or by another run, it is the same."""
    schedule = subject.make(steps=STEPS)
    forwards = [schedule(step) for step in range(STEPS)]
    backwards = [schedule(step) for step in reversed(range(STEPS))][::-1]
    another = subject.make(steps=STEPS)
    alone = [another(step) for step in range(STEPS - 1, -1, -7)][::-1]
    for step, (first, second) in enumerate(zip(forwards, backwards, strict=True)):
        if first != second:
            fail(f"at step {step} the factor is {first}, and {second} when it is asked again", _PURE)
    for step, second in zip(range((STEPS - 1) % 7, STEPS, 7), alone, strict=True):
        if forwards[step] != second:
            fail(f"at step {step} the factor is {forwards[step]}, and {second} in a run that begins there", _PURE)


def short_run_is_taken(subject: Subject) -> None:
    """A run of one step has a factor, too, though it ends before any milestone: so one tries a recipe."""
    try:
        factor = subject.make(steps=1)(0)
    except Exception as error:
        fail(f"for a run of one step it raises {describe(error)}", "take any number of steps from 1")
    if not (math.isfinite(factor) and factor >= 0):
        fail(f"at step 0 of 1 the factor is {factor}", "return a finite number of at least 0")


_PURE = "compute it from the step, and keep nothing from call to call: a run continues at any step"


def average_is_kept_apart(subject: Subject) -> None:
    """Where it has `averaged(parameter)`, that is a tensor like the parameter, and asking for it changes nothing."""
    network = _network(0)
    trainer = _trainer(subject, network)
    optimizer: Any = trainer.learner.optimizer
    if not hasattr(optimizer, "averaged"):
        raise Inapplicable("it has no averaged()")
    for _ in range(3):
        trainer.step(_batch())
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    for name, parameter in network.named_parameters():
        found: object = optimizer.averaged(parameter)
        if not isinstance(found, Tensor) or found.shape != parameter.shape:
            fail(f"averaged({name}) is no tensor of {list(parameter.shape)}", "return one like the parameter")
    if not _same((network.state_dict(), optimizer.state_dict()), before):
        fail("averaged() changes the parameters, or its state", "compute a new tensor: lerp() and no lerp_()")


def _same(first: Any, second: Any) -> bool:
    """Say whether two nests of tensors and plain values are the same."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


OPTIMIZER_CHECKS = (
    Check(parameters_are_all_taken),
    Check(weights_are_updated),
    Check(loss_falls),
    Check(learning_rate_is_obeyed),
    Check(checkpoint_continues_to_the_bit),
    Check(average_is_kept_apart),
)
SCHEDULE_CHECKS = (
    Check(factor_is_a_number),
    Check(factor_is_a_function_of_the_step),
    Check(short_run_is_taken),
)


def _network(seed: int) -> nn.Module:
    """Return a network with a kernel and a bias, whose squared error is convex in both."""
    torch.manual_seed(seed)
    return nn.Conv2d(3, 3, 3, padding=1)


def _batch() -> Batch:
    """Return a batch of noise about 0, which makes the loss round."""
    lr, hr = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch(lr, hr)


def _trainer(subject: Subject, network: nn.Module, factor: float = 1.0) -> Trainer:
    """Return what a run updates its weights with."""
    loss = Term("mse", nn.MSELoss(), 1.0, is_sum=False)
    optimizer: object = subject.make(list(network.parameters()), named_parameters=list(network.named_parameters()))
    if not isinstance(optimizer, Optimizer) or not all("lr" in group for group in optimizer.param_groups):
        raise Inapplicable("it is no torch.optim.Optimizer with an lr in each group")
    options = Options(steps=UPDATES, seed=0)
    return trainer_of(
        network,
        [loss],
        optimizer,
        lambda step: factor,
        torch.device("cpu"),
        options,
    )
