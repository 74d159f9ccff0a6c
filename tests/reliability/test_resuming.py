"""What a checkpoint holds: nothing too little, as leaving out each of its parts shows; and runs that go on for long."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import srkit
from srkit import files
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import Options, trainer_of
from srkit.engine.running import checkpoint
from srkit.errors import InputRejected, RunFailed
from tests.conftest import CHAOS_N, HANGS
from tests.engine.running.test_checkpoint import CPU, Made
from tests.reliability.test_kills import contents

pytestmark = pytest.mark.chaos

STEPS = 20


class Learnt(nn.Module):
    """L1 with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, sr, hr):
        return (self.weight * (sr - hr)).abs().mean()


def trainer():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Dropout(0.3), nn.Conv2d(6, 3, 3, padding=1))
    terms = [Term("learnt", Learnt(), 1.0, False)]
    parameters = [*network.parameters(), *terms[0].loss.parameters()]
    options = Options(steps=STEPS, seed=3, ema=0.8, clip=0.5)
    return trainer_of(network, terms, torch.optim.AdamW(parameters, lr=1e-2), lambda step: 0.9**step, CPU, options)


def trained(learning, to, made=Made()):  # noqa: B008
    learning.network.train()
    while learning.done < to:
        learning.step(made[learning.done])
    return learning


def test_a_run_resumed_at_any_step_ends_with_the_same_bits(tally):
    straight, saved = trainer(), {}
    for step in range(STEPS + 1):
        saved[step] = checkpoint.contents(trained(straight, step), {})
    for step in range(STEPS):
        again = trainer()
        checkpoint.restore(saved[step], again)
        assert checkpoint.contents(trained(again, STEPS), {}) == saved[STEPS], step
    tally("steps that a run was resumed at", STEPS)


PARTS = ["weights.safetensors", "ema.safetensors", "optimizer.safetensors", "losses.safetensors", "step"]


@pytest.mark.parametrize("part", PARTS)
def test_without_any_of_its_parts_a_checkpoint_would_not_do(part):
    fresh = checkpoint.contents(trained(trainer(), 1), {})
    half = checkpoint.contents(trained(straight := trainer(), STEPS // 2), {})
    if part == "step":
        half["progress.json"] = json.dumps({**json.loads(half["progress.json"]), "step": STEPS // 2 - 1}).encode()
    else:
        half[part] = fresh[part]
    again = trainer()
    checkpoint.restore(half, again)
    assert checkpoint.contents(trained(again, STEPS), {}) != checkpoint.contents(trained(straight, STEPS), {})


def test_a_checkpoint_of_a_newer_srkit_is_refused_and_nothing_of_it_is_touched(tiny):
    srkit.run("tiny.toml", out="run")
    place = max(Path("run/checkpoints").iterdir())
    shutil.rmtree(place.with_name("step_00000003"))
    found = files.read_directory(place)
    found["progress.json"] = json.dumps({**json.loads(found["progress.json"]), "format": 2}).encode()
    files.write_directory(place, found)
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    with pytest.raises(RunFailed) as error:
        srkit.run("tiny.toml", out="run", set=["train.steps=9"])
    assert str(error.value) == (
        "the checkpoint is of format 2, and this srkit reads format 1: go on with the srkit that wrote it, or use "
        "--out DIR for another place"
    )
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    manifest = json.loads((place / files.MANIFEST).read_bytes())
    (place / files.MANIFEST).write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(InputRejected) as rejected:
        files.read_directory(place)
    assert rejected.value.reason == "is of format 2, which a newer srkit may read"


def test_images_in_another_order_are_the_same_images(tiny):
    """Names sort; which came first into the folder does not count, nor does when."""
    settings = ["train.deterministic=run", "train.steps=3"]
    srkit.run("tiny.toml", out="run", set=settings)
    for number, path in enumerate(sorted(Path("photos").iterdir(), reverse=True)):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        os.utime(path, (number, number))
    assert srkit.run("tiny.toml", out="run", set=[*settings, "train.steps=6"]).step == 6
    srkit.run("tiny.toml", out="straight", set=[*settings, "train.steps=6"])
    names = ("last.safetensors", "best.safetensors")
    assert [(Path("run") / n).read_bytes() for n in names] == [(Path("straight") / n).read_bytes() for n in names]


SOAK = """
import os, sys, gc
import srkit, torch
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Origin

torch.set_num_threads(1)
steps = int(sys.argv[1])

class Meter:
    def logged(self, step, values):
        gc.collect()
        resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        aside = sum(".aside-" in name for _, _, names in os.walk("run") for name in names)
        print(step, resident, len(os.listdir("/proc/self/fd")), len(os.listdir("run/checkpoints")) if step > 30 else 0,
              aside, flush=True)

registry = discover()
registry.add(srkit.Component("observer", "meter", "__main__:Meter"), Origin("meter"))
settings = [f"train.steps={steps}", "data.batch=1", f"train.checkpoint_every={steps // 30}", "train.ema=0.9",
            f"train.validate_every={steps // 3}", f"train.log_every={steps // 30}", "validate.0.dataset.names=['p2']"]
srkit.run("tiny.toml", out="run", set=settings, registry=registry, observers=["meter"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_run_takes_no_more_of_anything_than_a_short_one(tiny, tally):
    steps = 600 * CHAOS_N
    done = subprocess.run([sys.executable, "-c", SOAK, str(steps)], capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    rows = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == 30
    warm = rows[12:]  # the first validation lies behind
    # Some once, at the next validations, and a megabyte for 1,000 steps.
    growth = warm[-1][1] - warm[0][1]
    assert growth < 2**22 + 2**20 * steps / 1_000, f"{growth:,} bytes in {steps:,} steps"
    assert len({descriptors for _, _, descriptors, _, _ in warm}) == 1
    assert max(kept for _, _, _, kept, _ in rows) <= 4  # the last two, the best, and the one that is about to go
    assert not any(aside for *_, aside in rows)
    log = Path("run/log.txt").stat().st_size + Path("run/metrics.jsonl").stat().st_size
    assert log / steps < 200
    tally("steps of a long run", steps)


CLOCK = """
import sys, time
real, years = time.time, float(sys.argv[1])
time.time = lambda: real() + years * 365.25 * 86_400
import srkit
srkit.run("tiny.toml", out="run", set=["train.deterministic=run", f"train.steps={sys.argv[2]}", "train.keep=1"])
"""


def test_a_clock_that_jumps_by_years_changes_nothing(tiny):
    for years, steps in ((10, 3), (-10, 6), (0, 9)):
        done = subprocess.run([sys.executable, "-c", CLOCK, str(years), str(steps)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    srkit.run("tiny.toml", out="straight", set=["train.deterministic=run", "train.steps=9", "train.keep=1"])
    found, expected = contents(Path("run")), contents(Path("straight"))
    differ = {name for name in expected if found[name] != expected[name]}
    assert differ <= {"logged"}  # a line is logged at the last step of each start
