"""What a loss must do."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkit.engine.learning.objective import WORDS
from srkit.errors import describe
from srkit.plugin.settings import named
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.samples import SEED, blurred, chance, largest, photographs, refuse_unreached

SIDE = 64  # pixels: perceptual losses make images up to 32 times smaller
# Sums of float32 in another order: measured at most 2e-7 of the value for srkit's losses; deep features have more.
SAME = 1e-4
STEP = 1e-6  # of values in 0..1: a difference of float64 losses this close keeps 9 digits, and few kinks lie within
ROUGH_STEP = 1e-2  # for float32, of which a smaller step leaves rounding alone
# Relative. Where differences over a step and over half of it agree to a tenth of this, nothing but rounding is left.
SLOPE = 1e-3
DIRECTIONS = 4


def gives_a_scalar(subject: Subject) -> None:
    """Of SR and HR, float32 [n, 3, h, w] in 0..1, it gives one finite value: a tensor without axes."""
    sr, hr = _pair(subject)
    value: object = _loss(subject)(sr, hr)
    if not isinstance(value, Tensor):
        fail(f"it returns a {type(value).__name__}", "return a tensor: without float() or item(), which end gradients")
    if value.dim():
        fail(f"it returns a tensor {list(value.shape)}", "return one value for the batch: mean() or sum()")
    if not bool(value.isfinite()):
        fail(f"its value is {float(value.detach())}", "look at divisions by zero, and at logarithms of it")


def sr_gets_a_gradient(subject: Subject) -> None:
    """Where SR differs from HR, its gradient is finite and not zero all over."""
    gradient = _gradient(_loss(subject), *_pair(subject))
    if gradient is None:
        fail("no gradient reaches SR", "compute with torch alone, without detach(), no_grad() or numpy on the way")
    if not bool(gradient.isfinite().all()):
        fail("the gradient of SR is not finite", "look at divisions by zero, and at logarithms of it")
    if not largest(gradient):
        fail("the gradient of SR is zero all over", "compute with what has a slope: round(), sign() and > have none")


def gradient_is_finite_at_equality(subject: Subject) -> None:
    """Where SR equals HR, on black patches too, loss and gradient are finite; so are those of its own parameters."""
    side = side_of(subject)
    for hr, where in ((_pair(subject)[1], "SR equals HR"), (torch.zeros(2, 3, side, side), "SR and HR are black")):
        loss = _loss(subject)
        _refuse_infinite(loss, hr, hr, where, "add a small number before a root, a division or a logarithm")


def sr_may_leave_the_range(subject: Subject) -> None:
    """For SR beyond 0..1, which a network gives until it has learnt better, loss and gradient are finite."""
    hr = _pair(subject)[1]
    sr = hr + torch.randn_like(hr)
    _refuse_infinite(_loss(subject), sr, hr, "SR goes beyond 0..1", "take no root, power or logarithm of SR itself")


def gradient_is_the_slope(subject: Subject) -> None:
    """The gradient of SR is the derivative of the loss: as SR is moved a little, the loss changes by what it says."""
    sr, hr = _pair(subject)
    # Where a loss computes in float32 alone, rounding hides small changes: one of opposite sign is seen all the same.
    looks = (_slopes(subject, sr.double(), hr.double(), STEP), _slopes(subject, sr, hr, ROUGH_STEP))
    for slopes, rough in zip(looks, (False, True), strict=True):
        for changes, says in slopes:
            if says * changes < 0 if rough else abs(says - changes) > SLOPE * max(abs(says), abs(changes)):
                fail(
                    f"moved along a direction, the loss changes by {changes:.4g} a unit, and its gradient says "
                    f"{says:.4g}",
                    "let backward() be the derivative of forward(): look at its sign, and at what is detached",
                )
        if slopes:
            return
    raise Inapplicable("wherever it was looked at, it has a kink, or computes too roughly")


def same_seed_gives_same_loss(subject: Subject) -> None:
    """Made and called in the same state of all random generators, it gives the same value."""
    sr, hr = _pair(subject)
    first, second = (_value(_made(subject), sr, hr) for _ in range(2))
    if first != second:
        fail(
            f"with the same seed it is {first:.6g}, then {second:.6g}: it is not deterministic",
            "draw from torch's generator alone, which srkit seeds at every step, and keep nothing in a global",
        )


def hr_itself_is_best(subject: Subject) -> None:
    """No SR has a smaller loss than HR itself: none with noise, none blurred, shifted, brighter or darker."""
    loss = _loss(subject)
    hr = _pair(subject)[1]
    changed = {
        "with noise": hr + 0.05 * torch.randn_like(hr),
        "blurred": blurred(hr, 3),
        "shifted by a pixel": hr.roll(1, dims=3),
        "brighter": hr + 0.05,
        "darker": hr - 0.05,
    }
    least = _value(loss, hr, hr)
    values = {how: _value(loss, sr, hr) for how, sr in changed.items()}
    margin = SAME * max(abs(value) for value in values.values())
    for how, value in values.items():
        if value < least - margin:
            fail(
                f"HR {how} has the loss {value:.4g}, HR itself {least:.4g}",
                "let it grow with the difference; state the deviation where it is to be added to a loss that does",
            )


def reduction_is_as_stated(subject: Subject) -> None:
    """The loss of a batch is the mean of its images' losses, or their sum where it says so: so that a batch can be
    trained in parts."""
    loss = _loss(subject)
    side = side_of(subject)
    hr = photographs(2, side, side)
    sr = hr + torch.tensor([0.01, 0.04]).view(2, 1, 1, 1) * torch.randn_like(hr)
    whole, first, second = (_value(loss, sr[part], hr[part]) for part in (slice(0, 2), slice(0, 1), slice(1, 2)))
    is_attribute = getattr(loss, "reduction", None) is not None
    stated = loss.reduction if is_attribute else subject.facts.get("reduction", "mean")
    counts_as = "sum" if stated == "sum" else "mean"
    would_be = {"mean": (first + second) / 2, "sum": first + second}
    margin = SAME * max(abs(first), abs(second))
    found = [reduction for reduction, value in would_be.items() if abs(whole - value) <= margin]
    if not found:
        modules = list(loss.modules()) if isinstance(loss, nn.Module) else []
        mixes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)
        fail(
            f"of two images with the losses {first:.4g} and {second:.4g}, the batch has {whole:.4g}: neither their "
            "mean nor their sum",
            "its batch normalisation mixes the images of a batch: state the deviation, or use another normalisation"
            if mixes
            else "take it of each image, then the mean over the batch; a batch trained in parts has no other",
        )
    if counts_as not in found:
        fail(
            f"it is a {found[0]} over the batch, and counts as a {counts_as}",
            f'let its attribute `reduction` be "{found[0]}"'
            if is_attribute
            else f'state it: facts={{"reduction": "{found[0]}"}}',
        )


def images_are_left_alone(subject: Subject) -> None:
    """SR and HR are not written to, and HR is not asked for a gradient."""
    sr, hr = _pair(subject)
    before = sr.clone(), hr.clone()
    output = sr.clone().requires_grad_().mul(1)  # in training it is no leaf, which torch would guard
    _loss(subject)(output, hr)
    for name, image, was in (("SR", output, before[0]), ("HR", hr, before[1])):
        if not torch.equal(image, was):
            fail(f"it changes {name}", "take no in-place operation (sub_, -=, clamp_) on the images themselves")
    if hr.requires_grad:
        fail("it asks for a gradient of HR", "leave out requires_grad_(); HR is the goal, and is not trained")


def own_parameters_learn(subject: Subject) -> None:
    """The gradient reaches its own parameters that are to be trained, where it has some."""
    loss = _loss(subject)
    named = dict(loss.named_parameters()) if isinstance(loss, nn.Module) else {}
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if not trained:
        raise Inapplicable("it has no parameters to train")
    _gradient(loss, *_pair(subject))
    refuse_unreached(trained, "call requires_grad_(False) on what is not to be trained, or leave it out")


def memory_layout_does_not_matter(subject: Subject) -> None:
    """With SR and HR in channels_last, as training has them by default, the loss is the same."""
    sr, hr = _pair(subject)
    plain = _value(_made(subject), sr, hr)
    other = _value(_made(subject), *(images.contiguous(memory_format=torch.channels_last) for images in (sr, hr)))
    if abs(plain - other) > SAME * abs(plain):
        fail(
            f"in channels_last it is {other:.4g}, not {plain:.4g}",
            "use reshape or permute, and no as_strided that takes a layout for granted",
        )


CHECKS = (
    Check(gives_a_scalar, first=True, demanded=True),
    Check(sr_gets_a_gradient, demanded=True),
    Check(same_seed_gives_same_loss),
    Check(gradient_is_finite_at_equality),
    Check(sr_may_leave_the_range),
    Check(hr_itself_is_best, needs=(same_seed_gives_same_loss,)),
    Check(reduction_is_as_stated, needs=(same_seed_gives_same_loss,)),
    Check(images_are_left_alone),
    Check(
        gradient_is_the_slope,
        needs=(
            sr_gets_a_gradient,
            same_seed_gives_same_loss,
            gradient_is_finite_at_equality,
            images_are_left_alone,
        ),
    ),
    Check(own_parameters_learn),
    Check(memory_layout_does_not_matter, needs=(same_seed_gives_same_loss,)),
)


class Extras(dict[str, Tensor]):
    """What a network returns beside SR, whatever its name: SR at half its size."""

    def __init__(self, sr: Tensor) -> None:
        super().__init__(half=F.avg_pool2d(sr, 2))

    def __missing__(self, name: str) -> Tensor:
        return self["half"]


class Given(nn.Module):
    """A loss that is given what it declares beside SR and HR."""

    def __init__(self, loss: Any, words: tuple[str, ...], step: int = 0) -> None:
        super().__init__()
        self.inner, self._words, self._step = loss, words, step
        self.reduction = getattr(loss, "reduction", None)

    def forward(self, sr: Tensor, hr: Tensor) -> Any:
        """Call the loss with an LR, extras, an average's SR and a step that are made of SR and HR."""
        found = {"lr": F.avg_pool2d(hr, 2), "extras": Extras(sr), "ema": (hr + blurred(hr, 3)) / 2, "step": self._step}
        try:
            return self.inner(sr, hr, **{word: found[word] for word in self._words})
        except Exception as error:
            if "extras" not in self._words:
                raise
            raise Inapplicable(f"it wants the extras of a network of its kind: {describe(error)}") from None


