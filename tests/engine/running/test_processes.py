"""Runs of several processes: the same bits, one error, nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.running.test_adversaries import LOSSES, PLUGIN
from tests.engine.running.test_run import assert_same, contents
from tests.forked import make, start

LOSS = 'loss=[{ type = "fault" }]'
ELASTIC = (
    *("train.deterministic=elastic", "train.threads=1", "train.accumulate=4", "train.ema=0.9", "train.clip=0.1", LOSS),
    *("train.steps=40", "train.log_every=10", "train.checkpoint_every=7", "train.validate_every=20"),
)
EXACT = ("train.deterministic=run", "train.threads=1", LOSS)


def tables(out):
    lines = map(json.loads, Path(out, "metrics.jsonl").read_text().splitlines())
    return [line["tables"] for line in lines if "tables" in line]


def test_in_elastic_mode_any_number_of_processes_that_changes_at_stops_ends_with_the_same_bits(tiny):
    faults = [(1, "SIGTERM 0 9"), (2, "SIGTERM 1 18"), (4, "SIGTERM 3 25"), (2, "")]
    changing = [start(size, "changing", *ELASTIC, fault=fault) for size, fault in faults]
    codes, errors = make(*(start(size, f"run{size}", *ELASTIC) for size in (1, 2, 4)), *changing)
    assert codes == [[0], [0, 0], [0] * 4, [75], [75] * 2, [75] * 4, [0] * 2], errors
    names = ("run1", "run2", "run4", "changing")
    for file in ("last.safetensors", "best.safetensors"):
        assert len({Path(name, file).read_bytes() for name in names}) == 1
    assert len({json.dumps(tables(name)) for name in names}) == 1
    assert len(tables("run1")) == 2


@pytest.fixture
def gan(tiny):
    """The tiny recipe with an adversarial loss, in a folder with its plugin."""
    Path("mine.py").write_text(PLUGIN)
    tiny.write_text(tiny.read_text() + LOSSES)
    return tiny


def test_a_gan_of_two_processes_that_is_killed_and_continued_ends_with_the_same_bits(gan):
    settings = ["train.deterministic=run", "train.threads=1", "train.log_every=1", "train.checkpoint_every=5"]
    settings += ["train.steps=16", "train.ema=0.9", "loss.0.type=fault"]
    ways = [("straight", ""), ("killed", "SIGKILL 1 8"), ("killed", "SIGKILL 0 13"), ("killed", "")]
    codes, errors = make(*(start(2, out, *settings, fault=fault, plugins=["mine.py"]) for out, fault in ways))
    assert codes == [[0, 0], [1, -9], [-9, 1], [0, 0]], errors
    assert_same(contents(Path("straight")), contents(Path("killed")))
