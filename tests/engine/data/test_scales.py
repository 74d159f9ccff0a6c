"""Batches whose scale is drawn for each step, and the pixels of HR that count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from srkit_resize.matlab import resize

from srkit.engine.data import sampling
from srkit.engine.data.batches import Augmentation, Batches, BatchPlan, RandomDegradation
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import DevicePool, PackedPool, SourcePool, large_enough
from srkit.plugin.discovery import installed

CPU = torch.device("cpu")
PATCH = 7


@pytest.fixture
def pairs(photographs):
    source = installed().create("dataset", "folder", path=str(photographs))
    return Pairs(source, 1, degradation=None, made_by="bicubic", files=False)


def plan(*names, **changes):
    augmentations = tuple(
        Augmentation(f"augment.{i}.{name}", installed().create("augmentation", name), 1) for i, name in enumerate(names)
    )
    bicubic = installed().create("degradation", "bicubic")
    made = RandomDegradation(lambda hr, size, draws: bicubic.batch(hr, size), 0)
    given = {"seed": 7, "batch": 6, "patch": PATCH, "scale": 4, "scales": (1.0, 4.5), "points": 30}
    return BatchPlan(**{**given, "augmentations": augmentations, "degradation": made, **changes})


def draw(pool, steps, *names, threads=1, **changes):
    made = Batches(pool, plan(*names, **changes), CPU, threads=threads)
    try:
        return [made[step] for step in steps]
    finally:
        made.close()


def same(first, second):
    return all(
        a.size == b.size and all(torch.equal(getattr(a, of), getattr(b, of)) for of in ("lr", "hr", "points"))
        for a, b in zip(first, second, strict=True)
    )


def test_the_scale_of_a_step_is_drawn_and_a_window_of_hr_is_as_large_as_it_says(pairs):
    batches = draw(PackedPool(pairs, range(4), 1), range(40))
    for step, batch in enumerate(batches):
        side = round(PATCH * sampling.scale(7, step, 1.0, 4.5))
        assert batch.size == (side, side)
        assert (batch.hr.shape, batch.lr.shape) == ((6, 3, side, side), (6, 3, PATCH, PATCH))
    sides = {batch.size[0] for batch in batches}
    assert len(sides) > 15
    assert min(sides) <= PATCH + 3
    assert max(sides) >= 30


def test_lr_is_matlabs_bicubic_of_the_window_in_eight_bits(pairs):
    for batch in draw(PackedPool(pairs, range(4), 1), range(12)):
        levels = (batch.hr * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        expected = np.stack([resize(window, (PATCH, PATCH)) for window in levels])
        assert np.array_equal((batch.lr * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), expected)


def test_any_order_any_threads_and_every_cache_give_the_same_batches(pairs):
    packed = PackedPool(pairs, range(4), 2)
    turned = ("hflip", "rot90")
    straight = draw(packed, range(8), *turned)
    order = [5, 0, 3, 4, 2, 7, 6, 1]
    assert same(draw(packed, order, *turned), [straight[step] for step in order])
    assert same(draw(SourcePool(pairs, range(4)), range(8), *turned, threads=3), straight)
    assert same(draw(DevicePool(packed, CPU), range(8), *turned), straight)


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_sees_the_same_samples(pairs, processes):
    packed = PackedPool(pairs, range(4), 1)
    (whole,), size = draw(packed, [11], "hflip"), 6 // processes
    shares = [draw(packed, [11], "hflip", slots=(i * size, (i + 1) * size))[0] for i in range(processes)]
    for name in ("lr", "hr", "points"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))


@pytest.mark.parametrize(("pixels", "count"), [(900, 30), (97, 40), (31, 30), (30, 30), (12, 30)])
def test_points_are_pixels_of_hr_and_no_two_are_alike(pixels, count):
    found = sampling.points(3, 5, np.arange(20), pixels, count)
    assert found.shape == (20, min(pixels, count))
    assert found.min() >= 0
    assert found.max() < pixels
    assert all(len(set(row)) == len(row) for row in found.tolist())
    assert np.array_equal(sampling.points(3, 5, np.arange(7, 20), pixels, count), found[7:])


def test_every_pixel_is_as_likely_a_point():
    counted = np.bincount(sampling.points(1, 0, np.arange(20_000), 70, 30).ravel(), minlength=70)
    expected = 20_000 * 30 / 70
    assert np.abs(counted - expected).max() < 6 * np.sqrt(expected)


def test_an_image_must_be_as_large_as_a_patch_at_the_greatest_scale(pairs):
    assert large_enough(pairs, 41) == ([0, 1, 3], ["p2"])
