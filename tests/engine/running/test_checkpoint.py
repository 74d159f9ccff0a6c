"""Checkpoints read back into a trainer, and which of them are kept."""

from __future__ import annotations

import functools
import math

import pytest
import safetensors.torch
import torch
from torch import nn

from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import PATIENCE, Diverged, Duty, Options, trainer_of
from srkit.engine.running import checkpoint
from srkit.errors import RunFailed
from tests.engine.later import Later

CPU = torch.device("cpu")


class Made:
    def __getitem__(self, step):
        hr = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        return Batch(hr * 0.5, hr)


def trainer(optimizer=torch.optim.Adam, steps=8):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))
    network = network.to(memory_format=torch.channels_last)
    losses = [Term("l1", nn.L1Loss(), 1.0, False)]
    options = Options(steps=steps, seed=0)
    return trainer_of(network, losses, optimizer(network.parameters(), lr=1e-2), lambda step: 1.0, CPU, options)


def test_a_checkpoint_that_comes_while_training_goes_on_is_that_of_its_step():
    made, batches = trainer(), Made()
    snapshots = checkpoint.Snapshots(Later())
    for step in range(3):
        made.step(batches[step])
        expected = checkpoint.contents(made, {"tables": []})
        whole = snapshots.take(made, {"tables": []})
        made.step(batches[step + 10])
        assert whole() == expected
        assert whole() == expected


def test_updates_that_were_not_finite_are_counted_on(tmp_path):
    straight = trainer()
    nan = torch.full((4, 3, 8, 8), math.nan)
    for _ in range(3):
        straight.step(Batch(nan, nan))
    saved(tmp_path, straight, 3)
    continued = trainer()
    checkpoint.restore(checkpoint.newest(tmp_path)[1], continued)
    for _ in range(PATIENCE - 4):
        continued.step(Batch(nan, nan))
    continued._refuse_divergence()
    continued.step(Batch(nan, nan))
    with pytest.raises(Diverged, match="for 10 updates in a row"):
        continued._refuse_divergence()


class Frozen(nn.Module):
    """L1 with a trainable weight, of features that are not trained."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.features = nn.Conv2d(3, 200, 3, bias=False).requires_grad_(False)
        nn.init.constant_(self.features.weight, value)
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, sr, hr):
        return self.weight * (self.features(sr - self.mean) - self.features(hr - self.mean)).abs().mean()


def with_frozen(value):
    made = trainer()
    loss = Frozen(value)
    optimizer = torch.optim.Adam([*made.network.parameters(), loss.weight], lr=1e-2)
    losses = [Term("frozen", loss, 1.0, False)]
    return trainer_of(
        made.network,
        losses,
        optimizer,
        lambda step: 1.0,
        CPU,
        Options(steps=8, seed=0),
    )


def test_frozen_parameters_of_a_loss_are_not_saved(tmp_path):
    straight = with_frozen(0.5)
    straight.step(Made()[0])
    path = saved(tmp_path, straight, 1)
    kept = safetensors.torch.load_file(path / "losses.safetensors")
    assert sorted(kept) == ["0.mean", "0.weight"]
    continued = with_frozen(0.5)
    checkpoint.restore(checkpoint.newest(tmp_path)[1], continued)
    assert continued.losses[0].weight == straight.losses[0].weight != 1
    assert torch.equal(continued.losses[0].features.weight, straight.losses[0].features.weight)


def test_a_run_does_not_go_on_with_other_frozen_parameters(tmp_path):
    straight = with_frozen(0.5)
    straight.step(Made()[0])
    saved(tmp_path, straight, 1)
    with pytest.raises(RunFailed) as error:
        checkpoint.restore(checkpoint.newest(tmp_path)[1], with_frozen(0.25))
    assert str(error.value) == (
        "a loss has other frozen parameters than this run began with: its file of weights has changed; restore that, "
        "or use --restart to begin anew, or --out DIR for another place"
    )


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
    assert [group["fused"] for group in continued.learner.optimizer.param_groups] == [after]
    assert math.isfinite(continued.read_losses()["loss"])


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    made = trainer()
    for step in (1, 2, 3, 4):
        saved(tmp_path, made, step)
    checkpoint.prune(tmp_path, 2, 4, [1])
    assert names(tmp_path) == ["step_00000001", "step_00000003", "step_00000004"]


def test_a_damaged_checkpoint_that_the_run_went_back_behind_takes_no_whole_ones_place(tmp_path):
    made = trainer()
    for step in (50, 100):
        saved(tmp_path, made, step)
    (tmp_path / "step_00000100/weights.safetensors").write_bytes(b"cut")
    assert checkpoint.newest(tmp_path)[0] == tmp_path / "step_00000050"
    saved(tmp_path, made, 70)
    checkpoint.prune(tmp_path, 1, 70, [])
    assert names(tmp_path) == ["step_00000070", "step_00000100"]
    assert checkpoint.newest(tmp_path)[0] == tmp_path / "step_00000070"
