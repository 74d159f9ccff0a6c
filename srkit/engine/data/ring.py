"""Batches of windows in reused buffers, filled by a thread while earlier ones are used."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.engine.reading import BadImages, Readers, Watch
from srkit.engine.streams import Event, streams_of
from srkit.errors import InputRejected

RING = 3  # buffers: one in use, one ready, one being filled


class Windows(NamedTuple):
    """The window of each sample of a batch: an image, and the top and left of a window of `patch` LR pixels a side."""

    images: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    patch: int


@attrs.frozen
class Shape:
    """How many samples a batch has, their largest side in LR pixels, the scale, and whether LR comes with HR."""

    count: int
    patch: int
    scale: int
    with_lr: bool


class Images(Protocol):
    """Where windows are copied from, in memory or read. `bad` is what is known of images that cannot be read."""

    dtype: np.dtype[Any]
    bad: BadImages

    def name(self, index: int) -> str:
        """Return an image's name."""

    def copy_window(
        self, index: int, top: int, left: int, patch: int, lr: NDArray[Any] | None, hr: NDArray[Any]
    ) -> None:
        """Copy a window of `patch` LR pixels into `lr` [patch, patch, 3] and the HR window into `hr`."""


class Ring:
    """`ring[step]` is a batch's windows, (lr or None, hr), uint8 or uint16 [n, h, w, 3] on the device.

    On the CPU these are the buffers themselves, which the next call may begin to fill. Any step may be asked for at any
    time; the one after it is ready soonest.
    """

    def __init__(
        self, images: Images, windows: Callable[[int], Windows], shape: Shape, device: torch.device, *, threads: int
    ) -> None:
        self._images, self._windows, self._shape, self._device = images, windows, shape, device
        self._streams = streams_of(device)
        self._pending: dict[int, Future[int]] = {}
        self._filler = Readers(1)
        self._threads = threads
        self._readers = Readers(threads) if threads > 1 else None
        self._watch = Watch(images.name)
        self._buffers = [self._new_buffer() for _ in range(RING)]
        self._copied: list[Event | None] = [None] * RING  # when a buffer's copy to the device is over

    def _new_buffer(self) -> tuple[Tensor | None, Tensor]:
        shape, empty = self._shape, torch.empty if self._streams is None else self._streams.empty
        dtype = torch.uint8 if self._images.dtype == np.uint8 else torch.uint16
        side = shape.patch * shape.scale
        hr = empty((shape.count, side, side, 3), dtype=dtype)
        if not shape.with_lr:
            return None, hr
        return empty((shape.count, shape.patch, shape.patch, 3), dtype=dtype), hr

    def __getitem__(self, step: int) -> tuple[Tensor | None, Tensor]:
        """Return the windows of a step, counted from 0."""
        if step not in self._pending:
            self._forget()
            self._pending[step] = self._filler.submit(self._fill, step)
        lr, hr = self._of_side(step, self._watch.result(self._pending.pop(step)))
        # Without streams nothing would say when a copy that goes on by itself is over, and the buffer may be filled
        # again.
        goes_on = self._streams is not None
        pair = (
            None if lr is None else lr.to(self._device, non_blocking=goes_on),
            hr.to(self._device, non_blocking=goes_on),
        )
        if self._streams is not None:
            self._copied[step % RING] = self._streams.mark()
        for ahead in range(step + 1, step + RING):
            if ahead not in self._pending:
                self._pending[ahead] = self._filler.submit(self._fill, ahead)
        return pair

    def close(self) -> None:
        """End the threads; one that hangs is left."""
        for future in self._pending.values():
            future.cancel()
        for readers in (self._filler, self._readers):
            if readers is not None:
                readers.close(wait=not self._watch.hung)

    def _of_side(self, step: int, patch: int) -> tuple[Tensor | None, Tensor]:
        """Return what of a step's buffers windows of so many LR pixels take: the first of their memory."""
        count = self._shape.count

        def first(buffer: Tensor, side: int) -> Tensor:
            return buffer.view(-1)[: count * side * side * 3].view(count, side, side, 3)

        lr, hr = self._buffers[step % RING]
        return None if lr is None else first(lr, patch), first(hr, patch * self._shape.scale)

    def _forget(self) -> None:
        for future in self._pending.values():
            if not future.cancel():
                concurrent.futures.wait([future])  # its buffer is about to be used again
        self._pending.clear()

    def _fill(self, step: int) -> int:
        """Copy a step's windows, and return their side in LR pixels."""
        if (copied := self._copied[step % RING]) is not None:
            copied.synchronize()
        while (side := self._copy(step)) is None:
            pass  # an image could not be read: now others are drawn in its place
        return side

    def _copy(self, step: int) -> int | None:
        """Copy a step's windows, and return their side in LR pixels, or None where an image turned out to be bad."""
        windows = self._windows(step)
        lr, hr = self._of_side(step, windows.patch)
        small, large = None if lr is None else lr.numpy(), hr.numpy()
        images, tops, lefts = (drawn.tolist() for drawn in windows[:3])

        def copy(slots: range) -> None:
            try:
                for slot in slots:
                    self._watch.begins(images[slot])
                    try:
                        self._images.copy_window(
                            images[slot],
                            tops[slot],
                            lefts[slot],
                            windows.patch,
                            None if small is None else small[slot],
                            large[slot],
                        )
                    except InputRejected as error:
                        self._images.bad.take(images[slot], error)
            finally:
                self._watch.ends()

        known = len(self._images.bad)

        # A share of the batch a thread: handing over one window at a time would cost more than reading it.
        share = -(-len(images) // self._threads)
        shares = [range(first, min(first + share, len(images))) for first in range(0, len(images), share)]
        if self._readers is None:
            for share_of_one in shares:
                copy(share_of_one)
        else:
            futures = [self._readers.submit(copy, slots) for slots in shares]
            concurrent.futures.wait(futures)  # all, since none may write to the buffer later
            for future in futures:
                future.result()
        return windows.patch if len(self._images.bad) == known else None
