"""Checkpoints read back into a trainer, and which of them are kept."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn

from srkit.engine.learning.objective import WeightedLoss
from srkit.engine.learning.trainer import Duty, Options, Trainer
from srkit.engine.running import checkpoint

CPU = torch.device("cpu")


class Made:
    def __getitem__(self, step):
        hr = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        return hr * 0.5, hr


def trainer(optimizer=torch.optim.Adam, steps=8):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))
    network = network.to(memory_format=torch.channels_last)
    losses = [WeightedLoss("l1", nn.L1Loss(), 1.0, False)]
    options = Options(steps=steps, seed=0)
    return Trainer(network, losses, optimizer(network.parameters(), lr=1e-2), lambda step: 1.0, CPU, options)


def saved(directory, made, step):
    made.done = step
    return checkpoint.save(directory, made, {})


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.Adam,
        functools.partial(torch.optim.Adam, fused=True),
        functools.partial(torch.optim.SGD, momentum=0.9, fused=True),
    ],
)
def test_a_continued_run_of_channels_last_ends_with_the_same_bits_whatever_kernel_updates_it(tmp_path, optimizer):
    straight = trainer(optimizer)
    save = Duty(4, lambda: straight.done == 4 and checkpoint.save(tmp_path, straight, {}))
    straight.fit(Made(), [save], lambda: False)
    continued = trainer(optimizer)
    checkpoint.restore(checkpoint.newest(tmp_path)[1], continued)
    continued.fit(Made(), [], lambda: False)
    for one, other in zip(straight.network.parameters(), continued.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [torch.optim.Adam, functools.partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize(("before", "after"), [(None, True), (True, None)])
def test_which_kernel_updates_is_the_new_optimizers_choice(tmp_path, kind, before, after):
    made = trainer(functools.partial(kind, fused=before), steps=2)
    made.fit(Made(), [], lambda: False)
    checkpoint.save(tmp_path, made, {})
    continued = trainer(functools.partial(kind, fused=after), steps=4)
    checkpoint.restore(checkpoint.newest(tmp_path)[1], continued)
    continued.fit(Made(), [], lambda: False)
    assert [group["fused"] for group in continued.optimizer.param_groups] == [after]
    assert math.isfinite(continued.read_losses()["loss"])


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    made = trainer()
    for step in (1, 2, 3, 4):
        saved(tmp_path, made, step)
    checkpoint.prune(tmp_path, 2, 4, 1)
    assert names(tmp_path) == ["step_00000001", "step_00000003", "step_00000004"]


def test_a_damaged_checkpoint_that_the_run_went_back_behind_takes_no_whole_ones_place(tmp_path):
    made = trainer()
    for step in (50, 100):
        saved(tmp_path, made, step)
    (tmp_path / "step_00000100/weights.safetensors").write_bytes(b"cut")
    assert checkpoint.newest(tmp_path)[0] == tmp_path / "step_00000050"
    saved(tmp_path, made, 70)
    checkpoint.prune(tmp_path, 1, 70, None)
    assert names(tmp_path) == ["step_00000070", "step_00000100"]
    assert checkpoint.newest(tmp_path)[0] == tmp_path / "step_00000070"
