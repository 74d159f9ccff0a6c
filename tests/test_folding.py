"""The layers for forms for inference: each computes what the layers that it replaces compute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srkit.folding import convolution, copied, frozen, leaky_, nearest, pointwise, subpixel, times


def conv(inputs, outputs, kernel=3, *, bias=True):
    torch.manual_seed(inputs + outputs)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias).double()


IMAGE = torch.rand(2, 4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def same(made, wanted):
    assert made.dtype == wanted.dtype
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_nearest_is_upsampling_and_a_convolution(factor, bias):
    layer = conv(4, 6, bias=bias)
    same(nearest(layer, factor)(IMAGE), layer(F.interpolate(IMAGE, scale_factor=factor, mode="nearest")))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_subpixel_is_a_convolution_and_a_pixel_shuffle(factor, bias):
    layer = conv(4, 3 * factor**2, bias=bias)
    same(subpixel(layer, factor)(IMAGE), F.pixel_shuffle(layer(IMAGE), factor))


def test_times_multiplies_weight_and_bias_or_the_weight_alone():
    layer = conv(4, 4)
    same(times(layer, 3)(IMAGE), layer(IMAGE) * 3)
    same(times(layer, 3, bias=False)(IMAGE), layer(IMAGE * 3))
    bare = conv(4, 4, bias=False)
    same(times(bare, 3)(IMAGE), bare(IMAGE) * 3)


def test_pointwise_is_a_1x1_convolution_also_of_a_slice():
    layer = conv(2, 5, kernel=1)
    same(pointwise(layer, IMAGE[:, 1:3]), layer(IMAGE[:, 1:3]))


def test_convolution_keeps_height_and_width_in_the_dtype_of_another():
    made = convolution(torch.rand(3, 4, 5, 5), None, conv(1, 1))
    assert made(IMAGE).shape == (2, 3, 5, 7)
    assert (made.weight.dtype, made.bias) == (torch.float64, None)


def test_leaky_writes_over_its_input():
    values = torch.tensor([-1.0, 2.0])
    assert leaky_(values) is values
    assert values.tolist() == [pytest.approx(-0.2), 2]


def test_a_copy_is_frozen_and_its_network_is_as_it_was():
    network = conv(4, 4).train()
    copy = copied(network)
    assert (network.training, network.weight.requires_grad) == (True, True)
    assert (copy.training, copy.weight.requires_grad) == (False, False)
    assert copy.weight.data_ptr() != network.weight.data_ptr()
    assert frozen(network) is network
