"""Whole runs of a network of any scale: continued to the bit, validated at several scales, refused with their lines."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

import srkit
from srkit.errors import RecipeError
from srkit.plugin.discovery import discover
from tests.conftest import HANGS, ROOT, TINY
from tests.engine.running.test_run import assert_same, contents

PLUGIN = str(ROOT / "tests" / "anywhere.py")
RECIPE = (
    TINY.replace('type = "a2n"\nfeatures = 4\nblocks = 1\nupsampling_features = 4', 'type = "anywhere"')
    .replace("patch = 8", "patch = 8\nscales = [1.0, 4.0]\npoints = 50")
    .replace('name = "photos"', 'name = "third"\nscale = 2.7\ndegradation = "dimmed"\n', 1)
    + """
[[validate]]
name = "twice"
dataset = { type = "folder", path = "photos" }
"""
)


@pytest.fixture
def anywhere(tiny):
    tiny.write_text(RECIPE)
    return tiny


def train(recipe, out, *overrides, **options):
    return srkit.run(recipe, out=out, set=list(overrides), registry=discover([PLUGIN]), **options)


def test_a_network_of_any_scale_is_trained_on_points_and_scored_at_each_sets_scale(anywhere):
    result = train(anywhere, "run")
    third, twice = result.tables
    assert [(table["data"], table["scale"]) for table in result.tables] == [("third", 2.7), ("twice", 2)]
    assert (third["protocol"]["lr"], twice["protocol"]["lr"]) == ("dimmed", "bicubic")
    assert (third["protocol"]["border"], twice["protocol"]["border"]) == (
        {"psnr_y": 3, "ssim_y": 3},
        {"psnr_y": 2, "ssim_y": 2},
    )
    assert [row["model"] for row in third["rows"]] == ["anywhere", "bicubic"]
    recipe = Path("run/recipe.toml").read_text()
    assert "scales = [" in recipe
    assert "points = 50" in recipe
    assert "scale = 2.7" in recipe


def test_scores_of_a_random_degradation_are_the_same_each_time(anywhere):
    first, second = (train(anywhere, out, "seed=3").tables[0]["rows"][1] for out in ("one", "two"))
    other = train(anywhere, "three", "seed=4").tables[0]["rows"][1]
    assert first == second == other  # bicubic's row: LR is drawn by the image's number, whatever the seed


KILLER = """
import os, signal, sys
import srkit
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Origin

class Killer:
    def logged(self, step, values):
        if step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

