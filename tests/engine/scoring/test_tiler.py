"""Images at rest through networks in parts, beside the whole, and what is said where that is another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import srkit
from srkit.engine.scoring.tiler import LARGE, Strips, Tiler, Whole
from srkit.engine.scoring.tiling import Grid
from srkit.protocol import PAPER, Method
from srkit.testing.samples import stirred
from tests.anywhere import Anywhere
from tests.conftest import photograph

CPU = torch.device("cpu")
TILEABLE = {"tileable": True}


def made(name, **settings):
    torch.manual_seed(0)
    return stirred(srkit.create("architecture", name, scale=2, **settings), 1.3).eval()


def tiler(network, facts=TILEABLE, **words):
    """Return a tiler, and the list of what it says."""
    said = []
    return Tiler(network, CPU, facts, say=said.append, **words), said


def gradient(height, width):
    """Return an image whose means differ from part to part, so that what pools is another function of a part."""
    image = photograph(1, height, width).astype(float) * np.linspace(0.2, 1, height)[:, None, None]
    return image.astype(np.uint8)


def whole(network, image, size=None, method=PAPER):
    return Tiler(network, CPU).upscale(image, size, method)


def near(a, b):
    """Say whether two images are one but for the order of sums of float32, which a rounding may show."""
    return a.shape == b.shape and np.abs(a.astype(int) - b).max() <= 1 and (a != b).mean() < 1e-3


@pytest.mark.parametrize("ensemble", ["none", "x8", "median"])
def test_tiles_of_a_network_make_up_the_whole_image(ensemble):
    network, image = made("edsr", features=4, blocks=12), photograph(1, 110, 90)
    cut, said = tiler(network, tile=64)
    method = Method(ensemble=ensemble)
    assert cut.halo == 28  # 1 + 12 * 2 + 3, which 16 pixels do not cover
    assert cut.way_for(cut.job(image)) == Grid(80, 32)
    assert near(cut.upscale(image, method=method), whole(network, image, method=method))
    assert said == []


@pytest.mark.parametrize("ensemble", ["none", "x8"])
def test_a_network_that_pools_goes_in_strips_and_makes_up_the_whole_image(ensemble):
    network, image = made("a2n", features=8, blocks=3), gradient(120, 70)
    cut, said = tiler(network, {"tileable": False}, tile=32)
    assert cut.way_for(cut.job(image)) == Strips(14)  # 32 * 32 pixels
    method = Method(ensemble=ensemble)
    assert near(cut.upscale(image, method=method), whole(network, image, method=method))
    assert said == []


class Pooled(nn.Module):
    """Depends on all of the image, and has no stages."""

    def forward(self, x):
        return nn.functional.interpolate(x - x.mean((2, 3), keepdim=True) + 0.5, scale_factor=2)


def test_tiles_that_do_not_make_up_the_whole_are_said_once():
    cut, said = tiler(Pooled(), {"tileable": False}, tile=64, approximate=True)
    image = gradient(120, 80)
    for _ in range(2):
        assert not near(cut.upscale(image), whole(Pooled(), image))
    assert said == ["80x120 goes in tiles, which do not make up this network's output: seams may be seen"]


def test_where_parts_must_make_up_the_whole_a_network_without_takes_it_whole():
    cut, said = tiler(Pooled(), {"tileable": False}, tile=64)
    image = gradient(120, 80)
    assert not cut.is_exact
    assert np.array_equal(cut.upscale(image), whole(Pooled(), image))
    assert said == []


def test_a_small_image_is_taken_whole_and_a_large_one_in_parts_where_these_make_it_up():
    def zeros(height, width):
        return np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))

    small, large = zeros(1000, LARGE // 1000), zeros(1001, LARGE // 1000)
    for name, facts, way in (("edsr", TILEABLE, Grid), ("a2n", {"tileable": False}, Strips)):
        cut, _ = tiler(made(name), facts)
        assert cut.way_for(cut.job(small)) == Whole()
        assert isinstance(cut.way_for(cut.job(large)), way)
    assert Tiler(Pooled(), CPU).way_for(Tiler(Pooled(), CPU).job(large)) == Whole()


@pytest.mark.parametrize("scale", [2.5, 2.7, 3.0])
def test_a_network_of_any_scale_has_the_size_that_is_asked_for_in_tiles(scale):
    torch.manual_seed(0)
    network, image = Anywhere().eval(), photograph(1, 140, 130)
    size = round(140 * scale), round(130 * scale)
    cut, _ = tiler(network, tile=64)
    assert near(cut.upscale(image, size), whole(network, image, size))


class Small(nn.Module):
    """Has too little memory for more than so many pixels, as torch says it."""

    def __init__(self, most):
        super().__init__()
        self.most, self.seen, self.blur = most, [], nn.AvgPool2d(3, 1, 1)

    def forward(self, x):
        self.seen.append(tuple(x.shape[2:]))
        if x.shape[2] * x.shape[3] > self.most:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return nn.functional.interpolate(self.blur(x), scale_factor=2)


def test_where_there_is_too_little_memory_tiles_of_half_the_side_are_taken_and_that_is_said():
    image = photograph(1, 300, 300)
    cut, said = tiler(Small(100 * 100), {**TILEABLE, "halo": 1})
    assert near(cut.upscale(image), whole(Small(10**9), image))
    assert said == [
        "there is too little memory for the whole image: it goes on in tiles of 1024 pixels",
        "there is too little memory for tiles of 1024 pixels: it goes on in tiles of 512 pixels",
        "there is too little memory for tiles of 512 pixels: it goes on in tiles of 256 pixels",
        "there is too little memory for tiles of 256 pixels: it goes on in tiles of 128 pixels",
        "there is too little memory for tiles of 128 pixels: it goes on in tiles of 64 pixels",
    ]
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        tiler(Small(2_000), {**TILEABLE, "halo": 1}, tile=64)[0].upscale(image)


def test_memory_decides_how_large_tiles_are(monkeypatch):
    network, image = made("edsr", features=16, blocks=2), np.zeros((3000, 4000, 3), np.uint8)
    used = 400 * 2**20
    monkeypatch.setattr("srkit.engine.scoring.tiler.used_memory", lambda: used)
    sides = {}
    for mebibytes in (600, 700, 1000, 20_000):
        cut, said = tiler(network, memory=mebibytes * 2**20)
        way = cut.way_for(cut.job(image))
        sides[mebibytes] = getattr(way, "side", "whole")
        if isinstance(way, Grid):
            needed = used + image.nbytes * 4 + way.side**2 * cut._pixel_bytes(cut.job(image))
            assert needed <= mebibytes * 2**20
            assert said == []
    assert sides[600] < sides[700] < sides[1000] < 1100
    assert sides[20_000] == "whole"
    cut, said = tiler(network, memory=500 * 2**20)
    assert cut.way_for(cut.job(image)) == Grid(48, 16)
    assert said[0].startswith("the smallest tiles take 5")
    assert said[0].endswith(" MiB more than is allowed")


def test_features_that_do_not_fit_the_memory_are_kept_in_a_file(monkeypatch):
    network, image = made("a2n", features=8, blocks=3), gradient(90, 70)
    monkeypatch.setattr("srkit.engine.scoring.tiler.used_memory", lambda: 0)
    cut, said = tiler(network, {"tileable": False}, memory=2**20)
    assert cut.way_for(cut.job(image)).in_file
    assert said == ["features of 70x90 are kept in a temporary file of 196.9 KiB"]
    assert near(cut.upscale(image), whole(network, image))


class Overflows(nn.Module):
    """Leaves the range of float16 where the image is bright."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.constant_(self.conv.weight, 40_000.0)

    def forward(self, x):
        return nn.functional.interpolate(self.conv(x).float() / 120_000.0, scale_factor=2)


