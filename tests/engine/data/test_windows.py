"""The LR of a training window is that window of the file that `srkit degrade` writes, whatever the images come from."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import srkit
from srkit.cli import main
from srkit.engine.builder import Builder
from srkit.engine.data import sampling
from srkit.engine.data.batches import Batches, BatchPlan
from srkit.engine.data.conversions import to_network
from srkit.engine.data.opening import make_pairs
from srkit.engine.data.pools import DevicePool, PackedPool, SourcePool, make_pool
from srkit.plugin.discovery import installed
from srkit.recipe.reading import read_part
from tests.conftest import photograph

CPU = torch.device("cpu")
SCALES = (2, 3)
DEGRADATIONS = {
    "bicubic": ("bicubic",),
    "bicubic, double": ("bicubic", "mode=double"),
    "bicubic, replicate": ("bicubic", "edge=replicate"),
    "bicubic, double, replicate": ("bicubic", "mode=double", "edge=replicate"),
    "pillow_bicubic": ("pillow_bicubic",),
}
EIGHT_BITS_ONLY = {"pillow_bicubic"}
MADE = ("folder", "h5", "lmdb", "leaves")  # LR is made when images are packed or read
FILES = ("lr folder", "prepared folder", "prepared h5", "prepared lmdb")  # LR is kept beside HR
LEAVES = {"count": 2, "size": 48}


class Sets:
    """Sets of images under a folder, each in every form that training reads, and their LR files; made when asked for.

    "plain" has 8 bits; of "mixed" the first image has 16; "drawn" are the files of drawn images.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, image in {
            "plain/a": photograph(0, 48, 64),
            "plain/b": photograph(1, 51, 43),
            "plain/c": photograph(2, 40, 41),
            "mixed/a": photograph(3, 44, 39).astype(np.uint16) * 251 + 11,
            "mixed/b": photograph(4, 37, 50),
        }.items():
            self._save(f"{name}.png", image)
        leaves = srkit.create("dataset", "leaves", **LEAVES)
        for index in range(len(leaves)):
            self._save(f"drawn/{leaves.name(index)}.png", leaves.read(index))
        self.pairs = functools.cache(self._pairs)
        self.pool = functools.cache(self._pool)
        self.saved = functools.cache(self._saved)
        self._lr = functools.cache(self._degrade)
        self._prepared = functools.cache(self._prepare)

    def _save(self, name, image):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        srkit.save_image(path, image)

    def _degrade(self, images, degradation, scale):
        target = self.root / "lr" / images / degradation / f"X{scale}"
        type_, *overrides = DEGRADATIONS[degradation]
        assert (
            main(["degrade", type_, str(self.root / images), str(target), "--scale", str(scale), *sets(overrides)]) == 0
        )
        return target

    def _prepare(self, images, format_, degradation):
        """Prepare HR, or HR and LR of every scale where a degradation is named."""
        target = self.root / f"{images} {degradation or 'HR'} {format_}"
        options = ["--to", format_]
        if degradation is not None:
            type_, *overrides = DEGRADATIONS[degradation]
            options += ["--degradation", type_, *sets(overrides)]
            options += [part for scale in SCALES for part in ("--scale", str(scale))]
        assert main(["prepare", str(self.root / images), str(target), *options]) == 0
        return str(target)

    def source(self, origin, images, degradation):
        """Return the dataset of an origin, which may hold LR of that degradation."""
        if origin == "leaves":
            return srkit.create("dataset", "leaves", **LEAVES)
        if origin == "folder":
            return srkit.create("dataset", "folder", path=str(self.root / images))
        if origin == "lr folder":
            folders = [self._lr(images, degradation, scale) for scale in SCALES]
            lr = str(folders[0].parent / "X{scale}")
            return srkit.create("dataset", "folder", hr=str(self.root / images), lr=lr)
        *prepared, format_ = origin.split()
        return srkit.create("dataset", format_, path=self._prepared(images, format_, degradation if prepared else None))

    def _pairs(self, origin, images, degradation, scale):
        part = None
        if origin in MADE:
            type_, *overrides = DEGRADATIONS[degradation]
            part = read_part(installed(), "degradation", type_, overrides)
        source = self.source(origin, images, degradation)
        pairs = make_pairs(Builder(installed()), source, scale, part, for_training=True)
        assert (pairs.made_by == "files") is (origin in FILES)
        return pairs

    def _pool(self, origin, images, degradation, scale, cache):
        pairs = self.pairs(origin, images, degradation, scale)
        pool = make_pool(pairs, range(len(pairs)), cache=cache, threads=1, device=CPU)
        assert type(pool) is {"memory": PackedPool, "none": SourcePool}[cache]
        return pool

    def _saved(self, images, degradation, scale):
        """Return (LR, HR) of each image by name: the file that `srkit degrade` writes, and the one that it reads."""
        lr = self._lr(images, degradation, scale)
        hr = self.root / images
        return {path.stem: (srkit.read_image(lr / path.name), srkit.read_image(path)) for path in hr.iterdir()}