def _loss(subject: Subject) -> Any:
    """Return the loss, called as `loss(sr, hr)`."""
    made = subject.make(steps=100)
    words = named(made.forward if isinstance(made, nn.Module) else made, WORDS)
    return Given(made, words) if words else made


def side_of(subject: Subject) -> int:
    """Return the side of the images that it is shown: more than SIDE where it wants more."""
    least: int = subject.component.facts_of(subject.make(steps=100)).get("min_size", 1)
    return max(SIDE, least)


def _pair(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return SR and HR that differ by noise."""
    side = side_of(subject)
    hr = photographs(2, side, side)
    return hr + 0.05 * torch.randn_like(hr), hr


def _value(loss: Any, sr: Tensor, hr: Tensor) -> float:
    """Return the loss, of the same chance each time: it may draw from torch's, which a step seeds."""
    with chance(SEED):
        return float(torch.as_tensor(loss(sr, hr)).detach())


def _made(subject: Subject) -> Any:
    with chance(SEED):
        return _loss(subject)


def _slopes(subject: Subject, sr: Tensor, hr: Tensor, step: float) -> list[tuple[float, float]]:
    """Return (how the loss changes, what its gradient says), a unit, along some directions, kinks left out; none where
    the loss does not take the images' dtype."""

    def value(images: Tensor) -> float:
        return _value(_cast(_made(subject), sr.dtype), images, hr)

    rough = sr.dtype == torch.float32
    try:
        with chance(SEED):
            loss = _cast(_loss(subject), sr.dtype)
            gradient = _gradient(loss, sr, hr)
            if gradient is None or loss(sr, hr).dtype != sr.dtype:  # float32 within hides small changes
                return []
        steepest = gradient / gradient.abs().max().clamp(min=1e-30)
        directions = [steepest, *(torch.randn_like(sr) for _ in range(0 if rough else DIRECTIONS - 1))]
        found = []
        for direction in directions:
            changes = [
                (value(sr + reach * direction) - value(sr - reach * direction)) / (2 * reach)
                for reach in (step, step / 2, step / 3)  # which a kink, or rounding, tells apart
            ]
            if max(changes) - min(changes) < (0.5 if rough else SLOPE / 10) * max(map(abs, changes)):
                found.append((changes[0], float((gradient * direction).sum())))
        return found
    except (RuntimeError, TypeError, ValueError):  # of float64, which nobody trains with
        if rough:
            raise
        return []


def _cast(loss: Any, dtype: torch.dtype) -> Any:
    return loss.to(dtype) if isinstance(loss, nn.Module) else loss


def _gradient(loss: Any, sr: Tensor, hr: Tensor) -> Tensor | None:
    """Return SR's gradient, or None where none reaches it; the loss's parameters get theirs."""
    sr = sr.detach().clone().requires_grad_()
    value = loss(sr, hr)
    if value.requires_grad:
        value.backward()
    return sr.grad


def _refuse_infinite(loss: Any, sr: Tensor, hr: Tensor, where: str, instead: str) -> None:
    value = _value(loss, sr, hr)
    if not math.isfinite(value):
        fail(f"where {where} it is {value}", instead)
    gradients = {"SR": _gradient(loss, sr, hr)}
    if isinstance(loss, nn.Module):
        gradients |= {name: parameter.grad for name, parameter in loss.named_parameters()}
    for name, gradient in gradients.items():
        if gradient is not None and not bool(gradient.isfinite().all()):
            fail(f"where {where} the gradient of {name} is not finite", instead)
