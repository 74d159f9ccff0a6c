"""A step to its batch on the device."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from srkit.engine.data import sampling
from srkit.engine.data.conversions import rounded_to_8_bits, to_device, to_network
from srkit.engine.data.pools import Pool
from srkit.engine.data.ring import Shape, Windows
from srkit.engine.networks.calling import scaled, takes
from srkit.errors import RunFailed, SrkitError, located


@attrs.frozen(eq=False)
class Batch:
    """Samples of a step, in the network's form: float32 NCHW in 0..1, on the device.

    `size` is HR's (height, width). `points` [n, q], int64, are the pixels of each HR that count, as flat indices; all
    of them where it is None. `draws` is the chance that a network may ask for, a row a sample, or None.
    """

    lr: Tensor
    hr: Tensor
    size: tuple[int, int] = attrs.field(
        default=attrs.Factory(lambda self: (self.hr.shape[-2], self.hr.shape[-1]), takes_self=True)
    )
    points: Tensor | None = None
    draws: Any = None

    def parts(self, count: int) -> Iterator[Batch]:
        """Yield the batch in so many parts, of its samples in order."""

        def cut(rows: Any) -> Any:
            return itertools.repeat(None) if rows is None else rows.chunk(count)

        for lr, hr, points, draws in zip(
            self.lr.chunk(count), self.hr.chunk(count), cut(self.points), cut(self.draws), strict=False
        ):
            yield Batch(lr, hr, self.size, points, draws)


@attrs.frozen
class Augmentation:
    """One augmentation of a recipe, and its stream of draws."""

    stream: str
    apply: Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]
    draws: int | None = None  # how many it states; it is given a Stream where it states none


@attrs.frozen
class RandomDegradation:
    """A degradation of batches: (HR, draws) to LR, or (HR, LR's size, draws) where it declares `size`."""

    apply: Callable[..., Tensor]
    draws: int | None = None


@attrs.frozen
class BatchPlan:
    """What decides which samples a batch has and what is done to them.

    With `scales`, the least and the greatest, a step's scale is drawn; the pool then has HR alone, at scale 1.
    """

    seed: int
    batch: int
    patch: int
    scale: int
    augmentations: tuple[Augmentation, ...] = ()
    degradation: RandomDegradation | None = None
    scales: tuple[float, float] | None = None
    points: int | None = None  # HR pixels drawn of each sample; all count where None
    with_draws: bool = False  # whether the network draws, too
    slots: tuple[int, int] | None = None  # this process's share of the batch, [first, last); all of it where None


class Batches:
    """`batches[step]` is the batch of a step, augmented, on the device.

    Any step may be asked for at any time; the one after it is ready soonest. `waited` counts the seconds that were
    spent waiting for images.
    """

    def __init__(self, pool: Pool, plan: BatchPlan, device: torch.device, *, threads: int = 1) -> None:
        self.waited = 0.0
        self._pool, self._plan, self._device = pool, plan, device
        self._sized = plan.degradation is not None and takes(plan.degradation.apply, "size")
        first, last = plan.slots or (0, plan.batch)
        self._slots = np.arange(first, last, dtype=np.int64)
        side, scale = (plan.patch, plan.scale) if plan.scales is None else (scaled(plan.patch, plan.scales[1]), 1)
        shape = Shape(len(self._slots), side, scale, with_lr=plan.degradation is None)
        self._chances = None if pool.weights is None else sampling.Chances.of(pool.weights)
        self._fetched = pool.fetch(self._windows, shape, device, threads=threads)

    def __getitem__(self, step: int) -> Batch:
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
        points, pixels = None, hr.shape[2] * hr.shape[3]
        if self._plan.points is not None:
            drawn = sampling.points(self._plan.seed, step, self._slots, pixels, self._plan.points)
            points = to_device(drawn, self._device)
        of_network = self._draws("network", step, None) if self._plan.with_draws else None
        return Batch(lr, hr, points=points, draws=of_network)

    def close(self) -> None:
        """End the threads."""
        self._fetched.close()

    def _windows(self, step: int) -> Windows:
        plan, side = self._plan, self._plan.patch
        if plan.scales is not None:
            side = scaled(side, sampling.scale(plan.seed, step, *plan.scales))
        pool, attempt = self._pool, 0
        drawn = sampling.windows(plan.seed, step, self._slots, pool.sizes, side, self._chances)
        while len(pool.bad) and (spoilt := np.isin(drawn[0], pool.bad.indices)).any():
            attempt += 1
            again = sampling.windows(plan.seed, step, self._slots, pool.sizes, side, self._chances, attempt=attempt)
            images, tops, lefts = (np.where(spoilt, new, old) for new, old in zip(again, drawn, strict=True))
            drawn = images, tops, lefts
        return Windows(*drawn, side)

    def _draws(self, stream: str, step: int, count: int | None) -> sampling.Stream | Tensor:
        return sampling.counted(self._plan.seed, stream, step, self._slots, self._device, count)

    def _degraded(self, step: int, hr: Tensor) -> Tensor:
        degradation = self._plan.degradation
        assert degradation is not None
        draws = self._draws("degradation", step, degradation.draws)
        with _naming("degradation"):
            size = ((self._plan.patch, self._plan.patch),) if self._sized else ()
            lr = degradation.apply(hr, *size, draws)
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