def sets(overrides):
    return [part for override in overrides for part in ("--set", override)]


def as_deep_as(window, image):
    """An image in the depth of a window: the colour of 8 bits is 257 times as much in 16."""
    return image if window.dtype == image.dtype else image.astype(window.dtype) * window.dtype.type(257)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Sets(tmp_path_factory.mktemp("windows"))


@pytest.mark.parametrize("degradation", DEGRADATIONS)
@pytest.mark.parametrize("origin", [*MADE, *FILES])
@settings(max_examples=15, deadline=None)  # the first example of a set makes it
@given(data=st.data())
def test_the_lr_of_any_window_is_that_window_of_the_saved_file(made, origin, degradation, data):
    of_8_bits = degradation in EIGHT_BITS_ONLY
    images = (
        "drawn" if origin == "leaves" else data.draw(st.sampled_from(["plain"] if of_8_bits else ["plain", "mixed"]))
    )
    scale, cache = data.draw(st.sampled_from(SCALES)), data.draw(st.sampled_from(["memory", "none"]))
    pool = made.pool(origin, images, degradation, scale, cache)
    index = data.draw(st.integers(0, len(pool.sizes) - 1))
    height, width = pool.sizes[index].tolist()
    patch = data.draw(st.integers(1, min(height, width)))
    top, left = data.draw(st.integers(0, height - patch)), data.draw(st.integers(0, width - patch))

    lr = np.zeros((patch, patch, 3), pool.dtype)
    hr = np.zeros((patch * scale, patch * scale, 3), pool.dtype)
    pool.copy_window(index, top, left, patch, lr, hr)

    name = made.pairs(origin, images, degradation, scale).name(index)
    saved_lr, saved_hr = made.saved(images, degradation, scale)[name]
    assert saved_lr.shape == (height, width, 3)
    assert np.array_equal(lr, as_deep_as(lr, saved_lr[top : top + patch, left : left + patch]))
    tall, wide = (slice(start * scale, (start + patch) * scale) for start in (top, left))
    assert np.array_equal(hr, as_deep_as(hr, saved_hr[tall, wide]))


@pytest.fixture(scope="module")
def batches(made):
    """Batches of every pool there is, of the folder "plain" and by bicubic at scale 3."""
    pools = {cache: made.pool("folder", "plain", "bicubic", 3, cache) for cache in ("memory", "none")}
    pools["device"] = DevicePool(pools["memory"], CPU)
    plan = BatchPlan(seed=5, batch=4, patch=7, scale=3)
    found = {name: Batches(pool, plan, CPU) for name, pool in pools.items()}
    yield found
    for batch in found.values():
        batch.close()


@pytest.mark.parametrize("pool", ["memory", "none", "device"])
@settings(deadline=None)
@given(step=st.integers(0, 2**31))
def test_the_lr_of_any_batch_is_the_saved_files_at_the_windows_of_its_step(made, batches, pool, step):
    pairs = made.pairs("folder", "plain", "bicubic", 3)
    sizes = np.array([pairs.size(i) for i in range(len(pairs))])
    drawn = sampling.windows(5, step, np.arange(4), sizes, 7)
    saved = made.saved("plain", "bicubic", 3)
    windows = [saved[pairs.name(i)][0][top : top + 7, left : left + 7] for i, top, left in zip(*drawn, strict=True)]
    lr = batches[pool][step].lr
    assert torch.equal(lr, to_network(torch.from_numpy(np.stack(windows))))


def test_the_saved_files_of_any_two_degradations_differ(made):
    for scale in SCALES:
        saved = [made.saved("plain", degradation, scale)["a"][0] for degradation in DEGRADATIONS]
        for i, lr in enumerate(saved):
            assert not any(np.array_equal(lr, other) for other in saved[:i])
