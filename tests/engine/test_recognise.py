"""What is concluded of bare weights, and what must be said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import srkit
from srkit.cli import main
from srkit.engine.model import read_model
from srkit.errors import UsageError
from srkit.plugins import discover, installed

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
    return read_model(Path(path), installed(), architecture="a2n", settings=TINY, **said)


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
    model = read_model(Path("strange.pth"), discover(["detector.py"]))
    assert (model.architecture, model.scale) == ("a2n", 4)
    assert main(["-p", "detector.py", "convert", "strange.pth", "out.safetensors"]) == 0
    assert "strange.pth is a network 'a2n' at scale 4, by its tensors\n" in capsys.readouterr().err
    with pytest.raises(UsageError) as error:
        read_model(Path("strange.pth"), discover(["detector.py"]), scale=2)
    assert str(error.value) == "strange.pth does not say what network it holds; give --architecture NAME and --scale N"


def test_two_detectors_that_disagree_are_a_question(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.py").write_text(DETECTOR)
    Path("two.py").write_text(DETECTOR.replace('"mine"', '"other"').replace("scale: int = 4", "scale: int = 2"))
    save("strange.pth", 4)
    with pytest.raises(UsageError) as error:
        read_model(Path("strange.pth"), discover(["one.py", "two.py"]))
    assert str(error.value) == (
        "strange.pth may hold several networks (mine: 'a2n' at scale 4; other: 'a2n' at scale 2); "
        "give --architecture NAME and --scale N"
    )
