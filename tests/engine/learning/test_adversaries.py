"""Losses with an adversary, and what else a loss or a network may declare."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from srkit.engine.data.batches import Batch
from srkit.engine.learning.learner import Learner, network_learner
from srkit.engine.learning.objective import Opposing, Term
from srkit.engine.learning.prediction import Prediction
from srkit.engine.learning.trainer import Options, Trainer, trainer_of
from srkit.engine.running import checkpoint

CPU = torch.device("cpu")


def network():
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2))


class Adversarial(nn.Module):
    """A vanilla GAN loss whose adversary has a spectral norm; R1 every 4 steps."""

    def __init__(self, r1=0.0):
        super().__init__()
        conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, padding=1))
        self.adversary = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(8, 1, 1))
        self.r1 = r1

    def forward(self, sr, hr):
        return F.softplus(-self.adversary(sr)).mean()

    def adversary_loss(self, sr, hr, *, step):
        loss = F.softplus(-self.adversary(hr)).mean() + F.softplus(self.adversary(sr)).mean()
        if self.r1 and step % 4 == 0:
            hr = hr.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.adversary(hr).sum(), hr, create_graph=True)
            loss = loss + self.r1 * slope.square().sum((1, 2, 3)).mean()
        return loss


def batch(step):
    lr, hr = (torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(step + side)) for side in (8, 16))
    return Batch(lr, hr)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def made(r1=0.0, from_step=0, every=1, adversary_from=None, adversary_every=1, **options):
    torch.manual_seed(1)
    net, loss = network(), Adversarial(r1)
    terms = [
        Term("l1", nn.L1Loss(), 1.0, False, from_step, every),
        Term("gan", loss, 0.1, False, from_step, every),
    ]
    own = [*net.parameters()]
    learners = [
        network_learner(net, terms, adam(own), lambda step: 1.0),
        Learner("gan", Opposing(terms[1], adversary_from, adversary_every), adam(loss.adversary.parameters()), _flat),
    ]
    return Trainer(net, terms, learners, CPU, Options(**{"steps": 24, "seed": 3, **options}))


def _flat(step):
    return 1.0


def tensors(trainer):
    return {**trainer.network.state_dict(), **trainer.losses.state_dict()}


def apart(first, second):
    return max(float((value.float() - second[name].float()).abs().max()) for name, value in first.items())


@pytest.mark.parametrize(("every", "first"), [(1, 0), (2, 0), (1, 6)], ids=["each step", "every second", "late"])
@pytest.mark.parametrize("r1", [0.0, 10.0])
def test_a_gan_is_trained_as_by_the_usual_loop(every, first, r1):
    """The usual loop: the adversary frozen while the network learns, then the adversary with SR detached."""
    trainer = made(r1, from_step=first, every=every, adversary_from=0)
    usual, loss = copy.deepcopy(trainer.network), copy.deepcopy(trainer.losses[1])
    for step in range(24):
        trainer.step(batch(step))
    of_network, of_adversary = adam(usual.parameters()), adam(loss.adversary.parameters())
    for step in range(24):
        lr, hr = batch(step).lr, batch(step).hr
        loss.adversary.requires_grad_(False)
        of_network.zero_grad()
        sr = usual(lr)
        if step >= first and step % every == 0:
            (F.l1_loss(sr, hr) + 0.1 * loss(sr, hr)).backward()
            of_network.step()
        loss.adversary.requires_grad_(True)
        of_adversary.zero_grad()
        loss.adversary_loss(sr.detach(), hr, step=step).backward()
        of_adversary.step()
    expected = {**usual.state_dict(), **{f"1.{name}": value for name, value in loss.state_dict().items()}}
    assert apart(expected, tensors(trainer)) <= 1e-7


def test_the_adversary_learns_to_tell_hr_from_sr_and_the_network_to_mislead_it():
    trainer = made(steps=1)
    before = tensors(copy.deepcopy(trainer))
    trainer.step(batch(0))
    after = tensors(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"0.weight", "1.adversary.2.weight"} <= moved
    values = trainer.read_losses()
    assert list(values) == ["l1", "gan", "loss", "gan.adversary"]
    assert values["loss"] == pytest.approx(values["l1"] + 0.1 * values["gan"])


def test_an_adversary_has_its_own_steps():
    trainer = made(adversary_from=4, adversary_every=3, steps=12)
    moved = []
    for step in range(12):
        before = trainer.losses[1].adversary[2].weight.clone()
        trainer.step(batch(step))
        moved += [step] if not torch.equal(before, trainer.losses[1].adversary[2].weight) else []
    assert moved == [6, 9]


def test_a_loss_that_counts_at_some_steps_is_logged_as_its_mean_over_these():
    trainer = made(steps=8)
    terms = [Term("l1", nn.L1Loss(), 1.0, False), Term("l2", nn.MSELoss(), 1.0, False, from_step=2, every=3)]
    trainer = trainer_of(trainer.network, terms, adam(trainer.network.parameters()), _flat, CPU, trainer.options)
    seen = []
    for step in range(8):
        with torch.no_grad():
            difference = trainer.network(batch(step).lr) - batch(step).hr
        seen += [float(difference.square().mean())] if step in (3, 6) else []
        trainer.step(batch(step))
    assert trainer.read_losses()["l2"] == pytest.approx(sum(seen) / 2)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"clip": 0.1, "ema": 0.9}, {"precision": torch.bfloat16}])
def test_a_gan_that_is_continued_ends_with_the_same_bits(options, tmp_path):
    straight = made(10.0, **options)
    for step in range(5):
        straight.step(batch(step))
    saved = checkpoint.save(tmp_path, straight, {})
    assert "optimizer_1.safetensors" in {path.name for path in saved.iterdir()}
    continued = made(10.0, **options)
    checkpoint.restore(checkpoint.newest(tmp_path)[1], continued)
    for step in range(5, 12):
        straight.step(batch(step))
        continued.step(batch(step))
    first, second = tensors(straight), tensors(continued)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert straight.read_losses() == continued.read_losses()


def test_updates_of_an_adversary_that_are_not_finite_are_left_out_and_end_the_run():
    from srkit.engine.learning.trainer import PATIENCE, Diverged

    trainer = made(steps=40)
    trainer.losses[1].adversary_loss = lambda sr, hr, step: (
        Adversarial.adversary_loss(trainer.losses[1], sr, hr, step=step) * (1 if step < 3 else float("nan"))
    )
    for step in range(3):
        trainer.step(batch(step))
    before = trainer.losses[1].adversary[2].weight.clone()
    with pytest.raises(Diverged) as error:
        trainer.fit({step: batch(step) for step in range(40)}, [], lambda: False)
    assert str(error.value) == (
        "the loss of the adversary of 'gan' or its gradients were not finite for 10 updates in a row, up to step "
        f"{3 + PATIENCE}; try a lower optimizer.lr in [loss.adversary], or train.clip, with --restart"
    )
    assert torch.equal(trainer.losses[1].adversary[2].weight, before)


class Seen(nn.Module):
    """L1 that remembers what it is given."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, sr, hr, *, lr, extras, ema, step):
        self.seen.append((lr, extras, ema, step))
        return F.l1_loss(sr, hr)


