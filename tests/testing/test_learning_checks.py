"""Each check of an optimizer and of a schedule can fail: one that breaks one promise, and what is told of it."""

from __future__ import annotations

import re

import pytest

from srkit.plugin.discovery import discover, installed
from srkit.testing.check import Inapplicable, Subject
from srkit.testing.learning import OPTIMIZER_CHECKS, SCHEDULE_CHECKS
from srkit.testing.running import perform, results
from tests.conftest import plugin

MODULE = '''
import math

import torch


class Good(torch.optim.Optimizer):
    def __init__(self, parameters, *, lr: float = 0.05) -> None:
        """
        Args:
            lr: the learning rate.
        """
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, group["lr"])

    def update(self, parameter, lr):
        state = self.state[parameter]
        velocity = state.setdefault("velocity", torch.zeros_like(parameter))
        velocity.mul_(0.5).add_(parameter.grad)
        parameter.sub_(lr * velocity)


class FirstOfSome(Good):
    def __init__(self, parameters, *, lr: float = 0.05) -> None:
        """
        Args:
            lr: the learning rate.
        """
        if not isinstance(parameters, list):
            parameters = list(parameters)[:1]
        super().__init__(parameters, lr=lr)


class Named(Good):
    def __init__(self, named_parameters, *, lr: float = 0.05) -> None:
        """
        Args:
            lr: the learning rate.
        """
        named = list(named_parameters)
        groups = [{"params": [p for n, p in named if ("bias" in n) == is_bias]} for is_bias in (False, True)]
        super().__init__([group for group in groups if group["params"]], lr=lr)


class WeightsAlone(Good):
    def __init__(self, parameters, *, named_parameters, lr: float = 0.05) -> None:
        """
        Args:
            lr: the learning rate.
        """
        super().__init__([p for name, p in named_parameters if "bias" not in name], lr=lr)


class HandsOn(Good):
    def __init__(self, parameters, **others) -> None:
        super().__init__(parameters, **others)


class Averages(Good):
    def averaged(self, parameter):
        return parameter - self.state[parameter]["velocity"]


class InPlace(Averages):
    def averaged(self, parameter):
        return parameter.data.mul_(0.5)


class Shapeless(Averages):
    def averaged(self, parameter):
        return parameter.mean()


class NamesRate(Good):
    def __init__(self, parameters, *, lr: float = 0.05) -> None:
        """
        Args:
            lr: the learning rate.
        """
        super().__init__(parameters, lr=lr)
        for group in self.param_groups:
            group["rate"] = group.pop("lr")


class KernelsOnly(Good):
    def update(self, parameter, lr):
        if parameter.dim() > 1:
            super().update(parameter, lr)


class Climbs(Good):
    def update(self, parameter, lr):
        super().update(parameter, -lr)


class OwnRate(Good):
    def update(self, parameter, lr):
        super().update(parameter, 0.05)


class Forgets(Good):
    def __init__(self, parameters, *, lr: float = 0.05) -> None:
        """
        Args:
            lr: the learning rate.
        """
        super().__init__(parameters, lr=lr)
        self.velocity = {}

    def update(self, parameter, lr):
        velocity = self.velocity.setdefault(parameter, torch.zeros_like(parameter))
        velocity.mul_(0.5).add_(parameter.grad)
        parameter.sub_(lr * velocity)


class Hoards(Good):
    def update(self, parameter, lr):
        super().update(parameter, lr)
        self.state[parameter]["before"] = [parameter.clone()]


def halving(*, steps: int):
    return lambda step: 0.5 ** (step / steps)


def in_tensors(*, steps: int):
    return lambda step: torch.tensor(0.5)


def negative(*, steps: int):
    return lambda step: 1 - step / 90


def infinite(*, steps: int):
    return lambda step: math.inf if step == 3 else 1.0


def decaying(*, steps: int):
    rate = [1.0]

    def factor(step):
        rate[0] *= 0.5
        return rate[0]

    return factor


class remembering:
    def __init__(self, *, steps: int) -> None:
        self.known = {}

    def __call__(self, step):
        return self.known.setdefault(step, 1 / (1 + len(self.known)))


def long(*, steps: int):
    if steps < 10:
        raise ValueError(f"steps must be at least 10, not {steps}")
    return lambda step: 1.0


def backwards(*, steps: int):
    return lambda step: 1.0 if steps > 1 else -1.0
'''
OPTIMIZERS = re.findall(r"^class ([A-Z]\w+)", MODULE, re.MULTILINE)
SCHEDULES = re.findall(r"^(?:def|class) ([a-z]\w+)", MODULE, re.MULTILINE)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """What is installed, and a file with a component for each broken promise, each by the name of its target."""
    path = tmp_path_factory.mktemp("plugin") / "learning_checks_mine.py"
    lines = [
        f'"{kind}", "{name}", f"{{__name__}}:{name}", summary="one of mine"'
        for kind, names in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES))
        for name in names
    ]
    path.write_text(MODULE + plugin("\n".join(lines)))
    return discover([str(path)])


def failures(registry, kind, name):
    found = results(Subject(registry.find(kind, name), registry))
    return {result.check.name: (result.found, result.instead) for result in found if result.outcome == "failed"}


@pytest.mark.parametrize("name", ["Good", "Named", "HandsOn", "Averages"])
def test_an_optimizer_that_keeps_all_promises_passes(registry, name):
    assert failures(registry, "optimizer", name) == {}


