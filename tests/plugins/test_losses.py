"""L1, L2 and Charbonnier against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from srkit.plugin.discovery import installed

SR = torch.tensor([0.5, 0.25, 1.0, 0.0]).view(1, 1, 2, 2)
HR = torch.tensor([0.0, 0.25, 0.0, 0.5]).view(1, 1, 2, 2)  # differences 0.5, 0, 1, -0.5


def make(name: str, **settings: Any) -> Any:
    return installed().create("loss", name, **settings)


@pytest.mark.parametrize(("name", "total"), [("l1", 2.0), ("l2", 1.5)])
def test_l1_and_l2_are_the_sums_and_means_by_hand(name: str, total: float) -> None:
    assert make(name, reduction="sum")(SR, HR).item() == total
    assert make(name)(SR, HR).item() == total / 4


def test_charbonnier_adds_epsilon_as_it_is_under_the_root() -> None:
    total = math.sqrt(0.25 + 0.01) + math.sqrt(0.01) + math.sqrt(1 + 0.01) + math.sqrt(0.25 + 0.01)
    assert make("charbonnier", epsilon=0.01, reduction="sum")(SR, HR).item() == pytest.approx(total, rel=1e-6)
    assert make("charbonnier", epsilon=0.01)(SR, HR).item() == pytest.approx(total / 4, rel=1e-6)


def test_charbonnier_of_equal_images_is_the_root_of_epsilon() -> None:
    assert make("charbonnier")(HR, HR).item() == pytest.approx(1e-3, rel=1e-6)


def test_the_gradient_of_charbonnier_is_finite_at_equal_images_and_the_least_epsilon() -> None:
    sr = HR.clone().requires_grad_()
    make("charbonnier", epsilon=1e-12)(sr, HR).backward()
    assert sr.grad is not None
    assert torch.equal(sr.grad, torch.zeros_like(sr))


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_says_its_reduction(name: str, reduction: str) -> None:
    assert make(name, reduction=reduction).reduction == reduction


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier"])
def test_the_reduction_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make(name, reduction="none")
    assert str(error.value) == 'reduction must be "mean" or "sum", not "none"'


@pytest.mark.parametrize("epsilon", [0.0, 1e-13, math.inf, math.nan])
def test_an_epsilon_that_would_break_the_gradient_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("charbonnier", epsilon=epsilon)
    assert str(error.value) == f"epsilon must be at least 1e-12, not {epsilon:g}"
