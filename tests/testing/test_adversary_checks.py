"""Each check of losses with an adversary can fail: losses that break one promise each, and what is told of them."""

from __future__ import annotations

import pytest

from srkit.plugin.discovery import installed
from srkit.testing import adversary
from srkit.testing.check import Subject
from srkit.testing.loss import side_of
from srkit.testing.running import results

KIND = "loss"
PLUGIN = """
import srkit
import torch
from torch import nn
from torch.nn.functional import softplus


class Good(nn.Module):
    def __init__(self):
        super().__init__()
        self.adversary = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 1, 3))

    def forward(self, sr, hr):
        return softplus(-self.adversary(sr)).mean()

    def adversary_loss(self, sr, hr):
        return softplus(-self.adversary(hr)).mean() + softplus(self.adversary(sr)).mean()


class Wasserstein(Good):
    def forward(self, sr, hr, *, step):
        return -self.adversary(sr).mean()

    def adversary_loss(self, sr, hr, *, step, lr):
        assert lr.shape[-1] < hr.shape[-1]
        between = ((sr + hr) / 2).requires_grad_()
        slope, = torch.autograd.grad(self.adversary(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return self.adversary(sr).mean() - self.adversary(hr).mean() + 10 * penalty


class Clipped(Wasserstein):
    # Arjovsky et al. 2017, algorithm 1
    def adversary_loss(self, sr, hr, *, step):
        with torch.no_grad():
            for weight in self.adversary.parameters():
                weight.clamp_(-0.01, 0.01)
        return self.adversary(sr).mean() - self.adversary(hr).mean()


class ByAnotherName(Good):
    def __init__(self):
        super().__init__()
        self.judge = self.adversary

    def forward(self, sr, hr):
        return softplus(-self.judge(sr)).mean()

    def adversary_loss(self, sr, hr):
        return softplus(-self.judge(hr)).mean() + softplus(self.judge(sr)).mean()


class OfFeatures(Good):
    def forward(self, sr, hr):
        return softplus(-self.adversary[2](self.adversary[:2](sr))).mean()


class Half(Good):
    adversary_loss = None


class Frozen(Good):
    def __init__(self):
        super().__init__()
        self.adversary.requires_grad_(False)


class Detached(Good):
    def adversary_loss(self, sr, hr):
        return super().adversary_loss(sr, hr).detach()


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.adversary.spare = nn.Linear(1, 1)

    def forward(self, sr, hr):
        return softplus(-self.logits(sr)).mean()

    def adversary_loss(self, sr, hr):
        return softplus(-self.logits(hr)).mean() + softplus(self.logits(sr)).mean()

    def logits(self, x):
        return self.adversary[:3](x) if isinstance(self.adversary, nn.Sequential) else self.adversary(x)


class ForEach(Good):
    def adversary_loss(self, sr, hr):
        return softplus(-self.adversary(hr)).mean((1, 2, 3)) + softplus(self.adversary(sr)).mean((1, 2, 3))


class Infinite(Good):
    def adversary_loss(self, sr, hr):
        return super().adversary_loss(sr, hr) / 0


class AsksHR(Good):
    def adversary_loss(self, sr, hr):
        slope, = torch.autograd.grad(self.adversary(hr.requires_grad_()).sum(), hr, create_graph=True)
        return super().adversary_loss(sr, hr) + slope.square().mean()


class Trains(Good):
    def forward(self, sr, hr):
        with torch.enable_grad():
            loss = self.adversary_loss(sr.detach(), hr)
            weights = list(self.adversary.parameters())
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights)):
                weight.data.sub_(0.1 * gradient)
        return super().forward(sr, hr)


class Uphill(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Climbs(Good):
    def adversary_loss(self, sr, hr):
        return Uphill.apply(super().adversary_loss(sr, hr))


class Swapped(Good):
    def adversary_loss(self, sr, hr):
        return super().adversary_loss(hr, sr)


class Helps(Good):
    def forward(self, sr, hr):
        return softplus(self.adversary(sr)).mean()


DRAWN = {"hr_itself_is_best": "an adversary that has learnt nothing takes anything for HR"}


@srkit.hookimpl
def srkit_components():
    for name, value in list(globals().items()):
        if isinstance(value, type) and issubclass(value, nn.Module):
            facts = {"deviations": DRAWN}
            yield srkit.Component("loss", name, f"{__name__}:{name}", summary="adversarial", facts=facts)
"""

