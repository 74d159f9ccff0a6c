"""A recipe written out and read back."""

from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import installed
from srkit.plugin.settings import read_settings
from srkit.recipe.reading import read_recipe
from tests.conftest import ROOT, TINY


def read(folder, text, *overrides):
    path = folder / "x.toml"
    path.write_text(text, encoding="utf-8", newline="")
    return read_recipe(path, installed(), overrides=overrides)[0]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_each_packaged_recipe_reads_back_equal(tmp_path, path):
    recipe, _ = read_recipe(path, installed())
    again = read(tmp_path, recipe.to_toml())
    assert again == recipe
    assert again.hash == recipe.hash


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NUMBER = st.floats(0, 1e9, allow_subnormal=False) | st.integers(0, 10**9)
VALUES = {
    "title": TEXT,
    "seed": st.integers(0, 2**63 - 1),
    "scale": st.sampled_from([2, 3, 4]),
    "architecture": st.sampled_from(["edsr", {"type": "edsr", "mean": [0, 0.5, 1]}, {"type": "a2n", "blocks": 2}]),
    "loss": st.lists(st.sampled_from(["l1", "l2", {"type": "l1", "weight": 0.1 + 0.2}]), min_size=1, max_size=3),
    "metric": st.lists(st.sampled_from(["psnr", "ssim_y"]), min_size=1, max_size=3),
    "optimizer.lr": NUMBER,
    "optimizer.betas": st.tuples(NUMBER, NUMBER).map(list),
    "schedule": st.lists(st.integers(-(2**63), 2**63), max_size=50).map(
        lambda steps: {"type": "multistep", "milestones": steps}
    ),
    "observer": st.lists(st.sampled_from(["log", {"type": "log"}]), max_size=2),
    "validate": st.lists(
        st.builds(lambda name: {"name": name, "dataset": "leaves"}, TEXT), max_size=3, unique_by=lambda x: x["name"]
    ),
    "data.dataset.path": TEXT,
    "data.degradation": st.sampled_from(["bicubic", {"type": "pillow_bicubic"}]),
    "data.augment": st.lists(st.sampled_from(["hflip", "rot90"]), max_size=3),
    "data.batch": st.integers(1, 10**9),
    "data.cache": st.sampled_from(["auto", "memory", "none"]),
    "start.weights": TEXT,
    "start.key": TEXT,
    "start.fresh": st.lists(TEXT, max_size=3),
    "train.ema": st.floats(0, 1, exclude_max=True) | st.just(0),
    "train.clip": NUMBER,
    "train.compile": st.booleans(),
    "train.device": st.sampled_from(["auto", "cpu", "cuda:3"]),
}


def toml(value):
    """Return a value as TOML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").removesuffix("\n")


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_a_recipe_with_any_overrides_reads_back_equal(tmp_path, values):
    if not values.get("start.weights"):
        for key in ("start.fresh", "start.key"):  # which say something beside weights alone
            values.pop(key, None)
    recipe = read(tmp_path, TINY, *(f"{key}={toml(value)}" for key, value in values.items()))
    again = read(tmp_path, recipe.to_toml())
    assert again == recipe
    assert again.to_toml() == recipe.to_toml()
    assert again.hash == recipe.hash
    for key in ("title", "seed", "scale"):
        assert getattr(recipe, key) == values.get(key, getattr(recipe, key))


def test_every_default_is_written_out(tmp_path):
    tree = tomllib.loads(read(tmp_path, TINY, "data.degradation=bicubic").to_toml())
    parts = {
        "architecture": [tree["architecture"]],
        "loss": tree["loss"],
        "metric": tree["metric"],
        "optimizer": [tree["optimizer"]],
        "schedule": [tree["schedule"]],
        "augmentation": tree["data"]["augment"],
        "degradation": [tree["data"]["degradation"]],
        "dataset": [tree["data"]["dataset"], *(entry["dataset"] for entry in tree["validate"])],
    }
    for kind, tables in parts.items():
        for table in tables:
            known = read_settings(installed().find(kind, table["type"]).component.load(), KINDS[kind].given)
            written = [name for name, setting in known.items() if setting.required or setting.default is not None]
            assert {"type", *written} <= set(table)
    assert {key: value for key, value in tree.items() if not isinstance(value, dict | list)} == {
        "title": "Tiny",
        "scale": 2,
        "seed": 0,
    }
    assert tree["start"] == {"weights": "", "recipe": "", "fresh": [], "key": ""}
    assert {key: tree["data"][key] for key in ("threads", "cache")} == {"threads": 2, "cache": "auto"}
    assert tree["train"] == {
        "steps": 6,
        "device": "cpu",
        "threads": 0,
        "precision": "float32",
        "compile": False,
        "graph": "auto",
        "channels_last": True,
        "ema": 0.0,
        "clip": 0.0,
        "accumulate": 1,
        "log_every": 2,
        "validate_every": 3,
        "checkpoint_every": 3,
        "keep": 2,
        "deterministic": "off",
    }


def test_the_hash_changes_with_every_key(tmp_path):
    changes = [
        (),
        ("title=x",),
        ("scale=3",),
        ("seed=1",),
        ("start.weights=x",),
        ("start.weights=x", 'start.fresh=["x"]'),
        ("start.weights=x", "start.key=x"),
        ("architecture.features=5",),
        ("architecture.type=edsr",),
        ("loss.weight=2",),
        ("loss.type=l2",),
        ("loss.reduction=sum",),
        ('loss=["l1", "l2"]',),
        ('loss=["l2", "l1"]',),
        ("data.dataset.path=x",),
        ("data.degradation=bicubic",),
        ("data.augment=[]",),
        ('data.augment=["vflip", "hflip", "rot90"]',),
        ("data.patch=9",),
        ("data.batch=5",),
        ("validate=[]",),
        ("validate.name=x",),
        ("validate.dataset.path=x",),
        ('metric=["psnr_y"]',),
        ("optimizer.lr=2e-3",),
        ("optimizer.lr=1.0000000000000002e-3",),
        ("schedule.warmup=1",),
        ("observer=['log']",),
        ("train.steps=7",),
        ("train.ema=0.5",),
        ("train.compile=true",),
        ("train.deterministic=run",),
    ]
    hashes = [read(tmp_path, TINY, *overrides).hash for overrides in changes]
    assert len(set(hashes)) == len(changes)
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in hashes)


def test_the_hash_does_not_change_with_the_form(tmp_path):
    text = read(tmp_path, TINY).hash
    other = TINY.replace('type = "a2n"\nfeatures = 4', 'features = 4\ntype = "a2n"').replace("lr = 1e-3", "lr = 0.001")
    other = "seed = 0  # as by default\n" + other.replace("\n", "\r\n")
    assert other != TINY
    assert read(tmp_path, other).hash == text
    assert read(tmp_path, TINY, "train.ema=0", "seed=0").hash == text


def test_the_files_name_is_the_title_where_it_has_none(tmp_path):
    assert read(tmp_path, TINY.replace('title = "Tiny"', "")).title == "x"
