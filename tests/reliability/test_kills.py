"""Runs that are killed or asked to stop at moments that are drawn, and continued: nothing is lost, not a bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHAOS_N, CHAOS_SEED, HANGS

pytestmark = pytest.mark.chaos

SETTINGS = [
    *("train.deterministic=run", "train.steps=48", "train.log_every=1", "train.checkpoint_every=3"),
    *("train.validate_every=12", "train.ema=0.9", "validate.0.dataset.names=['p2']"),
]

# A life of a run is ended by a signal after so many calls, of Python's and of C: counted from its beginning, or from a
# step that it has logged, so that it comes in start-up, training, validation, a save, however fast the machine is. The
# processes are forked from one that has imported and computed all that a run needs.
LIVES = """
import json, os, random, signal, socket, sys
import srkit, torch
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Origin

SIGNALS = [getattr(signal, name) for name in sys.argv[1].split(",")]
seed, runs, deaths, processes = map(int, sys.argv[2:6])
settings = sys.argv[6:]

class Ender:
    def __init__(self, number, rank, whole_group):
        # A run's start-up makes some 60,000 calls, a step 5,000.
        self.number, self.whole_group, self.from_start = number, whole_group, random.random() < 0.25
        self.steps, self.calls = random.randrange(1, 8), random.randrange(1, 60_000 if self.from_start else 15_000)
        if rank > 0:  # observers are the first process's: one that is ended at a step that it logs is that
            self.from_start, self.calls = True, random.randrange(1, 250_000)
        if self.from_start:
            self.logged = lambda step, values: self.last(step)
            sys.setprofile(self.call)

    def last(self, step):
        if step == 48 and self.number == signal.SIGKILL:  # so that each life is ended by one
            self.end()

    def logged(self, step, values):
        self.steps -= 1
        self.last(step)
        if self.steps == 0:
            sys.setprofile(self.call)

    def call(self, frame, event, argument):
        if processes > 1 and not torch.distributed.is_initialized():
            return  # before they meet the other can notice nothing: that is for those who start them
        self.calls -= 1
        if self.calls == 0:
            sys.setprofile(None)
            self.end()

    def end(self):
        (os.killpg if self.whole_group else os.kill)(os.getpgrp() if self.whole_group else os.getpid(), self.number)

ENDER = []
registry = discover()
registry.add(srkit.Component("observer", "ender", "__main__:made"), Origin("ender"))

def made():
    return ENDER[0] if ENDER else object()

