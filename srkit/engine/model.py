"""A network and the file that describes it: safetensors with the architecture, settings and scale in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from srkit import files
from srkit.component import describe
from srkit.engine.transfer import load_weights
from srkit.errors import ComponentError, InputRejected, UsageError
from srkit.registry import Registry

WRAPPERS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "netG.", "_orig_mod.")


@attrs.frozen
class Model:
    """A network, ready to use, and what its file says of it."""

    network: nn.Module
    architecture: str
    settings: Mapping[str, Any]
    scale: int
    metadata: Mapping[str, Any]


def save_model(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a bare state dict with its description, whole or not at all. Raises OSError."""
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in weights.items()}
    # One key alone: safetensors writes several in no fixed order, and the same run is to give the same bytes.
    described = {"srkit": json.dumps(files.finite(metadata), sort_keys=True)}
    files.write_file(path, safetensors.torch.save(tensors, described))


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what a safetensors file says of its network, or None where it says nothing. Raises InputRejected."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("srkit")
        return None if text is None else dict(json.loads(text))
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, ValueError, TypeError) as error:
        raise InputRejected(path, f"is no whole safetensors file: {error}") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .pt, .pth or .ckpt file by name, the usual wrappers and prefixes taken off.

    Pickles are read by torch's restricted reader alone. Raises InputRejected for anything but a file of tensors.
    """
    if not path.is_file():
        raise InputRejected(path, "is a folder" if path.is_dir() else "there is no such file")
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or cut file makes torch raise almost anything
        reason = describe(error).partition(". ")[0]
        raise InputRejected(path, f"holds no weights that can be read: {reason}") from None
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
            break
    tensors = isinstance(found, dict) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in found.items())
    if not tensors or not found:
        raise InputRejected(path, "holds something other than a state dict of tensors")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return dict(found)


def read_model(
    path: Path,
    registry: Registry,
    *,
    architecture: str | None = None,
    scale: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Return the network of a file, in eval mode on the CPU.

    A self-describing file needs nothing else; other weights need the architecture, its scale and settings.
    Raises InputRejected for the file, UsageError where something must be said, ComponentError for the architecture.
    """
    if path.is_dir() and (path / "best.safetensors").is_file():
        path = path / "best.safetensors"  # a run directory
    if not path.is_file():
        raise InputRejected(path, "is a folder without best.safetensors" if path.is_dir() else "there is no such file")
    described = read_metadata(path) if path.suffix == ".safetensors" else None
    if described is not None:
        try:
            own, own_settings, own_scale = (
                str(described["architecture"]),
                dict(described["settings"]),
                int(described["scale"]),
            )
        except (KeyError, TypeError, ValueError):
            raise InputRejected(path, "its description lacks the architecture, the settings or the scale") from None
        if scale not in (None, own_scale):
            raise UsageError(f"{path} is a network for scale {own_scale}, not {scale}")
        scale = own_scale
        if architecture is None:
            architecture, settings = own, own_settings
    if architecture is None:
        raise UsageError(f"{path} does not say what network it holds; give --architecture NAME and --scale N")
    if scale is None:
        raise UsageError(f"{path} does not say its scale, which weights alone do not tell; give --scale N")
    try:
        network = registry.create("architecture", architecture, scale=scale, **(settings or {}))
    except ComponentError as error:
        maker = str((described or {}).get("distribution", ""))
        hint = f"; it was made with {maker}" + (f": add -p {maker}" if maker.endswith(".py") else "") if maker else ""
        raise ComponentError(f"{path}: {error}{hint}") from None
    except ValueError as error:
        raise UsageError(f"architecture '{architecture}': {error}") from None
    # A model is whole: nothing of it may be new.
    load_weights(network, read_weights(path), path, f"'{architecture}' at scale {scale}", fresh=None)
    return Model(network.eval(), architecture, dict(settings or {}), scale, described or {})
