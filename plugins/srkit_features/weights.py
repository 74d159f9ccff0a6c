"""Files of weights, and those whose names carry the beginning of their sha256."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def fill(module: nn.Module, network: str, path: Path) -> None:
    """Give a module, which may be on the device "meta", the weights of a file, as `read_weights` reads it; frozen.

    What else is in the file is left out. Raises ValueError, one line, for a file that is absent, damaged or of another
    network than the one that is named.
    """
    found, wanted = read_weights(path), module.state_dict()
    refuse_other(path, network, wanted, found)
    module.load_state_dict({name: found[name].float().contiguous() for name in wanted}, assign=True)
    module.requires_grad_(False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file like `vgg19-dcbb9e9d.pth`; code in the file is not run.

    Raises ValueError, one line that names the file, where it is not there, where its name does not carry the first
    eight digits of its sha256, and where there is no state dict in it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of weights")
    named = re.search(r"-([0-9a-f]{8})\.\w+$", path.name)
    if named is None:
        raise ValueError(
            f"{path}: the name of a file of weights must end with the first eight digits of its sha256, as that of "
            "vgg19-dcbb9e9d.pth does"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(named[1]):
        raise ValueError(
            f"{path}: its sha256 begins with {digest[:8]}, not with {named[1]} as its name says; download it again"
        )
    return read_state(path)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file, on the CPU; code in the file is not run. Raises ValueError, one line."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own, or that carries code
        raise ValueError(f"{path}: this is no file of weights that torch reads ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: there is no state dict in it, names with a tensor each")
    return state


def refuse_other(path: Path, network: str, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Raise ValueError where weights that a network wants are absent from those of a file, or of another shape."""
    for name, tensor in wanted.items():
        if name not in found:
            raise ValueError(f"{path}: these are the weights of another network than {network}: '{name}' is absent")
        if found[name].shape != tensor.shape:
            raise ValueError(
                f"{path}: these are the weights of another network than {network}: '{name}' is "
                f"{list(found[name].shape)}, not {list(tensor.shape)}"
            )
