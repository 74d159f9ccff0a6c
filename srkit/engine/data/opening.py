"""A recipe's datasets, opened: pairs of LR and HR, and how batches are made of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from srkit.engine.builder import Builder, Loaded
from srkit.engine.data import sampling
from srkit.engine.data.batches import Augmentation, BatchPlan, RandomDegradation
from srkit.engine.data.conversions import to_batch, to_rest
from srkit.engine.data.pairs import EvaluationSet, Pairs
from srkit.engine.data.pools import large_enough
from srkit.errors import InputRejected, located
from srkit.plugin.contracts import Dataset
from srkit.plugin.part import Part
from srkit.recipe.layers import Problem
from srkit.recipe.reading import read_part

LR_SCALES = (2, 3, 4, 8)  # that LR files are looked for of, where those of the recipe's are not there


@attrs.frozen
class OpenedData:
    """A recipe's images: the pairs to train on, which of them are large enough, and the sets to score on.

    `notes` are what people should know of the pairs: LR files that are not used, for one.
    """

    training: Pairs
    usable: list[int]
    too_small: list[str]
    validation: list[EvaluationSet]
    notes: list[str] = attrs.field(factory=list)

    def fingerprints(self) -> dict[str, str]:
        """Return a text for each dataset, by its key in the recipe, that changes with its images."""
        found = {"data.dataset": self.training.fingerprint()}
        for i, evaluation in enumerate(self.validation):
            found[f"validate.{i}.dataset"] = evaluation.pairs.fingerprint()
        return found


def open_data(loaded: Loaded) -> OpenedData:
    """Open the recipe's datasets and check them against its patch and scale.

    Raises RecipeError, with the lines, where no image is large enough or a set is empty; InputRejected for files.
    """
    recipe, builder, problems = loaded.recipe, loaded.builder, []

    def pairs_of(dataset: Part, *, for_training: bool) -> Pairs:
        degradation = recipe.data.degradation
        return make_pairs(builder, builder.make(dataset), recipe.scale, degradation, for_training=for_training)

    training = pairs_of(recipe.data.dataset, for_training=True)
    usable, too_small = large_enough(training, recipe.data.patch)
    if not usable:
        need = recipe.data.patch * recipe.scale
        text = (
            f"none of the {len(training)} images is as large as a patch: {recipe.data.patch} LR pixels at scale "
            f"{recipe.scale} need {need}x{need}"
        )
        problems.append(Problem(("data", "patch"), text))
    validation = []
    for i, part in enumerate(recipe.validate):
        pairs = pairs_of(part.dataset, for_training=False)
        if len(pairs) == 0:
            problems.append(Problem(("validate", i, "dataset"), "there are no images to validate on"))
        validation.append(EvaluationSet(part.name, pairs))
    if problems:
        raise loaded.error(*problems)
    return OpenedData(training, usable, too_small, validation, unused_lr(training, recipe.data.degradation))


def unused_lr(pairs: Pairs, degradation: Part | None) -> list[str]:
    """Return a line on the LR files beside HR that training does not use, or none: those people mean to be used."""
    if pairs.lr_source is not None:
        return []
    source, scale = pairs.source, pairs.scale
    if degradation is not None:
        cure = "--set data.degradation= takes the files"
        because = f"since data.degradation is '{degradation.type}'"
        try:
            if source.lr(scale) is not None:
                return [f"the LR files x{scale} beside HR are not used, {because}; {cure}"]
        except Exception as error:  # nothing of a plugin's that is not used may end a run
            why = error if isinstance(error, InputRejected) else located(error)
            return [f"the LR files beside HR are not used, {because}, and could not be: {why}"]
    there = [other for other in LR_SCALES if other != scale and _has_lr(source, other)]
    if there:
        scales = ", ".join(f"x{other}" for other in there)
        return [f"the LR files beside HR are {scales}, not x{scale}: LR is made by {pairs.made_by}"]
    return []


def _has_lr(source: Dataset, scale: int) -> bool:
    with contextlib.suppress(Exception):
        return source.lr(scale) is not None
    return False


def make_pairs(builder: Builder, source: Dataset, scale: int, degradation: Part | None, *, for_training: bool) -> Pairs:
    """Return a dataset's pairs at a scale.

    A degradation that a recipe names is what training takes; otherwise, and for scores, LR is what the dataset has
    beside HR, or else what the degradation, or MATLAB's bicubic, makes.
    """
    part = degradation
    if part is None or (not for_training and _is_random(builder, part)):
        part = read_part(builder.registry, "degradation", "srkit:bicubic")  # its defaults written out, for the protocol
    named = for_training and degradation is not None
    if _is_random(builder, part):
        return Pairs(source, scale, degradation=None, made_by=builder.signature(part), files=False)
    apply = builder.make(part, scale=scale)
    return Pairs(source, scale, degradation=apply, made_by=builder.signature(part), files=not named)


def make_plan(loaded: Loaded) -> BatchPlan:
    """Return what decides each batch of the recipe."""
    recipe, builder = loaded.recipe, loaded.builder

    augmentations = [
        Augmentation(f"augment.{i}.{part.type}", builder.make(part), builder.facts(part).get("draws"))
        for i, part in enumerate(recipe.data.augment)
    ]
    named, degradation = recipe.data.degradation, None
    if named is not None and _is_random(builder, named):
        degradation = RandomDegradation(builder.make(named, scale=recipe.scale), builder.facts(named).get("draws"))
    return BatchPlan(
        seed=recipe.seed,
        batch=recipe.data.batch,
        patch=recipe.data.patch,
        scale=recipe.scale,
        augmentations=tuple(augmentations),
        degradation=degradation,
    )


def make_degrade(builder: Builder, part: Part, scale: int) -> Callable[[NDArray[Any], int], NDArray[Any]]:
    """Return (whole HR image at rest, its index) to LR; a random degradation draws by the index.

    The LR is the very one that training sees. Raises ValueError, when called, for an image smaller than the scale.
    """
    facts = builder.facts(part)
    apply = builder.make(part, scale=scale)

    def degrade(hr: NDArray[Any], index: int) -> NDArray[Any]:
        height, width = hr.shape[0] // scale * scale, hr.shape[1] // scale * scale
        if not height or not width:
            raise ValueError(f"is {hr.shape[1]}x{hr.shape[0]}, smaller than the scale")
        hr = np.ascontiguousarray(hr[:height, :width])
        if facts.get("deterministic", True):
            return np.asarray(apply(hr))
        cpu = torch.device("cpu")
        draws = sampling.counted(0, "degradation", index, np.zeros(1, np.int64), cpu, facts.get("draws"))
        return to_rest(apply(to_batch(hr, cpu), draws), np.uint8)

    return degrade


def _is_random(builder: Builder, part: Part) -> bool:
    return builder.facts(part).get("deterministic", True) is False
