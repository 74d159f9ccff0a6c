"""SRResNet, RCAN, CBAM and PAN: sizes, names, settings, and the scores of published weights."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest
import torch
from srkit_networks.layers import enlarging, factors
from srkit_networks.pan import PAN
from srkit_networks.rcan import RCAN
from srkit_networks.srresnet import CBAM, SRResNet
from torch import nn

import srkit
from srkit.engine.builder import Builder
from srkit.engine.weights.model import read_model
from srkit.plugin.discovery import installed

DATA = os.environ.get("SRKIT_TEST_DATA")
SMALL = {"features": 8, "blocks": 4}


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("upsampler", ["subpixel", "deconvolution", "interpolation"])
def test_each_upsampler_enlarges_by_each_factor(scale, upsampler):
    layers = nn.Sequential(*(layer for factor in factors(scale) for layer in enlarging(6, factor, upsampler)))
    assert layers(torch.rand(1, 6, 5, 7)).shape == (1, 6, 5 * scale, 7 * scale)


@pytest.mark.parametrize(
    ("scale", "place", "upsampler"),
    list(itertools.product([2, 3, 4, 8], ["after", "steps", "before"], ["subpixel", "deconvolution", "interpolation"])),
)
def test_features_are_enlarged_after_between_or_before_the_blocks(scale, place, upsampler):
    network = SRResNet(scale=scale, **SMALL, place=place, upsampler=upsampler).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)
    # All blocks are there wherever features are enlarged.
    assert sum(type(module).__name__ == "Block" for module in network.modules()) == SMALL["blocks"]


def test_in_steps_each_step_has_its_share_of_the_blocks():
    names = [type(module).__name__ for module in SRResNet(scale=4, features=8, blocks=7, place="steps").tail]
    assert [name for name in names if name in ("PixelShuffle", "Block")] == [
        "PixelShuffle", "Block", "Block", "PixelShuffle", "Block", "Block", "Block",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="blocks must be at least 3 for steps at scale 4, not 2"):
        SRResNet(scale=4, blocks=2, place="steps")


@pytest.mark.parametrize(("norm", "count"), [("batch", 9), ("none", 0)])
def test_normalisation_is_a_setting(norm, count):
    modules = SRResNet(scale=2, **SMALL, norm=norm).modules()
    assert sum(isinstance(module, nn.BatchNorm2d) for module in modules) == count


def test_the_sizes_are_those_of_the_papers():
    counts = {cls: sum(p.numel() for p in cls(scale=2).parameters()) for cls in (PAN, RCAN)}
    assert counts[PAN] == 261_403  # 261 K
    assert counts[RCAN] == 15_444_643  # 15.4 M
    srresnet = sum(parameter.numel() for parameter in SRResNet(scale=4).parameters())
    assert srresnet == 1_549_462  # about 1.5 M


def test_rcan_has_the_names_of_its_authors_files():
    names = set(RCAN(scale=4, groups=2, blocks=1).state_dict())
    assert {
        "head.0.weight",
        "body.0.body.0.body.2.bias",
        "body.0.body.0.body.3.conv_du.0.weight",
        "body.1.body.0.body.3.conv_du.2.bias",
        "body.1.body.1.weight",
        "body.2.bias",
        "tail.0.0.weight",
        "tail.0.2.weight",
        "tail.1.bias",
    } <= names


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("srresnet", {"scale": 5}, "srresnet has scales 1, 2, 3, 4 and 8, not 5"),
        ("srresnet", {"features": 0}, "features must be at least 1, not 0"),
        ("rcan", {"scale": 5}, "rcan has scales 2, 3, 4 and 8, not 5"),
        ("rcan", {"groups": 0}, "groups must be at least 1, not 0"),
        ("rcan", {"img_range": 0.0}, "img_range must be above 0, not 0"),
        ("rcan", {"mean": (0.0, 2.0, 0.0)}, "mean must be in 0..1, not 0, 2, 0"),
        ("pan", {"scale": 8}, "pan has scales 2, 3 and 4, not 8"),
        ("pan", {"features": 5}, "features must be even and at least 2, not 5"),
        ("pan", {"blocks": 0}, "blocks must be at least 1, not 0"),
    ],
)
def test_settings_that_make_no_network_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        installed().create("architecture", name, **{"scale": 2, **settings})


@pytest.mark.parametrize("network", [RCAN(scale=2, groups=1, **SMALL), CBAM(scale=2, **SMALL)])
def test_attention_over_channels_looks_at_the_whole_image(network):
    for parameter in network.parameters():  # attention of first weights is almost the same everywhere
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    lr = torch.rand(1, 3, 8, 64)
    other = torch.cat((lr[..., :56], 1 - lr[..., 56:]), dim=-1)  # far to the right
    with torch.no_grad():
        assert not torch.allclose(network(lr)[..., :16], network(other)[..., :16], rtol=1e-3)


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_the_authors_weights_of_pan_have_their_scores_on_set5():
    weights = Path(DATA, "golden/weights/pan_x2.pth")
    network = read_model(weights, Builder(installed()), architecture="pan", scale=2).network
    (table,) = srkit.evaluate({"pan": network}, Path(DATA, "data/Set5"))
    mean = table["rows"][0]["mean"]
    assert (mean["psnr_y"], mean["ssim_y"]) == pytest.approx((38.00067, 0.960488), abs=1e-4)