class Pyramid(nn.Module):
    """x2 that returns its features beside SR in training, and wants the size and HR."""

    def __init__(self):
        super().__init__()
        self.inner = network()
        self.sizes = []

    def forward(self, lr, size, hr=None):
        self.sizes.append((size, None if hr is None else hr.shape))
        sr = self.inner(lr)
        return (sr, {"half": sr[..., ::2, ::2]}) if self.training else sr


def test_losses_and_networks_are_given_by_name_what_they_declare():
    net, loss = Pyramid(), Seen()
    trainer = trainer_of(
        net, [Term("seen", loss, 1.0, False)], adam(net.parameters()), _flat, CPU, Options(4, 0, ema=0.5)
    )
    net.train()
    trainer.step(batch(0))
    trainer.step(batch(1))
    (lr, extras, ema, step) = loss.seen[1]
    assert torch.equal(lr, batch(1).lr)
    assert step == 1
    assert extras["half"].shape == (4, 3, 8, 8)
    assert ema.shape == (4, 3, 16, 16)
    assert not ema.requires_grad
    assert net.sizes[0] == ((16, 16), torch.Size([4, 3, 16, 16]))


def test_points_that_were_sampled_are_what_hr_is_compared_at():
    class Points(nn.Module):
        def __init__(self):
            super().__init__()
            self.level = nn.Parameter(torch.zeros(3))

        def forward(self, lr, size, points):
            return self.level[None, :, None, None].expand(len(lr), 3, points.shape[1], 1)

    seen = []

    def loss(sr, hr):
        seen.append(hr)
        return F.l1_loss(sr, hr)

    net = Points()
    trainer = trainer_of(net, [Term("l1", loss, 1.0, False)], adam(net.parameters()), _flat, CPU, Options(2, 0))
    whole = batch(0)
    points = torch.tensor([[0, 17, 255]] * 4)
    trainer.step(Batch(whole.lr, whole.hr, whole.size, points))
    assert torch.equal(
        seen[0][..., 0], torch.stack([whole.hr[:, :, 0, 0], whole.hr[:, :, 1, 1], whole.hr[:, :, 15, 15]], 2)
    )


def test_a_loss_runs_in_the_precision_of_training_only_where_it_says_so():
    class Deep(nn.Module):
        def __init__(self, autocast):
            super().__init__()
            self.autocast, self.conv, self.dtypes = autocast, nn.Conv2d(3, 4, 3), []

        def forward(self, sr, hr):
            features = self.conv(sr)
            self.dtypes.append(features.dtype)
            return features.abs().mean()

    for autocast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        loss, net = Deep(autocast), network()
        options = Options(1, 0, precision=torch.bfloat16)
        trainer_of(net, [Term("deep", loss, 1.0, False)], adam(net.parameters()), _flat, CPU, options).step(batch(0))
        assert loss.dtypes == [expected]


def test_the_average_is_computed_only_where_a_loss_asks_for_it():
    asked = []
    lr = hr = sr = torch.zeros(1, 3, 2, 2)
    prediction = Prediction(lr, hr, sr, {}, average=lambda: asked.append(1) or sr)
    prediction.words(("lr", "step"), 3)
    assert not asked
    assert prediction.words(("ema",), 3)["ema"] is prediction.ema
    assert asked == [1]
