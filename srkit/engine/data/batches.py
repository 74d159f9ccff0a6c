"""A step to its batch of (lr, hr) on the device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.engine.data import sampling
from srkit.engine.data.conversions import rounded_to_8_bits, to_network
from srkit.engine.data.pools import DevicePool, Pool, SourcePool
from srkit.errors import RunFailed, SrkitError
from srkit.plugin.component import located

RING = 3  # buffers: one in use, one ready, one being filled


@attrs.frozen
class Augmentation:
    """One augmentation of a recipe, and its stream of draws."""

    stream: str
    apply: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    draws: int


@attrs.frozen
class RandomDegradation:
    """A random degradation of a recipe: HR batch to LR batch."""

    apply: Callable[[Tensor, Tensor], Tensor]
    draws: int


@attrs.frozen
class BatchPlan:
    """What decides which samples a batch has and what is done to them."""

    seed: int
    batch: int
    patch: int
    scale: int
    augmentations: tuple[Augmentation, ...] = ()
    degradation: RandomDegradation | None = None
    slots: tuple[int, int] | None = None  # this process's share of the batch, [first, last); all of it where None


class Batches:
    """`batches[step]` is the batch of a step: (lr, hr), float32 NCHW in 0..1, augmented, on the device.

    A thread fills the next steps' buffers while this step is computed. Any step may be asked for at any time; the one
    after it is ready soonest. `waited` counts the seconds that were spent waiting.
    """

    def __init__(self, pool: Pool | DevicePool, plan: BatchPlan, device: torch.device, *, threads: int = 1) -> None:
        self.waited = 0.0
        self._pool, self._plan, self._device = pool, plan, device
        first, last = plan.slots or (0, plan.batch)
        self._slots = np.arange(first, last, dtype=np.int64)
        self._pending: dict[int, Future[None]] = {}
        if isinstance(pool, DevicePool):
            return
        self._filler = ThreadPoolExecutor(1, thread_name_prefix="srkit-batches")
        self._threads = threads if isinstance(pool, SourcePool) else 1
        self._readers = ThreadPoolExecutor(threads) if self._threads > 1 else None
        self._buffers = [self._new_buffer(pool) for _ in range(RING)]
        self._copied: list[Any] = [None] * RING  # CUDA events: when a buffer's copy to the device is over

    def _new_buffer(self, pool: Pool) -> tuple[Tensor | None, Tensor]:
        plan, pin = self._plan, self._device.type == "cuda"
        dtype = torch.uint8 if pool.dtype == np.uint8 else torch.uint16
        side = plan.patch * plan.scale
        hr = torch.empty((len(self._slots), side, side, 3), dtype=dtype, pin_memory=pin)
        if plan.degradation is not None:
            return None, hr
        return torch.empty((len(self._slots), plan.patch, plan.patch, 3), dtype=dtype, pin_memory=pin), hr

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        started = time.perf_counter()
        if isinstance(self._pool, DevicePool):
            small, large = self._pool.gather(*self._windows(step), self._plan.patch, self._plan.scale)
        else:
            small, large = self._from_ring(step)
        self.waited += time.perf_counter() - started
        hr = to_network(large)
        lr = self._degraded(step, hr) if small is None else to_network(small)
        for augmentation in self._plan.augmentations:
            draws = self._draws(augmentation.stream, step, augmentation.draws)
            with _telling(augmentation.stream):
                lr, hr = augmentation.apply(lr, hr, draws)
        return lr, hr

    def close(self) -> None:
        """End the threads."""
        if not isinstance(self._pool, DevicePool):
            self._filler.shutdown(cancel_futures=True)
            if self._readers is not None:
                self._readers.shutdown()

    def _windows(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return sampling.windows(self._plan.seed, step, self._slots, self._pool.sizes, self._plan.patch)

    def _draws(self, stream: str, step: int, count: int) -> Tensor:
        draws = sampling.uniforms(self._plan.seed, stream, step, self._slots, count)
        return torch.from_numpy(draws.astype(np.float32)).to(self._device)

    def _degraded(self, step: int, hr: Tensor) -> Tensor:
        degradation = self._plan.degradation
        assert degradation is not None
        draws = self._draws("degradation", step, degradation.draws)
        with _telling("degradation"):
            lr = degradation.apply(hr, draws)
            # Rounded, as a saved LR file would be: the network is to see what it will be given.
            return rounded_to_8_bits(lr)

    def _from_ring(self, step: int) -> tuple[Tensor | None, Tensor]:
        if step not in self._pending:
            self._forget()
            self._pending[step] = self._filler.submit(self._fill, step)
        self._pending.pop(step).result()
        lr, hr = self._buffers[step % RING]
        # On the CPU these are the buffers themselves, which the next call may begin to fill: to_network copies now.
        # Elsewhere nothing would say when a copy that goes on by itself is over, and the buffer may be filled again.
        on_cuda = self._device.type == "cuda"
        pair = (
            None if lr is None else lr.to(self._device, non_blocking=on_cuda),
            hr.to(self._device, non_blocking=on_cuda),
        )
        if on_cuda:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))  # which need not be the current device's
            self._copied[step % RING] = event
        for ahead in range(step + 1, step + RING):
            if ahead not in self._pending:
                self._pending[ahead] = self._filler.submit(self._fill, ahead)
        return pair

    def _forget(self) -> None:
        for future in self._pending.values():
            if not future.cancel():
                future.exception()  # wait for it: its buffer is about to be used again
        self._pending.clear()

    def _fill(self, step: int) -> None:
        pool = self._pool
        assert not isinstance(pool, DevicePool)
        if self._copied[step % RING] is not None:
            self._copied[step % RING].synchronize()
        lr, hr = self._buffers[step % RING]
        small, large = None if lr is None else lr.numpy(), hr.numpy()
        images, tops, lefts = (drawn.tolist() for drawn in self._windows(step))

        def copy(slots: range) -> None:
            for slot in slots:
                pool.copy_window(
                    images[slot],
                    tops[slot],
                    lefts[slot],
                    self._plan.patch,
                    None if small is None else small[slot],
                    large[slot],
                )

        # A share of the batch a thread: handing over one window at a time would cost more than reading it.
        share = -(-len(images) // self._threads)
        shares = [range(first, min(first + share, len(images))) for first in range(0, len(images), share)]
        for _ in (map if self._readers is None else self._readers.map)(copy, shares):
            pass


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """Name the component of the recipe that raised something of its own; memory may be had by another recipe."""
    try:
        yield
    except (SrkitError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise RunFailed(f"data.{what} fails: {located(error)}") from error