def live(out, rank, number, whole_group):
    # torchrun's environment, where there are several
    if processes > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), MASTER_PORT=str(port))
        os.environ.update(LOCAL_WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1")
    if number is not None:
        ENDER.append(Ender(number, rank, whole_group))
    srkit.run("tiny.toml", out=out, set=settings, registry=registry, observers=["ender"])

def life(out, number):
    global port
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    killer, whole_group = random.randrange(processes), processes > 1 and random.random() < 0.5
    children = []
    for rank in range(processes):
        random.random()  # a child's draws are its own
        child = os.fork()
        if child == 0:
            try:
                os.setpgid(0, children[0] if children else 0)
                live(out, rank, number if rank == killer else None, whole_group)
            except (srkit.errors.Stopped, srkit.errors.Elsewhere) as error:
                os._exit(error.exit_code)
            except KeyboardInterrupt:
                os._exit(130)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(0)
        children.append(child)
        os.setpgid(child, children[0])  # here, too: the second may come before the first has made the group
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

def newest(out):
    folder = f"{out}/checkpoints"
    names = [n for n in os.listdir(folder) if n.startswith("step_")] if os.path.isdir(folder) else []
    logged = [json.loads(line) for line in open(f"{out}/metrics.jsonl")] if names else []
    return [max((int(n[5:]) for n in names), default=-1),
            max((event["step"] for event in logged if event["event"] == "logged"), default=-1)]

torch.set_num_threads(1)
random.seed(seed)
srkit.run("tiny.toml", out="warm", set=[*settings, "train.steps=3"], registry=registry)
for run in range(runs):
    out = f"run{run}"
    told = []
    for death in range(deaths):
        told.append([life(out, random.choice(SIGNALS)), *newest(out)])
    told.append([life(out, None), *newest(out)])
    print(json.dumps(told), flush=True)
assert life("straight", None) == [0] * processes
"""


def lives(signals, runs, deaths, processes):
    """Run LIVES; return for each run, life by life, its exit codes, its newest checkpoint and the step last logged."""
    print(f"SRKIT_CHAOS_SEED={CHAOS_SEED}")
    command = [sys.executable, "-c", LIVES, signals, str(CHAOS_SEED), str(runs), str(deaths), str(processes), *SETTINGS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    if processes == 1:  # one that loses another says so
        assert "Error" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contents(path: Path) -> dict[str, bytes]:
    """The bytes that a finished run is judged by: its models, its last checkpoint, its scores and losses."""
    found = {name: (path / name).read_bytes() for name in ("best.safetensors", "last.safetensors", "recipe.toml")}
    last = max((path / "checkpoints").iterdir())
    found |= {f"{last.name}/{file.name}": file.read_bytes() for file in last.iterdir()}
    events = [json.loads(line) for line in (path / "metrics.jsonl").read_bytes().splitlines()]
    for event, what in (("validated", "tables"), ("logged", "loss")):
        found[event] = repr([(e["step"], e[what]) for e in events if e["event"] == event]).encode()
    return found


def assert_ended_alike(runs):
    """Each run ended with the bits of one that nobody disturbed, and left nothing half-written."""
    straight = contents(Path("straight"))
    different, left = [], []
    for number in range(runs):
        found = contents(Path(f"run{number}"))
        different += [f"run{number}: {name}" for name in {*straight, *found} if straight.get(name) != found.get(name)]
        left += [p for p in Path(f"run{number}").rglob("*") if p.name.startswith((".aside-", ".replaced-"))]
    assert (different, left) == ([], [])


@pytest.mark.parametrize("processes", [1, 2])
def test_runs_that_are_killed_again_and_again_end_with_the_same_bits(tiny, tally, processes):
    """One process of two is killed, after which the other ends by itself, or both at once."""
    runs, deaths = (4 * CHAOS_N, 22) if processes == 1 else (CHAOS_N, 16)
    kills = 0
    for told in lives("SIGKILL", runs, deaths, processes):
        *killed, (last, *_) = told
        ended = [codes for codes, *_ in killed if -signal.SIGKILL in codes]
        assert all(0 not in codes for codes in ended)
        kills += len(ended)
        assert last == [0] * processes
        steps = [step for _, step, _ in told]
        assert steps == sorted(steps)  # no checkpoint is ever lost
    # The second of two may end its life before its call comes.
    assert kills == runs * deaths if processes == 1 else kills >= 0.75 * runs * deaths
    assert_ended_alike(runs)
    tally(f"kill -9 of a run of {processes} process{'es' * (processes > 1)}", kills)


IN_PLACE = """
import os, random, signal, sys

def write(number):
    with open("thing", "wb") as file:
        for _ in range(5):
            file.write(bytes([number]) * 50_000)

random.seed(int(sys.argv[1]))
torn = 0
for number in range(40):
    write(7)
    child = os.fork()
    if child == 0:
        left = random.randrange(1, 30)
        def call(frame, event, argument):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(call)
        while True:
            write(9)
    os.waitpid(child, 0)
    data = open("thing", "rb").read()
    torn += len(data) < 250_000 or len(set(data)) > 1
print(torn)
"""


def test_a_file_that_is_written_in_place_is_torn_by_such_kills(tmp_path, monkeypatch):
    """That kills come at moments that matter."""
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", IN_PLACE, str(CHAOS_SEED)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


@pytest.mark.parametrize("processes", [1, 2])
def test_runs_that_are_asked_to_stop_at_any_moment_end_with_75_and_lose_no_step(tiny, tally, processes):
    runs, deaths = (3 if processes == 1 else 1) * CHAOS_N, 8
    for told in lives("SIGTERM,SIGINT,SIGUSR1", runs, deaths, processes):
        *stopped, (last, *_) = told
        before = -1
        for codes, step, logged in stopped:
            # One before there is anything to save is an interruption, one after the last step comes too late.
            asked = {75} if before >= 0 or step >= 0 else {130}
            # The first process's code is the run's: another that parts after it is gone may have 1.
            assert codes[0] in asked | ({0} if step == 48 else set()), (codes, before, step)
            assert set(codes[1:]) <= {codes[0], 1}
            assert step == logged
            before = step
        assert last == [0] * processes
    assert_ended_alike(runs)
    tally(f"signals to a run of {processes} process{'es' * (processes > 1)}", runs * deaths)
