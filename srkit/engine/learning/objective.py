"""What is minimised: by the network, the losses of a recipe with their weights; by an adversary, its own loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import attrs
import torch
from torch import Tensor, nn

from srkit.engine.builder import Builder, numbered
from srkit.engine.learning.prediction import Prediction
from srkit.errors import ComponentError
from srkit.plugin.settings import named
from srkit.recipe.recipe import LossPart, Recipe, WeightPart

WORDS = ("lr", "extras", "ema", "step")  # what a loss is given beside SR and HR, as far as it declares them


class Value(NamedTuple):
    """What an objective came to: what is minimised, and the losses that it is made of, by name."""

    total: Tensor
    losses: dict[str, Tensor]


class Objective(Protocol):
    """What a learner minimises."""

    def __call__(self, prediction: Prediction, step: int) -> Value | None:
        """Return its value for a part of a step's batch, or None where nothing is due at that step."""

    def at(self, step: int) -> Hashable:
        """Return what of it the step decides, or None where nothing is due: steps for which this is equal compute the
        same function."""

    @property
    def reads_step(self) -> bool:
        """Whether it may be another function at each step: a loss is given its number, and has no `phase`."""


@attrs.frozen
class Term:
    """One loss of the sum that the network minimises.

    It counts from step `from_step` on, every `every` steps. `is_sum`: the loss is a sum over the batch, so that the
    parts of a batch add up by themselves.
    """

    name: str
    loss: Callable[..., Tensor]
    weight: float | Callable[[int], float]
    is_sum: bool
    from_step: int = 0
    every: int = 1
    words: tuple[str, ...] = attrs.field(init=False)  # those of WORDS that the loss declares, and that its
    words_of_adversary: tuple[str, ...] = attrs.field(init=False)  # adversary's does: looked up once, not in each step

    @words.default
    def _words(self) -> tuple[str, ...]:
        return named(self.loss.forward if isinstance(self.loss, nn.Module) else self.loss, WORDS)

    @words_of_adversary.default
    def _words_of_adversary(self) -> tuple[str, ...]:
        loss = getattr(self.loss, "adversary_loss", None)
        return named(loss, WORDS) if callable(loss) else ()

    def is_due(self, step: int) -> bool:
        """Say whether it counts at a step."""
        return step >= self.from_step and step % self.every == 0

    def phase(self, step: int) -> Hashable:
        """Return what of the loss, or of its adversary's, the number of a step decides."""
        phase = getattr(self.loss, "phase", None)
        return phase(step) if callable(phase) else None

    def reads_step(self, words: Collection[str]) -> bool:
        """Say whether nothing is known of what the number of a step decides, for a loss that is given these words."""
        return "step" in words and not callable(getattr(self.loss, "phase", None))

    def weight_at(self, step: int) -> float:
        """Return its weight at a step."""
        return self.weight(step) if callable(self.weight) else self.weight

    def returned(self, prediction: Prediction, step: int) -> Any:
        """Return what the loss itself returns."""
        return self._call(prediction, self.loss, prediction.sr, prediction.words(self.words, step))

    def returned_to_adversary(self, prediction: Prediction, step: int) -> Any:
        """Return what the adversary's loss itself returns; no gradient of it reaches SR."""
        loss: Any = self.loss
        words = prediction.words(self.words_of_adversary, step)
        return self._call(prediction, loss.adversary_loss, prediction.sr.detach(), words)

    def share(self, prediction: Prediction, value: Tensor) -> Tensor:
        """Return a part's share of the loss of its batch, where the loss of the part is `value`."""
        value = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
        return value * (1 if self.is_sum else prediction.share)

    def _call(self, prediction: Prediction, loss: Any, sr: Tensor, words: dict[str, Any]) -> Any:
        with prediction.autocast() if getattr(self.loss, "autocast", False) else contextlib.nullcontext():
            return loss(sr, prediction.hr, **words)

    @property
    def adversary(self) -> nn.Module | None:
        """The network that the loss trains against, or None."""
        return adversary_of(self.loss)


def make_term(builder: Builder, part: LossPart, name: str, words: Mapping[str, int]) -> Term:
    """Return a loss of a recipe with these words. Raises ComponentError for one that cannot be trained with."""
    loss = builder.make(part, **words)
    reduction = builder.component(part).facts_of(loss).get("reduction", "mean")
    try:
        adversary_of(loss)
    except ComponentError as error:
        raise ComponentError(f"loss '{part.type}' {error}") from None
    weight = _weight(builder, part.weight, words) if isinstance(part.weight, WeightPart) else part.weight
    return Term(name, loss, weight, reduction == "sum", part.from_step, part.every)


