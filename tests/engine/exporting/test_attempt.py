"""One way to export, tried: what is compared with torch, and what a file says of its network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from srkit.engine.builder import Builder
from srkit.engine.exporting.attempt import Job, attempt, compared
from srkit.engine.exporting.opened import exporter_of, open_model
from srkit.engine.scoring.evaluate import upscale
from srkit.engine.weights.model import read_model
from srkit.plugin.discovery import discover
from tests.conftest import photograph
from tests.exporting import PLUGIN, save


@pytest.fixture
def forms(tmp_path):
    """The registry with the plugin, and a function that tries a way."""
    (tmp_path / "forms.py").write_text(PLUGIN)
    registry = discover([str(tmp_path / "forms.py")])

    def run(way, architecture="doubling", exporter="formed", size=None):
        model = save(tmp_path / f"{architecture}.safetensors", architecture)
        path = tmp_path / f"{architecture}.{exporter}"
        return attempt(Job(str(model), exporter, str(path), "", way=way, size=size), registry), path

    return registry, run


def opened(path, registry):
    entry = exporter_of(path, registry)
    assert entry is not None
    return open_model(path, entry, registry)


def test_a_file_that_gives_the_sr_of_torch_has_its_difference_at_three_sizes(forms):
    found, path = forms[1]("right")
    assert found.reason == ""
    assert dict(found.differences) == {"64x64": 0.0, "96x80": 0.0, "77x69": 0.0}
    assert min(found.seconds, found.latency, found.latency_of_torch) > 0
    assert path.is_file()


def test_a_file_that_is_wrong_at_odd_sides_alone_is_found_out(forms):
    found, _ = forms[1]("wrong at odd sides", exporter="wrong")
    assert found.reason == "is 0.25 off at 77x69"
    assert list(found.differences) == ["64x64", "96x80", "77x69"]


def test_what_an_exporter_raises_is_the_reason(forms):
    assert forms[1]("refuses")[0].reason == "ValueError: there is no form for it"


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda lr: lr[..., :-1], "gives [1, 3, 64, 63] at 64x64, and not [1, 3, 64, 64]"),
        (lambda lr: lr * np.float32(np.nan), "is nan off at 64x64"),
        (lambda lr: lr + np.float32(2e-4), "is 0.0002 off at 64x64"),
    ],
)
def test_other_sizes_nan_and_differences_are_faults(run, reason):
    assert compared(torch.nn.Identity(), run, [(64, 64)]).reason == reason


def test_a_runtime_that_fails_at_a_size_is_a_fault():
    def run(lr):
        if lr.shape[-1] == 69:
            raise RuntimeError("a stride")
        return lr

    found = compared(torch.nn.Identity(), run, [(64, 64), (77, 69)])
    assert found.reason == "fails at 77x69: RuntimeError: a stride"


def test_weights_of_16_bits_may_differ_by_half_a_level():
    assert compared(torch.nn.Identity(), lambda lr: lr + np.float32(1e-3), [(64, 64)], half=True).reason == ""


def test_a_file_says_which_network_it_is_of_and_what_lr_must_be(forms):
    registry, run = forms
    _, path = run("right", "even")
    words = opened(path, registry).metadata
    assert words == {
        "architecture": "even",
        "distribution": "forms.py",
        "facts": {"min_size": 1, "multiple_of": 8},
        "format": 1,
        "half": False,
        "largest": None,
        "scale": 2,
        "settings": {},
        "size": None,
        "version": "",
    }
    plain = json.loads(path.read_text())["words"]
    assert plain.keys() == {"input", "multiple_of", "scale", "srkit"}
    assert plain["multiple_of"] == "8"


@pytest.mark.parametrize("architecture", ["doubling", "even"])
@pytest.mark.parametrize("size", [None, (64, 64)])
def test_a_file_enlarges_an_image_of_any_size_as_its_network_does(forms, architecture, size):
    registry, run = forms
    found, path = run("right", architecture, size=size)
    assert len(found.differences) == (1 if size else 3)
    model = opened(path, registry)
    network = read_model(path.with_suffix(".safetensors"), Builder(registry)).network
    for height, width in [(9, 13), (64, 64), (150, 77)]:
        image = photograph(1, height, width)
        assert np.array_equal(upscale(image, model.network), upscale(image, network))


def test_a_file_has_the_facts_of_its_network_for_tiles(forms):
    registry, run = forms
    facts = opened(run("right")[1], registry).facts
    assert (facts["tileable"], facts["halo"]) == (True, 0)
