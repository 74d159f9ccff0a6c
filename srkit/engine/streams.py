"""The streams of a GPU, which does what it is given in the order of its stream; those of others go on beside it.

All that srkit asks of CUDA in this stands here, so that a stand-in on a CPU can show that nothing is read too early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Event(Protocol):
    """A point in the work of a device."""

    def synchronize(self) -> None:
        """Wait until the device has come there."""


class Streams(Protocol):
    """The current stream of a device, and one beside it."""

    device: torch.device

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory of the host that copies reach, or leave, while both go on. Raises RuntimeError: too little."""

    def mark(self) -> Event:
        """Return the end of what the current stream was given so far."""

    def beside(self, work: Callable[[], None]) -> Event:
        """Do work beside the current stream, after what that was given so far, and return its end.

        Until then the tensors that it reads are not to be changed, nor those that it writes to be read.
        """


class CudaStreams:
    """The streams of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return pinned memory."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def mark(self) -> Event:
        """Return an event of the current stream."""
        return _recorded(torch.cuda.current_stream(self.device))  # which need not be the current device's

    def beside(self, work: Callable[[], None]) -> Event:
        """Do work on the side stream, and return an event of that."""
        self._side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._side):
            work()
        return _recorded(self._side)


def _recorded(stream: torch.cuda.Stream) -> Event:
    event: Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(stream)  # type: ignore[attr-defined]
    return event


def streams_of(device: torch.device) -> Streams | None:
    """Return the streams of a device, None where it has none that say how far they are: then copies are waited for."""
    return CudaStreams(device) if device.type == "cuda" else None
