"""Facts that depend on settings: an attribute of what a component makes goes before its fact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from srkit.engine.builder import Builder
from srkit.errors import RecipeError
from srkit.plugin.discovery import discover
from srkit.recipe.reading import read_part

PLUGIN = '''
import srkit
from torch import nn


class Windowed(nn.Module):
    """Takes sides that are multiples of a window.

    Args:
        window: its side.
    """

    tileable = "no fact: a text"

    def __init__(self, *, scale: int, window: int = 8):
        super().__init__()
        self.multiple_of = window
        self.tail = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr):
        if lr.shape[-2] % self.multiple_of or lr.shape[-1] % self.multiple_of:
            raise ValueError("not a multiple of the window")
        return self.tail(lr)


@srkit.hookimpl
def srkit_components():
    facts = {"multiple_of": 8, "tileable": True}
    yield srkit.Component("architecture", "windowed", f"{__name__}:Windowed", summary="windows", facts=facts)
'''


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("windowed.py").write_text(PLUGIN)
    return discover(["windowed.py"])


@pytest.mark.parametrize("window", [8, 5])
def test_a_network_is_padded_to_the_window_that_it_was_made_with(registry, window):
    part = read_part(registry, "architecture", "windowed", [f"window={window}"])
    network = Builder(registry).network(part, 2)
    assert network(torch.rand(1, 3, 11, 13)).shape == (1, 3, 22, 26)


def test_an_attribute_of_another_type_is_no_fact(registry):
    component = registry.find("architecture", "windowed").component
    facts = component.facts_of(registry.create("architecture", "windowed", scale=2, window=5))
    assert facts == {"multiple_of": 5, "tileable": True}


def test_training_windows_fit_the_window_that_is_set(registry, tiny):
    Path("windowed.py").write_text(PLUGIN)
    registry = discover(["windowed.py"])
    to = ["architecture.type=windowed", "architecture.window=5"]
    assert Builder(registry).load(tiny, overrides=[*to, "data.patch=10"]).recipe.data.patch == 10
    with pytest.raises(RecipeError) as error:
        Builder(registry).load(tiny, overrides=[*to, "data.patch=8"])
    assert str(error.value) == "--set data.patch=8: 'patch' is 8, and architecture 'windowed' takes multiples of 5"


def test_the_contract_is_checked_with_the_facts_of_the_settings(registry):
    from srkit.testing.check import Subject
    from srkit.testing.running import results

    entry = registry.find("architecture", "windowed")
    for window in (8, 5):
        found = results(Subject(entry, registry, {"window": window}))
        assert [result.check.name for result in found if result.outcome == "failed"] == []
