"""Which parts of a network are compiled, and that they compute the same."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import nn

import srkit
from srkit.engine.learning.compiling import compiled, plain, repeated_blocks


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.GELU())

    def forward(self, x):
        return x + self.body(x)


class Group(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x):
        return self.blocks(x)


class Bare(nn.Module):
    """Has no parameters."""

    def forward(self, x):
        return x


class Repeating(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 3, 1), Block(), Bare(), Block(), Bare(), Block(), nn.Conv2d(3, 3, 1))


def test_the_outermost_modules_of_a_repeated_class_are_the_blocks():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Group(), nn.Sequential(Group()), nn.Conv2d(3, 3, 1))
    assert repeated_blocks(network) == [network[1], network[2][0]]


def test_blocks_within_a_class_that_is_there_once_are_found():
    network = nn.Sequential(Group(), Bare(), Bare())
    assert repeated_blocks(network) == list(network[0].blocks)


def test_layers_of_torch_and_modules_without_parameters_are_no_blocks():
    assert repeated_blocks(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), Bare(), Bare(), Block())) == []


@pytest.mark.parametrize(("name", "count"), [("a2n", 16), ("edsr", 16), ("pan", 16), ("rcan", 10)])
def test_the_shipped_networks_have_the_blocks_of_their_papers(name, count):
    with torch.device("meta"):
        assert len(repeated_blocks(srkit.create("architecture", name, scale=2))) == count


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, in its own modules
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch looks at a block's input, and silences it
def test_repeated_blocks_are_compiled_once_and_not_at_all_where_they_are_to_be_plain():
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    network = Repeating()
    other = copy.deepcopy(network)
    call = compiled(network)
    assert call is network
    image = torch.rand(1, 3, 16, 16)
    counters.clear()
    call(image).square().mean().backward()
    other(image).square().mean().backward()
    assert counters["stats"]["unique_graphs"] == 1
    assert list(network.state_dict()) == list(other.state_dict())
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, other.get_parameter(name).grad)
    with plain():
        for side in (5, 9, 17):
            assert torch.equal(network(image[..., :side]), other(image[..., :side]))
    assert counters["stats"]["unique_graphs"] == 1
    assert copy.deepcopy(network)(image).shape == image.shape  # a copy, as of a moving average, is not compiled
    assert counters["stats"]["unique_graphs"] == 1
