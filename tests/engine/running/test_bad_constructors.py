"""Constructors that raise, of every kind: a line that names the component, and the recipe's line where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import srkit
from srkit.cli import main
from srkit.engine.builder import Builder
from srkit.engine.weights.model import read_model, save_model
from srkit.errors import ComponentError, InputRejected, RecipeError
from srkit.plugin.discovery import discover

PLUGIN = """
import srkit


def raising(how, scale):
    if how == "assert":
        assert scale in (3, 4)
    if how == "assert with words":
        assert scale in (3, 4), "only 3 and 4"
    if how == "key":
        {}["n_feats"]
    if how == "import":
        import einops_that_is_not_there
    if how == "attribute":
        [].conv
    if how == "stop":
        next(iter(()))
    if how == "exit":
        raise SystemExit("give a config")
    if how == "value":
        raise ValueError("blocks must be at least 1")
    if how == "silent value":
        raise ValueError
    raise RuntimeError("no such device")


def made(*, scale: int = 2, how: str = "key"):
    return raising(how, scale)


def writer(*, path, how: str = "key"):
    return raising(how, 2)


@srkit.hookimpl
def srkit_components():
    for kind in ("architecture", "loss", "degradation", "metric", "observer", "detector", "augmentation", "dataset"):
        yield srkit.Component(kind, "raises", f"{__name__}:made", summary="Raises")
    yield srkit.Component("writer", "raises", f"{__name__}:writer", summary="Raises")
"""
LINES = {line.strip(): number for number, line in enumerate(PLUGIN.splitlines(), 1)}
SAYS = {
    "assert": ("AssertionError: assert scale in (3, 4)", "assert scale in (3, 4)"),
    "assert with words": ("AssertionError: only 3 and 4", 'assert scale in (3, 4), "only 3 and 4"'),
    "key": ("KeyError: 'n_feats'", '{}["n_feats"]'),
    "import": (
        "ModuleNotFoundError: No module named 'einops_that_is_not_there'",
        "import einops_that_is_not_there",
    ),
    "attribute": ("AttributeError: 'list' object has no attribute 'conv'", "[].conv"),
    "stop": ("StopIteration", "next(iter(()))"),
    "exit": ("SystemExit: give a config", 'raise SystemExit("give a config")'),
    "silent value": ("ValueError", "raise ValueError"),
    "other": ("RuntimeError: no such device", 'raise RuntimeError("no such device")'),
}
KEY = "KeyError: 'n_feats' (raises.py:{})".format(LINES[SAYS["key"][1]])


@pytest.fixture
def plugin(tiny):
    Path("raises.py").write_text(PLUGIN)
    return "raises.py"


@pytest.mark.parametrize("how", SAYS)
def test_what_a_network_raises_is_a_line_with_its_place_and_the_recipes(plugin, tiny, how):
    text = tiny.read_text().replace('"a2n"', f'"raises"\nhow = "{how}"')
    text = text.replace("features = 4\nblocks = 1\nupsampling_features = 4\n", "")
    tiny.write_text(text)
    with pytest.raises(RecipeError) as error:
        Builder(discover([plugin])).load("tiny.toml")
    what, line = SAYS[how]
    assert str(error.value) == f"tiny.toml:4: {what} (raises.py:{LINES[line]})"


@pytest.mark.parametrize(
    "override",
    [
        "loss=['raises']",
        "observer=['raises']",
        "metric=['raises']",
        "data.augment=['raises']",
        "data.degradation.type=raises",
        "data.dataset={type='raises'}",
    ],
)
def test_what_other_components_of_a_recipe_raise_is_a_line_too(plugin, tiny, override, capsys):
    assert main(["-p", plugin, "check", "tiny.toml", "--set", override]) == 2
    assert capsys.readouterr().err == f"--set {override}: {KEY}\n"


def test_an_observer_of_the_command_that_raises_is_named(plugin, tiny):
    with pytest.raises(ComponentError) as error:
        srkit.run("tiny.toml", observers=["raises"], registry=discover([plugin]))
    assert str(error.value) == f"observer 'raises': {KEY}"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["degrade", "raises", "photos", "lr", "--scale", "2"], "srkit degrade: degradation 'raises'"),
        (["prepare", "photos", "packed", "--to", "raises"], "srkit prepare: writer 'raises'"),
        (["eval", "weights.pth", "--data", "photos"], "srkit eval: detector 'raises'"),
        (["eval", "a.safetensors", "--data", "photos", "--metric", "raises"], "srkit eval: metric 'raises'"),
    ],
)
def test_what_components_of_other_commands_raise_is_a_line(plugin, tiny, arguments, what, capsys):
    torch.save({"head.weight": torch.zeros(3, 3, 3, 3)}, "weights.pth")
    settings = {"features": 4, "blocks": 1, "upsampling_features": 4}
    described = {"format": 1, "architecture": "a2n", "settings": settings, "scale": 2}
    save_model(Path("a.safetensors"), srkit.create("architecture", "a2n", scale=2, **settings).state_dict(), described)
    assert main(["-p", plugin, *arguments]) == 2
    assert capsys.readouterr().err == f"{what}: {KEY}\n"


def test_a_model_files_network_that_raises_is_told_of_the_file(plugin, tiny):
    described = {"format": 1, "architecture": "raises", "settings": {"how": "exit"}, "scale": 2}
    save_model(Path("a.safetensors"), {"x": torch.zeros(1)}, described)
    with pytest.raises(InputRejected) as error:
        read_model(Path("a.safetensors"), Builder(discover([plugin])))
    assert str(error.value) == (
        "a.safetensors: its description makes no network of 'raises': SystemExit: give a config"
    )


def test_a_person_who_stops_is_no_fault_of_a_constructor(plugin, tiny):
    Path("raises.py").write_text(PLUGIN.replace('raise SystemExit("give a config")', "raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        Builder(discover([plugin])).load("tiny.toml", overrides=['observer=[{type="raises", how="exit"}]'])
