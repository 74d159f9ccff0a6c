"""What is written beside the training: one thing at a time, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Saver:
    """Does a piece of work in a thread, which the process waits for before it ends."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "srkit-save")
        self._work: Future[None] | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begin with work that may take a while. What was begun before is settled."""
        assert self._work is None
        self._work = self._thread.submit(work)

    def is_due(self, *, wait: bool) -> bool:
        """Say whether there is work to settle: work that is done, or that is to be waited for."""
        return self._work is not None and (wait or self._work.done())

    def settle(self) -> None:
        """Wait for the work. Raises what it raised."""
        work, self._work = self._work, None
        if work is not None:
            work.result()
