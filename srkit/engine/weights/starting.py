"""A network with the weights that its training starts from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn

from srkit.engine.builder import Loaded
from srkit.engine.weights.reading import read_metadata, read_weights
from srkit.engine.weights.transfer import load_weights
from srkit.errors import InputRejected, UsageError
from srkit.plugin.part import as_tree
from srkit.recipe.layers import Problem
from srkit.recipe.recipe import Recipe

log = logging.getLogger("srkit")


@attrs.frozen
class Start:
    """A network as training starts it, and a line on the weights that it starts from, or nothing."""

    network: nn.Module
    line: str = ""
    is_new: bool = True  # nothing of it was trained before, its losses' adversaries included


def fresh(loaded: Loaded, *, is_new: bool = False) -> Start:
    """Return the recipe's network with the first weights of its seed, for a checkpoint's to take their place."""
    recipe = loaded.recipe
    torch.manual_seed(recipe.seed)
    return Start(loaded.builder.network(recipe.architecture, recipe.scale), is_new=is_new)


def started(loaded: Loaded, weights: Path | None = None) -> Start:
    """Return the recipe's network with the weights of a file, or else of its `start.weights`, or else of its seed.

    Raises RecipeError, with the line, where there is no such file; InputRejected for a file that does not fit.
    """
    recipe, start = loaded.recipe, fresh(loaded, is_new=True)
    if weights is None and not recipe.start.weights:
        return start
    path = weights or Path(recipe.start.weights)
    if (path / "best.safetensors").is_file():
        path = path / "best.safetensors"  # a run directory
    if not path.is_file():
        raise loaded.error(Problem(("start", "weights"), f"there is no file {path}"))
    what = f"'{recipe.architecture.type}' at scale {recipe.scale}"
    try:
        found = read_weights(path, key="" if weights else recipe.start.key)
    except UsageError as error:
        raise loaded.error(Problem(("start", "key"), str(error))) from None
    others = [f"was trained with {name} = {was}, this network has {now}" for name, was, now in _others(recipe, path)]
    try:
        line = load_weights(start.network, found, path, what, fresh=recipe.start.fresh).line(path)
    except InputRejected as error:
        raise InputRejected(path, "\n".join([error.reason, *(f"  it {text}" for text in others)])) from None
    for text in others:
        log.warning("%s %s", path, text)
    return attrs.evolve(start, line=line)


def _others(recipe: Recipe, path: Path) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, theirs, ours) of each setting that weights of the same architecture were trained with differently.

    Shapes do not show all of them: with another range of values, weights fit and are wrong.
    """
    described = (read_metadata(path) or {}) if path.suffix == ".safetensors" else {}
    settings = described.get("settings")
    if described.get("architecture") == recipe.architecture.type and isinstance(settings, Mapping):
        for name, ours in as_tree(recipe.architecture.settings).items():
            if name in settings and settings[name] != ours:
                yield name, settings[name], ours
