"""Steps that are recorded and replayed, by a stand-in for CUDA graphs."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn

from srkit.engine.data.batches import Batch
from srkit.engine.distributed import World
from srkit.engine.learning.graphs import MOST, WARM_UP, Graphs
from srkit.engine.learning.learner import Learner, network_learner
from srkit.engine.learning.objective import Opposing, Term
from srkit.engine.learning.trainer import Options, Trainer
from srkit.engine.running import checkpoint
from tests.engine.learning.replaying import StandIn

CPU = torch.device("cpu")


class Network(nn.Module):
    """With batch statistics, which are buffers, and dropout, which is chance."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Dropout(0.2))
        self.tail = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x):
        return self.tail(self.body(x))


class Adversarial(nn.Module):
    def __init__(self):
        super().__init__()
        conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, padding=1))
        self.adversary = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, sr, hr):
        return nn.functional.softplus(-self.adversary(sr)).mean()

    def adversary_loss(self, sr, hr, *, step):
        loss = nn.functional.softplus(-self.adversary(hr)).mean() + nn.functional.softplus(self.adversary(sr)).mean()
        if self.phase(step):
            hr = hr.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.adversary(hr).sum(), hr, create_graph=True)
            loss = loss + slope.square().mean()
        return loss

    def phase(self, step):
        return step % 4 == 0


def batch(step, side=8):
    lr, hr = (torch.rand(4, 3, s, s, generator=torch.Generator().manual_seed(step + s)) for s in (side, 2 * side))
    return Batch(lr, hr)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-2, fused=True)


def falling(step):
    return 0.9**step


def made(terms=None, network=None, optimizer=adam, **options):
    torch.manual_seed(1)
    network, loss = network or Network(), Adversarial()
    terms = terms or [Term("l1", nn.L1Loss(), 1.0, False), Term("gan", loss, 0.1, False, 2, 2)]
    learners = [network_learner(network, terms, optimizer(network.parameters()), falling)]
    learners += [
        Learner(term.name, Opposing(term), optimizer(term.adversary.parameters()), falling)
        for term in terms
        if term.adversary is not None
    ]
    return Trainer(network, terms, learners, CPU, Options(**{"steps": 40, "seed": 3, **options}))


def replayed(trainer, *, exact=True):
    recorder = StandIn()
    trainer.replaying = Graphs(trainer, recorder, exact=exact)
    return recorder


def train(trainer, steps=28, batch=batch):
    """Train, and return the bytes of what a checkpoint keeps, and what was logged."""
    logged = []
    for step in range(steps):
        trainer.step(batch(step))
        if step % 7 == 6:
            logged.append(trainer.read_losses())
    files = checkpoint.contents(trainer, {})
    files["progress.json"] = files["progress.json"].replace(b'"capturable": true', b'"capturable": false')
    return files, logged


def on_device(trainer):
    """Have the learning rates of a plain run on the device, too: in float32 they are a little other."""
    for learner in trainer.learners:
        learner.keep_rates_on_device()
    return trainer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 2, "clip": 0.1, "ema": 0.9},
        {"accumulate": 4, "ordered": True},
        {"precision": torch.bfloat16},
        {"precision": torch.float16},
    ],
)
def test_replayed_steps_have_the_bits_of_plain_ones(options):
    plain = train(on_device(made(**options)))
    trainer = made(**options)
    recorder = replayed(trainer)
    files, logged = train(trainer)
    assert trainer.replaying.refusal == ""
    # Three kinds of steps, without the GAN loss, with it, and with its penalty, too: each has one graph a part and one
    # for the update. The first two steps are of a kind that does not come again.
    assert trainer.replaying.recorded == 3
    assert recorder.replays == (28 - 2 - 3 * (WARM_UP + 1)) * (options.get("accumulate", 1) + 1)
    assert logged == plain[1]
    assert files == plain[0]


def test_a_weight_that_changes_now_and_then_is_recorded_for_each_of_its_values():
    def weight(step):
        return 1.0 if step < 10 else 0.5

    def terms():
        return [Term("l1", nn.L1Loss(), weight, False)]

    plain = train(on_device(made(terms())))
    trainer = made(terms())
    replayed(trainer)
    assert train(trainer) == plain
    assert trainer.replaying.recorded == 2


