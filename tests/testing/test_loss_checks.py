"""Each check of losses can fail: losses that break one promise each, and what is told of them."""

from __future__ import annotations

import re

import pytest

from srkit.testing import loss
from srkit.testing.check import Subject
from srkit.testing.running import results

KIND = "loss"
PLUGIN = """
import srkit
import torch
from torch import nn


class Good(nn.Module):
    reduction = "sum"

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, sr, hr):
        return ((sr - hr) * self.gain).abs().mean((1, 2, 3)).sum()


class Declared:
    def __call__(self, sr, hr, *, lr, extras, ema, step):
        outputs = [sr, *extras.values(), extras["flow"]]
        assert lr.shape[-1] < hr.shape[-1] and ema.shape == hr.shape and step == 0
        sides = [(x, nn.functional.adaptive_avg_pool2d(hr, x.shape[-2:])) for x in outputs]
        return torch.stack([l1(x, goal) for x, goal in sides]).mean()


class AttributeMean:
    reduction = "mean"

    def __call__(self, sr, hr):
        return (sr - hr).abs().sum()


def _large(sr, hr):
    if min(hr.shape[-2:]) < 100:
        raise ValueError(f"patches must be 100x100 at least, not {hr.shape[3]}x{hr.shape[2]}")
    return l1(sr, hr)


class AttributeLarge:
    min_size = 100

    def __call__(self, sr, hr):
        return _large(sr, hr)


class Adapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 3, 1)

    def forward(self, sr, hr, *, extras):
        return l1(self.conv(extras["features"]), hr)


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False, momentum=None)

    def forward(self, sr, hr):
        return l1(sr, hr) * (1 + self.norm(sr).abs()[0].mean())


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.margin = nn.Parameter(torch.zeros(3))


class Root(Good):
    def forward(self, sr, hr):
        root = ((sr - hr).detach() * self.gain).square().sum((1, 2, 3)).sqrt()
        return super().forward(sr, hr) + root.sum()


def l1(sr, hr):
    return (sr - hr).abs().mean()


def _clamps_hr(sr, hr):
    return l1(sr, hr.clamp_(0.25, 0.75))


def _clamps_sr(sr, hr):
    sr.data.clamp_(0.25, 0.75)
    return l1(sr, hr)


def _broken(sr, hr):
    return l1(sr, hr) + ((sr - hr) * 0).sqrt().mean()


def by_chance(sr, hr):
    return l1(sr, hr) * (1 + torch.rand(1)[0])


LOSSES = {
    "good": Good,
    "drawn": lambda: by_chance,
    "a_float": lambda: lambda sr, hr: l1(sr, hr).item(),
    "for_each": lambda: lambda sr, hr: (sr - hr).abs().mean((1, 2, 3)),
    "nan": lambda: lambda sr, hr: l1(sr, hr) * float("nan"),
    "detached": lambda: lambda sr, hr: l1(sr.detach(), hr),
    "flat": lambda: lambda sr, hr: (sr - hr).abs().round().mean(),
    "broken": lambda: _broken,
    "root": lambda: lambda sr, hr: (sr - hr).square().sum(1).sqrt().mean(),
    "ratio": lambda: lambda sr, hr: ((sr - hr).abs().mean((1, 2, 3)) / hr.mean((1, 2, 3))).mean(),
    "root_of_own": Root,
    "gamma": lambda: lambda sr, hr: l1((sr + 0.01).sqrt(), (hr + 0.01).sqrt()),
    "smooth": lambda: lambda sr, hr: sr.diff(dim=3).abs().mean(),
    "sum": lambda: lambda sr, hr: (sr - hr).abs().sum(),
    "attribute_mean": AttributeMean,
    "stated_sum": lambda: l1,
    "attribute_large": AttributeLarge,
    "declared": Declared,
    "stated_large": lambda: _large,
    "large": lambda: _large,
    "adapter": Adapter,
    "normalised": Normalised,
    "worst": lambda: lambda sr, hr: (sr - hr).abs().mean((1, 2, 3)).max(),
    "clamps_hr": lambda: _clamps_hr,
    "clamps_sr": lambda: _clamps_sr,
    "trains_hr": lambda: lambda sr, hr: l1(sr, hr.requires_grad_()),
    "unused": Unused,
    "layout": lambda: lambda sr, hr: l1(sr, hr) * (2 if sr.stride(1) == 1 else 1),
}
globals().update(LOSSES)


class Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, gradient):
        return -2 * ctx.saved_tensors[0] * gradient


class InFloat32(nn.Module):  # whatever it is given, as a network within a function does
    def forward(self, sr, hr):
        return Backwards.apply((sr.float() - hr.float())).mean()


def backwards():
    return lambda sr, hr: Backwards.apply(sr - hr).mean()


def halved():
    return lambda sr, hr: (sr - hr).square().mean() + (sr.detach() - hr).square().mean()


def another():
    import os

    gain = 1 + int.from_bytes(os.urandom(4), "big") / 2**32
    return lambda sr, hr: gain * l1(sr, hr) * (1 + int.from_bytes(os.urandom(4), "big") / 2**32)


def exactly_float32():
    return lambda sr, hr: (sr.float() - hr.float()).square().mean().double()


MORE = {"backwards": backwards, "in_float32": InFloat32, "halved": halved, "another": another}
MORE["exactly_float32"] = exactly_float32
globals().update(MORE)


@srkit.hookimpl
def srkit_components():
    for name in (*LOSSES, *MORE):
        facts = {"stated_sum": {"reduction": "sum"}, "stated_large": {"min_size": 100}}.get(name, {})
        yield srkit.Component("loss", name, f"{__name__}:{name}", summary="a difference", facts=facts)
"""

