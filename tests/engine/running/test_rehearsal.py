"""What a run makes of a recipe is made before its images are packed, and what fails has its place."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import srkit
from srkit.errors import RecipeError, RunFailed
from srkit.plugin.discovery import discover

DATA = os.environ.get("SRKIT_TEST_DATA")

PLUGIN = """
import threading, warnings
import srkit
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, *, scale: int, kind: str = "plain"):
        super().__init__()
        wrap = lambda layer: layer
        if kind == "norm":
            wrap = nn.utils.weight_norm
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.conv = wrap(nn.Conv2d(3, 3 * scale**2, 3, padding=1))
        self.kind, self.shuffle = kind, nn.PixelShuffle(scale)
        if kind == "unused":
            self.head = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
        if kind == "locked":
            self.lock = threading.Lock()
        if kind == "sparse":
            self.register_buffer("table", torch.eye(2).to_sparse())

    def forward(self, x):
        x = self.conv(x)
        if self.kind == "in place" and self.training:
            y = x.sigmoid()
            x = y * 2
            y.zero_()
        if self.kind == "huge":
            torch.empty(2**60)
        return self.shuffle(x)


class Stuck(torch.optim.SGD):
    def step(self, closure=None):
        raise KeyError("momentum")


def stuck(parameters):
    return Stuck(parameters, lr=0.1)


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "net", f"{__name__}:Net")
    meant = {"deviations": {"every_parameter_learns": "its head is for later"}}
    yield srkit.Component("architecture", "meant", f"{__name__}:Net", facts=meant)
    yield srkit.Component("optimizer", "stuck", f"{__name__}:stuck")
"""


def train(*overrides):
    Path("mine.py").write_text(PLUGIN)
    return srkit.run("tiny.toml", out="run", set=list(overrides), registry=discover(["mine.py"]))


@pytest.mark.parametrize(
    ("overrides", "place", "message"),
    [
        (
            ["architecture={type='net', kind='locked'}", "train.ema=0.9"],
            "--set train.ema=0.9",
            "a moving average of architecture 'net' fails: TypeError: cannot pickle '_thread.lock' object",
        ),
        (
            ["architecture={type='net', kind='in place'}"],
            "--set architecture={type='net', kind='in place'}",
            "architecture 'net' fails when its gradients are computed: RuntimeError: one of the variables needed",
        ),
        (
            ["architecture={type='net'}", "optimizer=stuck"],
            "--set optimizer=stuck",
            "an update of architecture 'net' by optimizer 'stuck' fails: KeyError: 'momentum' (mine.py:",
        ),
    ],
)
def test_what_fails_has_its_place_and_nothing_is_left_behind(tiny, overrides, place, message):
    with pytest.raises(RecipeError) as error:
        train(*overrides)
    assert str(error.value).startswith(f"{place}: {message}")
    assert not Path("run").exists()


def test_a_network_with_torchs_first_weight_norm_trains_with_a_moving_average(tiny):
    assert train("architecture={type='net', kind='norm'}", "train.ema=0.9").step == 6


def test_parameters_that_no_gradient_reaches_are_warned_of(tiny, caplog):
    train("architecture={type='net', kind='unused'}")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    names = "head.0.weight, head.0.bias, head.1.weight and 1 more"
    assert warned == [f"architecture 'net': no gradient reaches {names}, so training does not change them"]


@pytest.mark.parametrize("architecture", ["{type='net'}", "{type='meant', kind='unused'}"])
def test_where_all_learn_or_it_is_meant_nothing_is_warned_of(tiny, caplog, architecture):
    train(f"architecture={architecture}")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == []


def test_too_little_memory_is_a_line_with_what_helps(tiny):
    with pytest.raises(RunFailed) as error:
        train("architecture={type='net', kind='huge'}")
    assert str(error.value).startswith("there is too little memory for an update: 4,194,304.0 TiB were asked for, ")
    assert str(error.value).endswith(
        " are free; try a smaller data.batch or data.patch, train.accumulate, or train.precision"
    )


# A loss that takes half a GiB at each step, and an observer that leaves the process less.
HUNGRY = """
import os, resource, srkit, torch

def hungry():
    return lambda sr, hr: (sr - hr).abs().mean() + 0 * torch.ones(2**27).sum()

class Narrowing:
    def logged(self, step, values):
        if step == 4 and os.path.exists("narrow"):
            has = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + 2**27
            resource.setrlimit(resource.RLIMIT_AS, (has, has))

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("loss", "hungry", f"{__name__}:hungry")
    yield srkit.Component("observer", "narrowing", f"{__name__}:Narrowing")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_too_little_memory_within_a_step_is_a_line_and_the_run_goes_on_where_there_is_more(tiny, srkit_forked):
    Path("hungry.py").write_text(HUNGRY)
    Path("narrow").touch()
    command = ["-p", "hungry.py", "run", "tiny.toml", "--set", "loss.type=hungry", "--set", "observer=['narrowing']"]
    done = srkit_forked(*command)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(
        r"srkit run: there is too little memory at step 4: 512\.0 MiB were asked for, [\d.]+ [KMGT]iB are free; "
        r"try a smaller data\.batch or data\.patch, train\.accumulate, or train\.precision",
        done.stderr.splitlines()[-1],
    )
    assert "Traceback" not in done.stderr
    Path("narrow").unlink()
    done = srkit_forked(*command)
    assert done.returncode == 0, done.stderr
    assert "continuing from step 3 of 6" in done.stderr


HUGE = """
import numpy as np
import srkit


class Huge:
    def __len__(self):
        return 1

    def name(self, index):
        return "huge"

    def size(self, index):
        return 64, 64

    def read(self, index, window=None):
        return np.zeros((10**7, 10**7, 3), np.uint8)

    def lr(self, scale):
        return None

    def fingerprint(self):
        return "huge"


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("dataset", "huge", f"{__name__}:Huge")
"""


@pytest.mark.parametrize("command", ["check", "run"])
def test_images_that_no_memory_holds_are_a_line(tiny, srkit_forked, command):
    Path("huge.py").write_text(HUGE)
    done = srkit_forked("-p", "huge.py", command, "tiny.toml", "--set", "data.dataset=huge")
    assert done.returncode == 1, done.stderr
    assert "there is too little memory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not DATA, reason="the plugin is not in the repository")
def test_the_weight_norm_that_torch_cannot_copy_trains(srkit_forked):
    case = Path(DATA) / "cases/weight-norm-with-ema"
    settings = ["--set", "architecture=old_wn", "--set", "train.ema=0.9"]
    for words in (["check"], ["run", "--out", "run"]):
        verb, *more = words
        done = srkit_forked("-p", case / "norms.py", verb, case / "base.toml", *settings, *more)
        assert done.returncode == 0, done.stderr
