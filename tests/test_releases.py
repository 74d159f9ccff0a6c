"""Runs and model files of earlier releases: read, continued and scored by this one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

import srkit
from srkit.plugin.discovery import discover
from srkit.runs.history import read_history
from tests.conftest import ROOT

RELEASE = ROOT / "tests/data/release_0_1"
RUNS = pytest.mark.parametrize("name", ["average", "blend"])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(name, out):
    plugins = discover([str(RELEASE / "blend.py")])
    return srkit.run(RELEASE / f"{name}.toml", out=out, registry=plugins)


def weights(path):
    return safetensors.torch.load_file(path)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@RUNS
def test_a_run_of_an_earlier_release_goes_on_to_the_same_bits(tmp_path, name):
    shutil.copytree(RELEASE / "runs" / name, tmp_path / "continued")
    assert train(name, tmp_path / "continued").step == 8
    continued = weights(tmp_path / "continued/last.safetensors")
    ended = weights(RELEASE / f"ended/{name}.safetensors")
    train(name, tmp_path / "straight")
    if same(weights(tmp_path / "straight/last.safetensors"), ended):  # a processor that computes the same bits
        assert same(continued, ended)
    # Elsewhere the last bits differ, and 8 steps make more of that where the network is computed in bfloat16.
    for tensor, other in zip(continued.values(), ended.values(), strict=True):
        torch.testing.assert_close(tensor, other, rtol=0, atol={"average": 1e-4, "blend": 2e-2}[name])


@RUNS
def test_a_model_file_of_an_earlier_release_has_the_scores_that_its_run_wrote(tmp_path, name):
    network = srkit.load(RELEASE / "runs" / name)
    table = read_history(RELEASE / "runs" / name).validated[4][0]
    leaves = srkit.create("dataset", "leaves", count=2, size=64, seed=9)
    (tmp_path / "leaves").mkdir()
    for i in range(2):
        srkit.save_image(tmp_path / f"leaves/{leaves.name(i)}.png", leaves.read(i))
    (found,) = srkit.evaluate({"a2n": network}, Path(tmp_path / "leaves"))
    row, bicubic = found["rows"]
    assert row["mean"] == pytest.approx(dict(table.mean), abs=2e-3)  # a level that another processor rounds up
    assert bicubic["mean"] == pytest.approx(dict(table.bicubic), abs=1e-9)
    assert found["protocol"]["border"] == table.protocol["border"]
