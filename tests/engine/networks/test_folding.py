"""Which form of a network enlarges images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import srkit
from srkit.cli import main
from srkit.engine.networks.folding import for_inference
from srkit.engine.networks.padding import fit, padding_of
from srkit.engine.weights.model import save_model

CODE = '''
import srkit
import torch
from torch import nn


class Doubling(nn.Module):
    """Nearest neighbours; its form for inference is blacker, so that it shows which one made an image."""

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return nn.functional.interpolate(x * self.gain, scale_factor=self.scale)

    def for_inference(self):
        form = Doubling(scale=self.scale)
        form.gain.data.fill_(0.5)
        return form


@srkit.hookimpl
def srkit_components():
    facts = {"tileable": True}
    yield srkit.Component("architecture", "doubling", f"{__name__}:Doubling", summary="doubles", facts=facts)
'''


class Even(nn.Module):
    """Takes even sides."""

    def forward(self, x: Tensor) -> Tensor:
        assert not x.shape[2] % 2
        assert not x.shape[3] % 2
        return x

    def for_inference(self) -> nn.Module:
        return Even()


class Negative(Even):
    def forward(self, x: Tensor) -> Tensor:
        return -x


def test_a_network_without_a_form_for_inference_is_that_form():
    network = nn.Identity()
    assert for_inference(network) is network


def test_what_a_network_states_of_its_sides_holds_for_its_form():
    network = fit(Even(), srkit.Component("architecture", "even", "here:Even", facts={"multiple_of": 2}))
    form = for_inference(network)
    assert form is not network
    assert padding_of(form, [(3, 4)]) == "multiples of 2"
    x = torch.rand(1, 3, 3, 5)
    assert torch.equal(form(x), x)


def test_a_subclass_with_another_forward_is_not_taken_for_its_parent():
    network = Negative()
    assert for_inference(network) is network
    network = Even()
    network.forward = lambda x: -x
    assert for_inference(network) is network


def test_upscale_and_eval_take_the_form_for_inference(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "doubling.py").write_text(CODE)
    described = {"architecture": "doubling", "settings": {}, "scale": 2}
    save_model(tmp_path / "model.safetensors", {"gain": torch.ones(1)}, described)
    (tmp_path / "photos").mkdir()
    srkit.save_image("photos/grey.png", np.full((24, 24, 3), 100, np.uint8))
    assert main(["-p", "doubling.py", "upscale", "model.safetensors", "photos/grey.png", "-o", "large.png"]) == 0
    assert (srkit.read_image("large.png") == 50).all()
    capsys.readouterr()
    words = ["--data", "photos", "--metric", "psnr", "--json"]
    assert main(["-p", "doubling.py", "eval", "model.safetensors", *words]) == 0
    row, _ = json.loads(capsys.readouterr().out)["tables"][0]["rows"]
    assert row["mean"]["psnr"] == pytest.approx(20 * np.log10(255 / 50))
