"""Commands beside each other: so many at once, each with its share of the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from srkit.runs.stopping import WITH_PARENT

PERIOD = 0.1  # seconds between two looks at the processes
STOPPED = (75, 130, -signal.SIGTERM)  # exit codes of a run that was asked to stop: with, and without a checkpoint


@attrs.frozen
class Job:
    """A command by its name, and the file that gets what it prints."""

    name: str
    command: Sequence[str]
    output: Path


@attrs.frozen
class Ended:
    """How a job ended: "finished", "stopped" or "failed", and of that why."""

    job: Job
    state: str
    why: str = ""


def run_beside(
    jobs: Sequence[Job],
    processes: int,
    environments: Sequence[Mapping[str, str]],
    stop: Callable[[], bool],
    *,
    started: Callable[[Job], None],
    ended: Callable[[Ended], None],
) -> bool:
    """Run jobs, so many at once, each in the environment of its place; say whether all could be run.

    When `stop` says so no more are begun, those that go on are asked to stop, once, and waited for.
    """
    waiting, live, asked = list(jobs), dict[int, tuple[Job, subprocess.Popen[bytes]]](), False
    try:
        while waiting or live:
            if stop() and not asked:
                asked = True
                waiting.clear()
                for _, process in live.values():
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGTERM)
            for place in [place for place in range(processes) if place not in live]:
                if waiting:
                    job = waiting.pop(0)
                    live[place] = job, _start(job, environments[place])
                    started(job)
            for place, (job, process) in list(live.items()):
                if process.poll() is not None:
                    del live[place]
                    ended(_ended(job, process.returncode))
            time.sleep(PERIOD if live else 0)
    finally:
        for _, process in live.values():  # an error here: nobody would wait for them
            process.kill()
            process.wait()
    return not asked


def shares(processes: int, cores: int, gpus: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the environment of each place: its share of the cores, and one of the GPUs in turn where there are some.

    A number of threads that is said in the environment stays.
    """
    threads = environment.get("OMP_NUM_THREADS", str(max(1, cores // processes)))
    seen = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = seen or [str(i) for i in range(gpus)]
    return [
        {
            **environment,
            "OMP_NUM_THREADS": threads,
            WITH_PARENT: "1",
            **({"CUDA_VISIBLE_DEVICES": names[place % len(names)]} if gpus > 1 else {}),
        }
        for place in range(processes)
    ]


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal would reach it twice, and a second signal ends a run at once.
    with job.output.open("wb") as output:
        return subprocess.Popen(
            job.command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
        )


def _ended(job: Job, code: int) -> Ended:
    if code == 0:
        return Ended(job, "finished")
    if code in STOPPED:
        return Ended(job, "stopped")
    if code < 0:
        return Ended(job, "failed", f"it was ended by {signal.Signals(-code).name}")
    lines = job.output.read_text("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    return Ended(job, "failed", said[-1].removeprefix("srkit run: ") if said else f"exit code {code}")