@pytest.mark.parametrize("tile", [None, 64])
def test_a_part_that_is_not_finite_is_computed_in_float32(tile):
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 70:] = 200
    cut, said = tiler(Overflows(), {**TILEABLE, "halo": 0}, tile=tile)
    assert near(cut.upscale(image, method=Method(precision="float16")), whole(Overflows(), image))
    assert said == ["in float16 a part of the output is not finite: it is computed in float32"]


def test_bfloat16_is_another_image_and_nearly_the_same():
    network, image = made("a2n", features=8, blocks=3), gradient(90, 70)
    exact = whole(network, image).astype(int)
    for words in ({}, {"tile": 32}):
        cut, said = tiler(network, {"tileable": False}, **words)
        found = cut.upscale(image, method=Method(precision="bfloat16"))
        assert not np.array_equal(found, exact)
        assert np.abs(found - exact).mean() < 1
        assert said == []


def test_a_grey_canvas_is_the_mean_of_the_channels():
    network, image = made("edsr", features=8, blocks=2), photograph(1, 90, 70)
    mean = np.floor(whole(network, image).mean(2) + 0.5)
    for words in ({}, {"tile": 32}):
        found = tiler(network, **words)[0].upscale(image, grey=True)
        assert found.shape == (180, 140)
        assert np.abs(found - mean).max() <= 1
