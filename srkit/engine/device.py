"""Which device computes."""

from __future__ import annotations

import torch

from srkit.errors import UsageError


def pick_device(name: str, said_by: str = "train.device") -> torch.device:
    """Return the device of that name; "auto" is CUDA, or MPS, or the CPU.

    Raises UsageError, with what names it, for one that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"{said_by} is '{name}', which is no device: auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise UsageError(f"{said_by} is '{name}', but there is no such GPU here; \"auto\" takes what there is")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"{said_by} is 'mps', which is not there; \"auto\" takes what there is")
    return device


def gpus() -> int:
    """Return how many CUDA devices this process sees."""
    return torch.cuda.device_count()