ZERO = "add a small number before a root, a division or a logarithm"
PARTS = "take it of each image, then the mean over the batch; a batch trained in parts has no other"
SIGN = "let backward() be the derivative of forward(): look at its sign, and at what is detached"
BROKEN = {
    "detached": (
        loss.sr_gets_a_gradient,
        "no gradient reaches SR",
        "compute with torch alone, without detach(), no_grad() or numpy on the way",
    ),
    "flat": (
        loss.sr_gets_a_gradient,
        "the gradient of SR is zero all over",
        "compute with what has a slope: round(), sign() and > have none",
    ),
    "root": (loss.gradient_is_finite_at_equality, "where SR equals HR the gradient of SR is not finite", ZERO),
    "root_of_own": (loss.gradient_is_finite_at_equality, "where SR equals HR the gradient of gain is not finite", ZERO),
    "ratio": (loss.gradient_is_finite_at_equality, "where SR and HR are black it is nan", ZERO),
    "gamma": (
        loss.sr_may_leave_the_range,
        "where SR goes beyond 0..1 it is nan",
        "take no root, power or logarithm of SR itself",
    ),
    "smooth": (
        loss.hr_itself_is_best,
        "HR blurred has the loss 0.009769, HR itself 0.02608",
        "let it grow with the difference; state the deviation where it is to be added to a loss that does",
    ),
    "sum": (
        loss.reduction_is_as_stated,
        "it is a sum over the batch, and counts as a mean",
        'state it: facts={"reduction": "sum"}',
    ),
    "stated_sum": (
        loss.reduction_is_as_stated,
        "it is a mean over the batch, and counts as a sum",
        'state it: facts={"reduction": "mean"}',
    ),
    "attribute_mean": (
        loss.reduction_is_as_stated,
        "it is a sum over the batch, and counts as a mean",
        'let its attribute `reduction` be "sum"',
    ),
    "worst": (
        loss.reduction_is_as_stated,
        "of two images with the losses 0.00799 and 0.03199, the batch has 0.03199: neither their mean nor their sum",
        PARTS,
    ),
    "halved": (
        loss.gradient_is_the_slope,
        "moved along a direction, the loss changes by 0.04624 a unit, and its gradient says 0.02312",
        SIGN,
    ),
    "backwards": (
        loss.gradient_is_the_slope,
        "moved along a direction, the loss changes by -0.02312 a unit, and its gradient says 0.02312",
        SIGN,
    ),
    "in_float32": (
        loss.gradient_is_the_slope,
        "moved along a direction, the loss changes by -0.02312 a unit, and its gradient says 0.02312",
        SIGN,
    ),
    "clamps_hr": (
        loss.images_are_left_alone,
        "it changes HR",
        "take no in-place operation (sub_, -=, clamp_) on the images themselves",
    ),
    "clamps_sr": (
        loss.images_are_left_alone,
        "it changes SR",
        "take no in-place operation (sub_, -=, clamp_) on the images themselves",
    ),
    "trains_hr": (
        loss.images_are_left_alone,
        "it asks for a gradient of HR",
        "leave out requires_grad_(); HR is the goal, and is not trained",
    ),
    "unused": (
        loss.own_parameters_learn,
        "no gradient reaches margin",
        "call requires_grad_(False) on what is not to be trained, or leave it out",
    ),
    "layout": (
        loss.memory_layout_does_not_matter,
        "in channels_last it is 0.07993, not 0.03997",
        "use reshape or permute, and no as_strided that takes a layout for granted",
    ),
}
NOT_CALLED = {
    "a_float": ("it returns a float", "return a tensor: without float() or item(), which end gradients"),
    "for_each": ("it returns a tensor [2]", "return one value for the batch: mean() or sum()"),
    "nan": ("its value is nan", "look at divisions by zero, and at logarithms of it"),
}


