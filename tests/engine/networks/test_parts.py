"""Networks of any number of parts, which a setting of a file or a recipe may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import srkit
from srkit.engine.networks.meta import MOST_PARTS, TooManyParts, at_most
from srkit.engine.weights.model import save_model
from srkit.errors import InputRejected, RecipeError

DATA = os.environ.get("SRKIT_TEST_DATA")


def test_what_registers_more_parts_than_it_may_is_stopped():
    made = []

    def create():
        while True:
            made.append(nn.Conv2d(1, 1, 1))

    with at_most(30), pytest.raises(TooManyParts) as error:
        create()
    assert str(error.value) == "the network has more than 30 modules, parameters and buffers"
    assert len(made) == 15  # each has a weight and a bias
    nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(99)))  # nothing is counted afterwards


def test_a_setting_of_a_recipe_that_asks_for_any_number_of_blocks_is_a_problem(tiny):
    with pytest.raises(RecipeError) as error:
        srkit.load_recipe("tiny.toml", set=["architecture.blocks=100000000"])
    assert str(error.value) == (
        "tiny.toml:4 with --set architecture.blocks=100000000: architecture 'a2n': the network has more than "
        f"{MOST_PARTS:,} modules, parameters and buffers; if that is meant, its component states it: "
        "facts={'most_parts': 500000}"
    )


def test_a_file_that_describes_more_blocks_than_its_tensors_can_fill_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    described = {"architecture": "edsr", "settings": {"blocks": 100_000_000}, "scale": 2}
    save_model(Path("many.safetensors"), {"weight": torch.zeros(1)}, described)
    with pytest.raises(InputRejected) as error:
        srkit.load("many.safetensors")
    assert str(error.value) == (
        "many.safetensors: describes a network of far more parts than its 1 tensor: 'edsr' at scale 2"
    )


@pytest.mark.skipif(not DATA, reason="the file is not in the repository")
def test_the_file_of_196_bytes_is_refused():
    with pytest.raises(InputRejected, match="describes a network of far more parts"):
        srkit.load(f"{DATA}/cases/many_blocks.safetensors")
