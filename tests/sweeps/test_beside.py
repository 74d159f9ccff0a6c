"""Commands beside each other: in their order, in their places, stopped together."""

from __future__ import annotations

import os
import sys

from srkit.runs.stopping import WITH_PARENT
from srkit.sweeps.beside import Ended, Job, run_beside, shares

# It says that it is there, and ends when it is asked to.
WAITS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
open(sys.argv[1], "w").close()
signal.pause()
"""


def job(tmp_path, name, program, *words):
    return Job(name, [sys.executable, "-c", program, *words], tmp_path / f"{name}.txt")


def run(jobs, processes, stop=lambda: False):
    begun, done = [], []
    places = shares(processes, 8, 0, os.environ)
    whole = run_beside(jobs, processes, places, stop, started=begun.append, ended=done.append)
    return whole, [one.name for one in begun], {one.job.name: one for one in done}


def test_each_end_has_its_reason_and_no_job_is_lost(tmp_path):
    programs = {
        "good": "print('fine')",
        "bad": "import sys; print('first'); sys.exit('srkit run: the loss is not finite')",
        "silent": "import sys; sys.exit(3)",
        "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "stopped": "import sys; sys.exit(75)",
        "last": "pass",
    }
    jobs = [job(tmp_path, name, program) for name, program in programs.items()]
    whole, begun, done = run(jobs, 2)
    assert whole
    assert begun == list(programs)
    assert {name: (one.state, one.why) for name, one in done.items()} == {
        "good": ("finished", ""),
        "bad": ("failed", "the loss is not finite"),
        "silent": ("failed", "exit code 3"),
        "killed": ("failed", "it was ended by SIGKILL"),
        "stopped": ("stopped", ""),
        "last": ("finished", ""),
    }
    assert (tmp_path / "good.txt").read_text() == "fine\n"


def test_a_stop_asks_those_that_go_on_waits_for_them_and_begins_no_more(tmp_path):
    ready = [tmp_path / name for name in ("a", "b")]
    jobs = [job(tmp_path, path.name + "_job", WAITS, str(path)) for path in ready]
    whole, begun, done = run([*jobs, job(tmp_path, "third", "pass")], 2, lambda: all(map(os.path.exists, ready)))
    assert not whole
    assert begun == ["a_job", "b_job"]
    assert done == {one.name: Ended(one, "stopped") for one in jobs}


def test_a_signal_from_the_terminal_reaches_the_jobs_once(tmp_path):
    """Each is in a session of its own: the terminal sends Ctrl-C to all of its group."""
    found = job(tmp_path, "group", "import os; print(os.getpgid(0) == os.getpid())")
    assert run([found], 1)[0]
    assert found.output.read_text() == "True\n"


def test_places_share_cores_and_gpus():
    alone, other = shares(2, 8, 1, {"A": "b"})
    assert alone == other == {"A": "b", "OMP_NUM_THREADS": "4", WITH_PARENT: "1"}
    places = shares(3, 2, 2, {"OMP_NUM_THREADS": "5"})
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["0", "1", "0"]
    assert {place["OMP_NUM_THREADS"] for place in places} == {"5"}
    assert [p["CUDA_VISIBLE_DEVICES"] for p in shares(2, 2, 2, {"CUDA_VISIBLE_DEVICES": "3,5"})] == ["3", "5"]
    assert shares(4, 2, 0, {})[3]["OMP_NUM_THREADS"] == "1"
