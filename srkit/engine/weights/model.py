"""A network and the file that describes it: safetensors with the architecture, settings and scale in its metadata."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shlex
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
import safetensors.torch
from torch import Tensor, nn

from srkit import files
from srkit.engine.builder import Builder
from srkit.engine.networks.calling import scales_of, takes_size
from srkit.engine.networks.meta import TooManyParts, at_most, sketch
from srkit.engine.weights.reading import Weights, digest, read_metadata, read_weights
from srkit.engine.weights.recognise import Description, recognise
from srkit.engine.weights.transfer import Transfer, load_weights, plan
from srkit.errors import ComponentError, InputRejected, SrkitError, UsageError, describe, located, nearest
from srkit.plugin.component import Component
from srkit.plugin.part import as_tree
from srkit.plugin.registry import Registry
from srkit.runs.history import RECIPE

# Parts (modules, parameters, buffers) of a network: as many for each tensor of its file, and some without any.
PARTS, PARTS_EACH = 20_000, 20
MOST_RUNS = 5  # that a message lists
RUNS = "runs"  # where `srkit run` puts them
BESIDE = (".bin", ".json")  # which exporters write beside a file: its weights, and what it says


@attrs.frozen
class Reading:
    """How a network's weights were read: the file, what was taken off to reach them, and what was matched.

    `cast` counts the tensors by (dtype in the file, dtype in the network) where these differ: ("float16", "float32").
    `note` is a line on what was concluded and not said.
    """

    path: Path
    wrapper: str
    prefix: str
    taken: Transfer
    cast: Mapping[tuple[str, str], int]
    note: str = ""


@attrs.frozen
class Model:
    """A network, ready to use, and what its file says of it.

    `scale` is the one asked for, or else what it was `made_for`.
    """

    network: nn.Module
    architecture: str
    settings: Mapping[str, Any]
    scale: float
    made_for: int
    metadata: Mapping[str, Any]
    reading: Reading
    component: Component

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of its network."""
        return self.component.facts_of(self.network)


