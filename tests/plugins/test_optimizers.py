"""Optimizers against their update by hand, and schedules as pure functions of the step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import srkit
from srkit.plugin.discovery import installed


def optimizer(name: str, *parameters: nn.Parameter, **settings: Any) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = installed().create("optimizer", name, parameters, **settings)
    return made


def schedule(name: str, **settings: Any) -> Any:
    return installed().create("schedule", name, **settings)


def after_one_step(name: str, **settings: Any) -> float:
    """Return where a weight of 1 with a gradient of 0.5 is after one update."""
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.full((1,), 0.5)
    optimizer(name, weight, **settings).step()
    return weight.item()


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    assert after_one_step("adam", lr=0.1) == pytest.approx(0.9)


def test_adamw_takes_its_share_of_the_weight_too() -> None:
    assert after_one_step("adamw", lr=0.1, weight_decay=0.5) == pytest.approx(1 - 0.1 * 0.5 - 0.1)


def test_sgd_follows_the_gradient() -> None:
    assert after_one_step("sgd", lr=0.1) == pytest.approx(0.95)


def test_nesterov_looks_ahead() -> None:
    assert after_one_step("sgd", lr=0.1, nesterov=True) == pytest.approx(1 - 0.1 * 0.5 * 1.9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", {"lr": 2e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
        ("adamw", {"lr": 2e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}),
        ("sgd", {"lr": 1e-2, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}),
    ],
)
def test_each_setting_reaches_torch(name: str, expected: dict[str, Any]) -> None:
    (group,) = optimizer(name, nn.Parameter(torch.ones(1))).param_groups
    assert {key: group[key] for key in expected} == expected


def test_adan_makes_the_step_of_its_paper() -> None:
    pytest.importorskip("pytorch_optimizer")
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    made = optimizer("adan", weight, lr=0.1, betas=(0.9, 0.8, 0.7), weight_decay=0.5)
    x, mean, change, square, before = 1.0, 0.0, 0.0, 0.0, 0.5
    for step, gradient in enumerate((0.5, -0.2, 0.3), 1):
        weight.grad = torch.full((1,), gradient, dtype=torch.float64)
        made.step()
        # Algorithm 1 of the paper, with its betas as 1 - beta, and with Adam's corrections of the first steps.
        mean = 0.9 * mean + 0.1 * gradient
        change = 0.8 * change + 0.2 * (gradient - before)
        square = 0.7 * square + 0.3 * (gradient + 0.8 * (gradient - before)) ** 2
        root = math.sqrt(square / (1 - 0.7**step)) + 1e-8
        along = mean / (1 - 0.9**step) + 0.8 * change / (1 - 0.8**step)
        x, before = (x - 0.1 * along / root) / (1 + 0.1 * 0.5), gradient
        assert weight.item() == pytest.approx(x, rel=1e-6)


def test_the_average_of_schedule_free_is_that_which_its_package_moves_the_weights_to() -> None:
    pytest.importorskip("pytorch_optimizer")
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2))]
    made: Any = optimizer("schedule_free", *weights, lr=0.1)
    assert torch.equal(made.averaged(weights[0]), weights[0])
    for step in range(4):
        for weight in weights:
            weight.grad = torch.full_like(weight, (-0.5) ** step)
        made.step()
    before = [weight.detach().clone() for weight in weights]
    averaged = [made.averaged(weight) for weight in weights]
    assert all(map(torch.equal, weights, before))
    made.eval()
    for weight, average, was in zip(weights, averaged, before, strict=True):
        torch.testing.assert_close(weight.detach(), average)
        assert not torch.equal(average, was)


def last(out: str, **settings: Any) -> dict[str, torch.Tensor]:
    chosen = {"train.steps": 6, "train.validate_every": 6, "schedule.type": "constant", **settings}
    table = 'optimizer={type="schedule_free", lr=0.01}'
    srkit.run("tiny.toml", out=out, set=[table, *(f"{key}={value}" for key, value in chosen.items())])
    return safetensors.torch.load_file(f"{out}/last.safetensors")


def test_a_run_of_schedule_free_is_the_same_whenever_it_is_scored_and_continued(tiny: Path) -> None:
    pytest.importorskip("pytorch_optimizer")
    straight = last("straight")
    often = last("often", **{"train.validate_every": 1})
    last("continued", **{"train.steps": 3})
    (step,) = Path("continued/checkpoints").iterdir()
    trained = safetensors.torch.load_file(step / "weights.safetensors")
    kept = safetensors.torch.load_file("continued/last.safetensors")
    assert any(not torch.equal(trained[name], kept[name]) for name in kept)  # the average, not what is trained
    continued = last("continued")
    for name, weight in straight.items():
        assert torch.equal(weight, often[name])
        assert torch.equal(weight, continued[name])


def named(*names: str) -> list[tuple[str, nn.Parameter]]:
    return [(name, nn.Parameter(torch.ones(1))) for name in names]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "adan", "schedule_free"])
def test_patterns_spare_parameters_from_weight_decay_by_their_names(name: str) -> None:
    if name in ("adan", "schedule_free"):
        pytest.importorskip("pytorch_optimizer")
    given = named("head.weight", "head.bias", "norm.gain")
    settings = {"weight_decay": 0.1, "no_decay": ["*.bias", "norm.*"]}
    made = installed().create("optimizer", name, [p for _, p in given], named_parameters=given, **settings)
    found = [(group["weight_decay"], group["params"]) for group in made.param_groups]
    assert [(decay, [id(p) for p in parameters]) for decay, parameters in found] == [
        (0.1, [id(given[0][1])]),
        (0.0, [id(given[1][1]), id(given[2][1])]),
    ]
    for _, parameter in given:
        parameter.grad = torch.zeros(1)
    made.step()
    assert [parameter.item() == 1 for _, parameter in given] == [False, True, True]


def test_a_pattern_that_matches_no_name_is_refused_and_so_are_patterns_without_names() -> None:
    given = named("a", "b", "c", "d")
    parameters = [parameter for _, parameter in given]
    for words, message in (
        ({"named_parameters": given}, "no_decay: no parameter is named '*.bias'; there are a, b, c, ..."),
        ({}, "no_decay needs named_parameters: what has names is given as (name, parameter)"),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
            installed().create("optimizer", "adam", parameters, no_decay=["*.bias"], **words)
        assert str(error.value) == message


def test_betas_may_be_a_list_as_a_recipe_writes_them() -> None:
    (group,) = optimizer("adam", nn.Parameter(torch.ones(1)), betas=[0.5, 0.9]).param_groups
    assert group["betas"] == (0.5, 0.9)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_on_a_cpu_torch_chooses_how_to_update(name: str) -> None:
    (group,) = optimizer(name, nn.Parameter(torch.ones(1))).param_groups
    assert group["fused"] is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_on_cuda_the_update_is_fused(name: str) -> None:
    (group,) = optimizer(name, nn.Parameter(torch.ones(1, device="cuda"))).param_groups
    assert group["fused"] is True


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adam", {"lr": 0.0}, "lr must be above 0, not 0"),
        ("adam", {"lr": math.nan}, "lr must be above 0, not nan"),
        ("adam", {"eps": -1.0}, "eps must be above 0, not -1"),
        ("adam", {"betas": (1.0, 0.9)}, "betas[0] must be at least 0 and below 1, not 1"),
        ("adamw", {"betas": (0.9, -0.1)}, "betas[1] must be at least 0 and below 1, not -0.1"),
        ("adamw", {"weight_decay": -0.1}, "weight_decay must be at least 0, not -0.1"),
        ("sgd", {"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1"),
        ("sgd", {"momentum": 0.0, "nesterov": True}, "nesterov needs a momentum above 0"),
    ],
)
def test_an_optimizer_refuses_a_bad_setting(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        optimizer(name, nn.Parameter(torch.ones(1)), **settings)
    assert str(error.value) == message


def test_constant_is_one() -> None:
    factor = schedule("constant", steps=10)
    assert [factor(step) for step in (0, 5, 9)] == [1, 1, 1]


def test_multistep_falls_from_each_milestone_on() -> None:
    factor = schedule("multistep", steps=10, milestones=[2, 4], gamma=0.1)
    assert [factor(step) for step in (1, 2, 3, 4, 9)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_is_one_then_halfway_then_near_its_minimum() -> None:
    factor = schedule("cosine", steps=1000, minimum=0.1)
    assert factor(0) == 1
    assert factor(500) == pytest.approx(0.55)
    assert 0.1 < factor(999) < 0.1001


def test_cosine_falls_over_the_steps_after_the_warm_up() -> None:
    factor = schedule("cosine", steps=1000, warmup=200)
    assert factor(200) == 1
    assert factor(600) == pytest.approx(0.5)
    assert 0 < factor(999) < 1e-4


def test_cosine_stays_at_its_minimum_past_the_end() -> None:
    assert schedule("cosine", steps=10, minimum=0.25)(15) == 0.25


def test_a_sequence_goes_through_each_schedule_in_its_own_length() -> None:
    factor = schedule("sequence", steps=1000, schedules=["cosine", "constant", "cosine"], lengths=[400, 100])
    cosine = schedule("cosine", steps=1000)
    assert [factor(step) for step in (0, 100, 399)] == [cosine(0), cosine(250), cosine(997)]
    assert [factor(step) for step in (400, 450, 499)] == [1, 1, 1]
    assert [factor(step) for step in (500, 750, 999)] == [cosine(0), cosine(500), cosine(998)]


def test_the_factors_of_a_sequence_multiply_its_schedules() -> None:
    nested = {"type": "sequence", "schedules": ["constant"], "lengths": []}
    schedules = [{"type": "constant"}, {"type": "cosine", "minimum": 0.1}, nested]
    factor = schedule("sequence", steps=90, schedules=schedules, lengths=[30, 30], factors=[1.0, 0.5, 0.25])
    assert [factor(step) for step in (0, 29, 30, 45, 60, 89)] == pytest.approx([1, 1, 0.5, 0.275, 0.25, 0.25])


def test_a_run_shorter_than_its_sequence_is_no_error() -> None:
    factor = schedule("sequence", steps=2, schedules=["constant", "cosine"], lengths=[400])
    assert [factor(0), factor(1), factor(500)] == [1, 1, 0]


@pytest.mark.parametrize(("name", "settings"), [("constant", {}), ("multistep", {"milestones": [50]}), ("cosine", {})])
def test_the_warm_up_rises_in_even_steps_from_above_zero(name: str, settings: dict[str, Any]) -> None:
    factor = schedule(name, steps=100, warmup=4, **settings)
    assert [factor(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(("name", "settings"), [("constant", {}), ("multistep", {"milestones": [50]}), ("cosine", {})])
def test_a_run_shorter_than_its_warm_up_is_no_error(name: str, settings: dict[str, Any]) -> None:
    factor = schedule(name, steps=2, warmup=4, **settings)
    assert [factor(0), factor(1)] == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("constant", {"steps": 0}, "steps must be at least 1, not 0"),
        ("constant", {"steps": 9, "warmup": -1}, "warmup must be at least 0, not -1"),
        ("multistep", {"steps": 9, "milestones": [4, 2]}, "milestones must be above 0 and ascend, not 4, 2"),
        ("multistep", {"steps": 9, "milestones": [0, 2]}, "milestones must be above 0 and ascend, not 0, 2"),
        ("multistep", {"steps": 9, "milestones": [2], "gamma": 0.0}, "gamma must be above 0 and at most 1, not 0"),
        ("cosine", {"steps": 9, "minimum": 1.5}, "minimum must be from 0 to 1, not 1.5"),
        ("sequence", {"steps": 9, "schedules": [], "lengths": []}, "schedules must name one at least"),
        (
            "sequence",
            {"steps": 9, "schedules": ["cosine", "cosine"], "lengths": [4, 5]},
            "lengths must be those of all schedules but the last, 1, not 2",
        ),
        ("sequence", {"steps": 9, "schedules": ["cosine"] * 2, "lengths": [0]}, "lengths must be at least 1, not 0"),
        (
            "sequence",
            {"steps": 9, "schedules": ["cosine"], "lengths": [], "factors": [-1.0]},
            "factors must be one for each schedule, at least 0, not -1",
        ),
    ],
)
def test_a_schedule_refuses_a_bad_setting(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        schedule(name, **settings)
    assert str(error.value) == message
