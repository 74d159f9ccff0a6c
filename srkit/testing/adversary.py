"""What a loss with an adversary must do beside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from srkit.engine.learning.objective import WORDS, adversary_of
from srkit.errors import ComponentError, describe
from srkit.plugin.settings import named
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.loss import Given, side_of
from srkit.testing.samples import SEED, blurred, chance, photographs, refuse_unreached

STEPS = 20
LEARNING_RATE = 0.05
MIDDLE = 0.4  # between the mean of HR, which is about 0.5, and that of SR


def adversary_can_be_trained(subject: Subject) -> None:
    """It is an nn.Module with both of `adversary`, a module that it holds and that has something to train, and
    `adversary_loss(sr, hr)`, or with none of them."""
    try:
        adversary = adversary_of(_made(subject))
    except ComponentError as error:
        fail(f"it {error}", "see the losses with an adversary in docs/plugins.md")
    if adversary is not None and not any(weight.requires_grad for weight in adversary.parameters()):
        fail("its adversary has nothing to train", "let its weights ask for a gradient; a learner beside trains them")


def adversary_gets_a_gradient(subject: Subject) -> None:
    """Of HR, and SR without a history, `adversary_loss` gives one finite value, whose gradient reaches all of the
    adversary's parameters that are to be trained. SR and HR stay what they are."""
    match = _Match(subject)
    sr, hr = match.sr, match.hr
    before = sr.clone(), hr.clone()
    value: object = match.opposed()
    if not isinstance(value, Tensor) or value.dim():
        what = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        fail(f"its adversary_loss returns {what}", "return one value for the batch, a tensor: mean() or sum()")
    if not bool(value.isfinite()):
        fail(f"its adversary_loss is {float(value.detach())}", "look at divisions by zero, and at logarithms of it")
    for name, image, was in (("SR", sr, before[0]), ("HR", hr, before[1])):
        if not torch.equal(image, was) or image.requires_grad:
            fail(
                f"its adversary_loss changes {name}, or asks it for a gradient",
                "work on a copy: hr.detach().requires_grad_() where a penalty wants the gradient of HR",
            )
    if not value.requires_grad:
        fail("no gradient of its adversary_loss reaches the adversary", "compute without detach() on the way")
    torch.autograd.backward(value)
    trained = {name: weight for name, weight in match.adversary.named_parameters() if weight.requires_grad}
    refuse_unreached(trained, "call requires_grad_(False) on what is not to be trained, or leave it out")


def adversary_is_left_to_its_learner(subject: Subject) -> None:
    """No call changes the adversary's weights: a learner beside the network's does, which a checkpoint has with it. To
    clip them, as WGAN does, is allowed: called again, it changes nothing."""
    match = _Match(subject)
    match.loss(match.sr, match.hr)
    match.opposed()
    before = [weight.detach().clone() for weight in match.adversary.parameters()]
    match.loss(match.sr, match.hr)
    match.opposed()
    if not all(map(torch.equal, before, match.adversary.parameters())):
        fail("calling it changes its adversary's weights", "keep no optimizer in a loss: [loss.adversary] has one")


def adversary_learns(subject: Subject) -> None:
    """An adversary that sees the brightness alone learns by `adversary_loss`, which falls as it does, to give bright HR
    higher logits than dark SR."""
    match = _Match(subject)
    toy, (first, last) = _learnt(match, 0.1)
    if not last < first:  # once more from 0, which is within all that weights are clipped to
        toy, (from_zero, to) = _learnt(match, 0.0)
        if not to < from_zero:
            fail(
                f"as an adversary learns, its adversary_loss goes from {first:.4g} to {last:.4g}",
                "let it fall as the adversary tells SR from HR better: look at its sign, and at what is detached",
            )
    if not float((toy(match.hr) - toy(match.sr)).mean().detach()) > 0:
        fail(
            "the adversary learns to give SR higher logits than HR",
            "let adversary_loss be small where logits of HR are high, and those of SR low",
        )


def adversary_opposes_the_network(subject: Subject) -> None:
    """The loss of SR is larger where the adversary tells it from HR than where it takes the one for the other."""
    match = _Match(subject)
    told, mistaken = (match.loss_by(_Toy(gain)) for gain in (1.0, -1.0))
    if not told > mistaken:
        fail(
            f"where the adversary tells SR from HR the loss is {told:.4g}, and {mistaken:.4g} where it is mistaken",
            "let the loss fall as the logits of SR rise: to look like HR is what the network is to learn",
        )


def _learnt(match: _Match, gain: float) -> tuple[_Toy, tuple[float, float]]:
    """Return an adversary that begins with a gain and learns, and what `adversary_loss` is before and after that."""
    toy = _Toy(gain)
    first = float(match.opposed_by(toy).detach())
    optimizer = torch.optim.SGD(toy.parameters(), LEARNING_RATE)
    for step in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(match.opposed_by(toy, step))
        optimizer.step()
    return toy, (first, float(match.opposed_by(toy).detach()))


class _Match:
    """A loss, `adversary_loss`, given what they declare, its adversary, and HR with an SR that is dark and blurred."""

    def __init__(self, subject: Subject) -> None:
        made = _made(subject)
        adversary = adversary_of(made)
        if adversary is None:
            raise Inapplicable("it has no adversary")
        self._made, self.adversary = made, adversary
        self.loss = Given(made, named(made.forward, WORDS))
        self.hr = photographs(2, *[side_of(subject)] * 2)
        self.sr = 0.6 * blurred(self.hr, 5)

    def opposed(self, step: int = 0) -> Any:
        """Return `adversary_loss` at a step."""
        return Given(self._made.adversary_loss, named(self._made.adversary_loss, WORDS), step)(self.sr, self.hr)

    def opposed_by(self, toy: nn.Module, step: int = 0) -> Tensor:
        """Return the same with another adversary."""
        with self._replaced(toy):
            value: Tensor = self.opposed(step)
            return value

    def loss_by(self, toy: nn.Module) -> float:
        """Return the loss with another adversary."""
        with self._replaced(toy), torch.no_grad():
            return float(self.loss(self.sr, self.hr))

    @contextlib.contextmanager
    def _replaced(self, toy: nn.Module) -> Iterator[None]:
        try:
            self._made.adversary = toy
            yield
        except Exception as error:
            raise Inapplicable(f"with another adversary it raises {describe(error)}") from error
        if not toy.seen:
            raise Inapplicable("it looks at its adversary by another name")


class _Toy(nn.Module):
    """An adversary that sees the brightness: logits of 1 for HR and -1 for SR, times a gain."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.seen = False

    def forward(self, images: Tensor) -> Tensor:
        self.seen = True
        return self.gain * (images.mean((1, 2, 3)).view(-1, 1, 1, 1) - MIDDLE) * 10


def _made(subject: Subject) -> Any:
    with chance(SEED):
        return subject.make(steps=STEPS)


CHECKS = (
    Check(adversary_can_be_trained, demanded=True),
    Check(adversary_gets_a_gradient, needs=(adversary_can_be_trained,)),
    Check(adversary_is_left_to_its_learner, needs=(adversary_can_be_trained,)),
    Check(adversary_learns, needs=(adversary_can_be_trained, adversary_gets_a_gradient)),
    Check(adversary_opposes_the_network, needs=(adversary_can_be_trained, adversary_learns)),
)
