"""Networks that want sizes of their own, given images of any size."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import srkit
from srkit.cli import main
from srkit.engine.networks.calling import takes_size
from srkit.engine.networks.padding import fit, padding_of
from srkit.errors import RecipeError
from srkit.plugin.discovery import discover
from srkit.recipe.reading import read_recipe
from tests.conftest import plugin


class Halves(nn.Module):
    """Takes even sides of 6 pixels at least: its output is the input, enlarged, from two grids."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        assert x.shape[2] % 2 == 0
        assert x.shape[3] % 2 == 0
        assert min(x.shape[2:]) >= 6
        return nn.functional.interpolate(x * self.weight, scale_factor=2, mode="nearest")


def component(**facts):
    return srkit.Component("architecture", "halves", "here:Halves", facts=facts)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 6), (7, 9), (8, 8), (13, 6)])
def test_lr_of_any_size_goes_in_and_sr_comes_out_without_what_was_padded(size):
    network = fit(Halves(), component(min_size=6, multiple_of=2))
    x = torch.rand(2, 3, *size)
    assert torch.equal(network(x), nn.functional.interpolate(x, scale_factor=2, mode="nearest"))


def test_padding_mirrors_the_image():
    class Seen(nn.Module):
        def forward(self, x):
            self.x = x
            return x

    network = fit(Seen(), component(multiple_of=4))
    network(torch.tensor([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]]))
    assert network.x[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 5, 5, 5]  # of one row there is no mirror image
    network(torch.arange(1.0, 7).expand(1, 1, 2, 6))
    assert network.x.shape[2:] == (4, 8)
    assert network.x[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 5, 4]


def test_a_network_without_wishes_is_left_as_it_is():
    assert type(fit(Halves(), component())) is Halves


def test_the_names_of_weights_stay_and_copies_fit_too():
    network = fit(Halves(), component(multiple_of=2, min_size=6))
    assert list(network.state_dict()) == ["weight"]
    assert isinstance(network, Halves)
    assert copy.deepcopy(network)(torch.rand(1, 3, 5, 7)).shape == (1, 3, 10, 14)


NET = "import torch\nfrom torch import nn\n" + plugin(
    '"architecture", "eights", f"{__name__}:Eights", facts={"min_size": 16, "multiple_of": 8}'
)
NET += """
class Eights(nn.Module):
    def __init__(self, *, scale: int):
        super().__init__()
        self.body = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.scale = scale

    def forward(self, x):
        if x.shape[2] % 8 or x.shape[3] % 8 or min(x.shape[2:]) < 16:
            raise RuntimeError(f"not {list(x.shape)}")
        return nn.functional.pixel_shuffle(self.body(x), self.scale)
"""


def test_such_a_network_is_trained_scored_and_used_on_images_of_any_size(tiny, tmp_path, capsys):
    (tmp_path / "eights.py").write_text(NET)
    change = ["--set", "architecture.type=eights", "--set", "data.patch=16"]
    for command in (
        ["check", "tiny.toml", *change],
        ["run", "tiny.toml", *change],
        ["eval", "runs/tiny", "--data", "photos"],
        ["upscale", "runs/tiny", "photos/p2.png", "-o", "out.png"],
        ["show", "eights"],
    ):
        assert main(["-p", "eights.py", *command]) == 0, capsys.readouterr().err
    assert srkit.read_image("out.png").shape == (80, 82, 3)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (8, "'patch' is 8, and architecture 'eights' takes 16 pixels at least"),
        (20, "'patch' is 20, and architecture 'eights' takes multiples of 8"),
    ],
)
def test_a_patch_that_the_network_does_not_take_is_a_problem_of_the_recipe(tiny, tmp_path, patch, message):
    (tmp_path / "eights.py").write_text(NET)
    change = ["architecture.type=eights", f"data.patch={patch}"]
    with pytest.raises(RecipeError) as error:
        read_recipe(tiny, discover(["eights.py"]), overrides=change)
    assert str(error.value) == f"--set data.patch={patch}: {message}"


