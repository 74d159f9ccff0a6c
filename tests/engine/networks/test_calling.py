"""Networks called with what they declare, and the scales that they serve."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from srkit.engine.networks.calling import enlarge, nearest_to_whole, needs_size, scaled, scales_of, takes_size
from tests.anywhere import Anywhere


class Doubled(nn.Module):
    """Gives x4, and x2 where that is the size asked for."""

    def forward(self, x, size=None):
        whole = size is None or size[0] == 4 * x.shape[2]
        return nn.functional.interpolate(x, scale_factor=4 if whole else 2), {"x2": x}


class Fixed(nn.Module):
    def forward(self, x):
        return x * 2


def test_the_size_is_given_where_forward_declares_it_and_sr_alone_comes_out():
    x = torch.rand(2, 3, 5, 7)
    assert enlarge(Anywhere(), x, (12, 9)).shape == (2, 3, 12, 9)
    assert enlarge(Doubled(), x, (10, 14)).shape == (2, 3, 10, 14)
    assert enlarge(Doubled(), x, None).shape == (2, 3, 20, 28)
    assert torch.equal(enlarge(Fixed(), x, (50, 70)), x * 2)
    assert [takes_size(network) for network in (Anywhere(), Doubled(), Fixed())] == [True, True, False]
    assert [needs_size(network) for network in (Anywhere(), Doubled(), Fixed())] == [True, False, False]


def test_sides_are_enlarged_to_the_nearest_pixel_and_halves_up():
    assert [scaled(side, 2.5) for side in (1, 2, 3, 5)] == [3, 5, 8, 13]
    assert [scaled(side, 4) for side in (0, 1, 17)] == [0, 4, 68]
    assert scaled(48, 2.7) == 130


def test_a_side_that_becomes_whole_pixels_goes_before_nearer_ones():
    assert nearest_to_whole(range(11, 30), 2.7) == 20
    assert nearest_to_whole(range(11, 30), 3.0) == 11
    assert nearest_to_whole(range(7, 0, -1), 1.5) == 6


@pytest.mark.parametrize(
    ("network", "facts", "scale", "fault"),
    [
        (Fixed(), {}, 2, ""),
        (Fixed(), {"scales": (2, 3)}, 3, "has scale 2, not 3"),
        (Fixed(), {}, 2.5, "has scale 2, not 2.5"),
        (Anywhere(), {}, 30.5, ""),
        (Anywhere(), {}, 0.5, "takes scales from 1, not 0.5"),
        (Anywhere(), {"scale_range": (1.5, 4.0)}, 4.5, "takes scales from 1.5 to 4, not 4.5"),
        (Anywhere(), {"scales": (2, 4)}, 3, "has scales 2, 4, not 3"),
        (Doubled(), {"scales": (2, 4)}, 8, "has scales 2, 4, not 8"),
        (Doubled(), {"scales": (2, 4)}, 2, ""),
    ],
)
def test_a_network_says_which_scales_it_serves(network, facts, scale, fault):
    assert scales_of(network, facts, 2).fault(scale) == fault
