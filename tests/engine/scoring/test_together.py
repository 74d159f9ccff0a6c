"""Several images in one pass of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import srkit
from srkit.engine.scoring.tiler import NotFinite, Tiler
from tests.conftest import photograph

CPU = torch.device("cpu")


class Counted(nn.Module):
    """Repeats pixels; counts the images of each pass, and refuses `most` or more as a device without memory does."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.most = most

    def forward(self, x):
        self.passes.append(len(x))
        if len(x) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.fixture
def images():
    return [photograph(seed, 20, 24) for seed in range(5)]


def test_images_of_one_size_go_through_at_once(images):
    network = Counted()
    large = Tiler(network, CPU).upscale_together(images)
    assert network.passes == [5]
    for one, two in zip(images, large, strict=True):
        assert np.array_equal(two, one.repeat(2, 0).repeat(2, 1))


def test_together_they_become_what_each_becomes_alone(images):
    torch.manual_seed(0)
    network = srkit.create("architecture", "espcn", scale=2)
    alone = [srkit.upscale(image, network) for image in images]
    for one, two in zip(alone, Tiler(network, CPU).upscale_together(images), strict=True):
        assert np.abs(one.astype(int) - two).max() <= 1  # of the order of sums


def test_where_memory_is_short_they_go_one_by_one(images):
    network = Counted(most=1)
    large = Tiler(network, CPU).upscale_together(images)
    assert network.passes == [5, 1, 1, 1, 1, 1]
    assert np.array_equal(large[4][::2, ::2], images[4])


def test_what_is_not_finite_is_refused(images):
    class Spoilt(nn.Module):
        def forward(self, x):
            return x / 0

    with pytest.raises(NotFinite):
        Tiler(Spoilt(), CPU).upscale_together(images)


def test_how_many_go_together_follows_from_their_size_and_what_memory_is_asked_for():
    gpu = torch.device("cuda")
    tiler = Tiler(Counted(), gpu)
    assert [tiler.together(size) for size in ((24, 32), (240, 320), (480, 640), (2160, 3840))] == [16, 3, 1, 1]
    assert Tiler(Counted(), gpu, memory=2**30).together((24, 32)) == 1
    assert Tiler(Counted(), gpu, tile=64).together((24, 32)) == 1
    assert Tiler(Counted(), CPU).together((24, 32)) == 1
