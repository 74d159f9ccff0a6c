"""How far networks see, measured, beside what follows from their layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import srkit
from srkit.engine.networks.halo import FARTHEST, measured_halo
from tests.anywhere import Anywhere


def convolutions(*kernels, scale=2):
    torch.manual_seed(0)
    layers = [layer for kernel in kernels for layer in (nn.Conv2d(6, 6, kernel, padding=kernel // 2), nn.ReLU())]
    tail = [nn.Conv2d(6, 3 * scale**2, 1), nn.PixelShuffle(scale)]
    return nn.Sequential(nn.Conv2d(3, 6, 1), *layers, *tail)


@pytest.mark.parametrize(("kernels", "halo"), [((1,), 0), ((3,), 1), ((3, 5, 7), 6), ((65,), 32), ((65, 9, 3), 37)])
def test_the_halo_of_convolutions_is_the_sum_of_their_reaches(kernels, halo):
    assert measured_halo(convolutions(*kernels)) == halo


@pytest.mark.parametrize(
    ("name", "settings", "halo"),
    [
        ("espcn", {}, 4),  # 5x5, 3x3, 3x3
        ("edsr", {"features": 8, "blocks": 3}, 10),  # head, six convolutions, body, two thirds of one and a half
        ("pan", {"features": 8, "blocks": 2}, 8),
    ],
)
def test_the_halo_of_networks_is_what_their_layers_say(name, settings, halo):
    torch.manual_seed(0)
    assert measured_halo(srkit.create("architecture", name, scale=2, **settings)) == halo


def test_what_sees_all_of_the_image_has_no_halo():
    class Pooled(nn.Module):
        def forward(self, x):
            return nn.functional.interpolate(x - x.mean((2, 3), keepdim=True), scale_factor=2)

    assert measured_halo(Pooled()) is None
    far = nn.Conv2d(3, 3, (1, 2 * FARTHEST + 3), padding=(0, FARTHEST + 1), groups=3)
    assert measured_halo(far) is None


def test_what_has_no_gradient_has_no_halo():
    class Steps(nn.Module):
        def forward(self, x):
            return nn.functional.interpolate((x > 0.5).float(), scale_factor=2)

    assert measured_halo(Steps()) is None


def test_the_halo_is_measured_once_and_changes_nothing():
    class Counted(nn.Sequential):
        calls = 0

        def forward(self, x):
            Counted.calls += 1
            return super().forward(x)

    network = Counted(convolutions(3)).train()
    before, state = {k: v.clone() for k, v in network.state_dict().items()}, torch.random.get_rng_state()
    assert measured_halo(network) == measured_halo(network) == 1
    assert Counted.calls == 2  # along rows, and along columns
    assert network.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_a_network_of_any_scale_is_looked_at_between_pixels():
    torch.manual_seed(0)
    assert measured_halo(Anywhere()) >= 1
