import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import srkit
from srkit.testing import parametrize_components

RECIPE = Path(__file__).parent.parent / "recipe.toml"
# Few and small images; a checkpoint's bits are those of a run that was never stopped.
SHORT = ["data.dataset.count=2", "validate=[]", "schedule.type=constant", "train.deterministic=run"]


@parametrize_components("uncertainty_l1")
def test_contract(check):
    check()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """SR and HR whose red, green and blue differ by 0.1, 0.2 and 0.4."""
    hr = torch.full((2, 3, 4, 5), 0.5)
    return hr + torch.tensor([0.1, -0.2, 0.4]).view(3, 1, 1), hr


def test_with_a_spread_of_one_it_is_l1():
    loss = srkit.create("loss", "uncertainty_l1")
    assert loss(*images()).item() == pytest.approx((0.1 + 0.2 + 0.4) / 3)


def test_it_is_laplaces_likelihood_by_hand():
    loss = srkit.create("loss", "uncertainty_l1", spread=0.2)
    assert loss(*images()).item() == pytest.approx((0.5 + 1 + 2) / 3 + math.log(0.2))


def test_it_is_least_where_each_spread_is_the_mean_difference_of_its_colour():
    loss = srkit.create("loss", "uncertainty_l1")
    loss.log_spread.data = torch.tensor([0.1, 0.2, 0.4]).log()
    loss(*images()).backward()
    assert loss.log_spread.grad == pytest.approx(torch.zeros(3), abs=1e-6)


def train(out: Path, steps: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Train, or continue what is there; return the network's weights and the logarithms of the spreads."""
    srkit.run(RECIPE, out=out, set=[*SHORT, f"train.steps={steps}"])
    (spread,) = load_file(out / f"checkpoints/step_{steps:08d}/losses.safetensors").values()
    return load_file(out / "last.safetensors"), spread


def test_a_run_that_is_continued_ends_with_the_weights_and_the_spreads_of_a_straight_one(tmp_path):
    straight, spread = train(tmp_path / "straight", 6)
    _, before = train(tmp_path / "continued", 3)
    continued, after = train(tmp_path / "continued", 6)
    assert all(torch.equal(continued[name], straight[name]) for name in straight)
    assert torch.equal(after, spread)
    first = torch.full((3,), math.log(0.03))  # the recipe's
    assert not torch.equal(before, first)
    assert not torch.equal(after, before)
