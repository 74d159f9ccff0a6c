"""What is kept of a run: its best weights, its last, and what makes it finished."""

from __future__ import annotations

import json
import math
import os
import shutil
import textwrap
from pathlib import Path

import pytest
from PIL import Image

import srkit
from srkit.engine.running import checkpoint
from srkit.engine.weights import model
from srkit.errors import InputRejected, RunFailed
from srkit.plugin.discovery import discover
from srkit.runs.history import read_history
from tests import forking

DATA = os.environ.get("SRKIT_TEST_DATA")
BEST = Path("run/best.safetensors")
LAST = Path("run/last.safetensors")


def train(recipe, *overrides, **options):
    return srkit.run(recipe, out="run", set=list(overrides), **options)


def records():
    return [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]


def steps():
    return sorted(int(path.name[5:]) for path in Path("run/checkpoints").iterdir())


# Scores fall from step to step, so that the first is the best. From `validated` at the first step until `logged` at the
# next, best.safetensors cannot be written.
FULL = """
import logging, os, sys, srkit
from pathlib import Path
from srkit import files
from srkit.plugin.discovery import _load, discover
from srkit.plugin.registry import Origin

logging.basicConfig(format="%(message)s")
FULL, ROOM = int(sys.argv[1]), int(sys.argv[2])
BLOCK = Path("run/best.safetensors")

class Disk:
    def validated(self, step, tables):
        if step == FULL:
            BLOCK.mkdir(parents=True)
            (BLOCK / "file").write_text("")
    def saved(self, step, path):
        if step == ROOM:
            (BLOCK / "file").unlink()
            BLOCK.rmdir()

class Falling:
    def __init__(self): self.calls = 0
    def __call__(self, sr, hr):
        self.calls += 1
        return 100.0 - self.calls

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("observer", "disk", "__main__:Disk")
    yield srkit.Component("metric", "falling", "__main__:Falling")

registry = discover()
_load(registry, "disk", sys.modules["__main__"], Origin("disk"))
try:
    srkit.run("tiny.toml", out="run", observers=["disk"], registry=registry,
              set=["train.steps=5", "train.keep=1", "train.log_every=1", "train.validate_every=1",
                   "train.checkpoint_every=1", 'metric=["falling"]'])
except srkit.RunFailed as error:
    print(error)
    sys.exit(error.exit_code)
"""


def with_a_full_disk(full, room):
    return forking.run("-c", textwrap.dedent(FULL), full, room)


