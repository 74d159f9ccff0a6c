"""Several processes of one command, started, watched and ended together.

torchrun's agent starts and watches its processes by the same calls; used here themselves, the exit codes of processes
that were asked to stop are not lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import types
from collections.abc import Iterator, Mapping, Sequence

import attrs
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, PContext, start_processes

FORWARDED = ("SIGINT", "SIGTERM", "SIGUSR1")  # to every process, which stops as one alone would
OTHERS = ("SIGHUP", "SIGQUIT")  # that torch takes over, too


@attrs.frozen
class Ended:
    """How processes ended: the exit code of the one that ended first with another than 0, negative for a signal.

    `asked`: a signal was passed on to them.
    """

    code: int
    rank: int = 0
    asked: bool = False

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, or nothing."""
        return signal.Signals(-self.code).name if self.code < 0 else ""


def supervise(command: Sequence[str], processes: int, environment: Mapping[str, str], attempt: int = 0) -> Ended:
    """Run a command in so many processes with torchrun's variables, and return how they ended, when all have.

    When one ends with an error the others are ended. What they print goes where this process prints. `attempt` counts
    from 0; signals are passed on to all.
    """
    logging.getLogger("torch.distributed.elastic.multiprocessing").setLevel(logging.CRITICAL)  # it tells each end
    # Where the processes meet: here, so that the first of them may end before the others have heard of it.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": str(attempt),
        # Each alone would take all cores.
        "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", str(max(1, cores() // processes))),
    }
    ranks = range(processes)
    with _signals_kept():
        started = start_processes(
            "srkit",
            command[0],
            args={rank: tuple(command[1:]) for rank in ranks},
            envs={rank: {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in ranks},
            logs_specs=DefaultLogsSpecs(),
        )
        try:
            asked = _forward(started)
            result = started.wait(period=0.1)
        finally:
            started.close()
    failures = [] if result is None else list(result.failures.values())
    # One that was killed says nothing itself, and the others end because of it.
    killed = [one for one in failures if one.exitcode < 0 and one.exitcode != -signal.SIGTERM]
    first = next(((one.exitcode, one.local_rank) for one in (*killed, *failures)), (0, 0))
    return Ended(*first, asked=bool(asked))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _forward(started: PContext) -> list[int]:
    """Pass signals on from now on, and return the list that they are noted in."""
    asked: list[int] = []

    def forward(number: int, frame: types.FrameType | None) -> None:
        asked.append(number)
        for pid in started.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    for name in FORWARDED:
        signal.signal(getattr(signal, name), forward)
    return asked


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Set the handlers of signals back when all is done."""
    numbers = [getattr(signal, name) for name in (*FORWARDED, *OTHERS)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