@pytest.mark.parametrize(
    ("facts", "sizes", "told"),
    [
        ({}, [(7, 9)], ""),
        ({"multiple_of": 8}, [(16, 24), (8, 8)], ""),
        ({"multiple_of": 8}, [(16, 24), (8, 9)], "multiples of 8"),
        ({"min_size": 15}, [(16, 24)], ""),
        ({"min_size": 15}, [(16, 14)], "15 pixels at least"),
        ({"min_size": 16, "multiple_of": 8}, [(8, 24)], "multiples of 8, 16 pixels at least"),
        ({"min_size": 16, "multiple_of": 8}, [(17, 24)], "multiples of 8"),
    ],
)
def test_what_images_are_padded_to_is_known_without_looking_at_them(facts, sizes, told):
    network = fit(Halves(), component(**facts))
    assert padding_of(network, sizes) == told
    assert padding_of(copy.deepcopy(network), sizes) == told  # an average is a copy


def test_a_run_and_an_evaluation_say_how_lr_was_padded(tiny, tmp_path):
    text = plugin('"architecture", "halves", "halves_net:Halves", summary="Twice", facts={"multiple_of": 8}')
    net = (
        "import torch\nfrom torch import nn\n\nclass Halves(nn.Module):\n"
        "    def __init__(self, *, scale: int):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(1))\n\n    def forward(self, x):\n"
        "        return nn.functional.interpolate(x * self.weight, scale_factor=2, mode='nearest')\n"
    )
    (tmp_path / "halves_net.py").write_text(net)
    (tmp_path / "mine.py").write_text(text)
    registry = discover(["mine.py"])
    result = srkit.run("tiny.toml", set=["architecture={type='halves'}"], out="run", registry=registry)
    other = srkit.run("tiny.toml", out="other", registry=registry)
    assert result.tables[0]["protocol"] == other.tables[0]["protocol"] | {"padding": {"halves": "multiples of 8"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        network = registry.create("architecture", "halves", scale=2)
        padded = fit(network, registry.find("architecture", "halves").component)
        (table,) = srkit.evaluate({"mine": padded}, "photos", registry=registry)
    assert table["protocol"]["padding"] == {"mine": "multiples of 8"}


class Sized(nn.Module):
    """Takes multiples of 8, and enlarges to any size; tells more in training."""

    def forward(self, x, size):
        assert x.shape[2] % 8 == 0
        assert x.shape[3] % 8 == 0
        self.seen = (tuple(x.shape[2:]), size)
        sr = nn.functional.interpolate(x, size, mode="nearest")
        return (sr, {"lr": x}) if self.training else sr


def test_the_size_of_sr_is_passed_on_and_grows_with_what_is_padded():
    network = fit(Sized(), component(multiple_of=8)).eval()
    assert takes_size(network)
    x = torch.rand(1, 3, 13, 16)
    sr = network(x, size=(26, 48))
    assert network.seen == ((16, 16), (32, 48))
    assert torch.equal(sr[..., ::3], nn.functional.interpolate(x, (26, 16), mode="nearest"))
    network(x, size=(39, 40))
    assert network.seen == ((16, 16), (48, 40))


def test_padded_lr_has_sides_at_which_the_pixels_of_sr_lie_as_without_padding():
    network = fit(Sized(), component(multiple_of=8)).eval()
    assert network(torch.rand(1, 3, 10, 10), size=(27, 27)).shape == (1, 3, 27, 27)
    assert network.seen == ((40, 40), (108, 108))  # 16 pixels would become 43.2


def test_what_a_network_tells_beside_sr_in_training_stays_beside_it():
    network = fit(Sized(), component(multiple_of=8)).train()
    sr, extras = network(torch.rand(1, 3, 12, 16), size=(24, 32))
    assert (sr.shape, extras["lr"].shape) == ((1, 3, 24, 32), (1, 3, 16, 16))