@pytest.mark.parametrize("name", ["good", "drawn", "exactly_float32", "attribute_large", "stated_large", "declared"])
def test_a_loss_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_its_own_check_alone(failures, name):
    check, found, instead = BROKEN[name]
    assert failures(name) == {check.__name__: (found, instead)}


@pytest.mark.parametrize("name", NOT_CALLED)
def test_a_loss_that_gives_no_scalar_fails_the_first_check(failures, name):
    assert failures(name)["gives_a_scalar"] == NOT_CALLED[name]


def test_a_loss_that_does_not_state_how_large_patches_must_be_fails_on_those_that_it_is_shown(failures):
    found, _ = failures("large")["gives_a_scalar"]
    assert found.startswith("it raises ValueError: patches must be 100x100 at least, not 64x64 (")


def test_a_loss_of_extras_that_the_checks_cannot_make_is_skipped(registry):
    found = list(results(Subject(registry.find("loss", "adapter"), registry)))
    assert [result.check.name for result in found if result.outcome == "failed"] == []
    scalar = next(result for result in found if result.check.name == "gives_a_scalar")
    assert scalar.outcome == "skipped"
    assert scalar.found.startswith("it wants the extras of a network of its kind: RuntimeError: Given groups=1")


def test_a_loss_that_normalises_over_the_batch_is_told_so(failures):
    assert failures("normalised")["reduction_is_as_stated"][1] == (
        "its batch normalisation mixes the images of a batch: state the deviation, or use another normalisation"
    )


def test_a_loss_without_parameters_is_not_asked_for_their_gradients(registry):
    found = {result.check.name: result for result in results(Subject(registry.find("loss", "l1"), registry))}
    skipped = found["own_parameters_learn"]
    assert (skipped.outcome, skipped.found) == ("skipped", "it has no parameters to train")


def test_each_check_of_losses_is_seen_to_fail():
    seen = {loss.gives_a_scalar, loss.same_seed_gives_same_loss, *(check for check, *_ in BROKEN.values())}
    assert {check.run for check in loss.CHECKS} == seen


def test_a_loss_that_changes_from_call_to_call_is_told_that_and_nothing_of_layouts(registry):
    subject = Subject(registry.find("loss", "another"), registry)
    found = {result.check.name: result for result in results(subject)}
    failed = found["same_seed_gives_same_loss"]
    assert failed.outcome == "failed"
    assert re.fullmatch(r"with the same seed it is 0\.\d+, then 0\.\d+: it is not deterministic", failed.found)
    assert failed.instead == (
        "draw from torch's generator alone, which srkit seeds at every step, and keep nothing in a global"
    )
    others = {result.found for name, result in found.items() if result.outcome == "failed"} - {failed.found}
    assert others == set()
    assert found["memory_layout_does_not_matter"].found == "not run: same_seed_gives_same_loss failed"
