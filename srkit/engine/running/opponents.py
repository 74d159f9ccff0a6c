"""The weights that adversaries of losses start from: files, or what another run has come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from srkit.engine.builder import Loaded
from srkit.engine.learning.objective import Term
from srkit.engine.running import checkpoint
from srkit.engine.weights import flat
from srkit.engine.weights.reading import Weights, read_weights
from srkit.engine.weights.transfer import load_weights
from srkit.errors import InputRejected, did_you_mean
from srkit.recipe.layers import Problem


def start_adversaries(loaded: Loaded, terms: Sequence[Term]) -> list[str]:
    """Give the adversaries of `start.adversaries` their weights, and return a line on each.

    Raises RecipeError, with the line, for a name or a file that is none, InputRejected for one that does not fit.
    """
    adversaries = {term.name: term.adversary for term in terms if term.adversary is not None}
    lines = []
    for name, place in loaded.recipe.start.adversaries.items():
        where, path = ("start", "adversaries", name), Path(place)
        adversary = adversaries.get(name)
        if adversary is None:
            text = f"no loss '{name}' has an adversary{did_you_mean(name, adversaries)}"
            raise loaded.error(Problem(where, text))
        if not path.exists():
            raise loaded.error(Problem(where, f"there is no file {path}"))
        what = f"the adversary of '{name}'"
        weights = _of_run(path, adversary.state_dict()) if path.is_dir() else read_weights(path)
        lines.append(f"{what}: {load_weights(adversary, weights, path, what, fresh=None).line(path)}")
    return lines


def _of_run(path: Path, own: Mapping[str, Tensor]) -> Weights:
    """Return what a run's newest checkpoint has of an adversary with these tensors."""
    _, contents, _ = checkpoint.newest(path / "checkpoints")
    if not contents:
        raise InputRejected(path, "is no run that has a checkpoint")
    found = flat.from_bytes(contents["losses.safetensors"])
    first = next(iter(own))
    for prefix in (name.removesuffix(first) for name in found if name.endswith(f".{first}")):
        inner = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
        if inner.keys() == own.keys():
            return Weights(inner)
    raise InputRejected(path, "its newest checkpoint has no such adversary")
