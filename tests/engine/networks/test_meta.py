"""Networks made without memory, whatever their constructors look at."""

from __future__ import annotations

import torch
from torch import nn

from srkit.cli import main
from srkit.engine.networks.meta import sketch
from tests.conftest import plugin


class Rates(nn.Module):
    """As the transformers of the field do it: a list of rates read from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 4)]
        self.body = nn.Conv2d(3, 3, 3)


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3)
        self.largest = self.body.weight.max().item()


def test_a_network_that_reads_its_rates_has_no_memory_for_its_weights():
    network = sketch(Rates)
    assert network is not None
    assert network.body.weight.is_meta
    assert network.rates[3] > network.rates[2] > 0


def test_a_network_that_reads_its_weights_cannot_be_sketched():
    assert sketch(Reads) is None


def test_a_sketch_leaves_chance_alone():
    torch.manual_seed(1)
    sketch(Rates)
    sketch(Reads)
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3))


def test_a_network_that_reads_its_weights_is_checked_trained_and_shown(tiny, tmp_path, capsys):
    (tmp_path / "reads.py").write_text(
        "import torch\nfrom torch import nn\n"
        + plugin('"architecture", "reads", f"{__name__}:Reads"')
        + "\nclass Reads(nn.Module):\n"
        "    def __init__(self, *, scale: int):\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, 3 * scale**2, 3, padding=1)\n"
        "        self.largest = self.body.weight.max().item()\n"
        "    def forward(self, x):\n"
        "        return nn.functional.pixel_shuffle(self.body(x), 2)\n"
    )
    for command in (["check", "tiny.toml"], ["run", "tiny.toml"], ["show", "reads"]):
        change = ["--set", "architecture.type=reads"] if command[0] != "show" else []
        assert main(["-p", "reads.py", *command, *change]) == 0, capsys.readouterr().err
