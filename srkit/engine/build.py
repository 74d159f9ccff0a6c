"""A checked recipe's parts, made."""

from __future__ import annotations

import copy
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from srkit.engine.data import sampling
from srkit.engine.data.batches import Augmentation, BatchPlan, RandomDegradation
from srkit.engine.data.conversions import to_batch, to_rest
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import large_enough
from srkit.engine.learning.trainer import Options, WeightedLoss
from srkit.engine.networks.checking import checked
from srkit.engine.networks.meta import sketch_or_make
from srkit.engine.networks.padding import fit
from srkit.engine.scoring.evaluate import EvaluationSet, Metric
from srkit.engine.weights.reading import read_metadata, read_weights
from srkit.engine.weights.transfer import load_weights
from srkit.errors import InputRejected, UsageError
from srkit.plugin.component import Component, read_settings
from srkit.plugin.contracts import KINDS, Dataset
from srkit.plugin.registry import Registry
from srkit.recipe.layers import Origins, Problem
from srkit.recipe.reading import read_part, read_recipe
from srkit.recipe.recipe import LossPart, Part, Recipe

log = logging.getLogger("srkit")

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_recipe(
    path: str | os.PathLike[str], registry: Registry, *, overrides: Sequence[str] = (), datasets: bool = True
) -> tuple[Recipe, Origins]:
    """Read a recipe and make each of its components once, networks without memory for their weights.

    Raises RecipeError with every problem, a constructor's ValueError at its table's line; `datasets` are opened too,
    unless it is False.
    """
    probe = _probe if datasets else _probe_without_datasets
    return read_recipe(path, registry, overrides=overrides, probe=probe)


def _probe_without_datasets(
    component: Component, target: Callable[..., Any], settings: Mapping[str, Any], given: Mapping[str, int]
) -> None:
    if component.kind != "dataset":
        _probe(component, target, settings, given)


def _probe(
    component: Component, target: Callable[..., Any], settings: Mapping[str, Any], given: Mapping[str, int]
) -> None:
    settings = copy.deepcopy(dict(settings))
    match component.kind:
        case "architecture":
            sketch_or_make(lambda: checked(component, target(scale=given["scale"], **settings)))
        case "degradation":
            checked(component, target(scale=given["scale"], **settings))
        case "optimizer":
            checked(component, target([nn.Parameter(torch.zeros(1))], **settings))
        case "schedule":
            checked(component, target(steps=given["steps"], **settings))(0)
        case _:
            checked(component, target(**settings))


def make(registry: Registry, part: Part, *arguments: Any, **given: Any) -> Any:
    """Call a part's target with what its kind is given and the part's settings."""
    component = registry.find(part.kind, part.type).component
    settings = copy.deepcopy(dict(part.settings))  # as in _probe: a target may append to the list that it is given
    return checked(component, component.load()(*arguments, **given, **settings))


def make_network(registry: Registry, recipe: Recipe) -> nn.Module:
    """Return the recipe's network with the first weights of its seed."""
    torch.manual_seed(recipe.seed)
    component = registry.find("architecture", recipe.architecture.type).component
    return fit(make(registry, recipe.architecture, scale=recipe.scale), component)


def make_baseline(registry: Registry, scale: int) -> nn.Module:
    """Return the network of the bicubic row: srkit's own, whatever other distributions call bicubic."""
    network: nn.Module = registry.create("architecture", "srkit:bicubic", scale=scale)
    return network


