import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from srkit.engine.weights.model import read_metadata, save_model
from srkit.engine.weights.reading import read_weights
from tests.cli.conftest import save_nearest
from tests.conftest import photograph

DATA = os.environ.get("SRKIT_TEST_DATA")

GAIN = {"gain": torch.tensor([1.0, 0.5, 0.25])[:, None, None]}
NEAREST2 = ["--architecture", "nearest", "--scale", "2"]


@pytest.fixture
def convert(call, nearest):
    """Run `srkit -p nearest.py convert ...` where gain.pt is; return (exit code, stdout, stderr)."""
    torch.save(GAIN, "gain.pt")

    def run(*arguments):
        return call("-p", "nearest.py", "convert", *arguments)

    return run


def test_weights_become_a_file_that_describes_itself(convert):
    torch.save({"epoch": 3, "state_dict": {"module.gain": GAIN["gain"].half()}}, "w.ckpt")
    assert convert("w.ckpt", "new/w.safetensors", *NEAREST2, "--set", "blue=0.5") == (
        0,
        "ok  new/w.safetensors  nearest x2, 0.0 MiB\n"
        "    matched      1 tensor (3 values) of w.ckpt\n"
        "    taken off    wrapper 'state_dict', prefix 'module.'\n"
        "    now float32  1 tensor of float16\n"
        "    next         srkit eval -p nearest.py new/w.safetensors --data FOLDER\n",
        "",
    )
    assert os.listdir("new") == ["w.safetensors"]
    assert read_metadata(Path("new/w.safetensors")) == {
        "format": 1,
        "architecture": "nearest",
        "settings": {"blue": 0.5},
        "scale": 2,
        "distribution": "nearest.py",
        "version": "",
        "converted_from": {"file": "w.ckpt", "sha256": hashlib.sha256(Path("w.ckpt").read_bytes()).hexdigest()},
    }
    weights = read_weights(Path("new/w.safetensors"))
    assert weights["gain"].dtype == torch.float32
    assert torch.equal(weights["gain"], GAIN["gain"])


def test_what_was_converted_needs_no_words(convert, call, photographs):
    Image.fromarray(photograph(1, 20, 24)).save("one.png")
    assert convert("gain.pt", "w.safetensors", *NEAREST2)[0] == 0
    upscaled = call("-p", "nearest.py", "upscale", "w.safetensors", "one.png", "-o", "out")
    assert upscaled == (0, "", "1 of 1 images enlarged x2, in out\n")
    tables = []
    for name, *words in (["w", "w.safetensors"], ["gain", "gain.pt", *NEAREST2]):
        code, out, err = call("-p", "nearest.py", "eval", *words, "--data", "photos", "--json")
        far = f"{name} is far below bicubic: is it trained, and does it take values of 0..1?\n"
        assert (code, err) == (0, far)
        tables.append(json.loads(out)["tables"][0]["rows"][0]["mean"])
    assert tables[0] == tables[1]


def test_a_recipe_starts_from_what_was_converted(convert, call, tiny):
    code, _, err = call("run", "tiny.toml", "--out", "first", "--set", "train.steps=1")
    assert code == 0, err
    state = dict(read_weights(Path("first/best.safetensors")))
    torch.save({"params": state}, "net_g_1.pth")
    words = ["--architecture", "a2n", "--scale", "2", "--set", "features=4", "--set", "blocks=1"]
    assert convert("net_g_1.pth", "w.safetensors", *words, "--set", "upsampling_features=4")[0] == 0
    started = ["--set", "start.weights=w.safetensors", "--set", "train.steps=1"]
    code, _, err = call("run", "tiny.toml", "--out", "second", *started)
    assert code == 0, err
    assert f"taken {len(state)} tensors" in read_metadata(Path("second/best.safetensors"))["started"]


def test_a_run_is_converted_with_all_that_it_says_of_itself(convert):
    Path("run").mkdir()
    described = {"architecture": "nearest", "settings": {"blue": 0.5}, "scale": 2, "step": 7, "scores": [1.5]}
    save_model(Path("run/best.safetensors"), GAIN, described)
    code, out, _ = convert("run", "w.safetensors")
    assert (code, out.splitlines()[1]) == (0, "    matched  1 tensor (3 values) of run/best.safetensors")
    found = read_metadata(Path("w.safetensors"))
    assert found == {**found, **described}
    assert found["converted_from"]["file"] == "best.safetensors"