def test_batches_of_several_sizes_are_recorded_each():
    def sized(step):
        return batch(step, side=8 + 2 * (step % 3))

    plain = train(on_device(made(l1(nn.L1Loss()))), 36, sized)
    trainer = made(l1(nn.L1Loss()))
    replayed(trainer)
    assert train(trainer, 36, sized) == plain
    assert trainer.replaying.recorded == 3


def test_of_many_sizes_the_first_are_recorded_and_the_others_plain():
    def sized(step):
        return batch(step, side=8 + step % (MOST + 2))

    trainer = made([Term("l1", nn.L1Loss(), 1.0, False)])
    recorder = replayed(trainer)
    train(trainer, (WARM_UP + 3) * (MOST + 2), sized)
    assert trainer.replaying.recorded == MOST
    assert recorder.replays == MOST * 2 * 2


class Reading(nn.L1Loss):
    def forward(self, sr, hr):
        loss = super().forward(sr, hr)
        return loss if float(loss.detach()) > 0 else loss * 2


class Stepping(nn.L1Loss):
    def forward(self, sr, hr, *, step):
        return super().forward(sr, hr) * (1 + step)


class Clocked(nn.L1Loss):
    """Its factor is a number of Python, of which a recording knows the first one alone."""

    factor = 1

    def forward(self, sr, hr):
        return super().forward(sr, hr) * self.factor


def clocked(step):
    Clocked.factor = 1 + step
    return batch(step)


class Replacing(Network):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen = self.seen + x.detach().mean()
        return super().forward(x) + self.seen


def l1(loss):
    return [Term("l1", loss, 1.0, False)]


@pytest.mark.parametrize(
    ("given", "exact", "reason"),
    [
        ({"terms": l1(Reading())}, True, "RuntimeError: a value is read while a graph is recorded"),
        ({"terms": l1(Stepping())}, True, "a loss is given the number of the step"),
        ({"terms": l1(Clocked())}, True, "a replayed step leaves other weights than a plain one"),
        ({"terms": l1(Clocked())}, False, "a replayed step leaves other weights than a plain one"),
        (
            {"network": Replacing(), "terms": l1(nn.L1Loss())},
            True,
            "ValueError: each step puts another tensor in the place of Replacing.seen",
        ),
        (
            {"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=1e-2)},
            True,
            "Adam is no fused optimizer, so it waits for the device in each step",
        ),
    ],
)
def test_what_cannot_be_replayed_trains_plainly_and_says_why(given, exact, reason, caplog):
    caplog.set_level(logging.INFO, "srkit")
    plain = made(**copy.deepcopy(given))
    if "optimizer" not in given and "number" not in reason:
        on_device(plain)
    expected = train(plain, batch=clocked)
    trainer = made(**copy.deepcopy(given))
    replayed(trainer, exact=exact)
    assert train(trainer, batch=clocked) == expected
    assert caplog.messages == [f"each step is launched kernel by kernel, not as a CUDA graph: {reason}"]


def test_several_processes_train_plainly():
    class Two(World):
        size, rank = 2, 0

    trainer = made()
    trainer.world = Two()
    assert Graphs(trainer, StandIn(), exact=True).refusal == "several processes train together"


def test_what_is_not_exact_is_compared_by_how_far_the_step_went():
    """A replay of the recorded batch alone is found: it stands for any tensor that stays what it was."""
    trainer = made(l1(nn.L1Loss()))
    replayed(trainer, exact=False)
    train(trainer, WARM_UP + 1)
    (recording,) = trainer.replaying._recordings.values()
    recording._parts = [batch(0)]  # copies of batches now go astray
    train(trainer, 1)
    assert trainer.replaying.refusal.startswith("a replayed step leaves other ")


def test_a_step_that_is_launched_as_a_graph_is_announced(caplog):
    caplog.set_level(logging.INFO, "srkit")
    trainer = made(l1(nn.L1Loss()))
    replayed(trainer)
    train(trainer)
    assert caplog.messages == [f"each step is launched as one CUDA graph from step {WARM_UP + 3} on"]