UNREACHED = "call requires_grad_(False) on what is not to be trained, or leave it out"
BROKEN = {
    "Half": (
        "adversary_can_be_trained",
        "it has one of `adversary`, an nn.Module, and `adversary_loss(sr, hr)`, and needs both",
        "see the losses with an adversary in docs/plugins.md",
    ),
    "Frozen": (
        "adversary_can_be_trained",
        "its adversary has nothing to train",
        "let its weights ask for a gradient; a learner beside trains them",
    ),
    "Detached": (
        "adversary_gets_a_gradient",
        "no gradient of its adversary_loss reaches the adversary",
        "compute without detach() on the way",
    ),
    "Unused": ("adversary_gets_a_gradient", "no gradient reaches spare.weight, spare.bias", UNREACHED),
    "ForEach": (
        "adversary_gets_a_gradient",
        "its adversary_loss returns a tensor [2]",
        "return one value for the batch, a tensor: mean() or sum()",
    ),
    "Infinite": (
        "adversary_gets_a_gradient",
        "its adversary_loss is inf",
        "look at divisions by zero, and at logarithms of it",
    ),
    "AsksHR": (
        "adversary_gets_a_gradient",
        "its adversary_loss changes HR, or asks it for a gradient",
        "work on a copy: hr.detach().requires_grad_() where a penalty wants the gradient of HR",
    ),
    "Trains": (
        "adversary_is_left_to_its_learner",
        "calling it changes its adversary's weights",
        "keep no optimizer in a loss: [loss.adversary] has one",
    ),
    "Climbs": (
        "adversary_learns",
        "as an adversary learns, its adversary_loss goes from 1.286 to 2.925",
        "let it fall as the adversary tells SR from HR better: look at its sign, and at what is detached",
    ),
    "Swapped": (
        "adversary_learns",
        "the adversary learns to give SR higher logits than HR",
        "let adversary_loss be small where logits of HR are high, and those of SR low",
    ),
    "Helps": (
        "adversary_opposes_the_network",
        "where the adversary tells SR from HR the loss is 0.3395, and 1.245 where it is mistaken",
        "let the loss fall as the logits of SR rise: to look like HR is what the network is to learn",
    ),
}
OWN = {check.name for check in adversary.CHECKS}


@pytest.fixture
def outcomes(registry):
    """Return {check: result} of the checks of the adversary of a loss."""

    def find(name):
        found = results(Subject(registry.find("loss", name), registry))
        return {result.check.name: result for result in found if result.check.name in OWN}

    return find


@pytest.mark.parametrize("name", ["Good", "Wasserstein", "Clipped"])
def test_a_loss_with_an_adversary_that_keeps_all_promises_passes(failures, outcomes, name):
    assert failures(name) == {}
    assert {result.outcome for result in outcomes(name).values()} == {"passed"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_its_own_check_alone(outcomes, name):
    check, found, instead = BROKEN[name]
    failed = {name: (it.found, it.instead) for name, it in outcomes(name).items() if it.outcome == "failed"}
    assert failed == {check: (found, instead)}


@pytest.mark.parametrize(
    ("name", "check", "found"),
    [
        ("ByAnotherName", "adversary_learns", "it looks at its adversary by another name"),
        (
            "OfFeatures",
            "adversary_opposes_the_network",
            "with another adversary it raises TypeError: '_Toy' object is not subscriptable",
        ),
    ],
)
def test_what_takes_no_other_adversary_is_not_asked_to(outcomes, name, check, found):
    result = outcomes(name)[check]
    assert (result.outcome, result.found) == ("skipped", found)


def test_a_loss_without_an_adversary_is_not_asked_for_one(registry):
    found = {result.check.name: result for result in results(Subject(registry.find("loss", "l1"), registry))}
    assert found["adversary_can_be_trained"].outcome == "passed"
    for name in OWN - {"adversary_can_be_trained"}:
        assert (found[name].outcome, found[name].found) == ("skipped", "it has no adversary")


def test_each_check_of_adversaries_is_seen_to_fail():
    assert {check for check, *_ in BROKEN.values()} == OWN


def test_the_images_that_a_loss_is_shown_are_as_large_as_its_discriminator_wants_them():
    registry = installed()
    settings = {"discriminator": {"type": "vgg_like", "features": 2}}
    subject = Subject(registry.find("loss", "adversarial"), registry, settings)
    assert side_of(subject) == 128
    adversary.adversary_gets_a_gradient(subject)
