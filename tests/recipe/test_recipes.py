"""The packaged recipes: their first comments are followed line by line, on small images laid out as the sets are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import srkit
from srkit.cli import main
from srkit.recipe.packaged import packaged_recipes
from tests.conftest import photograph

RECIPES = packaged_recipes()
ROAD = sorted(name for name in RECIPES if "quickstart" not in name)
SMALL = ["architecture.features=4", "architecture.blocks=1", "data.batch=2", "train.steps=1", "train.device=cpu"]


def put(path, *size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(seed, *size)).save(path)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """DIV2K, Set5 and Set14 as they are unpacked, each with a few small images."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        put(Path(f"data/DIV2K/DIV2K_train_HR/000{i + 1}.png"), 260, 276 + 4 * i, seed=i)
    for i in range(7):
        put(Path(f"data/DIV2K/DIV2K_valid_HR/080{i + 1}.png"), 48, 64, seed=i)
    for name in ("Set5", "Set14"):
        put(Path(f"data/{name}/HR/baby.png"), 48, 64)


def commands(name):
    lines = [line.removeprefix("#").strip() for line in RECIPES[name].read_text().splitlines() if line[:1] == "#"]
    return [shlex.split(found[1]) for line in lines if (found := re.fullmatch(r"\d+\. (srkit .+)", line))]


@pytest.mark.parametrize("name", ROAD)
def test_the_first_comment_leads_from_the_data_to_a_model(name, data, capsys):
    found = commands(name)
    assert [words[1] for words in found][:2] == ["prepare", "run"]
    assert found[1] == ["srkit", "run", name]
    for _, *words in found:
        small = [*SMALL, *(["architecture.upsampling_features=4"] if "a2n" in name else [])]
        more = [word for text in small for word in ("--set", text)] if words[0] == "run" else []
        assert main([*words, *more]) == 0, (words, capsys.readouterr().err)
    network = srkit.load(Path("runs", name))
    assert sum(p.numel() for p in network.parameters()) > 0


@pytest.mark.parametrize("name", ROAD)
def test_without_the_data_check_says_what_to_do(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", name]) == 2
    err = capsys.readouterr().err
    assert "is not there; looked for in" in err
    assert f"{shlex.join(commands(name)[0])}\n" in err
    assert "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_train_HR.zip" in err


def test_the_recipes_are_those_of_the_paper_and_of_the_blog(data):
    """Figures of arXiv:2104.09497 and of the blog's set-up: patch, batch, rate, steps, loss."""

    def figures(name):
        recipe = srkit.load_recipe(name)
        (loss,) = recipe.loss
        flips = {part.type for part in recipe.data.augment}
        assert recipe.architecture.settings == srkit.load_recipe("a2n_x2").architecture.settings
        return (
            *(recipe.scale, recipe.data.patch, recipe.data.batch, recipe.optimizer.type),
            *(recipe.optimizer.settings["lr"], recipe.train.steps, loss.type, loss.settings["reduction"], flips),
        )

    blog, paper = {"hflip", "vflip", "rot90"}, {"hflip", "vflip", "transpose"}
    assert figures("a2n_x2") == (2, 48, 32, "adam", 5e-4, 500 * 1003, "charbonnier", "sum", blog)
    assert figures("a2n_x4_from_x2") == (4, 48, 32, "adam", 5e-4, 200 * 1003, "charbonnier", "sum", blog)
    assert figures("a2n_x2_paper") == (2, 64, 32, "adam", 5e-4, 2000 * 1000, "l1", "mean", paper)
    assert figures("a2n_x4_paper") == (4, 64, 32, "adam", 5e-4, 2000 * 1000, "l1", "mean", paper)


def test_the_paper_halves_the_rate_every_200_epochs():
    recipe = srkit.load_recipe("a2n_x2_paper")
    assert recipe.schedule.settings == {"milestones": [k * 200_000 for k in range(1, 10)], "gamma": 0.5, "warmup": 0}
