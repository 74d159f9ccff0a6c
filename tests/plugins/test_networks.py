"""SRCNN, ESPCN and EDSR: sizes, names, values and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from srkit_networks.edsr import EDSR
from srkit_networks.espcn import ESPCN
from srkit_networks.srcnn import SRCNN
from torch import nn

from srkit.plugin.discovery import installed

torch.set_num_threads(1)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["srcnn", "espcn", "edsr"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(7, 10), (1, 1)])
def test_the_output_is_the_input_enlarged(name: str, scale: int, size: tuple[int, int]) -> None:
    network = installed().create("architecture", name, scale=scale)
    with torch.inference_mode():
        out = network(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, size[0] * scale, size[1] * scale)


@pytest.mark.parametrize("network", [SRCNN, ESPCN])
@pytest.mark.parametrize("scale", [1, 5])
def test_srcnn_and_espcn_have_any_scale(network: Any, scale: int) -> None:
    with torch.inference_mode():
        assert network(scale=scale)(torch.rand(1, 3, 6, 5)).shape == (1, 3, 6 * scale, 5 * scale)


@pytest.mark.parametrize(
    ("name", "field"), [("srcnn", 6), ("espcn", 4), ("edsr", 10)]
)  # half of the receptive field in LR pixels, or more
def test_the_output_of_a_window_is_the_window_of_the_output(name: str, field: int) -> None:
    torch.manual_seed(0)
    settings = {"features": 8, "blocks": 2} if name == "edsr" else {}
    network = installed().create("architecture", name, scale=2, **settings)
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        whole, window = network(image), network(image[:, :, 4:, 4:])
    inner = 2 * field
    # float32, summed in another order where the size differs
    assert torch.allclose(whole[:, :, 8 + inner :, 8 + inner :], window[:, :, inner:, inner:], atol=1e-6)


def test_srcnn_on_luma_would_have_the_57k_parameters_of_the_tables() -> None:
    on_rgb = parameters(SRCNN(scale=2))
    first, last = 2 * 64 * 81, 2 * (32 * 25 + 1)  # what two more channels cost
    assert on_rgb == 69_251
    assert on_rgb - first - last == 57_281


def test_srcnn_with_the_kernels_9_1_5_is_the_small_one() -> None:
    assert parameters(SRCNN(scale=2, middle_kernel=1)) == 20_099


def test_srcnn_replicates_the_edge() -> None:
    network = SRCNN(scale=2)
    with torch.inference_mode():
        out = network(torch.full((1, 3, 8, 8), 0.5))
    assert torch.allclose(out, out[:, :, 8:9, 8:9].expand_as(out), atol=1e-6)


def test_srcnn_works_on_the_bicubic_enlargement() -> None:
    network = SRCNN(scale=3, channels=(3, 3), middle_kernel=1)
    for conv in (network.conv1, network.conv2, network.conv3):
        assert conv.bias is not None
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    image = 0.3 + 0.4 * torch.rand(1, 3, 6, 6)  # so that bicubic stays above 0, where ReLU is the identity
    with torch.inference_mode():
        assert torch.allclose(network(image), F.interpolate(image, scale_factor=3, mode="bicubic"))


def test_espcn_is_three_convolutions_and_a_shuffle() -> None:
    network = ESPCN(scale=3)
    image = torch.rand(1, 3, 6, 6)
    with torch.inference_mode():
        hidden = torch.tanh(F.conv2d(image, network.conv1.weight, network.conv1.bias, padding=2))
        hidden = torch.tanh(F.conv2d(hidden, network.conv2.weight, network.conv2.bias, padding=1))
        last = F.conv2d(hidden, network.conv3.weight, network.conv3.bias, padding=1)
        # channel c * 9 + 3 * y + x is the value at (y, x) of each 3x3 cell
        expected = last.view(1, 3, 3, 3, 6, 6).permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 18, 18)
        assert torch.equal(network(image), expected)


@pytest.mark.parametrize(("scale", "count"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571)])
def test_edsr_has_the_parameters_of_the_baseline(scale: int, count: int) -> None:
    assert parameters(EDSR(scale=scale)) == count


def test_the_large_edsr_has_the_43_million_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        assert parameters(EDSR(scale=4, features=256, blocks=32, res_scale=0.1)) == 43_089_923


@pytest.mark.parametrize(("scale", "tail"), [(2, ["tail.0.0"]), (3, ["tail.0.0"]), (4, ["tail.0.0", "tail.0.2"])])
def test_edsr_names_its_parameters_as_the_authors_do(scale: int, tail: list[str]) -> None:
    blocks = [f"body.{i}.body.{j}" for i in range(16) for j in (0, 2)]
    layers = ["head.0", *blocks, "body.16", *tail, "tail.1"]
    names = [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    assert list(EDSR(scale=scale).state_dict()) == names


def test_edsr_is_residual_twice() -> None:
    network = EDSR(scale=2, features=4, blocks=1, res_scale=0.5)
    image = torch.rand(1, 3, 5, 5)
    with torch.inference_mode():
        first = network.head(image)
        block, last = network.body
        expected = network.tail(last(first + 0.5 * block.get_submodule("body")(first)) + first)
        assert torch.allclose(network(image), expected, atol=1e-6)


def test_edsr_takes_the_mean_away_and_gives_it_back() -> None:
    network = EDSR(scale=2, features=4, blocks=1, img_range=255, mean=(0.4488, 0.4371, 0.4040))
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    image = torch.rand(1, 3, 5, 5)
    with torch.inference_mode():
        x = network.head((image - mean) * 255)
        expected = network.tail(network.body(x) + x) / 255 + mean
        assert torch.allclose(network(image), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (SRCNN, {"scale": 0}, "scale must be at least 1, not 0"),
        (SRCNN, {"scale": 2, "channels": (64, 0)}, "channels must be at least 1 each, not 64 and 0"),
        (SRCNN, {"scale": 2, "middle_kernel": 2}, "middle_kernel must be 1, 3 or 5, not 2"),
        (ESPCN, {"scale": -1}, "scale must be at least 1, not -1"),
        (ESPCN, {"scale": 2, "channels": (0, 32)}, "channels must be at least 1 each, not 0 and 32"),
        (EDSR, {"scale": 8}, "edsr has scales 2, 3 and 4, not 8"),
        (EDSR, {"scale": 2, "features": 0}, "features must be at least 1, not 0"),
        (EDSR, {"scale": 2, "blocks": 0}, "blocks must be at least 1, not 0"),
        (EDSR, {"scale": 2, "res_scale": 0.0}, "res_scale must be above 0, not 0"),
        (EDSR, {"scale": 2, "img_range": float("inf")}, "img_range must be above 0, not inf"),
        (EDSR, {"scale": 2, "mean": (0.4, 114.0, 0.4)}, "mean must be in 0..1, not 0.4, 114, 0.4"),
    ],
)
def test_a_bad_setting_is_refused(network: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        network(**settings)
    assert str(error.value) == message
