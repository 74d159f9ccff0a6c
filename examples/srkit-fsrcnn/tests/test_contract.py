import pytest
import torch

import srkit
from srkit.testing import parametrize_components


@parametrize_components("fsrcnn")
def test_contract(check):
    check()


# Convolutions and deconvolution: inputs * outputs * kernel^2, 24,336 in all, of which RGB makes 3 * 25 * 56 and
# 56 * 3 * 81; then a bias for each channel that comes out, and a slope for each but the last three.
WEIGHTS = 3 * 56 * 25 + 56 * 12 * 1 + 4 * (12 * 12 * 9) + 12 * 56 * 1 + 56 * 3 * 81
SLOPES = 56 + 12 + 4 * 12 + 56
BIASES = SLOPES + 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_has_as_many_parameters_as_the_paper_gives_it_on_rgb(scale):
    network = srkit.create("architecture", "fsrcnn", scale=scale)
    assert sum(parameter.numel() for parameter in network.parameters()) == WEIGHTS + BIASES + SLOPES == 24_683


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_deconvolution_lies_over_the_middle_of_what_becomes_of_a_pixel(scale):
    deconvolution = srkit.create("architecture", "fsrcnn", scale=scale).deconvolution
    deconvolution.weight.data.fill_(1)
    features = torch.zeros(1, 56, 7, 9)
    features[..., 3, 4] = 1  # becomes the rows from 3 * scale and the columns from 4 * scale on
    sr = deconvolution(features)
    assert sr.shape == (1, 3, 7 * scale, 9 * scale)
    rows, columns = (sr[0, 0].detach().abs().sum(axis).nonzero().flatten() for axis in (1, 0))
    assert len(rows) == len(columns) == 9
    assert abs(rows.float().mean() - (3.5 * scale - 0.5)) <= 0.5
    assert abs(columns.float().mean() - (4.5 * scale - 0.5)) <= 0.5


def test_a_scale_that_the_paper_has_not_is_refused():
    with pytest.raises(ValueError, match=r"^fsrcnn has scales 2, 3 and 4, not 8$"):
        srkit.create("architecture", "fsrcnn", scale=8)
