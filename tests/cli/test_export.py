"""`srkit export`, and its files in place of a MODEL."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srkit.cli import main
from tests.conftest import ROOT, photograph
from tests.exporting import PLUGIN, save

ONNX = pytest.mark.skipif(not all(map(find_spec, ("onnx", "onnxruntime"))), reason="onnx is not installed")
NAMES = ("quickstart", "x2")


@pytest.fixture
def export(call):
    """Run `srkit -p forms.py export ...` in a folder with `x2.safetensors` and `photo.png`."""
    Path("forms.py").write_text(PLUGIN)
    save(Path("x2.safetensors"), gain=0.96875)
    Image.fromarray(photograph(3, 40, 57)).save("photo.png")

    def run(*arguments):
        return call("-p", "forms.py", "export", *arguments)

    return run


def without_figures(text: str) -> str:
    return re.sub(r"(?<![a-z])\d[\d.e+-]*(x\d+)?", "0", text)


def test_a_way_that_ends_the_process_is_told_and_the_next_one_is_taken(export, call):
    code, out, err = export("x2.safetensors", "--to", "formed")
    assert code == 0, err
    assert err == "dies: the process that exports is ended by SIGABRT\n"
    first, *lines = out.splitlines()
    assert first == "ok  x2.formed  doubling x2, 0.0 MiB, LR of any size"
    assert [without_figures(line) for line in lines] == [
        "    written   in 0 s by the way right",
        "    compared  with torch, values of 0: 0 at 0, 0 at 0, 0 at 0",
        "    latency   0 ms for 0; torch takes 0 ms",
        "    next      srkit upscale -p forms.py x2.formed photo.jpg -o out/x2/",
    ]
    assert {path.name for path in Path().glob("x2.*")} == {"x2.safetensors", "x2.formed"}
    for model in ("x2.safetensors", "x2.formed"):
        assert call("-p", "forms.py", "upscale", model, "photo.png", "-o", f"by {model}")[0] == 0
    images = [np.asarray(Image.open(f"by {model}/photo.png")) for model in ("x2.safetensors", "x2.formed")]
    assert np.array_equal(*images)


@ONNX
def test_what_is_shipped_is_what_is_scored(call, photographs):
    """The commands of docs/export.md, with a shorter run."""
    Image.fromarray(photograph(3, 40, 57)).save("photo.jpg")
    photographs.rename("Set5")
    text = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ srkit (.+)$", text, re.M)
    short = ["--set", "train.steps=20", "--set", "data.threads=1", "--set", "train.validate_every=20"]
    shown = ""
    for words in map(str.split, commands):
        code, shown, err = call(*words, *(short if words[0] == "run" else ["--table", "csv"] * (words[0] == "eval")))
        assert code == 0, err
    rows = [line.split(",") for line in shown.splitlines()[1:]]
    scores = {name: [(*row[3:5], round(float(row[5]), 3)) for row in rows if row[2] == name] for name in NAMES}
    assert len(scores["x2"]) == 10  # four images and their mean, by two metrics
    assert scores["x2"] == scores["quickstart"]
    assert call("upscale", "runs/quickstart", "photo.jpg", "-o", "torch.png", "--format", "png")[0] == 0
    assert call("upscale", "x2.onnx", "photo.jpg", "-o", "onnx.png", "--format", "png")[0] == 0
    ours, theirs = (np.asarray(Image.open(path)).astype(int) for path in ("torch.png", "onnx.png"))
    assert np.abs(ours - theirs).max() <= 1  # of values that lie half way between two levels


def test_where_no_file_is_right_none_is_kept(export):
    code, out, err = export("x2.safetensors", "--to", "wrong", "--size", "64x51")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "refuses at 64x51: ValueError: there is no form for it",
        "wrong at odd sides at 64x51: is 0.25 off at 64x51",
        "srkit export: x2.safetensors cannot be exported to wrong: no file gives the SR that torch gives",
    ]
    assert sorted(path.name for path in Path().glob("x2*")) == ["x2.safetensors"]


def test_nothing_that_is_there_is_replaced(export):
    Path("x2.formed").write_text("mine")
    assert export("x2.safetensors", "--to", "formed") == (
        2,
        "",
        "srkit export: x2.formed is there already; remove it first, or give another -o\n",
    )
    assert Path("x2.formed").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onxx"], "unknown exporter 'onxx'; did you mean 'onnx'?"),
        (["--to", "formed", "-o", "x2.onnx"], "files of exporter 'formed' end with .formed, and x2.onnx does not"),
        (["--to", "formed", "--half"], "exporter 'formed' has no weights of 16 bits: leave out --half"),
        (
            ["--to", "formed", "--size", "64"],
            "argument --size: '64' is no size: write height and width of LR, 256x384; see srkit export --help",
        ),
        (
            ["--to", "formed", "--size", "64x32"],
            "argument --size: a file for one size has sides of at least 48 pixels, not 64x32; see srkit export --help",
        ),
    ],
)
def test_words_that_cannot_be_meant_are_refused(export, words, message):
    code, out, err = export("x2.safetensors", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"srkit export: {message}")


def test_a_size_that_a_network_does_not_take_is_refused_with_the_next_one(export):
    save(Path("even.safetensors"), "even")
    assert export("even.safetensors", "--to", "formed", "--size", "60x64") == (
        2,
        "",
        "srkit export: architecture 'even' takes no LR of 60x64: give --size 64x64\n",
    )


@ONNX
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scale", "3"], "x2.onnx is a network for scale 2, not 3"),
        (["--set", "a=1"], "x2.onnx is a network with its settings: leave out --architecture, --set and --key"),
        (["--memory", "1G"], "x2.onnx is computed by onnx, whose memory is not known: --tile N takes less"),
        (["--precision", "bfloat16"], "x2.onnx is computed as it was exported: leave out --precision"),
    ],
)
def test_words_that_are_for_weights_are_refused_of_a_file_that_is_computed_elsewhere(export, call, words, message):
    from srkit_exporters.onnx_ import Onnx
    from torch import nn, rand

    words_of_file = {"srkit": '{"scale": 2}'}
    network = nn.Upsample(scale_factor=2)
    Onnx().write(network, rand(1, 3, 64, 64), Path("x2.onnx"), words=words_of_file, way="legacy", fixed=False)
    code, _, err = call("upscale", "x2.onnx", "photo.png", "-o", "out", *words)
    assert (code, err) == (2, f"srkit upscale: {message}\n")


@ONNX
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no network", r"is no ONNX file, or is damaged \(\[ONNXRuntimeError\] : 7 : INVALID_PROTOBUF : .*\)"),
        (b"", r"is no ONNX file, or is damaged \(\[ONNXRuntimeError\] : 2 : INVALID_ARGUMENT : .*\)"),
        (None, "there is no such file"),
    ],
)
def test_a_file_that_is_none_is_named(call, content, reason):
    if content is not None:
        Path("x2.onnx").write_bytes(content)
    Image.fromarray(photograph(3, 40, 57)).save("photo.png")
    code, _, err = call("upscale", "x2.onnx", "photo.png", "-o", "out")
    assert code == 3
    assert re.fullmatch(f"srkit upscale: x2.onnx: {reason}\n", err)


@pytest.mark.parametrize(("package", "suffix"), [("ncnn", ".param"), ("openvino", ".xml")])
def test_a_file_without_the_one_of_its_weights_is_told_so(tmp_path, monkeypatch, capfd, package, suffix):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    Path("mv").mkdir()
    path = Path(f"mv/x2{suffix}")
    path.write_text("7767517\n0 0\n")
    Image.fromarray(photograph(3, 40, 57)).save("photo.png")
    assert main(["upscale", str(path), "photo.png", "-o", "out"]) == 3
    # As a descriptor has it: ncnn prints by itself.
    assert capfd.readouterr() == ("", f"srkit upscale: {path}: needs x2.bin beside it, which is not there\n")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("x2.formed", "is an exported file; give the run or the model file that it was made from"),
        ("y2.bin", "belongs to y2.formed: give that"),
        ("y2.json", "belongs to y2.formed: give that"),
        ("other.bin", "holds no weights that can be read: neither torch nor safetensors writes such files"),
    ],
)
def test_what_an_exporter_wrote_is_no_file_of_weights(export, call, model, message):
    for path in ("x2.formed", "y2.formed", "y2.bin", "y2.json", "other.bin"):
        Path(path).write_text("7767517")
    told = f"{model}: {message}\n"
    assert export(model, "--to", "formed") == (3, "", f"srkit export: {told}")
    assert call("-p", "forms.py", "bench", model) == (3, "", f"srkit bench: {told}")
    if model != "x2.formed":
        assert call("-p", "forms.py", "upscale", model, "photo.png", "-o", "out") == (3, "", f"srkit upscale: {told}")


def test_weights_that_have_a_name_of_an_exporter_s_are_read(export):
    """PyTorch's own .bin files may stand beside what was made of them."""
    torch.save({"gain": torch.ones(1)}, "y2.bin")
    Path("y2.formed").write_text("there")
    code, _, err = export("y2.bin", "--to", "formed", "--architecture", "doubling", "--scale", "2", "-o", "z.formed")
    assert code == 0, err


