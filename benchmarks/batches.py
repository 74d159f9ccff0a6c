"""How fast batches are made: srkit's ring of buffers beside torch's DataLoader over the same images, in one run.

x4, LR patches of 48, batches of 32, float32 in 0..1 at the end; images in memory for all. Without augmentation, which
srkit leaves to the training device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import srkit
from srkit.engine.data.batches import Batches, BatchPlan
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import PackedPool

SCALE, PATCH, BATCH, STEPS, ROUNDS = 4, 48, 32, 40, 5


class Plain(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The field's usual dataset: a random crop an item, converted to float an item."""

    def __init__(self, images: list[tuple[Any, Any]]) -> None:
        self.images = images

    def __len__(self) -> int:
        return BATCH * STEPS

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(index)
        lr, hr = self.images[rng.integers(len(self.images))]
        top, left = rng.integers(lr.shape[0] - PATCH + 1), rng.integers(lr.shape[1] - PATCH + 1)
        lr = lr[top : top + PATCH, left : left + PATCH]
        hr = hr[top * SCALE : (top + PATCH) * SCALE, left * SCALE : (left + PATCH) * SCALE]
        first, second = (
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div_(255) for image in (lr, hr)
        )
        return first, second


def main() -> None:
    torch.set_num_threads(1)
    source = srkit.create("dataset", "leaves", count=8, size=480)
    pairs = Pairs(
        source, SCALE, degradation=srkit.create("degradation", "bicubic", scale=SCALE), made_by="bicubic", files=False
    )
    pool = PackedPool(pairs, range(len(pairs)), threads=1)
    images = [(lr, hr) for lr, hr in pool.images if lr is not None]

    def ring() -> Iterator[Any]:
        plan = BatchPlan(seed=1, batch=BATCH, patch=PATCH, scale=SCALE)
        batches = Batches(pool, plan, torch.device("cpu"))
        for step in range(STEPS):
            yield batches[step]
        batches.close()

    loaders: dict[str, Callable[[], Iterator[Any]]] = {
        "srkit": ring,
        "DataLoader, in process": lambda: iter(DataLoader(Plain(images), BATCH)),
        "DataLoader, 1 worker": lambda: iter(DataLoader(Plain(images), BATCH, num_workers=1)),
        "DataLoader, 2 workers": lambda: iter(DataLoader(Plain(images), BATCH, num_workers=2)),
    }
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for round_ in range(ROUNDS + 1):
        for name, make in loaders.items():
            made = make()
            next(made)  # start-up is not counted
            started = time.perf_counter()
            count = sum(1 for _ in made)
            if round_:
                rates[name].append(count * BATCH / (time.perf_counter() - started))
    base = rates["DataLoader, in process"]
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, base, strict=True))
        print(f"{name:24} {statistics.median(found):8.0f} patches/s   {ratio:5.2f} of the DataLoader in process")


if __name__ == "__main__":
    main()