registry = discover([sys.argv[1]])
registry.add(srkit.Component("observer", "killer", "__main__:Killer"), Origin("killer"))
srkit.run("tiny.toml", out="killed", set=sys.argv[2:], registry=registry, observers=["killer"])
"""


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_run_that_is_killed_and_continued_ends_with_the_same_bits(anywhere, cache):
    settings = ["train.deterministic=run", "train.steps=14", "train.checkpoint_every=5", f"data.cache={cache}"]
    straight = [*settings, "data.threads=1"]
    train(anywhere, "straight", *straight)
    code = subprocess.run([sys.executable, "-c", KILLER, PLUGIN, *straight], timeout=HANGS, check=False).returncode
    assert code == -signal.SIGKILL
    train(anywhere, "killed", *straight)
    assert_same(contents(Path("straight")), contents(Path("killed")))


def test_neither_threads_nor_the_cache_change_the_weights(anywhere):
    weights = []
    for out, *changes in (("one", "data.threads=1"), ("two", "data.threads=3", "data.cache=none")):
        train(anywhere, out, *changes)
        weights.append(safetensors.torch.load_file(f"{out}/last.safetensors"))
    first, second = weights
    assert all(torch.equal(first[name], second[name]) for name in first)


FIXED = 'type = "a2n"\nfeatures = 4\nblocks = 1\nupsampling_features = 4'


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (("[1.0, 4.0]", "[4.0, 1.5]"), ["11: 'scales' are the least and the greatest, not 4.0 and 1.5"]),
        (("[1.0, 4.0]", "[0.5, 4.0]"), ["11: 'scales' must be at least 1 and below 65, not 0.5 to 4.0"]),
        (("[1.0, 4.0]", "[1.0, 4.0, 5.0]"), ["11: 'scales' must be a list of 2 numbers, not one of 3"]),
        (("[1.0, 4.0]", '"4"'), ["11: 'scales' must be a list of 2 numbers, not \"4\""]),
        (("points = 50", "points = 0"), ["12: 'points' must be at least 1, not 0"]),
        (
            ("[1.0, 4.0]", "[1.0, 9.0]"),
            [
                "10: none of the 4 images is as large as a patch: 8 LR pixels at scale 9 need 72x72",
            ],
        ),
        (
            ("patch = 8\nscales = [1.0, 4.0]", "patch = 4\nscales = [1.0, 9.0]"),
            ["11: architecture 'anywhere' takes scales from 1 to 8, not 9"],
        ),
        (
            ("scale = 2.7", "scale = 8.5"),
            ["17: architecture 'anywhere' takes scales from 1 to 8, not 8.5"],
        ),
        (
            ('type = "anywhere"', FIXED),
            [
                "14: architecture 'a2n' has scale 2, and data.scales draws any of a range: a network serves it whose "
                "forward declares 'size'",
                "15: architecture 'a2n' makes whole images: data.points needs a network whose forward declares "
                "'points'",
                "20: architecture 'a2n' has scale 2, not 2.7",
            ],
        ),
        (
            ('type = "anywhere"', 'type = "pyramid"'),
            [
                "11: architecture 'pyramid' has scale 2, and data.scales draws any of a range",
                "12: architecture 'pyramid' makes whole images: data.points needs a network whose forward declares "
                "'points'",
                "17: architecture 'pyramid' has scale 2, not 2.7",
            ],
        ),
        (
            ("points = 50", 'points = 50\ndegradation = "dimmed_x2"'),
            ["13: degradation 'dimmed_x2' has one scale, and data.scales draws any: it must declare 'size'"],
        ),
        (
            ("points = 50", 'points = 50\ndegradation = "pillow_bicubic"'),
            [
                "13: degradation 'pillow_bicubic' takes whole images, and with data.scales each window has a scale; "
                "one with a method 'batch' takes them, as bicubic does"
            ],
        ),
        (
            ('degradation = "dimmed"', 'degradation = "dimmed_x2"'),
            ["17: degradation 'dimmed_x2' serves whole scales, not 2.7: its call does not declare 'size'"],
        ),
        (
            ('scale = 2.7\ndegradation = "dimmed"', 'scale = 4\ndegradation = "third"'),
            ["17: degradation 'third' has scales 2, 3, not 4"],
        ),
    ],
)
def test_what_cannot_be_trained_or_scored_is_said_with_its_line(anywhere, change, lines):
    assert change[0] in RECIPE
    anywhere.write_text(RECIPE.replace(*change, 1))
    with pytest.raises(RecipeError) as error:
        train(anywhere, "run")
    assert str(error.value).splitlines() == [f"{anywhere}:{line}" for line in lines]
    assert not Path("run").exists()


def test_a_pyramid_is_scored_at_each_of_its_scales(anywhere):
    text = RECIPE.replace('type = "anywhere"', 'type = "pyramid"').replace("scales = [1.0, 4.0]\npoints = 50\n", "")
    anywhere.write_text(text.replace("scale = 2\n", "scale = 4\n", 1).replace("scale = 2.7\n", "scale = 2\n"))
    tables = train(anywhere, "run").tables
    assert [(table["scale"], table["rows"][0]["model"]) for table in tables] == [(2, "pyramid"), (4, "pyramid")]


NO_SIZE = ": its forward must declare 'size', (height, width) of SR, by which it knows which of its scales is meant"


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("sizeless", 4, f"architecture 'sizeless' has scale 4, not 2{NO_SIZE}"),
        (
            "unsaid",
            2,
            "architecture 'unsaid' returns [1, 3, 16, 16] for [1, 3, 8, 8] at scale 4, not [1, 3, 32, 32]; one that "
            "serves some scales alone says which: self.scales = (2, 4)",
        ),
    ],
)
def test_a_pyramid_that_does_not_declare_what_it_serves_is_told_what_to_declare(anywhere, name, scale, message):
    text = RECIPE.replace('type = "anywhere"', f'type = "{name}"').replace("scales = [1.0, 4.0]\npoints = 50\n", "")
    text = text.replace("scale = 2\n", f"scale = {scale}\n", 1).replace("scale = 2.7\n", f"scale = {6 - scale}\n")
    anywhere.write_text(text)
    with pytest.raises(RecipeError) as error:
        train(anywhere, "run")
    assert str(error.value) == f"{anywhere}:15: {message}"


def test_one_level_of_a_pyramid_is_trained_by_the_loss_of_all_outputs(tiny):
    """A network for x2 has no output below it, and returns (SR, {}) all the same."""
    loss = ['architecture={type="lapsrn", features=4, depth=1}', 'loss=[{type="deep_supervision", loss="l1"}]']
    train(tiny, "run", *loss, "train.steps=2")
    assert Path("run/last.safetensors").is_file()


def test_lr_files_beside_hr_are_not_used_for_drawn_scales_and_that_is_said(anywhere, photographs, caplog):
    (photographs / "LR_bicubic" / "X2").mkdir(parents=True)
    (photographs / "HR").mkdir()
    for path in photographs.glob("*.png"):
        with Image.open(path) as image:
            small = image.resize((image.width // 2, image.height // 2))
        small.save(photographs / "LR_bicubic" / "X2" / f"{path.stem}x2.png")
        path.rename(photographs / "HR" / path.name)
    train(anywhere, "run")
    assert "the LR files x2 beside HR are not used, since data.scales draws any" in caplog.text


@pytest.mark.parametrize("loss", ["fft", "focal_frequency", "gradient"])
def test_a_loss_of_neighbouring_pixels_beside_sampled_ones_is_refused(anywhere, loss):
    with pytest.raises(RecipeError) as error:
        train(anywhere, "run", f"loss=[{{type='l1'}}, {{type='{loss}', weight=0.1}}]")
    assert str(error.value) == (
        f"--set loss=[{{type='l1'}}, {{type='{loss}', weight=0.1}}]: loss '{loss}' looks at neighbouring pixels, and "
        "data.points samples single ones: leave out data.points, so that whole patches are compared, or this loss"
    )
    assert not Path("run").exists()


@pytest.mark.parametrize("loss", ["l1", "l2", "charbonnier"])
def test_a_loss_of_single_pixels_learns_from_sampled_ones(anywhere, loss):
    train(anywhere, "run", f"loss=['{loss}']", "train.steps=1")


def test_more_points_than_the_least_patch_has_are_warned_of(anywhere, caplog):
    train(anywhere, "run", "data.points=65", "train.steps=1")
    text = "data.points is 65, and a patch of HR at scale 1 has 64 pixels: there all of them count"
    assert [record.message for record in caplog.records if "points" in record.message] == [text]
