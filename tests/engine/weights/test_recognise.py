"""What is concluded of bare weights, and what must be said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import srkit
from srkit.cli import main
from srkit.engine.builder import Builder
from srkit.engine.weights.model import read_model
from srkit.errors import InputRejected, UsageError
from srkit.plugin.discovery import discover, installed

TINY = {"features": 4, "blocks": 1, "upsampling_features": 4}
DETECTOR = """\
import srkit


class Detect:
    def __init__(self, *, scale: int = 4):
        self.scale = scale

    def __call__(self, weights):
        if "AAB_trunk.0.conv_first.weight" in weights:
            return srkit.Detected("a2n", {"features": 4, "blocks": 1, "upsampling_features": 4}, self.scale)


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("detector", "mine", f"{__name__}:Detect")
"""


def save(path, scale):
    torch.save(srkit.create("architecture", "a2n", scale=scale, **TINY).state_dict(), path)
    return Path(path)


def read(path, **said):
    return read_model(Path(path), Builder(installed()), architecture="a2n", settings=TINY, **said)


def test_a_scale_that_shapes_show_need_not_be_said(tmp_path):
    model = read(save(tmp_path / "net.pth", 4))
    assert model.scale == 4
    assert model.reading.note == f"{tmp_path / 'net.pth'} is for scale 4, by its shapes"


@pytest.mark.parametrize("name", ["aan_x3.pt", "3x_aan.pth", "AAN_X3_final.pth"])
def test_of_scales_with_the_same_shapes_the_files_name_tells(tmp_path, name):
    model = read(save(tmp_path / name, 3))
    assert model.scale == 3
    assert model.reading.note == (
        f"{tmp_path / name} is taken for scale 3, after its name: weights of x2 and x3 have the same shapes; "
        "--scale N says otherwise"
    )


@pytest.mark.parametrize("name", ["net.pth", "max30.pth", "x2_x3.pth", "ax2b.pth", "x4.pth"])
def test_what_neither_shapes_nor_the_name_show_must_be_said(tmp_path, name):
    with pytest.raises(UsageError) as error:
        read(save(tmp_path / name, 2))
    assert str(error.value) == (
        f"{tmp_path / name} does not say its scale, which weights alone do not tell: those of x2 and x3 have the same "
        "shapes; give --scale N"
    )


def test_what_is_said_goes_first_and_is_not_told_again(tmp_path):
    model = read(save(tmp_path / "net_x3.pth", 2), scale=2)
    assert (model.scale, model.reading.note) == (2, "")


def test_a_detector_tells_the_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("detector.py").write_text(DETECTOR)
    save("strange.pth", 4)
    model = read_model(Path("strange.pth"), Builder(discover(["detector.py"])))
    assert (model.architecture, model.scale) == ("a2n", 4)
    assert main(["-p", "detector.py", "convert", "strange.pth", "out.safetensors"]) == 0
    assert "strange.pth is a network 'a2n' at scale 4, by its tensors\n" in capsys.readouterr().err
    with pytest.raises(UsageError) as error:
        read_model(Path("strange.pth"), Builder(discover(["detector.py"])), scale=2)
    assert str(error.value) == "strange.pth does not say what network it holds; give --architecture NAME and --scale N"


def test_two_detectors_that_disagree_are_a_question(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.py").write_text(DETECTOR)
    Path("two.py").write_text(DETECTOR.replace('"mine"', '"other"').replace("scale: int = 4", "scale: int = 2"))
    save("strange.pth", 4)
    with pytest.raises(UsageError) as error:
        read_model(Path("strange.pth"), Builder(discover(["one.py", "two.py"])))
    assert str(error.value) == (
        "strange.pth may hold several networks (mine: 'a2n' at scale 4; other: 'a2n' at scale 2); "
        "give --architecture NAME and --scale N"
    )


SHIFTED = """
import srkit
import torch
from torch import nn

class MeanShift(nn.Conv2d):
    def __init__(self, range):
        super().__init__(3, 3, kernel_size=1)
        std = torch.Tensor([1.0, 1.0, 1.0])
        self.weight.data = torch.eye(3).view(3, 3, 1, 1) / std.view(3, 1, 1, 1)
        self.bias.data = range * torch.Tensor([0.4, 0.4, 0.4]) / std

class Shifted(nn.Module):
    def __init__(self, *, scale: int, width: int = 8):
        super().__init__()
        if scale > 3:
            raise NotImplementedError
        self.shift = MeanShift(255)
        self.tail = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.scale = scale

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.tail(self.shift(x)), self.scale)

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "shifted", f"{__name__}:Shifted")
"""


@pytest.fixture
def shifted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shifted.py").write_text(SHIFTED)
    registry = discover(["shifted.py"])
    torch.save(registry.create("architecture", "shifted", scale=2).state_dict(), "weights.pt")
    return registry


def test_the_scale_of_a_network_that_cannot_be_made_without_memory_is_concluded_too(shifted):
    assert read_model(Path("weights.pt"), Builder(shifted), architecture="shifted").scale == 2


def test_what_the_constructor_of_a_network_raises_is_a_line_with_its_place(shifted):
    with pytest.raises(UsageError) as error:
        read_model(Path("weights.pt"), Builder(shifted), architecture="shifted", scale=5)
    assert str(error.value) == ("architecture 'shifted' at scale 5 cannot be made: NotImplementedError (shifted.py:17)")


def test_weights_that_fit_at_no_scale_say_what_does_not_fit_at_the_nearest(shifted):
    weights = {name: tensor.clone() for name, tensor in torch.load("weights.pt").items()}
    torch.save({**weights, "tail.bias": torch.zeros(11), "tail.more": torch.zeros(1)}, "other.pt")
    with pytest.raises(InputRejected) as error:
        read_model(Path("other.pt"), Builder(shifted), architecture="shifted")
    assert str(error.value) == (
        "other.pt: does not fit 'shifted' at scale 2: 1 left over, 1 of another shape\n"
        "  left over: tail.more\n"
        "  of another shape: tail.bias is [11] in the file, [12] in the network\n"
        "  scale 2 was taken as the nearest; it does not fit at 3 either"
    )


def test_weights_of_a_network_that_can_be_made_at_no_scale_ask_for_one(shifted):
    settings = {"width": 8, "wrong": 1}
    with pytest.raises(InputRejected) as error:
        read_model(Path("weights.pt"), Builder(shifted), architecture="shifted", settings=settings)
    assert str(error.value) == (
        "weights.pt: fits 'shifted' with these settings at none of the scales 2, 3, 4; --scale N says what does not fit"
    )
