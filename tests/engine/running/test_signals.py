"""Signals that come before training: at the first moment of a run, at its check, while images are packed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import srkit
from srkit.runs.stopping import Interrupted, StopFlag
from tests import forking

# Sends a signal to its own process where SIGNAL_AT says: when the plugin is imported, when a component is made, when
# the first image is degraded.
PLUGIN = """
import os, signal, srkit, threading, time

signal.signal(signal.SIGUSR2, lambda *_: None)

def come(place):
    if os.environ.get("SIGNAL_AT") == place:
        del os.environ["SIGNAL_AT"]  # once: a second one ends the process at once
        number = getattr(signal, os.environ["SIGNAL"])
        os.kill(os.getpid(), number)
        flag = signal.getsignal(number).__self__
        while not flag():  # the handler runs when the main thread next does, which may just have begun to wait
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)
            time.sleep(0.001)

come("import")

def made(*, scale: int):
    come("check")
    halve = srkit.create("degradation", "bicubic", scale=scale)
    def degrade(hr):
        come("pack")
        with open("degraded", "a") as file:
            file.write("x")
        return halve(hr)
    return degrade

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("degradation", "made", f"{__name__}:made", facts={"deterministic": True})
"""


def run(at, number, *more):
    command = ["-m", "srkit", "-p", "signals.py", "run", "tiny.toml", "--out", "run"]
    command += ["--set", "data.degradation=made", "--set", "data.threads=1", "--set", "validate=[]", *more]
    variables = {**os.environ, "SIGNAL_AT": at, "SIGNAL": number}
    return forking.run(*command, env=variables)


@pytest.mark.parametrize(("at", "number"), [("import", "SIGINT"), ("check", "SIGTERM"), ("pack", "SIGUSR1")])
def test_a_signal_before_training_ends_with_75_where_there_is_a_checkpoint_and_130_where_not(tiny, at, number):
    Path("signals.py").write_text(PLUGIN)
    done = run(at, number)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, "srkit: interrupted")
    assert "Traceback" not in done.stderr
    assert not Path("run").exists()
    assert run("", number).returncode == 0
    done = run(at, number, "--set", "train.steps=9")
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (
        75,
        [
            f"stopped by {number} before training went on; what was saved before is there",
            "to continue, run the same command again",
        ],
    )
    assert run("", number, "--set", "train.steps=9").returncode == 0


def interrupted_twice(*words, line, gap):
    """Interrupt a command twice after it has written a line to stderr; return its exit code and what it wrote then."""
    with forking.Process("-m", "srkit", *words, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for written in process.stderr:
            if written.startswith(line):
                break
        process.send_signal(signal.SIGINT)
        time.sleep(gap)  # whether the second comes before the first was heeded, or after all has ended, all is well
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    return process.returncode, rest


@pytest.mark.parametrize("gap", [0, 0.003])
def test_two_interrupts_are_no_traceback(tiny, gap):
    long = ["--set", "train.steps=100_000", "--set", "validate=[]", "--set", "train.checkpoint_every=100_000"]
    code, rest = interrupted_twice("run", "tiny.toml", *long, line="step 2/", gap=gap)
    assert code in (75, 130)  # a second one ends the process at once
    assert "Traceback" not in rest
    Path("waits.py").write_text("import sys, time\nprint('here', file=sys.stderr)\nwhile True: time.sleep(1)\n")
    code, rest = interrupted_twice("-p", "waits.py", "check", "tiny.toml", line="here", gap=gap)
    assert (code, rest) == (130, "srkit: interrupted while waits.py was imported\n")


def test_packing_ends_at_the_next_image(tiny):
    Path("signals.py").write_text(PLUGIN)
    for number in range(100):
        shutil.copy("photos/p0.png", f"photos/more{number}.png")
    run("pack", "SIGTERM", "--set", "data.cache=memory")
    assert len(Path("degraded").read_text()) < 10


def test_before_a_new_beginning_there_is_nothing_to_continue(tiny):
    Path("signals.py").write_text(PLUGIN)
    assert run("", "SIGTERM").returncode == 0
    assert run("check", "SIGTERM", "--restart").returncode == 130
    assert Path("run/last.safetensors").exists()


def test_a_flag_within_another_is_the_same():
    with StopFlag() as outer:
        with StopFlag() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert inner is outer
        with pytest.raises(Interrupted) as error:
            outer.heed()
        assert (str(error.value), error.value.by) == ("stopped by SIGTERM", "SIGTERM")


def test_a_script_is_interrupted_as_by_a_key(tiny):
    with StopFlag() as stop:
        stop.by = "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            srkit.run("tiny.toml", out="run")