BROKEN_OPTIMIZERS = {
    "FirstOfSome": (
        "parameters_are_all_taken",
        "of parameters out of a generator it leaves out bias",
        "make a list of them first: a generator can be walked through only once",
    ),
    "InPlace": (
        "average_is_kept_apart",
        "averaged() changes the parameters, or its state",
        "compute a new tensor: lerp() and no lerp_()",
    ),
    "Shapeless": (
        "average_is_kept_apart",
        "averaged(weight) is no tensor of [3, 3, 3, 3]",
        "return one like the parameter",
    ),
    "NamesRate": (
        "parameters_are_all_taken",
        "a group's lr is None",
        "keep the learning rate there: the schedule is told by it",
    ),
    "KernelsOnly": (
        "weights_are_updated",
        "a step leaves bias as it is",
        "update every parameter in step(), whatever its shape",
    ),
    "Climbs": (
        "loss_falls",
        "in 50 steps, a convex loss goes from A to B",
        "step against the gradient, and let the default lr be one that converges",
    ),
    "OwnRate": (
        "learning_rate_is_obeyed",
        "with half the learning rate, a step is the same",
        'read group["lr"] in every step()',
    ),
    "Forgets": (
        "checkpoint_continues_to_the_bit",
        "continued from a checkpoint, weight becomes another one",
        "keep all that a step depends on in self.state[parameter] or in the groups: state_dict() has these",
    ),
    "Hoards": (
        "checkpoint_continues_to_the_bit",
        "its state cannot be saved: TypeError: Object of type Tensor is not JSON serializable",
        "let state_dict() hold tensors and plain numbers for each parameter, and plain settings in its groups",
    ),
}


@pytest.mark.parametrize("name", BROKEN_OPTIMIZERS)
def test_an_optimizer_that_breaks_one_promise_is_told_which(registry, name):
    check, found, instead = BROKEN_OPTIMIZERS[name]
    told = failures(registry, "optimizer", name)
    if name == "Climbs":
        first, last = map(float, re.findall(r"[\d.e+]+\d", told[check][0])[-2:])
        assert first < last
        told = {check: (re.sub(r"from \S+ to \S+$", "from A to B", told[check][0]), told[check][1])}
    assert told == {check: (found, instead)}


def test_an_optimizer_whose_groups_leave_a_name_out_is_told_so(registry):
    told = failures(registry, "optimizer", "WeightsAlone")["parameters_are_all_taken"]
    assert told == ("it leaves out bias", "put each parameter into a group, whatever its name")


@pytest.mark.parametrize("check", OPTIMIZER_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adan", "schedule_free"])
def test_optimizers_of_srkit_keep_all_promises(name, check):
    if name in ("adan", "schedule_free"):
        pytest.importorskip("pytorch_optimizer")
    if check.name == "average_is_kept_apart" and name != "schedule_free":  # they have none
        with pytest.raises(Inapplicable):
            perform(check, Subject(installed().find("optimizer", name), installed()))
    else:
        perform(check, Subject(installed().find("optimizer", name), installed()))


@pytest.mark.parametrize("check", OPTIMIZER_CHECKS, ids=lambda check: check.name)
def test_an_optimizer_of_two_groups_keeps_all_promises(check):
    settings = {"weight_decay": 0.1, "no_decay": ["*bias"], "lr": 0.01}
    if check.name != "average_is_kept_apart":  # it has none
        perform(check, Subject(installed().find("optimizer", "adamw"), installed(), settings))


def test_a_schedule_that_keeps_all_promises_passes(registry):
    assert failures(registry, "schedule", "halving") == {}


PURE = "compute it from the step, and keep nothing from call to call: a run continues at any step"
BROKEN_SCHEDULES = {
    "in_tensors": ("factor_is_a_number", "at step 0 of 100 the factor is a Tensor", "return a float"),
    "negative": (
        "factor_is_a_number",
        "at step 91 of 100 the factor is -0.011111111111111072",
        "return a finite number of at least 0",
    ),
    "infinite": (
        "factor_is_a_number",
        "at step 3 of 100 the factor is inf",
        "return a finite number of at least 0",
    ),
    "decaying": (
        "factor_is_a_function_of_the_step",
        "at step 0 the factor is 0.5, and 6.223015277861142e-61 when it is asked again",
        PURE,
    ),
    "remembering": (
        "factor_is_a_function_of_the_step",
        "at step 1 the factor is 0.5, and 0.06666666666666667 in a run that begins there",
        PURE,
    ),
    "long": (
        "short_run_is_taken",
        "for a run of one step it raises ValueError: steps must be at least 10, not 1",
        "take any number of steps from 1",
    ),
    "backwards": (
        "short_run_is_taken",
        "at step 0 of 1 the factor is -1.0",
        "return a finite number of at least 0",
    ),
}


@pytest.mark.parametrize("name", BROKEN_SCHEDULES)
def test_a_schedule_that_breaks_one_promise_is_told_which(registry, name):
    check, found, instead = BROKEN_SCHEDULES[name]
    assert failures(registry, "schedule", name) == {check: (found, instead)}


@pytest.mark.parametrize("check", SCHEDULE_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("constant", {"warmup": 5}),
        ("multistep", {"milestones": [50], "warmup": 5}),
        ("cosine", {"minimum": 0.1, "warmup": 5}),
        ("sequence", {"schedules": ["cosine", "constant"], "lengths": [30]}),
    ],
)
def test_schedules_of_srkit_keep_all_promises(name, settings, check):
    perform(check, Subject(installed().find("schedule", name), installed(), settings))


def test_every_check_was_seen_to_fail():
    broken = [*BROKEN_OPTIMIZERS.values(), *BROKEN_SCHEDULES.values()]
    assert {check.name for check in (*OPTIMIZER_CHECKS, *SCHEDULE_CHECKS)} == {check for check, _, _ in broken}
