"""What a detector of networks must do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from srkit.engine.networks.meta import sketch
from srkit.errors import ComponentError, describe
from srkit.plugin.contracts import Detected
from srkit.testing.check import Check, Inapplicable, Subject, fail

Weights = dict[str, Tensor]

NETWORKS = 4  # how many of the networks that came with a detector it is asked for
MOST = 10_000_000  # values of one of them
# What no network is of.
STRANGE: Mapping[str, tuple[str, ...]] = {
    "no weights": (),
    "one strange tensor": ("nobody.knows.this",),
    "tensors whose names are numbers": ("0", "1.2"),
}


def strange_weights_are_none(subject: Subject) -> None:
    """Of weights that are of no network (none at all, a single strange tensor) it says None, and raises nothing."""
    detector = subject.make()
    for what, names in STRANGE.items():
        try:
            found = detector({name: torch.zeros(1) for name in names})
        except Exception as error:
            fail(f"for {what} it raises {describe(error)}", "return None where a name that you look for is not there")
        if found is not None:
            fail(f"for {what} it gives {found!r}", "return None unless all names and shapes fit a network")


def answer_fits_the_weights(subject: Subject) -> None:
    """Of the networks that came with it (four of them, with their defaults), it says None, or a Detected whose network
    has these weights."""
    detector = subject.make()
    for name, weights in _own_networks(subject).items():
        found = detector(dict(weights))
        if found is None:
            continue
        if not isinstance(found, Detected):
            fail(f"for the weights of '{name}' it gives a {type(found).__name__}", "return srkit.Detected, or None")
        if _shapes(_made(subject, found)) != {key: tensor.shape for key, tensor in weights.items()}:
            fail(
                f"for the weights of '{name}' it gives {found!r}, whose network has other tensors",
                "read settings and scale out of the shapes, and return None where they do not fit",
            )


def weights_are_left_alone(subject: Subject) -> None:
    """The weights are left alone: no name is taken away, and no tensor is changed."""
    detector = subject.make()
    for what, weights in _examples(subject).items():
        before = {name: tensor.clone() for name, tensor in weights.items()}
        with contextlib.suppress(Exception):  # that is another check's
            detector(weights)
        same = list(weights) == list(before) and all(torch.equal(weights[name], before[name]) for name in before)
        if not same:
            fail(f"it changes the weights ({what})", "work on a copy: dict(weights)")


def same_weights_same_answer(subject: Subject) -> None:
    """Asked twice of the same weights, it says the same."""
    detector = subject.make()
    for what, weights in _examples(subject).items():
        try:
            first, second = (detector(dict(weights)) for _ in range(2))
        except Exception as error:
            raise Inapplicable(f"it raises {describe(error)}") from None  # that is another check's
        if first != second:
            fail(f"asked twice ({what}), it gives {first!r} and then {second!r}", "keep nothing from call to call")


CHECKS = (
    Check(strange_weights_are_none),
    Check(answer_fits_the_weights),
    Check(weights_are_left_alone),
    Check(same_weights_same_answer),
)


def _examples(subject: Subject) -> dict[str, Weights]:
    """Return weights by what they are."""
    strange = {what: {name: torch.zeros(1) for name in names} for what, names in STRANGE.items()}
    return strange | {f"those of '{name}'": weights for name, weights in _own_networks(subject).items()}


def _own_networks(subject: Subject) -> dict[str, Weights]:
    """Return zeros for the weights of networks from the detector's own distribution or file: values tell nothing."""
    found: dict[str, Weights] = {}
    for entry in subject.registry.of_kind("architecture"):
        if entry.origin != subject.entry.origin or entry.component.missing or len(found) == NETWORKS:
            continue
        with contextlib.suppress(Exception):  # one that needs settings, or is broken, is no example
            made = _made(subject, Detected(entry.full_name, {}, _scale(entry.component.facts)))
            shapes = _shapes(made)
            if 0 < sum(map(torch.Size.numel, shapes.values())) <= MOST:
                found[entry.component.name] = {name: torch.zeros(shape) for name, shape in shapes.items()}
    return found


def _scale(facts: Mapping[str, object]) -> int:
    scales = facts.get("scales")
    return int((*scales, 2)[0]) if isinstance(scales, tuple | list) else 2


def _made(subject: Subject, found: Detected) -> nn.Module | None:
    """Return the network of a description, without memory; None where there is none such."""

    def create() -> nn.Module:
        made: nn.Module = subject.registry.create(
            "architecture", found.architecture, scale=found.scale, **found.settings
        )
        return made

    try:
        return sketch(create) or create()
    except (ComponentError, TypeError, ValueError):
        return None


def _shapes(network: nn.Module | None) -> dict[str, torch.Size]:
    return {} if network is None else {name: tensor.shape for name, tensor in network.state_dict().items()}
