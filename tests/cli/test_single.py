"""`srkit upscale RECIPE`: a network of each image; and what refines any network's output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

import srkit
from srkit.images.encoding import encode_png
from tests import forking
from tests.conftest import photograph

SMALL = ("--set", "architecture.features=4", "--set", "train.steps=3", "--set", "data.patch=8")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a photo.png"
    path.write_bytes(encode_png(photograph(1, 40, 48)))
    return path


def events(directory: Path, event: str) -> int:
    return len(steps_of(directory, event))


def steps_of(directory: Path, event: str) -> list[int]:
    lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if line["event"] == event]


def runs(tmp_path) -> list[Path]:
    return sorted((tmp_path / "runs").iterdir())


def test_a_network_is_trained_on_each_image_and_enlarges_it(call, photo, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(encode_png(photograph(2, 13, 30)))  # less than a patch of 8 at x2
    code, _, err = call("upscale", "zssr", photo, other, "-o", "out", *SMALL)
    assert code == 0
    assert err.endswith("2 of 2 images enlarged x2, in out\n")
    assert srkit.read_image("out/a photo.png").shape == (80, 96, 3)
    assert srkit.read_image("out/other.png").shape == (26, 60, 3)
    found = runs(tmp_path)
    assert len(found) == 2
    assert len({run.name[: len("zssr-12345678")] for run in found}) == 1  # the same recipe
    networks = {srkit.load(run).body[0].weight.sum().item() for run in found}
    assert len(networks) == 2
    enlarged = srkit.upscale(srkit.read_image(photo), srkit.load(next(run for run in found if is_of(run, photo))))
    assert np.array_equal(srkit.read_image("out/a photo.png"), enlarged)


def is_of(run: Path, image: Path) -> bool:
    return json.dumps(str(image)) in (run / "recipe.toml").read_text()


def test_the_same_command_trains_no_more_and_another_recipe_trains_anew(call, photo, tmp_path):
    for settings in (SMALL, SMALL, (*SMALL, "--scale", "3")):
        assert call("upscale", "zssr", photo, "-o", "out", "--overwrite", *settings)[0] == 0
    assert srkit.read_image("out/a photo.png").shape == (120, 144, 3)
    assert [events(run, "run_started") for run in runs(tmp_path)] == [1, 1]


def test_a_moved_image_keeps_its_network_and_a_copy_of_another_name_has_its_own(call, photo, tmp_path):
    (tmp_path / "moved").mkdir()
    (tmp_path / "copy.png").write_bytes(photo.read_bytes())
    assert call("upscale", "zssr", photo, "-o", "out", *SMALL)[0] == 0
    moved = photo.rename(tmp_path / "moved" / photo.name)
    assert call("upscale", "zssr", moved, "-o", "out", "--overwrite", *SMALL)[0] == 0
    assert [events(run, "run_started") for run in runs(tmp_path)] == [1]
    assert call("upscale", "zssr", "copy.png", "-o", "out", *SMALL)[0] == 0
    assert [events(run, "run_started") for run in runs(tmp_path)] == [1, 1]


# It holds training at its second step until a signal is seen, once.
HOLDS = """\
import pathlib, signal, sys, time
import srkit

class Holds:
    def logged(self, step, values):
        held = pathlib.Path("held")
        if not held.exists():
            held.touch()
            asked = signal.getsignal(signal.SIGINT).__self__
            print("held", file=sys.stderr, flush=True)
            while not asked():
                time.sleep(0.01)

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("observer", "holds", f"{__name__}:Holds")
"""


def test_a_stopped_run_is_continued_by_the_same_command(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holds.py").write_text(HOLDS)
    settings = [*SMALL, "--set", "train.steps=6", "--set", "train.log_every=2", "--set", 'observer=["holds"]']
    command = ["-m", "srkit", "-p", "holds.py", "upscale", "zssr", str(photo), "-o", "out", *settings]
    process = forking.Process(*command, stderr=subprocess.PIPE)
    assert "held\n" in process.stderr
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 75
    assert err.endswith("at step 2 of 6, with a checkpoint saved\nto continue, run the same command again\n")
    assert not (tmp_path / "out" / photo.name).exists()
    again = forking.run(*command)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / photo.name).exists()
    (run,) = runs(tmp_path)
    assert steps_of(run, "run_started") == [0, 2]


def test_an_image_that_cannot_be_trained_on_is_named_and_the_rest_goes_on(call, photo, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    code, _, err = call("upscale", "zssr", "bad.png", photo, "-o", "out", *SMALL)
    assert code == 3
    assert "bad.png" in err
    assert err.endswith("1 of 2 images enlarged x2, in out\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "train.stps=3"), "--set train.stps=3: unknown key 'stps'; did you mean 'steps'?"),
        (
            ("--architecture", "edsr"),
            "zssr is a recipe, which says its network: --set architecture.type=NAME changes it",
        ),
        (("--key", "params"), "zssr is a recipe, which says its network: --set architecture.type=NAME changes it"),
    ],
)
def test_what_a_recipe_cannot_take_is_refused_before_an_image_is_looked_at(call, photo, arguments, message):
    assert call("upscale", "zssr", photo, "-o", "out", *arguments) == (2, "", f"srkit upscale: {message}\n")
    assert not os.path.exists("runs")


def test_a_file_of_a_recipe_is_a_model_too(call, photo, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('extends = "zssr.toml"\ntrain = { steps = 2 }\n')
    base = Path(srkit.__file__).parents[1] / "recipes" / "zssr.toml"
    (tmp_path / "zssr.toml").write_text(base.read_text())
    assert (
        call("upscale", recipe, photo, "-o", "out", "--set", "architecture.features=4", "--set", "data.patch=8")[0] == 0
    )
    assert runs(tmp_path)[0].name.startswith("mine-")


def test_back_projection_makes_sr_agree_with_its_lr(call, nearest, model, photo, tmp_path):
    lr = srkit.read_image(photo)
    shrink = srkit.create("degradation", "bicubic", scale=2)
    differences = []
    for number in ("0", "8"):
        assert call("-p", nearest, "upscale", model, photo, "-o", f"out{number}", "--back-projection", number)[0] == 0
        sr = srkit.read_image(f"out{number}/a photo.png")
        differences.append(np.abs(shrink(sr).astype(float) - lr).mean())
    assert differences[1] < differences[0] / 3


def test_the_median_of_the_symmetries_is_enlarged_by(call, nearest, model, photo):
    for ensemble in ("none", "x8", "median"):  # of one that has symmetries of its own
        assert call("-p", nearest, "upscale", model, photo, "-o", ensemble, "--ensemble", ensemble)[0] == 0
    first, *others = (srkit.read_image(f"{name}/a photo.png") for name in ("none", "x8", "median"))
    assert all(np.array_equal(first, other) for other in others)


def test_a_number_of_steps_is_a_number(call, nearest, model, photo):
    code, _, err = call("-p", nearest, "upscale", model, photo, "-o", "out", "--back-projection", "-1")
    assert code == 2
    assert "argument --back-projection: '-1' is no number of steps, 0 to 9999" in err
