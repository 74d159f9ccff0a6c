"""`srkit degrade` with a recipe and its sheet, and `srkit prepare` with LR that is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import srkit
from srkit.images.reading import read_image
from srkit.recipe.packaged import packaged_recipes

RECIPES = ", ".join(packaged_recipes())
RECIPE = """\
scale = 2
architecture = "a2n"

[data]
dataset = { type = "folder", path = "photos" }

[data.degradation]
type = "chain"
steps = ["blur", { type = "gaussian_noise", sigma = [5, 20] }, "jpeg"]

[train]
steps = 1
"""


@pytest.fixture
def recipe(photographs, tmp_path):
    """A recipe with a degradation, and its photographs."""
    (tmp_path / "mine.toml").write_text(RECIPE)
    return "mine.toml"


def test_a_recipe_gives_its_degradation_and_its_scale(call, recipe):
    told = "4 of 4 images downscaled by 2, in {}\n"
    assert call("degrade", recipe, "photos", "a", "--seed", "1") == (0, "", told.format("a"))
    assert call("degrade", recipe, "photos", "b", "--seed", "1") == (0, "", told.format("b"))
    assert call("degrade", recipe, "photos", "c", "--seed", "2")[0] == 0
    for path in Path("photos").iterdir():
        first, again, other = (read_image(Path(folder, path.name)) for folder in "abc")
        assert [2 * side for side in first.shape[:2]] == [side // 2 * 2 for side in read_image(path).shape[:2]]
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_the_keys_of_the_recipe_are_overridden(call, recipe):
    assert call("degrade", recipe, "photos", "a", "--set", "data.degradation.steps=[]", "--scale", "4")[0] == 0
    assert read_image("a/p0.png").shape == (12, 16, 3)


def test_the_sheet_shows_the_draws_of_this_seed_and_of_the_next(call, recipe):
    assert call("degrade", recipe, "photos", "a", "--seed", "1", "--sheet", "looks/sheet.png") == (
        0,
        "",
        "a sheet of draws is in looks/sheet.png\n4 of 4 images downscaled by 2, in a\n",
    )
    assert call("degrade", recipe, "photos", "b", "--seed", "2")[0] == 0
    sheet = np.asarray(Image.open("looks/sheet.png"))
    hr = read_image("photos/p0.png")
    height, width = hr.shape[:2]
    assert np.array_equal(sheet[8 : 8 + height, 8 : 8 + width], hr)
    for column, folder in ((1, "a"), (2, "b")):
        left = 8 + 264 * column
        enlarged = read_image(f"{folder}/p0.png").repeat(2, 0).repeat(2, 1)
        assert np.array_equal(sheet[8 : 8 + height, left : left + width], enlarged)
        assert (sheet[8 + 256 : 8 + 256 + 40, left : left + 200] < 128).any()  # what was drawn, in words


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["chain", "photos", "a"],
            "srkit degrade: give --scale N, how much smaller LR is: 'chain' does not say it, as a recipe would\n",
        ),
        (
            ["zzz.toml", "photos", "a"],
            f"srkit degrade: there is no recipe zzz.toml, neither a file nor a packaged one; there are: {RECIPES}\n",
        ),
        (
            ["real_quickstrat", "photos", "a"],
            "srkit degrade: there is no degradation and no recipe 'real_quickstrat'; "
            "did you mean the recipe 'real_quickstart'?\n",
        ),
        (
            ["blur", "photos", "a", "--scale", "2"],
            "srkit degrade: unknown degradation 'blur'; 'blur' is of kind distortion "
            "(installed: bicubic, chain, kernel, pillow_bicubic); if a one-file plugin has it, add -p FILE\n",
        ),
        (
            [
                "chain",
                "photos",
                "a",
                "--scale",
                "2",
                "--set",
                'steps=[{type="maybe", step={type="jpeg", quality=[1, 101]}}]',
            ],
            "srkit degrade: degradation 'chain': distortion 'maybe': distortion 'jpeg': "
            "quality must be two numbers from 1 to 100, the smaller first, not 1 and 101\n",
        ),
        (
            ["bicubic", "h6:photos", "a", "--scale", "2"],
            "srkit degrade: h6:photos: unknown dataset 'h6' (installed: folder, h5, leaves, litdata, lmdb, mix); "
            "if a one-file plugin has it, add -p FILE\n",
        ),
        (
            ["mine.toml", "photos", "a", "--sheet", "sheet.jpg"],
            "srkit degrade: --sheet makes a PNG: give it a name that ends with .png, not sheet.jpg\n",
        ),
        (
            ["mine.toml", "photos", "a", "--set", "data.degradation="],
            "srkit degrade: recipe mine.toml names no data.degradation; its LR are files, or MATLAB's bicubic\n",
        ),
    ],
)
def test_what_cannot_be_done_is_said(call, recipe, arguments, told):
    assert call("degrade", *arguments) == (2, "", told)


def test_prepare_packs_lr_that_is_drawn_with_its_seed_in_the_manifest(call, recipe):
    assert call("degrade", recipe, "photos", "lr", "--seed", "7")[0] == 0
    words = ["prepare", "photos", "photos.h5", "--scale", "2", "--degradation", recipe, "--seed", "7", "--threads", "3"]
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert "LR x2 by chain(steps=[blur, gaussian_noise(sigma=(5.0, 20.0)), jpeg]), seed 7;" in out
    packed = srkit.create("dataset", "h5", path="photos.h5")
    manifest = packed.manifest()
    assert manifest.made["seed"] == 7
    small = packed.lr(2)
    for index in range(len(packed)):
        assert np.array_equal(small.read(index), read_image(f"lr/{packed.name(index)}.png"))
    assert call("prepare", "--verify", "photos.h5")[0] == 0
    assert call(*words[:2], "other.h5", *words[3:-4], "--seed", "8")[0] == 0
    other = srkit.create("dataset", "h5", path="other.h5").manifest()
    assert other.sides["hr"] == manifest.sides["hr"]
    assert other.fingerprint != manifest.fingerprint


def test_prepare_takes_the_scale_of_a_recipe(call, recipe):
    code, out, err = call("prepare", "photos", "photos.h5", "--degradation", recipe)
    assert (code, err, "LR x2 by chain(" in out) == (0, "", True)


def test_prepare_says_no_seed_where_nothing_is_drawn(call, recipe):
    assert call("prepare", "photos", "photos.h5", "--scale", "2")[0] == 0
    assert "seed" not in srkit.create("dataset", "h5", path="photos.h5").manifest().made
