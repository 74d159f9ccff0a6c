"""LapSRN, LIIF and Meta-SR in training: stopped and continued they end with the same bits."""

from __future__ import annotations

import pytest
import torch

import srkit
from srkit.engine.learning.prediction import split

RECIPE = """
scale = 2
seed = 3

[architecture]
type = "lapsrn"
features = 4

[data]
dataset = { type = "folder", path = "photos" }
patch = 8
batch = 2
threads = 1

[optimizer]
type = "adam"
lr = 1e-3

[train]
steps = 6
device = "cpu"
threads = 1
deterministic = "run"
checkpoint_every = 3
"""
LAPSRN = ["scale=4", "architecture.depth=1", "loss.0.type=deep_supervision", "loss.0.loss=charbonnier"]
ANY = ["architecture.blocks=1", "data.scales=[1.0, 3.5]", "data.points=50", "loss.0.type=l1"]
NETWORKS = {
    "lapsrn": LAPSRN,
    "liif": ["architecture.type=liif", "architecture.hidden=[8]", *ANY],
    "metasr": ["architecture.type=metasr", "architecture.hidden=8", *ANY],
    "zssr": ["architecture.type=zssr", "data.scales=[1.0, 3.5]"],
}


@pytest.fixture
def recipe(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path / "recipe.toml"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_continued_run_ends_with_the_bits_of_a_straight_one(recipe, name):
    settings = NETWORKS[name]
    srkit.run(recipe, out="straight", set=settings)
    srkit.run(recipe, out="twice", set=[*settings, "train.steps=3"])
    srkit.run(recipe, out="twice", set=settings)
    straight, twice = (srkit.load(out).state_dict() for out in ("straight", "twice"))
    assert all(torch.equal(straight[key], twice[key]) for key in straight)


def test_both_outputs_of_lapsrn_learn(recipe):
    """The residual layers of separate levels: the lower one's own output reaches the lower one alone."""
    network = srkit.create("architecture", "lapsrn", scale=4, features=4, depth=1, weights="separate").train()
    lr, hr = torch.rand(1, 3, 6, 6), torch.rand(1, 3, 24, 24)
    sr, extras = split(network(lr))
    weights = {"sr": 0.0}
    srkit.create("loss", "deep_supervision", weights=weights)(sr, hr, extras=extras).backward()
    lower, upper = (level.residual.weight.grad for level in network.levels)
    assert lower.abs().max() > 0
    assert upper.abs().max() == 0
