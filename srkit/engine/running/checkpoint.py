"""The state of a training run to a directory that is whole or is not there, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from srkit import files
from srkit.engine.learning.learner import Learner
from srkit.engine.learning.trainer import Trainer
from srkit.engine.streams import Streams
from srkit.engine.weights import flat
from srkit.errors import InputRejected, RunFailed

FORMAT = 1
KERNELS = ("fused", "foreach", "capturable")  # of an optimizer's group: by what its update is made


def save(directory: Path, trainer: Trainer, progress: Mapping[str, Any]) -> Path:
    """Write checkpoints/step_00001200 and return it. Raises OSError; what was there before is untouched then."""
    path = place(directory, trainer.done)
    files.write_directory(path, contents(trainer, progress))
    return path


def place(directory: Path, step: int) -> Path:
    """Return where the checkpoint of a step is."""
    return directory / f"step_{step:08d}"


def contents(trainer: Trainer, progress: Mapping[str, Any]) -> dict[str, files.Bytes]:
    """Return the files of a checkpoint. Raises ValueError for a state that cannot be written: a sparse tensor, say."""
    return Snapshots().take(trainer, progress)()


class Snapshots:
    """The state of a trainer at one step, and at later ones in the same memory.

    With the streams of the trainer's device the state comes from there while training goes on.
    """

    def __init__(self, streams: Streams | None = None) -> None:
        self._streams = streams
        self._buffers: dict[str, flat.Buffer] = {}

    def take(self, trainer: Trainer, progress: Mapping[str, Any]) -> Callable[[], dict[str, files.Bytes]]:
        """Return what waits for the files of a checkpoint of now and returns them, in any thread, until the next one
        is taken. Raises as `contents` does.
        """
        of_optimizers, states = zip(*map(_state_of, trainer.learners), strict=True)
        taken: dict[str, files.Bytes] = {}
        for name, state in _tensors(trainer, of_optimizers):
            buffer = self._buffers.setdefault(name, flat.Buffer(self._streams))
            taken[name] = buffer.fill(state)
        # Python's JSON, which has infinities: the PSNR of a flat image is one, and comes back as a number.
        taken["progress.json"] = json.dumps(
            {
                "format": FORMAT,
                "step": trainer.done,
                "frozen": _digest(trainer.losses),
                **states[0],
                **({"adversaries": states[1:]} if len(states) > 1 else {}),
                **progress,
            }
        ).encode()

        def whole() -> dict[str, files.Bytes]:
            for buffer in self._buffers.values():
                buffer.wait()
            return taken

        return whole


def _tensors(
    trainer: Trainer, of_optimizers: Sequence[Mapping[str, Tensor]]
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield each file's tensors, the average last: an optimizer of a plugin's computes that when it is asked for."""
    yield "weights.safetensors", trainer.network.state_dict()
    yield from ((_file(number), tensors) for number, tensors in enumerate(of_optimizers))
    yield "losses.safetensors", _changing(trainer.losses)
    if trainer.ema is not None:
        yield "ema.safetensors", trainer.ema.module.state_dict()


def size_of(trainer: Trainer) -> int:
    """Return about how many bytes a checkpoint takes, also before the first step: most optimizers keep two moments."""
    modules = [trainer.network, trainer.losses, *([trainer.ema.module] if trainer.ema is not None else [])]
    tensors = [tensor for module in modules for tensor in module.state_dict().values()]
    learnt: list[Tensor] = [
        p for learner in trainer.learners for group in learner.optimizer.param_groups for p in group["params"]
    ]
    return int(sum(tensor.nbytes for tensor in tensors) + 2 * sum(parameter.nbytes for parameter in learnt))


