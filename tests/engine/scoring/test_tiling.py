"""Quarters, tiles and symmetries, beside plain implementations of the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from srkit.engine.scoring.tiling import SHAVE, chop, forward, tiles
from tests.anywhere import Anywhere


def local(scale=2, reach=3):
    """A network whose output depends on `reach` LR pixels around; zero padding makes it see the image's edges."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 2 * reach + 1, padding=reach), nn.ReLU(), nn.Conv2d(4, 3 * scale**2, 1), nn.PixelShuffle(scale)
    ).eval()


class Pooled(nn.Module):
    """A network whose output depends on all of the image."""

    def forward(self, x):
        return nn.functional.interpolate(x - x.mean((2, 3), keepdim=True), scale_factor=3)


def image(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def plain_chop(network, x, scale, shave=10, largest=160_000):
    """EDSR's quarters as its paper's code has them: sizes, places and when they are divided again."""
    h, w = x.shape[-2:]
    half_h, half_w = h // 2, w // 2
    size_h, size_w = half_h + shave, half_w + shave
    quarters = [
        x[..., :size_h, :size_w],
        x[..., :size_h, w - size_w :],
        x[..., h - size_h :, :size_w],
        x[..., h - size_h :, w - size_w :],
    ]
    if size_h * size_w < largest:
        a, b, c, d = (network(quarter) for quarter in quarters)
    else:
        a, b, c, d = (plain_chop(network, quarter, scale) for quarter in quarters)
    top = torch.cat(
        [a[..., : half_h * scale, : half_w * scale], b[..., : half_h * scale, (size_w - w + half_w) * scale :]], -1
    )
    low = torch.cat(
        [
            c[..., (size_h - h + half_h) * scale :, : half_w * scale],
            d[..., (size_h - h + half_h) * scale :, (size_w - w + half_w) * scale :],
        ],
        -1,
    )
    return torch.cat([top, low], -2)


@pytest.mark.parametrize("size", [(40, 60), (41, 61), (22, 23), (64, 31)])
def test_quarters_are_those_of_edsr(size):
    with torch.no_grad():
        assert torch.equal(chop(Pooled(), image(*size)), plain_chop(Pooled(), image(*size), 3))


def test_large_quarters_are_divided_again():
    x = image(900, 860)
    sizes = []

    def network(part):
        sizes.append(tuple(part.shape[-2:]))
        return part * 2

    assert torch.equal(chop(network, x), plain_chop(lambda part: part * 2, x, 1))
    assert len(sizes) == 16
    assert max(h * w for h, w in sizes) < 160_000


@pytest.mark.parametrize("size", [(8, 8), (19, 300), (20, 20), (1, 50), (21, 21)])
def test_an_image_too_small_for_quarters_is_not_divided_where_that_saves_nothing(size):
    network = local()
    with torch.no_grad():
        assert torch.allclose(chop(network, image(*size)), network(image(*size)), atol=1e-6)
    assert SHAVE == 10


@pytest.mark.parametrize("way", [chop, tiles])
@pytest.mark.parametrize("size", [(50, 70), (200, 97), (129, 300), (96, 96)])
def test_a_network_that_looks_near_by_has_the_whole_images_output(way, size):
    network = local(reach=6)
    with torch.no_grad():
        assert torch.allclose(way(network, image(*size)), network(image(*size)), atol=1e-6)


def test_a_network_that_pools_has_another_output_in_pieces():
    x = image(300, 300) * torch.linspace(0, 1, 300)
    for way in (chop, tiles):
        assert (way(Pooled(), x) - Pooled()(x)).abs().max() > 0.05


def test_the_ensemble_is_the_mean_over_the_eight_symmetries():
    network, x = local(), image(13, 21)
    outputs = []
    with torch.no_grad():
        for transpose in (False, True):
            for flips in ((), (-1,), (-2,), (-2, -1)):
                turned = x.transpose(-2, -1) if transpose else x
                y = network(turned.flip(flips)).flip(flips)
                outputs.append((y.transpose(-2, -1) if transpose else y).numpy())
        found = forward(network, x, "whole", "x8")
    np.testing.assert_allclose(found.numpy(), np.mean(outputs, axis=0), atol=1e-6)


def test_symmetries_and_pieces_go_together():
    network, x = local(), image(50, 44)
    with torch.no_grad():
        whole, pieces = (forward(network, x, how, "x8") for how in ("whole", "chop"))
    assert torch.allclose(whole, pieces, atol=1e-6)


@pytest.fixture(scope="module")
def anywhere():
    torch.manual_seed(0)
    return Anywhere().eval()


@pytest.mark.parametrize("way", ["chop", "tiles"])
@pytest.mark.parametrize(("size", "scale"), [((130, 210), 2.7), ((100, 260), 1.25), ((97, 120), 3.0)])
def test_pieces_of_a_network_of_any_scale_make_up_the_whole_where_edges_of_pixels_meet(anywhere, way, size, scale):
    x, wanted = image(*size), tuple(round(side * scale) for side in size)
    with torch.no_grad():
        found = forward(anywhere, x, way, "none", wanted)
        assert found.shape[2:] == wanted
        assert (found - anywhere(x, wanted)).abs().max() < 1e-5


def test_where_no_edges_meet_a_scale_nearby_is_taken_and_no_seam_is_seen(anywhere):
    x = image(427, 200)
    with torch.no_grad():
        found = forward(anywhere, x, "tiles", "none", (1067, 500))  # no two edges of rows meet
        nearby = anywhere(nn.functional.pad(x, (0, 0, 0, 1), mode="replicate"), (1070, 500))
    assert found.shape[2:] == (1067, 500)
    assert (found[..., :950, :] - nearby[..., :950, :]).abs().max() < 1e-5


def test_the_symmetries_of_a_network_of_any_scale_are_asked_for_the_turned_size(anywhere):
    x = image(13, 21)
    with torch.no_grad():
        found = forward(anywhere, x, "whole", "x8", (30, 55))
        turned = forward(anywhere, x.transpose(-2, -1), "whole", "x8", (55, 30))
    assert found.shape == (1, 3, 30, 55)
    assert torch.allclose(found, turned.transpose(-2, -1), atol=1e-6)


def test_the_median_of_the_symmetries_is_that_of_the_eight_turned_images():
    lr = torch.rand(1, 3, 5, 7)

    def uneven(x, size=None):
        return nn.functional.interpolate(x, scale_factor=2) * torch.linspace(0, 1, 2 * x.shape[-1]) ** 2

    outputs = []
    for mirrored in (False, True):
        for turns in range(4):
            x = torch.rot90(lr.flip(3) if mirrored else lr, turns, (2, 3))
            y = torch.rot90(uneven(x), -turns, (2, 3))
            outputs.append(y.flip(3) if mirrored else y)
    expected = np.median(torch.stack(outputs).numpy(), axis=0)
    assert np.allclose(forward(uneven, lr, "whole", "median"), expected, atol=1e-6)
    assert not np.allclose(forward(uneven, lr, "whole", "x8"), expected, atol=1e-3)
