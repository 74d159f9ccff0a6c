from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import nn

from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import PATIENCE, Diverged, Duty, Options, trainer_of

CPU = torch.device("cpu")


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.drop(self.conv(x)), 2)


class Made:
    """Batches that are a pure function of the step."""

    def __getitem__(self, step):
        generator = torch.Generator().manual_seed(step)
        hr = torch.rand(8, 3, 16, 16, generator=generator)
        return Batch(nn.functional.avg_pool2d(hr, 2), hr)


def trainer(losses=None, optimizer=torch.optim.Adam, schedule=lambda step: 1.0, **options):
    torch.manual_seed(0)
    network = Doubled()
    losses = losses or [Term("l1", nn.L1Loss(), 1.0, False)]
    made = optimizer(network.parameters(), lr=1e-2)
    return trainer_of(
        network,
        losses,
        made,
        schedule,
        CPU,
        Options(**{"steps": 12, "seed": 3, **options}),
    )


def never():
    return False


def weights(made):
    return torch.cat([p.detach().flatten().clone() for p in made.network.parameters()])


def test_training_makes_the_loss_small():
    made = trainer(steps=60)
    seen = []
    made.fit(Made(), [Duty(20, lambda: seen.append(made.read_losses()["loss"]))], never)
    assert made.done == 60
    assert seen[2] < 0.9 * seen[0]


def test_duties_are_done_at_their_steps_and_at_the_last_one():
    made = trainer(steps=11)
    calls = []
    made.fit(
        Made(),
        [Duty(4, lambda: calls.append(("a", made.done))), Duty(5, lambda: calls.append(("b", made.done)))],
        never,
    )
    assert calls == [("a", 4), ("b", 5), ("a", 8), ("b", 10), ("a", 11), ("b", 11)]


def test_stopping_ends_after_the_step_that_is_under_way():
    made = trainer()
    made.fit(Made(), [], lambda: made.done == 3)
    assert made.done == 3


def test_the_learning_rate_is_the_schedules_factor_of_the_step():
    rates = []
    made = trainer(schedule=lambda step: 1 / (1 + step), steps=3)
    made.fit(Made(), [Duty(1, lambda: rates.append(made.learner.optimizer.param_groups[0]["lr"]))], never)
    assert rates == pytest.approx([1e-2, 1e-2 / 2, 1e-2 / 3])


@pytest.mark.parametrize("is_sum", [False, True])
def test_accumulation_gives_the_gradients_of_the_whole_batch(is_sum):
    reduction = "sum" if is_sum else "mean"
    # SGD shows a gradient's size, which Adam would hide; no dropout, which draws by part.
    results = []
    for parts in (1, 4):
        loss = [Term("l2", nn.MSELoss(reduction=reduction), 1.0, is_sum)]
        made = trainer(loss, optimizer=torch.optim.SGD, accumulate=parts, steps=3)
        made.learner.base_rates = [1e-5 if is_sum else 1e-1]
        made.network.drop.p = 0.0
        made.fit(Made(), [], never)
        results.append((weights(made), made.read_losses()["loss"]))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)


def test_losses_are_weighed_and_logged_each_by_its_name():
    l1 = [Term("l1", nn.L1Loss(), 2.0, False), Term("l2", nn.MSELoss(), 0.5, False)]
    made = trainer(l1, steps=1)
    made.step(Made()[made.done])
    values = made.read_losses()
    assert values["loss"] == pytest.approx(2 * values["l1"] + 0.5 * values["l2"])
    assert made.read_losses() == {}


def test_clipping_bounds_the_step_of_the_weights():
    made = trainer(optimizer=torch.optim.SGD, clip=1e-3, steps=1)
    before = weights(made)
    made.step(Made()[made.done])
    assert (weights(made) - before).norm() <= 1e-2 * 1e-3 * 1.001


def test_the_moving_average_is_that_of_the_weights():
    made = trainer(ema=0.5, steps=3)
    seen = []
    made.fit(Made(), [Duty(1, lambda: seen.append(weights(made)))], never)
    expected = seen[0] * 0.25 + seen[1] * 0.25 + seen[2] * 0.5
    average = torch.cat([p.detach().flatten() for p in made.ema.module.parameters()])
    assert torch.allclose(average, expected, atol=1e-7)