def weight_shapes(registry: Registry, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the network's tensors, by its name in the state dict."""
    network = sketch_or_make(lambda: make_network(registry, recipe))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def make_started_network(
    registry: Registry, recipe: Recipe, origins: Origins, weights: Path | None = None
) -> tuple[nn.Module, str]:
    """Return the network as training starts it, and a line on the weights that it starts from, or nothing.

    They are those of the file `weights`, or else of the recipe's `start.weights`. Raises RecipeError, with the line,
    where there is no such file; InputRejected for a file that does not fit.
    """
    network = make_network(registry, recipe)
    if weights is None and not recipe.start.weights:
        return network, ""
    path = weights or Path(recipe.start.weights)
    if (path / "best.safetensors").is_file():
        path = path / "best.safetensors"  # a run directory
    if not path.is_file():
        raise origins.error([Problem(("start", "weights"), f"there is no file {path}")])
    what = f"'{recipe.architecture.type}' at scale {recipe.scale}"
    try:
        found = read_weights(path, key="" if weights else recipe.start.key)
    except UsageError as error:
        raise origins.error([Problem(("start", "key"), str(error))]) from None
    others = [f"was trained with {name} = {was}, this network has {now}" for name, was, now in _others(recipe, path)]
    try:
        line = load_weights(network, found, path, what, fresh=recipe.start.fresh).line(path)
    except InputRejected as error:
        raise InputRejected(path, "\n".join([error.reason, *(f"  it {text}" for text in others)])) from None
    for text in others:
        log.warning("%s %s", path, text)
    return network, line


def _others(recipe: Recipe, path: Path) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, theirs, ours) of each setting that weights of the same architecture were trained with differently.

    Shapes do not show all of them: with another range of values, weights fit and are wrong.
    """
    described = (read_metadata(path) or {}) if path.suffix == ".safetensors" else {}
    settings = described.get("settings")
    if described.get("architecture") == recipe.architecture.type and isinstance(settings, Mapping):
        for name, ours in recipe.architecture.settings.items():
            if name in settings and settings[name] != ours:
                yield name, settings[name], ours


def make_losses(registry: Registry, parts: Sequence[LossPart]) -> list[WeightedLoss]:
    """Return the losses with names of their own: l1, l1_2."""
    losses = []
    for part, name in zip(parts, _unique([part.type for part in parts]), strict=True):
        function = make(registry, part)
        facts = registry.find("loss", part.type).component.facts
        reduction = getattr(function, "reduction", facts.get("reduction", "mean"))
        losses.append(WeightedLoss(name, function, part.weight, reduction == "sum"))
    return losses


def make_metrics(registry: Registry, parts: Sequence[Part]) -> list[Metric]:
    """Return the metrics with names of their own. Settings other than the defaults are part of what one looks at."""
    metrics = []
    for part, name in zip(parts, _unique([part.type for part in parts]), strict=True):
        component = registry.find("metric", part.type).component
        better, color = component.facts.get("better", "higher") != "lower", str(component.facts.get("color", "RGB"))
        told = _told(registry, part)
        color = f"{color} ({told})" if told else color
        metrics.append(Metric(name, make(registry, part), better, color, component.name))
    return metrics


def _unique(names: Sequence[str]) -> list[str]:
    return [
        name if names[:i].count(name) == 0 else f"{name}_{names[:i].count(name) + 1}" for i, name in enumerate(names)
    ]


def make_pairs(
    registry: Registry, source: Dataset, scale: int, degradation: Part | None, *, for_training: bool
) -> Pairs:
    """Return a dataset's pairs at a scale.

    A degradation that a recipe names is what training takes; otherwise, and for scores, LR is what the dataset has
    beside HR, or else what the degradation, or MATLAB's bicubic, makes.
    """
    part = degradation
    if part is None or (not for_training and _is_random(registry, part)):
        part = read_part(registry, "degradation", "srkit:bicubic")  # with its defaults written out, for the protocol
    named = for_training and degradation is not None
    if _is_random(registry, part):
        return Pairs(source, scale, degradation=None, made_by=_signature(registry, part), files=False)
    apply = make(registry, part, scale=scale)
    return Pairs(source, scale, degradation=apply, made_by=_signature(registry, part), files=not named)


def make_random_degradation(registry: Registry, recipe: Recipe) -> RandomDegradation | None:
    """Return the recipe's degradation if it is one of batches."""
    part = recipe.data.degradation
    if part is None or not _is_random(registry, part):
        return None
    facts = registry.find(part.kind, part.type).component.facts
    return RandomDegradation(make(registry, part, scale=recipe.scale), int(facts.get("draws", 1)))


def make_degrade(registry: Registry, part: Part, scale: int) -> Callable[[NDArray[Any], int], NDArray[Any]]:
    """Return (whole HR image at rest, its index) to LR; a random degradation draws by the index.

    The LR is the very one that training sees. Raises ValueError, when called, for an image smaller than the scale.
    """
    facts = registry.find(part.kind, part.type).component.facts
    apply = make(registry, part, scale=scale)

    def degrade(hr: NDArray[Any], index: int) -> NDArray[Any]:
        height, width = hr.shape[0] // scale * scale, hr.shape[1] // scale * scale
        if not height or not width:
            raise ValueError(f"is {hr.shape[1]}x{hr.shape[0]}, smaller than the scale")
        hr = np.ascontiguousarray(hr[:height, :width])
        if facts.get("deterministic", True):
            return np.asarray(apply(hr))
        drawn = sampling.uniforms(0, "degradation", index, np.zeros(1, np.int64), int(facts.get("draws", 1)))
        draws = torch.from_numpy(drawn.astype(np.float32))
        return to_rest(apply(to_batch(hr, torch.device("cpu")), draws), np.uint8)

    return degrade


