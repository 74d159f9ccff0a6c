"""LapSRN, LIIF, Meta-SR and ZSSR: where their pixels lie, against numpy; sizes, points, tiles; settings."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from srkit_networks.lapsrn import Doubling, LapSRN
from srkit_networks.liif import LIIF, between
from srkit_networks.metasr import MetaSR
from srkit_networks.zssr import ZSSR
from torch import nn

from srkit.plugin.discovery import installed

SMALL = {"features": 6, "blocks": 1}
SIZES = [(10, 14), (15, 21), (13, 20), (5, 7), (17, 9)]  # of LR of 5x7: x2, x3, of no whole scale, x1, not alike


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def strong(network, seed=1):
    """Give a network weights that show: first ones are nearly the same everywhere."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network.double().eval()


def relu(x):
    return np.maximum(x, 0)


def liif_by_hand(network, lr, size):
    """LIIF as its paper has it, a pixel at a time, in numpy."""
    features = network.encoder.features(lr)[0].detach().numpy()
    channels, height, width = features.shape
    framed = np.pad(features, ((0, 0), (1, 1), (1, 1)))
    layers = [layer for layer in network.imnet.layers if isinstance(layer, nn.Linear)]
    weights = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]
    out = np.zeros((3, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = (i + 0.5) * height / size[0] - 0.5, (j + 0.5) * width / size[1] - 0.5
            colors, areas = {}, {}
            for down in (0, 1):
                for right in (0, 1):
                    row, column = int(np.floor(y)) + down, int(np.floor(x)) + right
                    areas[down, right] = abs(y - row) * abs(x - column)
                    row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
                    around = framed[:, row : row + 3, column : column + 3].reshape(channels * 9)
                    # in coordinates of -1..1 over the image, times its size in pixels
                    seen = [*around, 2 * (y - row), 2 * (x - column), 2 * height / size[0], 2 * width / size[1]]
                    value = np.array(seen)
                    for weight, bias in weights[:-1]:
                        value = relu(weight @ value + bias)
                    colors[down, right] = weights[-1][0] @ value + weights[-1][1]
            for (down, right), color in colors.items():
                out[:, i, j] += color * areas[1 - down, 1 - right] / sum(areas.values())
    return out / 2 + 0.5


def metasr_by_hand(network, lr, size):
    """Meta-SR as its paper has it, a pixel at a time, in numpy."""
    features = network.trunk.features(lr)[0].detach().numpy()
    _, height, width = features.shape
    framed = np.pad(features, ((0, 0), (1, 1), (1, 1)))
    first, _, second = network.predict
    out = np.zeros((3, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = i * height / size[0], j * width / size[1]
            row, column = i * height // size[0], j * width // size[1]
            vector = np.array([y - row, x - column, (height / size[0] + width / size[1]) / 2])
            hidden = relu(first.weight.detach().numpy() @ vector + first.bias.detach().numpy())
            kernel = (second.weight.detach().numpy() @ hidden + second.bias.detach().numpy()).reshape(3, 3, -1, 3)
            around = framed[:, row : row + 3, column : column + 3]
            out[:, i, j] = np.einsum("yxck,cyx->k", kernel, around)
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("cls", "by_hand"), [(LIIF, liif_by_hand), (MetaSR, metasr_by_hand)])
def test_each_pixel_is_what_numpy_makes_of_the_features_around_it(cls, by_hand, size):
    small = {"hidden": (8, 8)} if cls is LIIF else {"hidden": 8}
    network = strong(cls(scale=2, **SMALL, **small))
    lr = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        sr = network(lr, size)
    assert sr.shape == (2, 3, *size)
    np.testing.assert_allclose(sr[1], by_hand(network, lr[1:], size), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", [LIIF(scale=2, **SMALL), MetaSR(scale=2, **SMALL)])
@pytest.mark.parametrize("training", [False, True])
def test_sampled_points_have_the_colours_of_the_whole(network, training):
    network = strong(network).train(training)
    lr = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    points = torch.randint(0, 13 * 20, (2, 40))
    with torch.no_grad():
        whole, sampled = network(lr, (13, 20)), network(lr, size=(13, 20), points=points)
    assert sampled.shape == (2, 3, 40, 1)
    expected = whole.flatten(2).gather(2, points[:, None].expand(-1, 3, -1))[..., None]
    torch.testing.assert_close(sampled, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", [LIIF(scale=2, **SMALL), MetaSR(scale=2, **SMALL)])
def test_pixels_may_be_computed_a_few_at_a_time(network, monkeypatch):
    network = strong(network)
    lr = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        whole = network(lr, (13, 20))
        monkeypatch.setattr(network, "MOST", 15)  # 7 of each image
        torch.testing.assert_close(network(lr, (13, 20)), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("network", [LIIF(scale=2, **SMALL), MetaSR(scale=2, **SMALL), ZSSR(scale=2, features=6)])
def test_a_tile_at_two_and_a_half_is_the_window_of_the_whole(network):
    network = strong(network)
    lr = torch.rand(1, 3, 8, 64, dtype=torch.float64)
    with torch.no_grad():
        whole, tile = network(lr, (20, 160)), network(lr[..., 24:], (20, 100))
    # 16 pixels of LR from the cut, further than these small networks look
    torch.testing.assert_close(tile[..., 40:], whole[..., 100:], rtol=1e-9, atol=1e-12)


def test_of_no_size_is_made_what_the_scale_says():
    lr = torch.rand(1, 3, 4, 5)
    for cls in (LIIF, MetaSR, ZSSR):
        for scale in (1, 3, 7, 2.5):
            network = cls(scale=scale, features=4).eval()
            with torch.no_grad():
                assert network(lr).shape == (1, 3, 4 * scale, round(5 * scale))


def test_no_weight_depends_on_the_scale():
    for cls in (LIIF, MetaSR, ZSSR, LapSRN):
        small, large = (cls(scale=scale, features=4).state_dict() for scale in (2, 8))
        assert {name: value.shape for name, value in small.items()} == {
            name: value.shape for name, value in large.items()
        }


TRUNKS = {
    "edsr": {"features": 4, "blocks": 1},
    "rcan": {"features": 4, "groups": 1, "blocks": 1},
    "pan": {"features": 4, "blocks": 1},
    "a2n": {"features": 4, "blocks": 1},
    "srresnet": {"features": 4, "blocks": 1},
    "cbam": {"features": 4, "blocks": 1},
}


@pytest.mark.parametrize("cls", [LIIF, MetaSR])
@pytest.mark.parametrize("trunk", TRUNKS)
def test_any_network_with_features_is_a_trunk_and_all_that_is_left_of_it_learns(cls, trunk):
    registry = installed()
    name = {LIIF: "liif", MetaSR: "metasr"}[cls]
    inner = registry.create("architecture", trunk, scale=4, **TRUNKS[trunk])
    whole = parameters(inner)
    network = cls(scale=4, trunk=inner)
    assert 0 < parameters(inner) < whole  # without its tail
    network.train()(torch.rand(2, 3, 6, 7), size=(13, 16)).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    tileable = registry.find("architecture", trunk).component.facts["tileable"]
    component = registry.find("architecture", name).component
    assert component.facts_of(network)["tileable"] == tileable
    assert component.facts_of(cls(scale=4))["tileable"]


def test_a_trunk_keeps_its_statistics_and_its_seed():
    registry = installed()
    torch.manual_seed(1)
    trunk = registry.create("architecture", "srresnet", scale=2, **TRUNKS["srresnet"])
    chance = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in trunk.trunk.state_dict().items()}
    LIIF(scale=2, trunk=trunk)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.trunk.state_dict().items())
    assert all(parameter.grad is None for parameter in trunk.parameters())
    torch.set_rng_state(chance)
    first = LIIF(scale=2, trunk=registry.create("architecture", "pan", scale=2)).state_dict()
    torch.set_rng_state(chance)
    again = LIIF(scale=2, trunk=registry.create("architecture", "pan", scale=2)).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


@pytest.mark.parametrize(
    ("trunk", "settings", "message"),
    [
        ("srcnn", {}, "trunk must have a method features(lr); SRCNN has none"),
        (
            "srresnet",
            {"place": "before", "features": 4, "blocks": 1},
            "trunk must make features of LR's size, [n, c, 16, 16] of [n, 3, 16, 16], not [1, 4, 32, 32]",
        ),
    ],
)
def test_a_trunk_without_features_of_lrs_size_is_refused(trunk, settings, message):
    inner = installed().create("architecture", trunk, scale=2, **settings)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MetaSR(scale=2, trunk=inner)


def test_settings_of_the_default_trunk_beside_another_are_refused():
    inner = installed().create("architecture", "pan", scale=2)
    with pytest.raises(ValueError, match=r"^blocks is a setting of the default trunk; "):
        LIIF(scale=2, trunk=inner, blocks=3)


def test_the_pixel_before_and_the_way_from_it_are_exact():
    before, away = between(torch.arange(6), 2, 6, torch.float32)
    assert before.tolist() == [-1, 0, 0, 0, 1, 1]
    torch.testing.assert_close(away, torch.tensor([2 / 3, 0, 1 / 3, 2 / 3, 0, 1 / 3]))
    far = 3_000_000  # a float32 of this size has no thirds left
    assert torch.equal(between(torch.tensor([3 * far + 2]), 1, 3, torch.float32)[1], torch.tensor([1 / 3]))


def test_the_names_of_liif_are_those_of_its_authors_files():
    names = set(LIIF(scale=4, features=64, blocks=2).state_dict())
    assert {"encoder.head.0.weight", "encoder.body.0.body.0.weight", "encoder.body.2.bias"} <= names
    assert [name for name in LIIF(scale=4).state_dict() if name.startswith("imnet.")] == [
        f"imnet.layers.{layer}.{part}" for layer in (0, 2, 4, 6, 8) for part in ("weight", "bias")
    ]
    assert LIIF(scale=4).imnet.layers[0].weight.shape == (256, 64 * 9 + 4)


def test_the_sizes_are_those_of_the_papers():
    assert parameters(LIIF(scale=4)) == 1_567_299  # 1.22 M of the trunk, 0.35 M of the perceptron
    assert parameters(ZSSR(scale=2)) == 225_091  # 225 K
    assert parameters(LapSRN(scale=4)) == 253_747  # 222 K on luma
    assert parameters(LapSRN(scale=4, depth=10, recursions=1, weights="separate")) == 874_982  # 812 K on luma


def test_zssr_is_bicubic_and_what_is_added_to_it():
    network = ZSSR(scale=2, features=4).double().eval()
    nn.init.zeros_(network.body[-1].weight)
    nn.init.zeros_(network.body[-1].bias)
    lr = torch.rand(1, 3, 6, 9, dtype=torch.float64)
    bicubic = installed().create("architecture", "bicubic", scale=3)
    with torch.no_grad():
        # Away from the edge, where MATLAB mirrors the image, it is MATLAB's.
        torch.testing.assert_close(network(lr, (18, 27))[..., 6:-6, 6:-6], bicubic(lr)[..., 6:-6, 6:-6])


@pytest.mark.parametrize("mixing", [True, False])
def test_a_doubling_starts_as_bilinear(mixing):
    x = torch.rand(2, 3, 4, 5)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Doubling(3, mixing=mixing)(x), expected)


@pytest.mark.parametrize("weights", ["shared", "separate"])
def test_lapsrn_gives_its_lower_outputs_in_training_alone(weights):
    network = LapSRN(scale=8, features=4, depth=2, weights=weights)
    lr = torch.rand(2, 3, 3, 5)
    sr, lower = network.train()(lr)
    assert {name: output.shape[-2:] for name, output in lower.items()} == {"x2": (6, 10), "x4": (12, 20)}
    assert sr.shape == (2, 3, 24, 40)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(lr), sr)
        torch.testing.assert_close(network(lr, (6, 10)), lower["x2"])
        torch.testing.assert_close(network(lr, size=(12, 20)), lower["x4"])
    assert LapSRN(scale=2, features=4)(lr)[1] == {}


def test_shared_weights_serve_every_level_and_separate_ones_their_own():
    lr = torch.rand(1, 3, 3, 5)
    assert LapSRN(scale=2, features=4).eval()(lr, (24, 40)).shape == (1, 3, 24, 40)
    separate = LapSRN(scale=4, features=4, weights="separate").eval()
    for size in ((24, 40), (12, 10), (9, 15)):
        with pytest.raises(ValueError, match=re.escape(f"lapsrn has x2, x4, and of 3x5 none of them makes {size[0]}x")):
            separate(lr, size)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lapsrn", {"scale": 3}, "lapsrn has scales 2, 4 and 8, not 3"),
        ("lapsrn", {"weights": "own"}, 'weights must be "shared" or "separate", not "own"'),
        ("lapsrn", {"depth": 0}, "depth must be at least 1, not 0"),
        ("liif", {"scale": 0}, "scale must be at least 1, not 0"),
        ("liif", {"features": 0}, "features must be at least 1, not 0"),
        ("liif", {"hidden": ()}, "hidden must have a width at least"),
        ("liif", {"hidden": (8, 0)}, "hidden must be at least 1, not 0"),
        ("metasr", {"hidden": 0}, "hidden must be at least 1, not 0"),
        ("metasr", {"res_scale": 0.0}, "res_scale must be above 0, not 0"),
        ("zssr", {"layers": 1}, "layers must be at least 2, not 1"),
    ],
)
def test_settings_that_make_no_network_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        installed().create("architecture", name, **{"scale": 2, **settings})
