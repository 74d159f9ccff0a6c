"""Signals to a flag."""

from __future__ import annotations

import os
import signal
import threading
import time
import types
from typing import Any

WITH_PARENT = "SRKIT_ENDS_WITH_PARENT"  # in the environment of a run that is to end with the one that has started it


class Interrupted(Exception):
    """Raised where a signal came before there was anything to save; `by` is its name."""

    def __init__(self, by: str) -> None:
        super().__init__(f"stopped by {by}")
        self.by = by


def end_with_parent() -> None:
    """End this process at once, from now on, when the one that has started it is gone: nobody would stop it.

    Its checkpoints are whole whenever it ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="srkit-parent", daemon=True).start()


class StopFlag:
    """A context in which SIGINT, SIGTERM and SIGUSR1 set a flag; a second one ends the process at once.

    A handler that did more would do it between any two instructions, in the middle of a save too. Within such a
    context, another one is the same.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Say whether a signal has come."""
        return self.by is not None

    def heed(self) -> None:
        """Raise Interrupted where a signal has come."""
        if self.by is not None:
            raise Interrupted(self.by)

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python gives signals to the main thread alone
        around = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if isinstance(around, StopFlag):
            return around
        for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)  # Windows has no SIGUSR1
            if number is not None:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
        if self.by is not None:
            os._exit(128 + number)
        self.by = signal.Signals(number).name
