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
ROAD = sorted(name for name in RECIPES if "quickstart" not in name and name not in ("zssr", "phone_x2"))
SMALL = ["architecture.features=4", "data.batch=2", "train.steps=1", "train.device=cpu"]
OWN = {"a2n": "upsampling_features=4", "liif": "hidden=[4]", "lapsrn": "depth=1"}  # settings of some networks


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
        small = [*SMALL, *(f"architecture.{text}" for network, text in OWN.items() if network in name)]
        small += [] if "lapsrn" in name else ["architecture.blocks=1"]
        small += ["data.patch=24"] if "realesr" in name or name == "bsrgan_x4" else []
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


def test_the_first_comment_of_phone_x2_leads_from_photographs_to_larger_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        put(Path(("photos/a.png", "photos/b.png", "photos_valid/c.png")[i]), 64, 72, seed=i)
    Image.fromarray(photograph(4, 24, 20)).save("IMG_0001.jpg")
    words_of_a2n = ("architecture.upsampling_features=4", "architecture.blocks=1")
    small = [*SMALL, *words_of_a2n, "data.patch=24"]
    found = commands("phone_x2")
    assert [words[1] for words in found] == ["degrade", "run", "upscale"]
    for _, *words in found:
        more = [word for text in small for word in ("--set", text)] if words[0] == "run" else []
        assert main([*words, *more]) == 0, (words, capsys.readouterr().err)
    assert srkit.read_image("lr/c.png").shape == (32, 36, 3)
    assert srkit.read_image("out/IMG_0001.jpg").shape == (48, 40, 3)
    recipe = srkit.load_recipe("phone_x2")
    assert recipe.validate[0].degradation == recipe.data.degradation


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


def test_lapsrn_scores_its_x2_output_and_liif_any_scale(data, capsys):
    """The commands behind their first comments."""
    for name, scale in (("lapsrn_x4", "2"), ("liif", "2.7")):
        for _, *words in commands(name):
            small = [*SMALL, *(f"architecture.{text}" for network, text in OWN.items() if network in name)]
            assert main([*words, *(word for text in small for word in ("--set", text) if words[0] == "run")]) == 0
        assert f"srkit eval runs/{name} --data Set5=data/Set5 --scale {scale}\n" in RECIPES[name].read_text()
        capsys.readouterr()
        assert main(["eval", f"runs/{name}", "--data", "Set5=data/Set5", "--scale", scale]) == 0
        assert capsys.readouterr().out.startswith(f"Set5 x{scale}")
    put(Path("photo.jpg"), 40, 60)
    assert main(["upscale", "runs/liif", "photo.jpg", "-o", "out/", "--size", "151x100"]) == 0
    assert srkit.read_image("out/photo.jpg").shape == (100, 151, 3)


def test_zssr_learns_of_an_image_blurred_by_a_kernel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(Path("photo.png"), 80, 90)
    Path("kernel.txt").write_text("1 2 1\n2 4 2\n1 2 1\n")
    small = [*SMALL, "data.dataset.path=photo.png", 'data.degradation={type="kernel", path="kernel.txt"}']
    words = [word for text in small for word in ("--set", text)]
    assert main(["run", "zssr", "--out", "runs/photo", *words]) == 0
    assert main(["upscale", "runs/photo", "photo.png", "-o", "out/"]) == 0
    assert srkit.read_image("out/photo.png").shape == (160, 180, 3)
