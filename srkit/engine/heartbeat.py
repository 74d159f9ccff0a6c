"""Signs of life between the processes of a run: each gives them, and watches those of the next one."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import NamedTuple, Protocol

from torch.distributed import Store  # type: ignore[attr-defined]

from srkit.errors import Elsewhere

BEAT = 1.0  # seconds between two signs of life


class Limits(NamedTuple):
    """Seconds without a sign of life, and with one piece of work, after which a process is given up."""

    hangs: float
    works: float


class Process(Protocol):
    """This process: its number of so many, and what it is doing, with how often that has changed."""

    rank: int
    size: int
    work: tuple[int, str]


def keep_watch(store: Store, own: Process, limits: Limits, ended: threading.Event) -> None:
    """Give signs of life, and end this process where the next one gives none, or does not end a piece of work.

    A process that is frozen, or whose machine is gone, closes no connection: the others would wait for it. One that
    hangs in a plugin still gives signs of life. In a step the others notice; elsewhere its work does not change.
    """
    watched = (own.rank + 1) % own.size
    alive, working = _Still(), _Still()
    count = 0
    while not ended.wait(BEAT):
        count += 1
        try:
            store.set(f"beat/{own.rank}", json.dumps([count, *own.work]))
            beat = store.get(f"beat/{watched}").decode() if store.check([f"beat/{watched}"]) else ""
        except RuntimeError:  # the store is gone with its process: so is the run, as the next message will show
            continue
        _, number, what = json.loads(beat) if beat else (0, 0, "")
        trouble = ""
        if alive.since(beat) > limits.hangs:
            trouble = f"has given no sign of life for {limits.hangs:g} s"
        if working.since((number, what)) > limits.works and what:
            trouble = f"has been {what} for {limits.works:g} s, and is given up"
        if trouble:
            os.write(2, f"process {watched} of {own.size} {trouble}\n".encode())
            os._exit(Elsewhere.exit_code)


class _Still:
    """Since when a value has been the same."""

    def __init__(self) -> None:
        self._value: object = None
        self._at = time.monotonic()

    def since(self, value: object) -> float:
        """Return for how many seconds it has been this value."""
        if value != self._value:
            self._value, self._at = value, time.monotonic()
        return time.monotonic() - self._at
