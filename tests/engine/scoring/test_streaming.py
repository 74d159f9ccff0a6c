"""Stages in strips, beside the whole image: with the networks that offer them, and published weights."""

from __future__ import annotations

import os

import pytest
import torch

import srkit
from srkit.engine.data.conversions import to_batch
from srkit.engine.scoring.streaming import bytes_for, count_strips, stages_of, streamed
from srkit.testing.samples import stirred
from tests.conftest import photograph

DATA = os.environ.get("SRKIT_TEST_DATA")
SMALL = {
    "a2n": {"features": 8, "blocks": 3},
    "edsr": {"features": 8, "blocks": 2},
    "pan": {"features": 8, "blocks": 2},
    "rcan": {"features": 8, "groups": 2, "blocks": 2, "reduction": 4},
}


def made(name, scale=2, **settings):
    """Return a network with strong weights: by chance, first weights are so small that a mean hardly shows."""
    torch.manual_seed(0)
    return stirred(srkit.create("architecture", name, scale=scale, **(settings or SMALL[name])), 1.5).eval()


def put_together(network, x, rows, *, in_file=False):
    height, width = x.shape[2:]
    stages = stages_of(network, (height, width))
    parts = streamed(stages, lambda r, c: x[..., r, c], height, width, rows=rows, in_file=in_file)
    made = list(parts)
    assert len(made) == count_strips(stages, height, rows)
    strips = [part for part in made if part is not None]
    found = torch.full((1, 3, *strips[0].size), torch.nan)
    for part in strips:
        found[..., part.rows, part.columns] = part.sr
    return found


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", SMALL)
def test_strips_of_stages_make_up_the_whole_image(name, scale):
    network = made(name, scale)
    x = torch.rand(1, 3, 41, 27) * torch.linspace(0.1, 1, 41)[:, None]
    with torch.no_grad():
        whole = network(x)
        for rows in (1, 8, 100):
            found = put_together(network, x, rows)
            assert (found - whole).abs().max() <= 2e-5 * whole.abs().max()


def test_features_in_a_file_are_those_in_memory():
    network, x = made("a2n"), torch.rand(1, 3, 30, 20)
    with torch.no_grad():
        assert torch.equal(put_together(network, x, 8, in_file=True), put_together(network, x, 8))


def test_features_of_the_whole_image_are_overwritten_in_place():
    network = made("a2n", features=8, blocks=3)
    maps, _ = bytes_for(stages_of(network, (64, 64)), torch.device("cpu"), torch.float32)
    assert maps == 8 * 4  # one map of eight channels in float32
    network = made("rcan")
    maps, _ = bytes_for(stages_of(network, (64, 64)), torch.device("cpu"), torch.float32)
    assert maps == (8 + 3 * 8) * 4  # a group's input, the last block's output and residual, where they are made of one


def test_an_image_that_a_network_would_pad_has_no_stages():
    class Even(type(made("edsr"))):
        multiple_of = 2

    component = srkit.Component("architecture", "even", f"{__name__}:Even", facts={"multiple_of": 2})
    from srkit.engine.networks.padding import fit

    network = fit(Even(scale=2, features=4, blocks=1), component)
    assert len(stages_of(network, (10, 12))) == 3
    assert stages_of(network, (10, 13)) == ()


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_published_weights_give_the_whole_images_grey_levels_in_strips():
    network = srkit.create("architecture", "a2n", scale=2, img_range=255.0)
    network.load_state_dict(torch.load(f"{DATA}/golden/weights/aan_x2.pt", weights_only=True, map_location="cpu"))
    x = to_batch(photograph(1, 96, 72), torch.device("cpu"))
    with torch.no_grad():
        whole, found = network.eval()(x), put_together(network, x, 16)
        window = network(x[..., :48, :])
    assert (found - whole).abs().max() * 255 < 1e-3
    assert (window[..., :24, :] - whole[..., :24, :]).abs().max() * 255 > 0.1  # which tiles would show