def model_of(contents: files.Contents) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights of a checkpoint that are scored and kept, the moving average where there is one, and its
    progress."""
    weights = contents.get("ema.safetensors", contents["weights.safetensors"])
    return flat.from_bytes(weights), json.loads(contents["progress.json"])


def restore(contents: files.Contents, trainer: Trainer) -> dict[str, Any]:
    """Give a trainer the state of a checkpoint's files, and return its progress.

    Raises RunFailed where the losses have other frozen parameters than they had, and for a newer srkit's checkpoint.
    """
    progress: dict[str, Any] = json.loads(contents["progress.json"])
    if (version := progress.get("format", FORMAT)) != FORMAT:
        raise RunFailed(
            f"the checkpoint is of format {version}, and this srkit reads format {FORMAT}: go on with the srkit that "
            "wrote it, or use --out DIR for another place"
        )
    trainer.network.load_state_dict(flat.from_bytes(contents["weights.safetensors"]))
    # srkit 0.1 kept frozen parameters, too.
    losses = flat.from_bytes(contents["losses.safetensors"])
    trainer.losses.load_state_dict({**trainer.losses.state_dict(), **losses})
    if progress.get("frozen", _digest(trainer.losses)) != _digest(trainer.losses):
        raise RunFailed(
            "a loss has other frozen parameters than this run began with: its file of weights has changed; restore "
            "that, or use --restart to begin anew, or --out DIR for another place"
        )
    states = [progress, *progress.get("adversaries", [])]
    for number, (learner, state) in enumerate(zip(trainer.learners, states, strict=True)):
        joined = _joined(flat.from_bytes(contents[_file(number)]), state["optimizer"])
        _restore_optimizer(learner.optimizer, joined)
        if state["scaler"] and learner.scaler.is_enabled():  # train.device may have changed
            learner.scaler.load_state_dict(state["scaler"])
        learner.take_counts(state)
    if trainer.ema is not None and "ema.safetensors" in contents:
        trainer.ema.module.load_state_dict(flat.from_bytes(contents["ema.safetensors"]))
    trainer.done = progress["step"]
    return progress


def _state_of(learner: Learner) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a learner's optimizer, and all else of its state, which JSON can hold."""
    state = learner.optimizer.state_dict()
    groups = zip(state["param_groups"], learner.current_rates, strict=True)
    tensors, rest = _split({**state, "param_groups": [{**group, "lr": rate} for group, rate in groups]})
    return tensors, {"optimizer": rest, "scaler": learner.scaler.state_dict(), **learner.counts()}


def _file(number: int) -> str:
    """Return where the tensors of a learner's optimizer are: the network's is number 0."""
    return f"optimizer_{number}.safetensors" if number else "optimizer.safetensors"


def _restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer its state in the form that it would have made itself.

    Which kernels make the update is a matter of the device, which may be another now. They want the moments in the
    memory layout of their parameter, which a file does not keep: some refuse others, some compute nonsense.
    """
    for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        saved.update({key: group[key] for key in KERNELS if key in group})
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def newest(directory: Path) -> tuple[Path | None, files.Contents, list[str]]:
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
    """Say whether there is any checkpoint, whole or not, or one that a killed process was about to replace."""
    return any(_all(directory)) or any(directory.glob(f"{files.REPLACED}step_*"))


def prune(directory: Path, keep: int, step: int, best_steps: Collection[int]) -> None:
    """Remove all but the last `keep` checkpoints up to a step, and the best ones.

    Those after it are damaged, since the run went back behind them.
    """
    for path in [path for path in _all(directory) if _step(path) <= step][:-keep]:
        if _step(path) not in best_steps:
            files.remove_directory(path)


def _all(directory: Path) -> Iterator[Path]:
    # By the step in the name, never by the clock: clocks jump.
    yield from sorted(path for path in directory.glob("step_*") if path.is_dir() and path.name[5:].isdigit())


def _step(path: Path) -> int:
    return int(path.name[5:])


def _frozen(losses: nn.Module) -> set[str]:
    return {name for name, p in losses.named_parameters(remove_duplicate=False) if not p.requires_grad}


def _changing(losses: nn.Module) -> dict[str, Tensor]:
    """Return the state of losses without their frozen parameters: those of a VGG would be most of a checkpoint."""
    frozen = _frozen(losses)
    return {name: tensor for name, tensor in losses.state_dict().items() if name not in frozen}


def _digest(losses: nn.Module) -> str:
    """Return sixteen hexadecimal digits that change when a frozen parameter does; "" where there is none."""
    frozen, state = sorted(_frozen(losses)), losses.state_dict()
    return hashlib.sha256(flat.to_bytes({name: state[name] for name in frozen})).hexdigest()[:16] if frozen else ""


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