def test_global_randomness_before_a_step_does_not_change_it():
    first, second = trainer(), trainer()
    for made, disturb in ((first, False), (second, True)):
        for _ in range(3):
            if disturb:
                torch.rand(5)
            made.step(Made()[made.done])
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_lower_precisions_train(precision):
    made = trainer(precision=precision, steps=30)
    before = copy.deepcopy(made.network.state_dict())
    made.fit(Made(), [], never)
    assert made.read_losses()["loss"] < 0.6
    assert not torch.equal(before["conv.weight"], made.network.state_dict()["conv.weight"])
    assert made.network.conv.weight.dtype == torch.float32


class Poisoned(Made):
    def __init__(self, bad):
        self.bad = bad

    def __getitem__(self, step):
        batch = super().__getitem__(step)
        return Batch(batch.lr * float("nan"), batch.hr) if step in self.bad else batch


def test_an_update_whose_loss_is_not_finite_leaves_the_weights_alone():
    batches = Poisoned({1})
    made = trainer()
    made.step(batches[made.done])
    before = weights(made)
    made.step(batches[made.done])
    assert torch.equal(weights(made), before)
    made.step(batches[made.done])
    assert not torch.equal(weights(made), before)
    assert weights(made).isfinite().all()


def test_ten_losses_in_a_row_that_are_not_finite_end_the_run():
    batches = Poisoned(set(range(5, 50)))
    made = trainer(steps=50)
    with pytest.raises(Diverged) as error:
        made.fit(batches, [], never)
    assert made.done == 5 + PATIENCE
    assert str(error.value) == (
        "the loss or its gradients were not finite for 10 updates in a row, up to step 15; "
        "try a lower optimizer.lr, or train.clip, with --restart"
    )
    assert weights(made).isfinite().all()


def sharp(sr, hr):
    """A loss that is finite and whose gradient is not: that of a root at 0."""
    return nn.functional.l1_loss(sr, hr) + (sr - sr.detach()).square().sum().sqrt()


@pytest.mark.parametrize(("precision", "updates"), [(torch.float32, PATIENCE), (torch.float16, 16 + PATIENCE)])
def test_gradients_that_are_never_finite_end_the_run_though_the_loss_is(precision, updates):
    # In float16 they may only be too large: the scale is halved 16 times, from 2**16 to 1, before they count.
    made = trainer([Term("sharp", sharp, 1.0, False)], steps=50, precision=precision)
    with pytest.raises(Diverged, match="the loss or its gradients were not finite"):
        made.fit(Made(), [], never)
    assert made.done == updates


def test_one_bad_part_of_an_accumulated_batch_makes_a_bad_update():
    class Parts(Made):
        def __getitem__(self, step):
            batch = super().__getitem__(step)
            return Batch(torch.cat([batch.lr[:2] * float("nan"), batch.lr[2:]]), batch.hr)

    made = trainer(accumulate=4, steps=50)
    with pytest.raises(Diverged):
        made.fit(Parts(), [], never)
    assert made.done == PATIENCE


def test_the_moving_average_leaves_constant_buffers_as_they_are():
    class Windowed(Doubled):
        def __init__(self):
            super().__init__()
            self.register_buffer("index", torch.arange(225))
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    torch.manual_seed(0)
    network = Windowed()
    optimizer = torch.optim.Adam(network.parameters())
    losses = [Term("l1", nn.L1Loss(), 1.0, False)]
    made = trainer_of(
        network,
        losses,
        optimizer,
        lambda step: 1.0,
        CPU,
        Options(steps=4, seed=0, ema=0.9995),
    )
    made.fit(Made(), [], never)
    assert torch.equal(made.ema.module.index, network.index)
    assert torch.equal(made.ema.module.mask, network.mask)


def test_nine_in_a_row_do_not():
    batches = Poisoned(set(range(5, 14)) | set(range(15, 24)))
    made = trainer(steps=26)
    made.fit(batches, [], never)
    assert made.done == 26


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, in its own modules
def test_a_compiled_network_trains_as_the_plain_one_and_keeps_its_names():
    plain, compiled = trainer(steps=2), trainer(compile=True, steps=2)
    for made in (plain, compiled):
        made.network.drop.p = 0.0  # a compiled graph draws in another order
        made.fit(Made(), [], never)
    assert list(compiled.network.state_dict()) == ["conv.weight", "conv.bias"]
    assert torch.allclose(weights(plain), weights(compiled), atol=1e-5)
