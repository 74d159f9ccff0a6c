"""The pictures of a validation: what their files are called."""

from __future__ import annotations

import json
import math
from pathlib import Path

import safetensors
from srkit_observers.samples import file_name

import srkit
from srkit.plugin.discovery import discover
from srkit.runs.history import read_history
from tests.conftest import ROOT

ALONE = """
import numpy as np
import srkit


def variation():
    return lambda sr: float(np.abs(np.diff(sr.astype(float), axis=1)).mean())


@srkit.hookimpl
def srkit_components():
    facts = {"reference": False, "better": "lower"}
    yield srkit.Component("metric", "variation", f"{__name__}:variation", summary="v", facts=facts)
"""


def test_plain_names_are_the_files_names():
    assert file_name("Set5.x-2_b") == "Set5.x-2_b"


def test_names_that_differ_have_files_that_differ_and_are_short():
    names = ["a/b", "a_b", "a b", "\u5e45" * 200, "\u5e45" * 201, "x" * 300]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert max(len(name.encode()) for name in files) <= 109
    assert not any("/" in name for name in files)


def test_a_metric_that_looks_at_sr_alone_scores_a_run_and_says_which_step_is_best(tiny):
    Path("alone.py").write_text(ALONE)
    chosen = ['metric=["variation", "psnr_y"]', "train.steps=2", "train.validate_every=1"]
    result = srkit.run("tiny.toml", out="run", registry=discover(["alone.py"]), set=chosen)
    scores = {step: tables[0].mean["variation"] for step, tables in read_history(Path("run")).validated.items()}
    ours, bicubic = result.tables[0]["rows"]
    assert ours["mean"]["variation"] == scores[2] != scores[1]
    assert math.isfinite(bicubic["mean"]["variation"])
    best = safetensors.safe_open("run/best.safetensors", "pt").metadata()
    assert json.loads(best["srkit"])["step"] == min(scores, key=scores.get)


def test_a_set_of_any_name_has_its_picture(tiny):
    name = "\u5e45" * 200
    srkit.run("tiny.toml", out="run", set=[f'validate.name="{name}"', "train.steps=1"])
    # Of its four images.
    assert sorted(path.name for path in Path("run/samples").glob("*.png")) == [
        *(f"step_00000001_{file_name(name)}{number}.png" for number in ("+2", "+3", "+4", "")),
    ]


def test_the_docs_name_the_pictures_as_they_are(tiny):
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    sets = (
        "[{name='Set5', dataset={type='folder', path='photos'}}, {name='a/b', dataset={type='folder', path='photos'}}]"
    )
    srkit.run("tiny.toml", out="run", set=[f"validate={sets}", "train.steps=1"])
    names = sorted(path.stem.partition("_")[2].partition("_")[2] for path in Path("run/samples").glob("*.png"))
    assert names == sorted(f"{name}{number}" for name in ("Set5", "a_b-c14cddc0") for number in ("", "+2", "+3", "+4"))
    for name in ("step_00000600_Set5.png", "step_00000600_Set5+2.png`, `+3`, `+4`", "step_00000600_a_b-c14cddc0.png"):
        assert name in text
