"""Each check of a detector can fail: one that breaks one promise, and what is told of it."""

from __future__ import annotations

import re

import pytest

from srkit.plugin.discovery import discover
from srkit.testing.check import Subject
from srkit.testing.detector import CHECKS
from srkit.testing.running import results
from tests.conftest import plugin

MODULE = '''
import torch
from torch import nn

from srkit import Detected


class Tiny(nn.Module):
    """A small network.

    Args:
        width: channels within.
    """

    def __init__(self, *, scale: int = 2, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, width, 3, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x):
        return self.tail(self.body(x))


class Good:
    def __call__(self, weights):
        if list(weights) != ["body.weight", "body.bias", "tail.0.weight", "tail.0.bias"]:
            return None
        scale = round((weights["tail.0.bias"].numel() / 3) ** 0.5)
        return Detected("Tiny", {"width": weights["body.bias"].numel()}, scale)


class Guesses(Good):
    def __call__(self, weights):
        return super().__call__(weights) or Detected("Tiny", {}, 2)


class Expects(Good):
    def __call__(self, weights):
        weights["body.weight"]
        return super().__call__(weights)


class OtherScale(Good):
    def __call__(self, weights):
        found = super().__call__(weights)
        return found and found._replace(scale=4)


class Unknown(Good):
    def __call__(self, weights):
        found = super().__call__(weights)
        return found and found._replace(architecture="tine")


class InWords(Good):
    def __call__(self, weights):
        found = super().__call__(weights)
        return found and "Tiny"


class Takes(Good):
    def __call__(self, weights):
        found = super().__call__(weights)
        weights.pop("body.bias", None)
        return found


class Fills(Good):
    def __call__(self, weights):
        for tensor in weights.values():
            tensor += 1
        return super().__call__(weights)


class Remembers(Good):
    def __init__(self):
        self.seen = 0

    def __call__(self, weights):
        found = super().__call__(weights)
        self.seen += found is not None
        return found if self.seen % 2 else None
'''
NAMES = re.findall(r"^class (\w+)", MODULE, re.MULTILINE)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """What is installed, and a file with a network and a detector for each broken promise."""
    path = tmp_path_factory.mktemp("plugin") / "detector_checks_mine.py"
    kinds = {name: "architecture" if name == "Tiny" else "detector" for name in NAMES}
    components = "\n".join(f'"{kinds[name]}", "{name}", f"{{__name__}}:{name}", summary="mine"' for name in NAMES)
    path.write_text(MODULE + plugin(components))
    return discover([str(path)])


def failures(registry, name):
    found = results(Subject(registry.find("detector", name), registry))
    return {result.check.name: (result.found, result.instead) for result in found if result.outcome == "failed"}


def test_a_detector_that_keeps_all_promises_passes(registry):
    assert failures(registry, "Good") == {}


FITTING = "read settings and scale out of the shapes, and return None where they do not fit"
BROKEN = {
    "Guesses": (
        "strange_weights_are_none",
        "for no weights it gives Detected(architecture='Tiny', settings={}, scale=2)",
        "return None unless all names and shapes fit a network",
    ),
    "Expects": (
        "strange_weights_are_none",
        "for no weights it raises KeyError: 'body.weight'",
        "return None where a name that you look for is not there",
    ),
    "OtherScale": (
        "answer_fits_the_weights",
        "for the weights of 'Tiny' it gives Detected(architecture='Tiny', settings={'width': 4}, scale=4), whose "
        "network has other tensors",
        FITTING,
    ),
    "Unknown": (
        "answer_fits_the_weights",
        "for the weights of 'Tiny' it gives Detected(architecture='tine', settings={'width': 4}, scale=2), whose "
        "network has other tensors",
        FITTING,
    ),
    "InWords": (
        "answer_fits_the_weights",
        "for the weights of 'Tiny' it gives a str",
        "return srkit.Detected, or None",
    ),
    "Takes": ("weights_are_left_alone", "it changes the weights (those of 'Tiny')", "work on a copy: dict(weights)"),
    "Fills": ("weights_are_left_alone", "it changes the weights (one strange tensor)", "work on a copy: dict(weights)"),
    "Remembers": (
        "same_weights_same_answer",
        "asked twice (those of 'Tiny'), it gives Detected(architecture='Tiny', settings={'width': 4}, scale=2) and "
        "then None",
        "keep nothing from call to call",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_detector_that_breaks_one_promise_is_told_which(registry, name):
    check, found, instead = BROKEN[name]
    assert failures(registry, name) == {check: (found, instead)}


def test_every_check_was_seen_to_fail():
    assert {check.name for check in CHECKS} == {check for check, _, _ in BROKEN.values()}