def test_a_part_of_a_checkpoint_is_told_where_the_network_is(call, tiny):
    assert call("run", "tiny.toml")[0] == 0
    part = "runs/tiny/checkpoints/step_00000006/weights.safetensors"
    assert call("convert", part, "w.safetensors") == (
        3,
        "",
        f"srkit convert: {part}: is a part of a checkpoint, which does not say what it holds; give the run's "
        "directory, or its best.safetensors or last.safetensors, which do\n",
    )


def test_a_file_of_srkits_has_no_keys(convert):
    save_nearest(Path("there.safetensors"))
    assert convert("there.safetensors", "w.safetensors", "--key", "netG") == (
        2,
        "",
        "srkit convert: there.safetensors is a file of srkit's, which holds one network and has no keys: leave out "
        "'netG'\n",
    )


def test_the_same_weights_give_the_same_file(convert):
    for name in ("a.safetensors", "b.safetensors"):
        assert convert("gain.pt", name, *NEAREST2)[0] == 0
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def test_a_tensor_under_two_names_is_written_twice(convert):
    Path("tied.py").write_text(
        "import srkit, torch\n\nclass Tied(torch.nn.Module):\n"
        "    def __init__(self, *, scale: int):\n        super().__init__()\n"
        "        self.a = torch.nn.Linear(2, 2)\n        self.b = self.a\n\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('architecture', 'tied', f'{__name__}:Tied')\n"
    )
    layer = torch.nn.Linear(2, 2)
    torch.save(torch.nn.ModuleDict({"a": layer, "b": layer}).state_dict(), "tied.pt")
    assert convert("-p", "tied.py", "tied.pt", "w.safetensors", "--architecture", "tied", "--scale", "2")[0] == 0
    assert sorted(read_weights(Path("w.safetensors"))) == ["a.bias", "a.weight", "b.bias", "b.weight"]


