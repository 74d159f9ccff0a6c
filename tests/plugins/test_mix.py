"""Several datasets as one: names, LR beside HR, and how often each is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import srkit
from srkit.engine.builder import Builder
from srkit.engine.data.batches import Batches, BatchPlan
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import DevicePool, PackedPool, SourcePool
from srkit.errors import InputRejected, RecipeError
from srkit.plugin.discovery import installed

CPU = torch.device("cpu")


def leaves(**settings):
    return srkit.create("dataset", "leaves", **{"size": 32, **settings})


def mix(*datasets, **settings):
    return srkit.create("dataset", "mix", datasets=list(datasets), **settings)


def pairs_of(dataset, **settings):
    return Pairs(dataset, 2, degradation=srkit.create("degradation", "bicubic", scale=2), made_by="bicubic", files=True)


def folder(path: Path, names, *, lr=()):
    """Write HR images of noise, and LR x2 beside some of them."""
    rng = np.random.default_rng(0)
    for side in ("HR", "LR_bicubic/X2"):
        (path / side).mkdir(parents=True)
    for name in names:
        image = rng.integers(0, 256, (32, 40, 3)).astype(np.uint8)
        srkit.save_image(path / "HR" / f"{name}.png", image)
        if name in lr:
            srkit.save_image(path / "LR_bicubic/X2" / f"{name}x2.png", image[::2, ::2])
    return srkit.create("dataset", "folder", path=str(path))


def test_images_are_those_of_all_datasets_in_order_and_names_never_clash():
    first, second = leaves(count=2), leaves(count=3, seed=1)
    mixed = mix(first, second, first)
    assert len(mixed) == 7
    assert [mixed.name(i) for i in range(7)] == [
        *(f"1/{first.name(i)}" for i in range(2)),
        *(f"2/{second.name(i)}" for i in range(3)),
        *(f"3/{first.name(i)}" for i in range(2)),
    ]
    for i, (dataset, inner) in enumerate([(first, 0), (first, 1), (second, 0), (second, 1), (second, 2), (first, 0)]):
        assert np.array_equal(mixed.read(i), dataset.read(inner))
        assert mixed.size(i) == dataset.size(inner)
    assert np.array_equal(mixed.read(4, srkit.Window(1, 2, 3, 4)), second.read(2)[1:4, 2:6])
    for beyond in (-1, 7):
        with pytest.raises(IndexError):
            mixed.read(beyond)


def test_its_fingerprint_is_that_of_its_images():
    plain = mix(leaves(count=2), leaves(count=3, seed=1)).fingerprint()
    assert plain == mix(leaves(count=2), leaves(count=3, seed=1), weights=[1.0, 2.0]).fingerprint()
    others = [mix(leaves(count=2), leaves(count=3, seed=2)), mix(leaves(count=3, seed=1), leaves(count=2))]
    assert plain not in [other.fingerprint() for other in others]


def test_lr_beside_hr_is_mixed_too(tmp_path):
    first = folder(tmp_path / "a", ["x", "y"], lr=["x", "y"])
    second = folder(tmp_path / "b", ["x"], lr=["x"])
    pairs = pairs_of(mix(first, second))
    assert pairs.made_by == "files"
    for i, hr in enumerate([first.read(0), first.read(1), second.read(0)]):
        lr, large = pairs.read(i)
        assert np.array_equal(large, hr)
        assert np.array_equal(lr, hr[::2, ::2])
    assert mix(leaves(count=1), leaves(count=2)).lr(2) is None


def test_lr_of_one_dataset_alone_is_refused(tmp_path):
    with_lr, without = folder(tmp_path / "a", ["x"], lr=["x"]), leaves(count=1)
    for datasets, numbers in (((with_lr, without), (1, 2)), ((without, without, with_lr), (3, 1))):
        with pytest.raises(InputRejected) as error:
            mix(*datasets).lr(2)
        assert str(error.value) == (
            f"mix: dataset {numbers[0]} has LR images x2, and dataset {numbers[1]} none: take the same of both, or "
            "name a data.degradation"
        )


@pytest.mark.parametrize("pool", [PackedPool, SourcePool, DevicePool])
def test_each_dataset_is_drawn_as_often_as_its_weight_says(pool):
    pairs = pairs_of(mix(leaves(count=3), leaves(count=1, seed=1), leaves(count=2, seed=2), weights=[1.0, 3.0, 0.0]))
    made = {
        "PackedPool": lambda: PackedPool(pairs, range(6), 1),
        "SourcePool": lambda: SourcePool(pairs, range(6)),
        "DevicePool": lambda: DevicePool(PackedPool(pairs, range(6), 1), CPU),
    }[pool.__name__]()
    plan = BatchPlan(seed=1, batch=4_000, patch=2, scale=2)
    batches = Batches(made, plan, CPU)
    try:
        images = batches._windows(0).images
        assert batches[0].lr.shape == (4_000, 3, 2, 2)
    finally:
        batches.close()
    counts = np.bincount(images, minlength=6)
    assert counts[4:].tolist() == [0, 0]
    # 1000 and 3000 are expected, with a standard deviation of 27; each of the first three is a third of theirs.
    assert abs(counts[3] - 3_000) < 110
    assert (abs(counts[:3] - 1_000 / 3) < 75).all()


def test_without_weights_images_are_drawn_as_those_of_one_dataset():
    mixed = pairs_of(mix(leaves(count=2), leaves(count=3, seed=1)))
    assert SourcePool(mixed, range(5)).weights is None
    nested = mix(mix(leaves(count=1), leaves(count=1, seed=1), weights=[1.0, 3.0]), leaves(count=2), weights=[1.0, 1.0])
    assert [nested.weight(i) for i in range(4)] == [0.25, 0.75, 0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"datasets": []}, "datasets must name one at least"),
        ({"datasets": ["leaves"], "weights": [1.0, 1.0]}, "weights must be one for each of the 1 datasets, not 2"),
        ({"datasets": ["leaves"], "weights": [0.0]}, "weights must be 0 at least, and one above it, not 0"),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        srkit.create("dataset", "mix", **settings)
    assert str(error.value) == message


def test_weights_that_are_none_are_named():
    class Heavy:
        def __init__(self, weight):
            self._inner, self._weight = leaves(count=2), weight

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def __len__(self):
            return 2

        def weight(self, index):
            return self._weight

    for weight, message in (
        (-1.0, f"{leaves().name(0)}: its weight must be a number of at least 0, not -1"),
        (0.0, f"{leaves().name(0)}: has a weight of 0, as has every other image"),
    ):
        with pytest.raises(InputRejected) as error:
            pairs_of(Heavy(weight)).weights([0, 1])
        assert str(error.value) == message


def test_a_recipe_trains_on_a_mix(tiny):
    table = (
        'data.dataset={type="mix", weights=[1.0, 2.0], datasets=[{type="folder", path="photos"}, '
        '{type="leaves", count=1, size=64}]}'
    )
    result = srkit.run("tiny.toml", out="run", set=[table, "train.steps=2"])
    assert result.step == 2
    described = made_of(Path("run/recipe.toml")).describe()
    assert described == "5 images of 2 datasets: 4 HR images in photos, no LR beside them; 1 images"
    with pytest.raises(RecipeError) as error:
        srkit.run("tiny.toml", out="other", set=[table.replace("photos", "pictures")])
    assert "pictures" in str(error.value)


def made_of(recipe):
    loaded = Builder(installed()).load(recipe)
    return loaded.builder.make(loaded.recipe.data.dataset)