def model_bytes(weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Return the model file of a bare state dict with its description, and a sha256 of both."""
    # Copies: safetensors takes no tensor under two names.
    tensors = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in weights.items()}
    said = json.loads(json.dumps(files.finite(metadata)))  # as it will be read
    said["sha256"] = digest(tensors, said)
    # One key alone: safetensors writes several in no fixed order, and the same run is to give the same bytes.
    return safetensors.torch.save(tensors, {"srkit": json.dumps(said, sort_keys=True)})


def save_model(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a bare state dict with its description, whole or not at all. Raises OSError."""
    files.write_file(path, model_bytes(weights, metadata))


def step_of(path: Path) -> int:
    """Return the step at which a run wrote a file, or -1 where there is none that says so."""
    try:
        return int((read_metadata(path) or {})["step"])
    except (InputRejected, KeyError, TypeError, ValueError):
        return -1


def is_whole(path: Path) -> bool:
    """Say whether a file is a model as it was written: its sha256 is right, and no tensor holds NaN.

    Of a file of srkit 0.1, which has no sha256, it says whether it can be read.
    """
    try:
        return read_metadata(path) is not None and len(read_weights(path)) > 0
    except InputRejected:
        return False


def read_model(
    path: Path,
    builder: Builder,
    *,
    architecture: str | None = None,
    scale: float | None = None,
    settings: Mapping[str, Any] | None = None,
    said: Collection[str] = (),
    key: str = "",
) -> Model:
    """Return the network of a file, or of a run directory, in eval mode on the CPU.

    A self-describing file needs nothing else, and words must agree with it: of the settings those that were `said`.
    Other weights need the architecture, its scale and settings, as far as they do not show it; what was concluded is
    the reading's note. A scale is one that the network serves, or where weights fit any, the one that it is made with.
    `key` as in `read_weights`.
    Raises InputRejected for the file, UsageError where something must be said, ComponentError for the architecture.
    """
    if path.is_dir() and (path / "best.safetensors").is_file():
        path = path / "best.safetensors"  # a run directory
    if not path.is_file():
        raise InputRejected(path, _of_export(path, builder.registry) or _without_best(path))
    metadata = read_metadata(path) if path.suffix == ".safetensors" else None
    try:
        weights = read_weights(path, key=key)
    except InputRejected as error:
        told = _of_export(path, builder.registry)
        if not told:
            raise
        raise InputRejected(path, told) from error
    note = ""
    if metadata is None and architecture is None and (path.parent / "progress.json").is_file():
        text = "is a part of a checkpoint, which does not say what it holds; give the run's directory, or its"
        raise InputRejected(path, f"{text} best.safetensors or last.safetensors, which do")
    if metadata is None:
        made_for = None if scale is None else math.ceil(scale)
        description, note = recognise(path, builder, weights, architecture, settings or {}, made_for)
    else:
        description = _own(path, metadata)
        _refuse_other_settings(path, description, settings or {}, said)
        description = _refuse_other_network(path, builder, description, architecture, scale)
    network = _make(path, builder, description, weights, metadata)
    _refuse_other_scale(path, builder, description, network, scale)
    # A model is whole: nothing of it may be new.
    taken = load_weights(network, weights, path, description.line(), fresh=None)
    reading = Reading(path, weights.wrapper, weights.prefix, taken, _cast(weights, network.state_dict()), note)
    return Model(
        network.eval(),
        description.architecture,
        description.settings,
        scale or description.scale,
        description.scale,
        metadata or {},
        reading,
        builder.registry.find("architecture", description.architecture).component,
    )


def no_model(path: Path, what: str = "file or run directory") -> str:
    """Return what is said of a path where nothing is, with the run that is probably meant."""
    run = near_run(path)
    return f"there is no such {what}" + (f"; did you mean {run}?" if run else "")


def near_run(path: Path) -> Path | None:
    """Return the run that a path where nothing is probably means, by its path or its name; None where none is near."""
    runs = _runs_in(Path(RUNS))
    names = {**{home.name: home for home in runs}, **{str(home): home for home in runs}}
    near = nearest(str(path), names)
    return None if near is None else names[near]


def _runs_in(folder: Path) -> list[Path]:
    """Return the run directories of a folder."""
    with contextlib.suppress(OSError):
        return sorted(home for home in folder.iterdir() if (home / RECIPE).is_file())
    return []


def _without_best(path: Path) -> str:
    """Return what is said of what is no file."""
    if not path.exists():
        return no_model(path)
    if not path.is_dir():
        return "is no file"
    if not (path / RECIPE).is_file():
        runs = [str(home) for home in _runs_in(path)]
        more = f" and {len(runs) - MOST_RUNS} more" if len(runs) > MOST_RUNS else ""
        some = ", ".join(runs[:MOST_RUNS]) + more
        return f"holds runs: {some}; give one of them" if runs else "is a folder without best.safetensors"
    text = "is a run that has no best.safetensors yet: it was stopped before its first validation"
    command = shlex.join(["srkit", "run", str(path / RECIPE), "--out", str(path)])
    return f"{text}; to continue it: {command}"


def _of_export(path: Path, registry: Registry) -> str:
    """Return what is said of a file that an exporter wrote, or that stands beside one; "" for any other."""
    suffixes = {str(entry.component.facts.get("suffix", "")) for entry in registry.of_kind("exporter")} - {""}
    if path.exists() and path.suffix in suffixes:
        return "is an exported file; give the run or the model file that it was made from"
    if path.suffix in BESIDE and path.is_file():
        for whole in sorted(path.with_suffix(suffix) for suffix in suffixes):
            if whole.exists():
                return f"belongs to {whole.name}: give that"
    return ""


def description(builder: Builder, architecture: str, settings: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """Return what a file must say of its network, by the name that a recipe gives it."""
    entry = builder.registry.find("architecture", architecture)
    return {
        "format": 1,
        "architecture": entry.full_name if ":" in architecture else entry.component.name,
        "settings": as_tree(settings),
        "scale": scale,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
    }


def describe_converted(model: Model, builder: Builder) -> dict[str, Any]:
    """Return the description of a model that is written again: what its file said, and which file that was.

    Raises OSError where the file cannot be read any more.
    """
    with open(model.reading.path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        **model.metadata,
        **description(builder, model.architecture, model.settings, model.made_for),
        "converted_from": {"file": model.reading.path.name, "sha256": sha256},
    }


def _own(path: Path, metadata: Mapping[str, Any]) -> Description:
    """Return the description that a file gives of itself."""
    try:
        return Description(str(metadata["architecture"]), dict(metadata["settings"]), int(metadata["scale"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputRejected(path, "its description lacks the architecture, the settings or the scale") from None


def _refuse_other_network(
    path: Path, builder: Builder, own: Description, architecture: str | None, scale: float | None
) -> Description:
    """Return a file's own description, the network by the name that was said, which tells two of one name apart, and
    the scale that was said where weights fit any.

    Raises UsageError where the words are of another network.
    """
    with contextlib.suppress(ComponentError):
        facts = builder.registry.find("architecture", own.architecture).component.facts
        if scale is not None and scale == int(scale) and facts.get("weights_fit_any_scale"):
            if scale not in facts.get("scales", (scale,)):
                offered = ", ".join(map(str, facts["scales"]))
                raise UsageError(f"architecture '{own.architecture}' has scales {offered}, not {scale}")
            own = attrs.evolve(own, scale=int(scale))
    if architecture is None:
        return own
    meant = builder.registry.find("architecture", architecture)
    with contextlib.suppress(ComponentError):
        if builder.registry.find("architecture", own.architecture) is not meant:
            raise UsageError(f"{path} is a network '{own.architecture}', not '{architecture}'")
    return attrs.evolve(own, architecture=architecture)


def _refuse_other_scale(
    path: Path, builder: Builder, description: Description, network: nn.Module, scale: float | None
) -> None:
    """Raise UsageError where a network does not serve the scale that was said."""
    facts = builder.registry.find("architecture", description.architecture).component.facts_of(network)
    served = scales_of(network, facts, description.scale)
    fault = "" if scale is None else served.fault(scale)
    if fault and takes_size(network):
        raise UsageError(f"{path} is a network '{description.architecture}', which {fault}")
    if fault:
        raise UsageError(f"{path} is a network for scale {description.scale}, not {scale}{served.hint}")


def _refuse_other_settings(path: Path, own: Description, settings: Mapping[str, Any], said: Collection[str]) -> None:
    for name in said:
        ours, theirs = (json.loads(json.dumps(as_tree(s.get(name)), default=str)) for s in (settings, own.settings))
        if ours != theirs:
            raise UsageError(f"{path} is a network with {name} = {json.dumps(theirs)}, not {json.dumps(ours)}")


def _make(
    path: Path,
    builder: Builder,
    description: Description,
    weights: Weights,
    metadata: Mapping[str, Any] | None,
) -> nn.Module:
    """Return the network of a description, once weights of these shapes are known to fit it.

    Raises InputRejected, UsageError and ComponentError as `read_model` does.
    """

    def create() -> nn.Module:
        return builder.network_of(description.architecture, description.settings, description.scale)

    try:
        # Neither more memory nor more time is taken than its weights need, by a file that claims any size.
        with at_most(PARTS + PARTS_EACH * len(weights)):
            sketched = sketch(create)
            if sketched is not None:
                own, found = ({n: t.shape for n, t in tensors.items()} for tensors in (sketched.state_dict(), weights))
                plan(own, found, path, description.line(), fresh=None, others=weights.others)
            return create()
    except TooManyParts:
        tensors = "tensor" if len(weights) == 1 else "tensors"
        reason = f"describes a network of far more parts than its {len(weights)} {tensors}"
        raise InputRejected(path, f"{reason}: {description.line()}") from None
    except ComponentError as error:
        maker = str((metadata or {}).get("distribution", ""))
        hint = f"; it was made with {maker}" + (f": add -p {maker}" if maker.endswith(".py") else "") if maker else ""
        raise ComponentError(f"{path}: {error}{hint}") from None
    except (MemoryError, SrkitError):
        raise
    except (Exception, SystemExit) as error:  # of a plugin's constructor
        if metadata is not None:
            what = f"its description makes no network of '{description.architecture}'"
            raise InputRejected(path, f"{what}: {describe(error)}") from error
        if isinstance(error, ValueError):
            raise UsageError(f"architecture '{description.architecture}': {error}") from None
        raise UsageError(f"architecture {description.line()} cannot be made: {located(error)}") from error


def _cast(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[tuple[str, str], int]:
    pairs = Counter((_dtype(weights[name]), _dtype(own[name])) for name in own)
    return {(found, made): count for (found, made), count in pairs.items() if found != made}


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