def test_a_best_that_could_not_be_written_once_is_written_at_the_next_save(tiny):
    done = with_a_full_disk(1, 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run/best.safetensors could not be written: Is a directory; the run goes on and tries again" in done.stderr
    assert model.read_metadata(BEST)["step"] == 1
    assert steps() == [1, 5]


def test_a_run_without_its_best_weights_is_not_finished_and_the_same_command_finishes_it(tiny):
    done = with_a_full_disk(1, 99)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == (
        "run: the best weights, those of step 1, could not be written: Is a directory; free some space and run again\n"
    )
    assert not LAST.exists()
    assert steps() == [1, 5]
    shutil.rmtree(BEST)
    done = with_a_full_disk(0, 0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [model.read_metadata(path)["step"] for path in (BEST, LAST)] == [1, 5]


def test_a_best_step_has_a_checkpoint_though_none_was_due(tiny):
    train(tiny, "train.validate_every=2", "train.checkpoint_every=100", "train.steps=7", "train.keep=1")
    assert model.read_metadata(BEST)["step"] in steps()


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "flipped":
        data[-1] ^= 1
    elif kind == "described":
        data[data.index(b'\\"seed\\": 0') + 10] = ord("7")
    path.write_bytes({"empty": b"", "cut": data[:-9], "garbage": b"garbage" * 99}.get(kind, bytes(data)))


@pytest.mark.parametrize("kind", ["empty", "cut", "garbage", "flipped", "described"])
@pytest.mark.parametrize("path", [BEST, LAST])
def test_a_damaged_model_file_of_a_finished_run_is_written_again_to_the_bit(tiny, path, kind):
    train(tiny)
    before = {each: each.read_bytes() for each in (BEST, LAST)}
    damage(path, kind)
    assert model.is_whole(path) is False
    train(tiny)
    assert {each: each.read_bytes() for each in (BEST, LAST)} == before
    assert train(tiny).was_finished


def test_a_damaged_best_without_its_checkpoint_is_replaced_with_a_warning(tiny, caplog):
    train(tiny)
    step = model.step_of(BEST)
    damage(BEST, "cut")
    for path in Path("run/checkpoints").iterdir():
        progress = json.loads((path / "progress.json").read_text())
        progress["best"]["step"] = 1  # of which srkit 0.1 would have kept no checkpoint
        files = checkpoint.files.read_directory(path) | {"progress.json": json.dumps(progress).encode()}
        checkpoint.files.write_directory(path, files)
    caplog.clear()
    train(tiny)
    assert caplog.messages[0] == (
        "run/best.safetensors is not whole, and there is no checkpoint of step 1, whose weights it had: those of a "
        "later step take its place"
    )
    assert step > 1
    assert model.step_of(BEST) == 6


def test_a_model_file_whose_tensors_were_changed_is_refused(tiny):
    train(tiny)
    damage(BEST, "flipped")
    with pytest.raises(InputRejected) as error:
        srkit.load("run")
    assert str(error.value) == ("run/best.safetensors: is damaged: what it holds is not what its sha256 was made of")


def test_a_run_that_ends_with_what_is_not_finite_is_not_finished_and_leaves_no_best(tiny):
    for _ in range(2):  # nor does it when it is run again
        with pytest.raises(RunFailed) as error:
            train(tiny, "optimizer.lr=1e38", "train.steps=3", "optimizer.type=sgd", "train.validate_every=1")
        assert "not finite" in str(error.value)
        assert "try a lower optimizer.lr, or train.clip" in str(error.value)
        assert not LAST.exists()
        assert not BEST.exists() or model.is_whole(BEST)


def test_a_run_that_diverges_keeps_the_best_from_before(tiny):
    Path("bad.py").write_text(
        "import srkit\n"
        "class Bad:\n"
        "    calls = 0\n"
        "    def __call__(self, sr, hr):\n"
        "        return (sr - hr).abs().mean() if self.count() < 8 else (sr - hr).abs().mean() * float('nan')\n"
        "    def count(self):\n"
        "        self.calls += 1\n"
        "        return self.calls\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('loss', 'bad', f'{__name__}:Bad')\n"
    )
    with pytest.raises(RunFailed) as error:
        train(tiny, "loss.type=bad", "train.steps=9", registry=discover(["bad.py"]))
    assert str(error.value) == (
        "the loss or its gradients were not finite at the last step, 9; "
        "try a lower optimizer.lr, or train.clip, with --restart"
    )
    assert model.is_whole(BEST)
    assert model.step_of(BEST) in (3, 6)


def test_an_exact_image_does_not_decide_which_step_is_best_and_the_history_agrees(tiny):
    # One call of the check, then two images: of the network at step 3, of bicubic, of the network at steps 6 and 9.
    values = "1.0, float('inf'), 30.0, 1.0, 1.0, 100.0, 31.0, float('inf'), 29.0"
    Path("exact.py").write_text(
        "import srkit\n"
        f"VALUES = iter([{values}])\n"
        "def exact(): return lambda sr, hr: next(VALUES)\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('metric', 'exact', f'{__name__}:exact')\n"
    )
    Path("two").mkdir()
    for name in ("p0.png", "p1.png"):
        shutil.copy(f"photos/{name}", f"two/{name}")
    settings = ['metric=["exact", "ssim_y"]', "validate.dataset.path=two", "train.steps=9"]
    train(tiny, *settings, registry=discover(["exact.py"]))
    assert model.step_of(BEST) == 6
    assert read_history(Path("run")).best_step(higher_is_better=[True, True]) == 6


def test_a_save_that_a_kill_left_without_its_line_has_one_when_the_run_goes_on(tiny):
    train(tiny)
    kept = [line for line in Path("run/metrics.jsonl").read_text().splitlines() if '"saved", "step": 6' not in line]
    Path("run/metrics.jsonl").write_text("".join(f"{line}\n" for line in kept))
    train(tiny, "train.steps=9")
    saves = [(record["step"], record["path"]) for record in records() if record["event"] == "saved"]
    assert saves == [(step, f"checkpoints/step_{step:08d}") for step in (3, 6, 9)]


def test_after_a_disk_that_was_full_for_the_last_checkpoint_the_same_command_goes_on(tiny):
    Path("block.py").write_text(
        "import srkit\n"
        "from pathlib import Path\n"
        "class Block:\n"
        "    def logged(self, step, values):\n"
        "        if step == 2: Path('run/checkpoints').rmdir(); Path('run/checkpoints').write_text('')\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('observer', 'block', f'{__name__}:Block')\n"
    )
    with pytest.raises(RunFailed) as error:
        train(tiny, observers=["block"], registry=discover(["block.py"]))
    assert str(error.value) == "run: the last step could not be saved: Not a directory; free some space and run again"
    assert not LAST.exists()
    Path("run/checkpoints").unlink()
    assert train(tiny).step == 6


@pytest.mark.skipif(not DATA, reason="the images are not in the repository")
def test_the_best_of_a_run_is_not_stuck_at_an_exact_image(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(DATA) / "cases/best-stuck-at-inf")
    settings = ["train.steps=60", "train.validate_every=20", "architecture.features=4", "architecture.blocks=1"]
    srkit.run("vb.toml", out=tmp_path / "run", set=settings)
    run = read_history(tmp_path / "run")
    assert run.best_step(higher_is_better=True) == model.step_of(tmp_path / "run/best.safetensors")
    with Image.open("vblack/black.png") as black:
        assert black.getextrema() == ((0, 0),) * 3
    assert math.isfinite(run.logged[50]["loss"])