def test_one_network_of_several_is_taken_by_its_key(convert, call, photographs):
    torch.save({"netG": GAIN, "netD": {"gain": torch.zeros(3, 1, 1)}}, "gan.pth")
    assert convert("gan.pth", "w.safetensors", *NEAREST2) == (
        3,
        "",
        "srkit convert: gan.pth: holds several networks, or one beside other tensors: netD, netG; "
        "name the one that enlarges by --key, in a recipe by start.key\n",
    )
    code, out, _ = convert("gan.pth", "w.safetensors", *NEAREST2, "--key", "netG")
    assert (code, out.splitlines()[2]) == (0, "    taken off  wrapper 'netG'")
    assert torch.equal(read_weights(Path("w.safetensors"))["gain"], GAIN["gain"])
    evaluated = call("-p", "nearest.py", "eval", "gan.pth", *NEAREST2, "--key", "netG", "--data", "photos", "--json")
    assert evaluated[0] == 0
    assert convert("gan.pth", "v.safetensors", *NEAREST2, "--key", "netX") == (
        2,
        "",
        "srkit convert: gan.pth has no network 'netX'; did you mean 'netG'?\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["gain.pt", "w.pth", *NEAREST2],
            2,
            "OUT must end with .safetensors, and w.pth does not: a pickle (.pt, .pth, .ckpt) can hold code, and none "
            "is written",
        ),
        (
            ["gain.pt", "there.safetensors", *NEAREST2],
            2,
            "there.safetensors is there already; remove it first, or give another OUT",
        ),
        (
            ["there.safetensors", "there.safetensors"],
            2,
            "there.safetensors is there already; remove it first, or give another OUT",
        ),
        (
            ["gain.pt", "gain.pt/w.safetensors", *NEAREST2],
            1,
            "gain.pt/w.safetensors: cannot be written: Not a directory",
        ),
        (
            ["gain.pt", "w.safetensors"],
            2,
            "gain.pt does not say what network it holds; give --architecture NAME and --scale N",
        ),
        (
            ["gain.pt", "w.safetensors", "--architecture", "nearest"],
            2,
            "gain.pt does not say its scale, which weights alone do not tell: "
            "those of x2 and x3 and x4 have the same shapes; give --scale N",
        ),
        (
            ["there.safetensors", "w.safetensors", "--scale", "3"],
            2,
            "there.safetensors is a network for scale 2, not 3",
        ),
        (
            ["there.safetensors", "w.safetensors", "--architecture", "a2n"],
            2,
            "there.safetensors is a network 'nearest', not 'a2n'",
        ),
        (
            ["there.safetensors", "w.safetensors", "--architecture", "nearest", "--set", "blue=0.5"],
            2,
            "there.safetensors is a network with blue = 1.0, not 0.5",
        ),
        (["empty", "w.safetensors"], 3, "empty: is a folder without best.safetensors"),
        (["gone.pt", "w.safetensors"], 3, "gone.pt: there is no such file or run directory"),
        (
            ["page.pth", "w.safetensors", *NEAREST2],
            3,
            "page.pth: holds no weights that can be read: it is a web page",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(convert, arguments, code, message):
    save_nearest(Path("there.safetensors"))
    Path("page.pth").write_text("<html>")
    Path("empty").mkdir()
    before = Path("there.safetensors").read_bytes()
    assert convert(*arguments) == (code, "", f"srkit convert: {message}\n")
    assert not Path("w.safetensors").exists()
    assert Path("there.safetensors").read_bytes() == before


def test_weights_that_do_not_fit_are_told_a_line_each(convert):
    torch.save({"grain": torch.ones(3)}, "other.pt")
    assert convert("other.pt", "w.safetensors", *NEAREST2) == (
        3,
        "",
        "other.pt: does not fit 'nearest' at scale 2: 1 missing, 1 left over; nothing of it would be taken\n"
        "  missing: gain\n  left over: grain (did you mean gain?)\n",
    )
    assert not Path("w.safetensors").exists()


def test_words_that_agree_with_a_file_are_taken(convert):
    save_nearest(Path("there.safetensors"), blue=0.5)
    words = ["--architecture", "nearest.py:nearest", "--scale", "2", "--set", "blue=0.5"]
    assert convert("there.safetensors", "w.safetensors", *words)[0] == 0
    assert read_metadata(Path("w.safetensors"))["settings"] == {"blue": 0.5}


def test_a_network_that_is_not_installed_under_its_name_may_be_named(convert):
    save_model(Path("old.safetensors"), GAIN, {"architecture": "repeat", "settings": {"blue": 0.5}, "scale": 2})
    assert convert("old.safetensors", "w.safetensors")[0] == 2
    assert convert("old.safetensors", "w.safetensors", "--architecture", "nearest")[0] == 0
    found = read_metadata(Path("w.safetensors"))
    assert (found["architecture"], found["settings"]) == ("nearest", {"blue": 0.5})


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"settings": {}, "scale": 2}, "its description lacks the architecture, the settings or the scale"),
        (
            {"architecture": "nearest", "settings": {}, "scale": 1e999},
            "its description lacks the architecture, the settings or the scale",
        ),
        (
            {"architecture": "nearest", "settings": {"blue": "red"}, "scale": 2},
            "its description makes no network of 'nearest': ...",
        ),
        (
            {"architecture": "a2n", "settings": {"features": 10**7}, "scale": 2},
            "does not fit 'a2n' at scale 2: ...",
        ),
        (
            {"architecture": "a2n", "settings": {}, "scale": 5},
            "its description makes no network of 'a2n': ValueError: a2n has scales 2, 3 and 4, not 5",
        ),
    ],
)
def test_a_description_made_to_do_harm_makes_no_network(convert, described, reason):
    save_model(Path("bad.safetensors"), GAIN, described)
    code, out, err = convert("bad.safetensors", "w.safetensors")
    assert (code, out) == (3, "")
    start, dots, _ = reason.partition("...")
    assert err.splitlines()[0].removeprefix("srkit convert: ").startswith(f"bad.safetensors: {start}")
    assert dots or err.endswith(f"{reason}\n")


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_the_authors_weights_of_a2n_keep_their_scores(call):
    folder = Path(str(DATA))
    words = ["--architecture", "a2n", "--set", "img_range=255", "--scale", "2"]
    code, out, _ = call("convert", folder / "golden/weights/aan_x2.pt", "a2n_x2.safetensors", *words)
    assert code == 0
    matched = f"    matched  172 tensors (1,036,443 values) of {folder / 'golden/weights/aan_x2.pt'}"
    assert out.splitlines()[1] == matched
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        code, out, err = call("eval", "a2n_x2.safetensors", "--data", folder / "data/Set5", "--json")
    finally:
        torch.set_num_threads(threads)
    assert (code, err) == (0, "")
    mean = json.loads(out)["tables"][0]["rows"][0]["mean"]
    assert mean["psnr_y"] == pytest.approx(38.0581, abs=5e-4)
    assert mean["ssim_y"] == pytest.approx(0.96072, abs=2e-5)


def test_what_a_killed_convert_left_behind_is_removed_by_the_next(convert):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    Path("new").mkdir()
    for name in (f".aside-{ended.pid}-0123456789ab", f".aside-{os.getpid()}-0123456789ab", "mine"):
        Path("new", name).write_bytes(b"half")
    assert convert("gain.pt", "new/w.safetensors", *NEAREST2, "--set", "blue=0.5")[0] == 0
    assert sorted(os.listdir("new")) == [f".aside-{os.getpid()}-0123456789ab", "mine", "w.safetensors"]