def _is_random(registry: Registry, part: Part) -> bool:
    return registry.find(part.kind, part.type).component.facts.get("deterministic", True) is False


def _signature(registry: Registry, part: Part) -> str:
    """Return a component as a score's protocol names it: with those of its settings that are not the defaults."""
    name = part.type.removeprefix("srkit:")
    told = _told(registry, part)
    return f"{name}({told})" if told else name


def _told(registry: Registry, part: Part) -> str:
    known = read_settings(registry.find(part.kind, part.type).component.load(), KINDS[part.kind].given)
    defaults = {name: setting.default for name, setting in known.items()}
    return ", ".join(f"{key}={value}" for key, value in part.settings.items() if value != defaults.get(key))


def make_plan(registry: Registry, recipe: Recipe) -> BatchPlan:
    """Return what decides each batch of the recipe."""
    augmentations = []
    for i, part in enumerate(recipe.data.augment):
        facts = registry.find(part.kind, part.type).component.facts
        augmentations.append(Augmentation(f"augment.{i}.{part.type}", make(registry, part), int(facts.get("draws", 1))))
    return BatchPlan(
        seed=recipe.seed,
        batch=recipe.data.batch,
        patch=recipe.data.patch,
        scale=recipe.scale,
        augmentations=tuple(augmentations),
        degradation=make_random_degradation(registry, recipe),
    )


def make_options(recipe: Recipe) -> Options:
    """Return what the trainer is told of `[train]`."""
    train = recipe.train
    return Options(
        steps=train.steps,
        seed=recipe.seed,
        precision=PRECISIONS[train.precision],
        compile=train.compile,
        ema=train.ema,
        clip=train.clip,
        accumulate=train.accumulate,
    )


@attrs.frozen
class OpenedData:
    """A recipe's images: the pairs to train on, which of them are large enough, and the sets to score on."""

    training: Pairs
    usable: list[int]
    too_small: list[str]
    validation: list[EvaluationSet]

    def fingerprints(self) -> dict[str, str]:
        """Return a text a dataset, by its key in the recipe, that changes with its images."""
        found = {"data.dataset": self.training.fingerprint()}
        for i, evaluation in enumerate(self.validation):
            found[f"validate.{i}.dataset"] = evaluation.pairs.fingerprint()
        return found


def open_data(registry: Registry, recipe: Recipe, origins: Origins) -> OpenedData:
    """Open the recipe's datasets and check them against its patch and scale.

    Raises RecipeError, with the lines, where no image is large enough or a set is empty; InputRejected for files.
    """
    problems = []
    training = make_pairs(
        registry, make(registry, recipe.data.dataset), recipe.scale, recipe.data.degradation, for_training=True
    )
    usable, too_small = large_enough(training, recipe.data.patch)
    if not usable:
        need = recipe.data.patch * recipe.scale
        problems.append(
            Problem(
                ("data", "patch"),
                f"none of the {len(training)} images is as large as a patch: {recipe.data.patch} LR pixels at scale "
                f"{recipe.scale} need {need}x{need}",
            )
        )
    validation = []
    for i, part in enumerate(recipe.validate):
        pairs = make_pairs(
            registry, make(registry, part.dataset), recipe.scale, recipe.data.degradation, for_training=False
        )
        if len(pairs) == 0:
            problems.append(Problem(("validate", i, "dataset"), "there are no images to validate on"))
        validation.append(EvaluationSet(part.name, pairs))
    if problems:
        raise origins.error(problems)
    return OpenedData(training, usable, too_small, validation)


def pick_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is CUDA, or MPS, or the CPU. Raises UsageError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise UsageError(f"train.device is '{name}', but there is no such GPU here; \"auto\" takes what there is")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("train.device is 'mps', which is not there; \"auto\" takes what there is")
    return device


def trainable(network: nn.Module, losses: Sequence[WeightedLoss]) -> list[nn.Parameter]:
    """Return the parameters to train: the network's and its losses'."""
    modules = [network, *(loss.function for loss in losses if isinstance(loss.function, nn.Module))]
    return [p for p in itertools.chain.from_iterable(m.parameters() for m in modules) if p.requires_grad]
