"""A step to its batch of (lr, hr) on the device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import attrs
import numpy as np
import torch
from torch import Tensor

from srkit.engine.data import sampling
from srkit.engine.data.conversions import rounded_to_8_bits, to_device, to_network
from srkit.engine.data.pools import Pool
from srkit.engine.data.ring import Shape, Windows
from srkit.errors import RunFailed, SrkitError, located


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

    Any step may be asked for at any time; the one after it is ready soonest. `waited` counts the seconds that were
    spent waiting for images.
    """

    def __init__(self, pool: Pool, plan: BatchPlan, device: torch.device, *, threads: int = 1) -> None:
        self.waited = 0.0
        self._pool, self._plan, self._device = pool, plan, device
        first, last = plan.slots or (0, plan.batch)
        self._slots = np.arange(first, last, dtype=np.int64)
        shape = Shape(len(self._slots), plan.patch, plan.scale, with_lr=plan.degradation is None)
        self._fetched = pool.fetch(self._windows, shape, device, threads=threads)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the batch of a step, counted from 0."""
        started = time.perf_counter()
        small, large = self._fetched[step]
        self.waited += time.perf_counter() - started
        hr = to_network(large)
        lr = self._degraded(step, hr) if small is None else to_network(small)
        for augmentation in self._plan.augmentations:
            draws = self._draws(augmentation.stream, step, augmentation.draws)
            with _naming(augmentation.stream):
                lr, hr = augmentation.apply(lr, hr, draws)
        return lr, hr

    def close(self) -> None:
        """End the threads."""
        self._fetched.close()

    def _windows(self, step: int) -> Windows:
        return Windows(*sampling.windows(self._plan.seed, step, self._slots, self._pool.sizes, self._plan.patch))

    def _draws(self, stream: str, step: int, count: int) -> Tensor:
        draws = sampling.uniforms(self._plan.seed, stream, step, self._slots, count)
        return to_device(draws.astype(np.float32), self._device)

    def _degraded(self, step: int, hr: Tensor) -> Tensor:
        degradation = self._plan.degradation
        assert degradation is not None
        draws = self._draws("degradation", step, degradation.draws)
        with _naming("degradation"):
            lr = degradation.apply(hr, draws)
            # Rounded, as a saved LR file would be: the network is to see what it will be given.
            return rounded_to_8_bits(lr)


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Name the component of the recipe that raised an error of its own; another recipe may need less memory."""
    try:
        yield
    except (SrkitError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise RunFailed(f"data.{what} fails: {located(error)}") from error
