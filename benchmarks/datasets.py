"""How fast patches are read: srkit's datasets beside the two usual ways, from the same images in one run.

x4, LR patches of 48, batches of 32, in process, the files in the page cache. What srkit reads becomes a batch of uint8;
the first way, and "batches", a training run's from images in memory, end with float32.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import lmdb
import numpy as np
import torch

import srkit
from benchmarks.timing import ratio
from srkit.engine.data.batches import Batches, BatchPlan
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import PackedPool

COUNT, SIDE = 100, 480
SCALE, PATCH, BATCH = 4, 48, 32
ROUNDS, SECONDS = 7, 0.5
PACKAGED = ("litdata",) if find_spec("litdata") else ()  # formats that are written where a package is installed
FLOATS, PNGS = "HDF5 of floats, opened per item", "lmdb of PNG (BasicSR's)"

Image = Any
Drawn = tuple[int, int, int]  # which image, and row and column of the LR window


def make_images() -> Iterator[tuple[str, dict[str, Image]]]:
    """Yield drawn images with noise, so that they compress about as photographs do, and their LR images."""
    source = srkit.create("dataset", "leaves", count=COUNT, size=SIDE)
    degradation = srkit.create("degradation", "bicubic", scale=SCALE)
    for index in range(COUNT):
        noise = np.random.default_rng(index).normal(0, 6, (SIDE, SIDE, 3))
        hr = np.clip(np.rint(source.read(index) + noise), 0, 255).astype(np.uint8)
        yield source.name(index), {"hr": hr, "lr_x4": degradation(hr)}


def write_all(folder: Path) -> None:
    """Write the images in each of the formats."""
    writers = {kind: srkit.create("writer", kind, path=folder / kind) for kind in ("h5", "lmdb", *PACKAGED)}
    records: dict[str, list[srkit.ImageRecord]] = {"hr": [], "lr_x4": []}
    encoded = {side: Encoded(folder / f"{side}.lmdb") for side in records}
    names = []
    with h5py.File(folder / "floats", "w") as floats:
        for number, (name, images) in enumerate(make_images()):
            names.append(name)
            for writer in writers.values():
                writer.add(name, images)
            for side, image in images.items():
                records[side].append(srkit.ImageRecord.of(image))
                file = folder / "files" / side / f"{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                srkit.save_image(file, image)
                encoded[side].add(name, image.shape, file.read_bytes())
                data = (image.transpose(2, 0, 1) / 255).astype(np.float32)
                floats.create_dataset(f"{side[:2]}/{number}", data=data)
    manifest = srkit.Manifest(tuple(names), {side: tuple(found) for side, found in records.items()})
    for writer in writers.values():
        writer.finish(manifest)
        writer.close()
    for database in encoded.values():
        database.close()


class Encoded:
    """Writes an LMDB of PNG files as BasicSR's create_lmdb.py does."""

    def __init__(self, path: Path) -> None:
        self.environment = lmdb.open(str(path), map_size=2**30)
        self.lines = path / "meta_info.txt"

    def add(self, name: str, shape: tuple[int, ...], data: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(name.encode(), data)
        with open(self.lines, "a") as file:
            file.write(f"{name}.png ({shape[0]},{shape[1]},{shape[2]}) 1\n")

    def close(self) -> None:
        self.environment.close()


def floats_per_item(path: Path) -> Callable[[list[Drawn]], None]:
    """The usual HDF5 dataset: the file is opened for each item, both images are read whole and cropped, as floats."""
    side = PATCH * SCALE
    lr, hr = np.empty((BATCH, 3, PATCH, PATCH), np.float32), np.empty((BATCH, 3, side, side), np.float32)

    def read(batch: list[Drawn]) -> None:
        for slot, (index, top, left) in enumerate(batch):
            with h5py.File(path, "r") as file:
                large, small = file["hr"][str(index)][:], file["lr"][str(index)][:]
            lr[slot] = small[:, top : top + PATCH, left : left + PATCH]
            top, left = top * SCALE, left * SCALE
            hr[slot] = large[:, top : top + side, left : left + side]

    return read


def from_dataset(kind: str, **settings: str) -> Callable[[list[Drawn]], None]:
    """A dataset's windows, into a batch of uint8."""
    source = srkit.create("dataset", kind, **settings)
    beside, side = source.lr(SCALE), PATCH * SCALE
    lr, hr = np.empty((BATCH, PATCH, PATCH, 3), np.uint8), np.empty((BATCH, side, side, 3), np.uint8)

    def read(batch: list[Drawn]) -> None:
        for slot, (index, top, left) in enumerate(batch):
            lr[slot] = beside.read(index, srkit.Window(top, left, PATCH, PATCH))
            hr[slot] = source.read(index, srkit.Window(top * SCALE, left * SCALE, side, side))

    return read


def draw(seed: int) -> list[Drawn]:
    rng, last = np.random.default_rng(seed), SIDE // SCALE - PATCH
    return [(int(rng.integers(COUNT)), *map(int, rng.integers(0, last + 1, 2))) for _ in range(BATCH)]


def measured() -> dict[str, list[float]]:
    """Return the patches a second of each way in each round."""
    batches = [draw(seed) for seed in range(200)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_all(folder)
        h5 = srkit.create("dataset", "h5", path=str(folder / "h5"))
        pool = PackedPool(Pairs(h5, SCALE, degradation=None, made_by="files", files=True), range(COUNT), threads=1)
        plan = BatchPlan(seed=1, batch=BATCH, patch=PATCH, scale=SCALE)
        with contextlib.closing(Batches(pool, plan, torch.device("cpu"))) as made:
            return rates_of(folder, batches, made)


def rates_of(folder: Path, batches: list[list[Drawn]], made: Batches) -> dict[str, list[float]]:
    step = itertools.count()
    ways = {
        FLOATS: floats_per_item(folder / "floats"),
        "batches": lambda _: made[next(step)],
        "h5": from_dataset("h5", path=str(folder / "h5")),
        "lmdb": from_dataset("lmdb", path=str(folder / "lmdb")),
        **{kind: from_dataset(kind, path=str(folder / kind)) for kind in PACKAGED},
        PNGS: from_dataset("lmdb", path=str(folder / "hr.lmdb"), lr=str(folder / "lr_x4.lmdb")),
        "folder of PNG": from_dataset("folder", hr=str(folder / "files/hr"), lr=str(folder / "files/lr_x4")),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, read in ways.items():
            count, started = 0, time.perf_counter()
            while time.perf_counter() - started < SECONDS:
                read(batches[count % len(batches)])
                count += 1
            if round_:  # the first fills the page cache
                rates[name].append(count * BATCH / (time.perf_counter() - started))
    return rates


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    rates = measured()
    yield "batches_vs_blog_h5", ratio(rates, "batches", FLOATS)
    yield "batches_vs_png_lmdb", ratio(rates, "batches", PNGS)
    yield "h5_vs_blog_h5", ratio(rates, "h5", FLOATS)
    yield "lmdb_vs_blog_h5", ratio(rates, "lmdb", FLOATS)


def main() -> None:
    rates = measured()
    for name, found in rates.items():
        print(f"{name:32} {statistics.median(found):8.0f} patches/s   {ratio(rates, name, FLOATS):6.2f} of the first")


if __name__ == "__main__":
    main()
