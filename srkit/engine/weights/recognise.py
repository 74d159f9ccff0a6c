"""Which network bare weights are of, where a file does not say it: by words, detectors, shapes and the file's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor, nn

from srkit.engine.builder import Builder
from srkit.engine.networks.calling import takes_size
from srkit.engine.networks.meta import sketch_or_make
from srkit.engine.weights.transfer import plan
from srkit.errors import InputRejected, UsageError
from srkit.plugin.component import making
from srkit.plugin.contracts import Detected

SCALES = (2, 3, 4)  # what is tried for an architecture that is made for any


@attrs.frozen
class Description:
    """What must be known of weights to make their network."""

    architecture: str
    settings: Mapping[str, Any]
    scale: int

    def line(self) -> str:
        """Return "'a2n' at scale 4"."""
        return f"'{self.architecture}' at scale {self.scale}"


def recognise(
    path: Path,
    builder: Builder,
    weights: Mapping[str, Tensor],
    architecture: str | None,
    settings: Mapping[str, Any],
    scale: int | None,
) -> tuple[Description, str]:
    """Return what weights are, and a line on what was concluded and not said, or nothing.

    Raises UsageError where something must be said, InputRejected where the file fits none of the scales.
    """
    if architecture is None:
        found = _detected(path, builder, weights, scale)
        description = Description(found.architecture, dict(found.settings), found.scale)
        return description, f"{path} is a network {description.line()}, by its tensors"
    if scale is not None:
        return Description(architecture, dict(settings), scale), ""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    own = {s: _shapes(builder, architecture, settings, s) for s in _scales(builder, architecture)}
    fitting = [s for s in own if own[s] == shapes]
    alike = " and ".join(f"x{s}" for s in fitting)
    if len(fitting) == 1:
        return Description(architecture, dict(settings), fitting[0]), f"{path} is for scale {fitting[0]}, by its shapes"
    if fitting and _takes_size(builder, architecture, settings, fitting[0]):
        note = f"{path} is for several scales, {alike} among them; --scale N says which, and x{fitting[0]} is taken"
        return Description(architecture, dict(settings), fitting[0]), note
    named = [s for s in fitting if s in _in_name(path)]
    if len(named) == 1:
        note = f"{path} is taken for scale {named[0]}, after its name: weights of {alike} have the same shapes"
        return Description(architecture, dict(settings), named[0]), f"{note}; --scale N says otherwise"
    if not fitting:
        _refuse(path, architecture, weights, shapes, {s: found for s, found in own.items() if found is not None})
        tried = ", ".join(map(str, own))
        what = f"fits '{architecture}' with these settings at none of the scales {tried}"
        raise InputRejected(path, f"{what}; --scale N says what does not fit")
    more = f": those of {alike} have the same shapes"
    raise UsageError(f"{path} does not say its scale, which weights alone do not tell{more}; give --scale N")


def _detected(path: Path, builder: Builder, weights: Mapping[str, Tensor], scale: int | None) -> Detected:
    found: dict[str, Detected] = {}
    for entry in builder.registry.of_kind("detector"):
        if entry.component.missing:
            continue
        with making(entry.component):
            detected = builder.registry.create("detector", entry.full_name)(weights)
        if detected is not None and scale in (None, detected.scale):
            found[entry.component.name] = detected
    if len(found) > 1:
        by = "; ".join(f"{name}: '{one.architecture}' at scale {one.scale}" for name, one in found.items())
        raise UsageError(f"{path} may hold several networks ({by}); give --architecture NAME and --scale N")
    if not found:
        raise UsageError(f"{path} does not say what network it holds; give --architecture NAME and --scale N")
    return next(iter(found.values()))


def _scales(builder: Builder, architecture: str) -> tuple[int, ...]:
    return tuple(builder.registry.find("architecture", architecture).component.facts.get("scales", SCALES))


def _shapes(
    builder: Builder, architecture: str, settings: Mapping[str, Any], scale: int
) -> dict[str, tuple[int, ...]] | None:
    """Return the names and shapes of a network's tensors, or None where it cannot be made at a scale."""
    try:
        own = _sketched(builder, architecture, settings, scale)
    except MemoryError:
        raise
    except (Exception, SystemExit):  # reported later
        return None
    return {name: tuple(tensor.shape) for name, tensor in own.state_dict().items()}


def _takes_size(builder: Builder, architecture: str, settings: Mapping[str, Any], scale: int) -> bool:
    return takes_size(_sketched(builder, architecture, settings, scale))


def _sketched(builder: Builder, architecture: str, settings: Mapping[str, Any], scale: int) -> nn.Module:
    return sketch_or_make(lambda: builder.network_of(architecture, settings, scale))


def _refuse(
    path: Path,
    architecture: str,
    weights: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    own: Mapping[int, Mapping[str, tuple[int, ...]]],
) -> None:
    """Raise InputRejected with what does not fit at the scale that is nearest; return where there is none to try."""
    if not own:
        return
    scale = max(own, key=lambda s: (len(own[s].items() & shapes.items()), s in _in_name(path)))
    try:
        what = Description(architecture, {}, scale).line()
        plan(own[scale], shapes, path, what, fresh=None, others=getattr(weights, "others", None))
    except InputRejected as error:
        tried = " and ".join(str(s) for s in own if s != scale)
        more = [f"  scale {scale} was taken as the nearest; it does not fit at {tried} either"] if tried else []
        raise InputRejected(path, "\n".join([error.reason, *more])) from None


def _in_name(path: Path) -> set[int]:
    """Return the scales that a file's name speaks of: "aan_x2.pt", "4x_net.pth"."""
    words = re.findall(r"(?<![a-z0-9])(?:x([1-9])|([1-9])x)(?![a-z0-9])", path.stem.lower())
    return {int(before or after) for before, after in words}
