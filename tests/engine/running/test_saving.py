"""Checkpoints that are written while the training goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import srkit
from srkit import files
from srkit.engine.running.saving import Saver
from tests.conftest import HANGS

FEW = ["train.steps=6", "train.checkpoint_every=2", "train.validate_every=6", "train.log_every=6"]


def test_work_is_settled_once_it_is_done():
    saver, gate, done = Saver(), threading.Event(), []
    saver.begin(lambda: done.append(gate.wait(HANGS)))
    assert not saver.is_due(wait=False)
    assert done == []
    gate.set()
    assert saver.is_due(wait=True)
    saver.settle()
    assert done == [True]
    assert not saver.is_due(wait=True)


def test_what_work_raises_is_raised_where_it_is_settled():
    saver = Saver()
    saver.begin(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        saver.settle()
    saver.begin(lambda: None)
    saver.settle()


def test_checkpoints_are_written_by_another_thread_than_the_training(tiny):
    threads = {}

    def watch(operation):
        written = operation.kind == "rename" and operation.path.name.startswith(files.ASIDE)
        if written and operation.more.parent.name == "checkpoints" and operation.more.name.startswith("step_"):
            threads[operation.more.name] = threading.current_thread().name

    with files.watched(watch):
        srkit.run(tiny, out="run", set=FEW)
    assert list(threads) == ["step_00000002", "step_00000004", "step_00000006"]
    assert {name.rpartition("_")[0] for name in threads.values()} == {"srkit-save"}


def test_an_error_of_the_thread_ends_the_run_before_the_end(tiny):
    def watch(operation):
        if operation.kind == "write" and operation.path.name == "MANIFEST.json":
            raise ZeroDivisionError("of the thread")

    with files.watched(watch), pytest.raises(ZeroDivisionError, match="of the thread"):
        srkit.run(tiny, out="run", set=FEW)
    assert list(Path("run/checkpoints").iterdir()) == []
    assert not Path("run/last.safetensors").exists()
