"""The state of a training run to a directory that is whole or is not there, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from srkit import files
from srkit.engine.trainer import Trainer
from srkit.errors import InputRejected, RunFailed

FORMAT = 1


def save(directory: Path, trainer: Trainer, progress: Mapping[str, Any]) -> Path:
    """Write checkpoints/step_00001200 and return it. Raises OSError; what was there before is untouched then."""
    tensors, rest = _split(trainer.optimizer.state_dict())
    contents = {
        "weights.safetensors": _to_bytes(trainer.network.state_dict()),
        "optimizer.safetensors": _to_bytes(tensors),
        "losses.safetensors": _to_bytes(trainer.losses.state_dict()),
        # Python's JSON, which has infinities: the PSNR of a flat image is one, and comes back as a number.
        "progress.json": json.dumps(
            {
                "format": FORMAT,
                "step": trainer.done,
                "optimizer": rest,
                "scaler": trainer.scaler.state_dict(),
                "losses": trainer.losses_so_far(),
                **progress,
            }
        ).encode(),
    }
    if trainer.ema is not None:
        contents["ema.safetensors"] = _to_bytes(trainer.ema.module.state_dict())
    path = directory / f"step_{trainer.done:08d}"
    files.write_directory(path, contents)
    return path


def restore(contents: Mapping[str, bytes], trainer: Trainer) -> dict[str, Any]:
    """Give a trainer the state of a checkpoint's files, and return its progress."""
    progress: dict[str, Any] = json.loads(contents["progress.json"])
    trainer.network.load_state_dict(safetensors.torch.load(contents["weights.safetensors"]))
    trainer.losses.load_state_dict(safetensors.torch.load(contents["losses.safetensors"]))
    trainer.optimizer.load_state_dict(
        _joined(safetensors.torch.load(contents["optimizer.safetensors"]), progress["optimizer"])
    )
    if progress["scaler"] and trainer.scaler.is_enabled():  # train.device may have changed
        trainer.scaler.load_state_dict(progress["scaler"])
    if trainer.ema is not None and "ema.safetensors" in contents:
        trainer.ema.module.load_state_dict(safetensors.torch.load(contents["ema.safetensors"]))
        trainer.ema.n_averaged.fill_(progress["step"])
    trainer.take_losses(progress["losses"])
    trainer.done = progress["step"]
    return progress


def newest(directory: Path) -> tuple[Path | None, dict[str, bytes], list[str]]:
    """Return the newest checkpoint that is whole, its files, and a line for each newer one that is damaged.

    Raises RunFailed where there are checkpoints and none is whole: a run is never silently begun anew.
    """
    damaged: list[str] = []
    for path in reversed(list(_all(directory))):
        try:
            return path, files.read_directory(path), damaged
        except InputRejected as error:
            damaged.append(str(error))
    if damaged:
        raise RunFailed("no checkpoint is whole:\n" + "\n".join(damaged) + "\nuse --restart to begin anew")
    return None, {}, []


def exists(directory: Path) -> bool:
    """Say whether there is any checkpoint, whole or not."""
    return any(_all(directory))


def last_step(directory: Path) -> int | None:
    """Return the step of the newest checkpoint, whole or not; None where there is none."""
    return max((int(path.name[5:]) for path in _all(directory)), default=None)


def prune(directory: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the last `keep` checkpoints and the best one."""
    for path in list(_all(directory))[:-keep]:
        if path.name != f"step_{best_step or 0:08d}":
            files.remove_directory(path)


def _all(directory: Path) -> Iterator[Path]:
    # By the step in the name, never by the clock: clocks jump.
    yield from sorted(path for path in directory.glob("step_*") if path.is_dir() and path.name[5:].isdigit())


def _to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()})


def _split(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Part an optimizer's state dict into its tensors, by "index.name", and the rest, which JSON can hold."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        rest[str(index)] = {}
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                rest[str(index)][name] = value
    return tensors, {"state": rest, "param_groups": state["param_groups"]}


def _joined(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    state = {int(index): dict(values) for index, values in rest["state"].items()}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state[int(index)][name] = tensor
    groups = [{k: tuple(v) if k == "betas" else v for k, v in group.items()} for group in rest["param_groups"]]
    return {"state": state, "param_groups": groups}


def weights_of(trainer: Trainer) -> Mapping[str, Tensor]:
    """Return the weights to use: the moving average where there is one."""
    with torch.no_grad():
        module = trainer.network if trainer.ema is None else trainer.ema.module
        state: Mapping[str, Tensor] = module.state_dict()
        return state