def _weight(builder: Builder, part: WeightPart, words: Mapping[str, int]) -> Callable[[int], float]:
    factor = builder.make(part, **words)
    return lambda step: part.value * float(factor(step))


def make_terms(builder: Builder, recipe: Recipe) -> list[Term]:
    """Return the losses of a recipe, each with a name that no other has: l1, l1_2."""
    names = numbered([part.type for part in recipe.loss])
    return [make_term(builder, part, name, recipe.words) for part, name in zip(recipe.loss, names, strict=True)]


def adversary_of(loss: Any) -> nn.Module | None:
    """Return the network that a loss trains against, or None. Raises ComponentError, the rest of a sentence, for one
    that cannot be trained as such."""
    inner = [module for module in loss.modules() if module is not loss] if isinstance(loss, nn.Module) else []
    if any(_is_adversarial(module) for module in inner):
        raise ComponentError("has an adversarial loss within, whose adversary nothing would train against it")
    if not _is_adversarial(loss):
        return None
    if not isinstance(loss.adversary, nn.Module) or not callable(getattr(loss, "adversary_loss", None)):
        raise ComponentError("has one of `adversary`, an nn.Module, and `adversary_loss(sr, hr)`, and needs both")
    if not any(module is loss.adversary for module in inner):
        raise ComponentError("must be an nn.Module that holds its adversary: what it holds is moved and saved with it")
    adversary: nn.Module = loss.adversary
    return adversary


def _is_adversarial(loss: Any) -> bool:
    return hasattr(loss, "adversary") or hasattr(loss, "adversary_loss")


@attrs.frozen
class Weighted:
    """The objective of the network: the sum of those losses that are due, each times its weight."""

    terms: Sequence[Term]

    def __call__(self, prediction: Prediction, step: int) -> Value | None:
        """Return the sum for a part of a step's batch, or None where no loss is due."""
        due = [term for term in self.terms if term.is_due(step)]
        if not due:
            return None
        total, losses = prediction.sr.new_zeros(()), {}
        for term in due:
            losses[term.name] = term.share(prediction, term.returned(prediction, step))
            total = total + term.weight_at(step) * losses[term.name]
        return Value(total, losses)

    def at(self, step: int) -> Hashable:
        """Return the losses that are due at a step, with their weights and phases."""
        due = [term for term in self.terms if term.is_due(step)]
        return tuple((term.name, term.weight_at(step), term.phase(step)) for term in due) or None

    @property
    def reads_step(self) -> bool:
        """Whether one of the losses may be another function at each step."""
        return any(term.reads_step(term.words) for term in self.terms)


@attrs.frozen
class Opposing:
    """The objective of a loss's adversary, from the loss's own first step on where no other is given."""

    term: Term
    from_step: int | None = None
    every: int = 1

    def __call__(self, prediction: Prediction, step: int) -> Value | None:
        """Return its loss for a part of a step's batch, or None where it is not due."""
        if self.at(step) is None:
            return None
        return Value(self.term.share(prediction, self.term.returned_to_adversary(prediction, step)), {})

    def at(self, step: int) -> Hashable:
        """Return its phase where it is due at a step."""
        first = self.term.from_step if self.from_step is None else self.from_step
        return (self.term.phase(step),) if step >= first and step % self.every == 0 else None

    @property
    def reads_step(self) -> bool:
        """Whether the adversary's loss may be another function at each step."""
        return self.term.reads_step(self.term.words_of_adversary)


def trainable(network: nn.Module, terms: Sequence[Term]) -> list[tuple[str, nn.Parameter]]:
    """Return what the network's optimizer trains, with names: the parameters of the network, and those of the losses
    behind the loss's name, but for their adversaries'."""
    modules = {"": network, **{f"{term.name}.": term.loss for term in terms if isinstance(term.loss, nn.Module)}}
    others = {id(p) for term in terms if term.adversary is not None for p in term.adversary.parameters()}
    named = [(prefix + name, p) for prefix, module in modules.items() for name, p in module.named_parameters()]
    return [(name, p) for name, p in named if p.requires_grad and id(p) not in others]
