"""Threads that read images: those that hang are given up, and images that cannot be read are named or replaced."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from srkit.errors import InputRejected, RunFailed

T = TypeVar("T")

PATIENCE = 120.0  # seconds that the reading of one image may take
MOST_BAD = 0.001  # of a dataset's images that may be replaced

log = logging.getLogger("srkit")


class Hung(RunFailed):
    """Raised where an image is read, and nothing comes back."""


class TooManyBad(InputRejected):
    """Raised where so many images cannot be read that others are not to take their place."""


class Readers:
    """Threads that do work in the order in which it is given. Unlike an executor's, they do not outlive the process.

    A thread that hangs in a read cannot be ended; a process that waited for it would never end, either.
    """

    def __init__(self, threads: int) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_work, args=(self._queue,), name=f"srkit-reader-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        self._end = weakref.finalize(self, _finish, self._queue, threads)

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Return the future of a call of `work`."""
        future: Future[T] = Future()
        self._queue.put((future, work, arguments))
        return future

    def close(self, *, wait: bool = True) -> None:
        """End the threads when they have done what was given, and wait for that."""
        self._end()
        for thread in self._threads if wait else ():
            thread.join()


def _work(given: queue.SimpleQueue[Any]) -> None:
    while (item := given.get()) is not None:
        future, work, arguments = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work(*arguments))
            except BaseException as error:  # the caller's, of whatever kind
                future.set_exception(error)
        del item, future, work, arguments  # while it waits, it keeps nothing alive


def _finish(given: queue.SimpleQueue[Any], threads: int) -> None:
    for _ in range(threads):
        given.put(None)


class Watch:
    """Which image each thread is reading, and since when; `name` is what an image is called by its index."""

    def __init__(self, name: Callable[[int], str]) -> None:
        self.hung = False
        self._name, self._at = name, dict[int, tuple[float, int]]()

    def begins(self, image: int) -> None:
        """Note that this thread reads an image from now on, and no other."""
        self._at[threading.get_ident()] = time.monotonic(), image

    def ends(self) -> None:
        """Note that this thread reads none."""
        self._at.pop(threading.get_ident(), None)

    def result(self, future: Future[T]) -> T:
        """Return a future's result. Raises Hung, naming the image, where one has been read for PATIENCE."""
        wait = PATIENCE
        while True:
            try:
                return future.result(wait)
            except TimeoutError:
                if future.done():  # the work's own
                    raise
            since, image = min([*self._at.values()], default=(time.monotonic(), -1))
            wait = PATIENCE - (time.monotonic() - since)
            if wait <= 0:
                self.hung = True
                raise Hung(
                    f"{self._name(image)}: has been read for {PATIENCE:g} s, and nothing came; look at its disk, and "
                    "at what reads it"
                )


class BadImages:
    """What is done with images that cannot be read, by their index among `count`.

    "fail": the error is raised. "replace": the image is named, counted and never read again, so that what is drawn in
    its place depends on nothing but which images are bad; more than MOST_BAD of them are raised.
    """

    def __init__(self, policy: str = "fail", count: int = 0) -> None:
        self._policy, self._count = policy, count
        self._found: dict[int, InputRejected] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._found)

    @property
    def indices(self) -> list[int]:
        """Which there are."""
        return list(self._found)

    def take(self, index: int, error: InputRejected) -> None:
        """Take note of an image. Raises its error, or one of all where they are too many."""
        if self._policy == "fail":
            raise error
        with self._lock:
            if index in self._found:
                return
            self._found[index] = error
            log.warning("%s; other images are taken in its place", error)
            if len(self._found) > MOST_BAD * self._count:
                _, *others = self._found.values()
                share = f"{len(self._found):,} of {self._count:,} images cannot be read: more than {MOST_BAD:.1%} are"
                first = next(iter(self._found.values()))
                raise TooManyBad(first.path, first.reason, [*map(str, others), f"{share} not replaced"])

    @property
    def found(self) -> list[tuple[int, str, str]]:
        """Which there are, each with its path and the reason, as other processes are sent them."""
        return [(index, error.path, error.reason) for index, error in self._found.items()]

    def join(self, found: Iterable[tuple[int, str, str]]) -> None:
        """Take note of those that another process has met: it took others in their place, and said nothing."""
        for index, path, reason in found:
            self._found.setdefault(index, InputRejected(path, reason))

    def lines(self) -> list[str]:
        """Return a line on each, behind one on all; none where there is none."""
        if not self._found:
            return []
        lines = [f"  {error}" for _, error in sorted(self._found.items())]
        return [f"{len(lines):,} of {self._count:,} images could not be read, and others took their place:", *lines]