def test_a_place_that_takes_no_file_is_told_before_the_work(export):
    Path("notes.txt").write_text("mine")
    for out in ("notes.txt/x.formed", "notes.txt/deep/x.formed"):
        # Nothing of the ways that fail: none was tried.
        told = f"srkit export: {out}: cannot be written: Not a directory\n"
        assert export("x2.safetensors", "--to", "formed", "-o", out) == (1, "", told)


def test_a_folder_is_made_for_a_file_and_for_nothing_else(export):
    assert export("x2.safetensors", "--to", "wrong", "-o", "new/x.wrong", "--size", "64x51")[0] == 1
    assert not Path("new").exists()
    assert export("x2.safetensors", "--to", "formed", "-o", "new/deep/x.formed")[0] == 0
    assert Path("new/deep/x.formed").is_file()


ABSENT = """\
import srkit


@srkit.hookimpl
def srkit_components():
    missing = "it needs nowhere: pip install 'srkit[absent]'"
    yield srkit.Component("exporter", "absent", f"{__name__}:Absent", facts={"suffix": ".absent"}, missing=missing)
"""


def test_an_exporter_that_is_not_installed_is_near_too_and_is_told_with_what_installs_it(export, call):
    Path("absent.py").write_text(ABSENT)
    code, out, err = call("-p", "absent.py", "-p", "forms.py", "export", "x2.safetensors", "--to", "absnt")
    assert (code, out) == (2, "")
    start = re.escape("srkit export: unknown exporter 'absnt'; did you mean 'absent'? (installed: ")
    assert re.fullmatch(rf"{start}.*formed.*; not installed: absent \(pip install 'srkit\[absent\]'\).*\)\n", err)
    assert call("-p", "absent.py", "export", "x2.safetensors", "--to", "absent") == (
        2,
        "",
        "srkit export: exporter 'absent' cannot be used: it needs nowhere: pip install 'srkit[absent]'\n",
    )


def test_without_a_format_the_names_of_them_are_told(export):
    names = "coreml, executorch, formed, litert, ncnn, onnx, openvino, wrong"
    told = f"--to NAME says the format: {names}; `srkit list exporter` says what each is for"
    assert export("x2.safetensors") == (2, "", f"srkit export: {told}\n")
