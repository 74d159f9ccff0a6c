"""A recipe's datasets, opened: pairs of LR and HR, and how batches are made of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
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
from srkit.engine.networks.calling import Size, scaled, shrunk, takes
from srkit.errors import InputRejected, UsageError, located
from srkit.plugin.contracts import Dataset
from srkit.plugin.part import Part
from srkit.recipe.layers import Problem
from srkit.recipe.reading import read_part
from srkit.recipe.recipe import Validate

LR_SCALES = (2, 3, 4, 8)  # that LR files are looked for of, where those of the recipe's are not there


@attrs.frozen
class OpenedData:
    """A recipe's images: the pairs to train on, which of them are large enough, and the sets to score on.

    `notes` are what people should know of the pairs: LR files that are not used, for one.
    """

    training: Pairs
    usable: Sequence[int]
    too_small: list[str]
    validation: list[EvaluationSet]
    notes: list[str] = attrs.field(factory=list)

    def fingerprints(self) -> dict[str, str]:
        """Return a text for each dataset, by its key in the recipe, that changes with its images."""
        found = {"data.dataset": self.training.fingerprint()}
        for i, evaluation in enumerate(self.validation):
            found[f"validate.{i}.dataset"] = evaluation.pairs.fingerprint()
        return found

    def images(self) -> dict[str, dict[str, str]]:
        """Return a short text for each image of each dataset, by the dataset's key and the image's name."""
        found = {"data.dataset": self.training.images()}
        for i, evaluation in enumerate(self.validation):
            found[f"validate.{i}.dataset"] = evaluation.pairs.images()
        return found


def open_data(loaded: Loaded) -> OpenedData:
    """Open the recipe's datasets and check them against its patch and scale.

    Raises RecipeError, with the lines, where no image is large enough or a set is empty; InputRejected for files.
    """
    recipe, builder, problems = loaded.recipe, loaded.builder, []

    source, patch, scale, side = (
        builder.make(recipe.data.dataset, **recipe.words),
        recipe.data.patch,
        float(recipe.scale),
        0,
    )
    if recipe.data.scales is None:
        training, side = make_pairs(builder, source, recipe.scale, recipe.data.degradation, for_training=True), patch
    else:
        made_by = builder.signature(recipe.data.degradation or _bicubic(builder))
        training, scale = Pairs(source, 1, degradation=None, made_by=made_by, files=False), recipe.data.scales[1]
        side = scaled(patch, scale)
        try:
            _of_any_scale(loaded)
        except UsageError as error:
            problems.append(Problem(("data", "degradation"), str(error)))
    usable, too_small = large_enough(training, side)
    if not usable:
        need = scaled(patch, scale)
        text = (
            f"none of the {len(training)} images is as large as a patch: {patch} LR pixels at scale "
            f"{scale:g} need {need}x{need}"
        )
        problems.append(Problem(("data", "patch"), text))
    validation = []
    for i, part in enumerate(recipe.validate):
        try:
            pairs = _pairs_to_score(loaded, part)
        except UsageError as error:
            problems.append(Problem(("validate", i, "scale"), str(error)))
            continue
        if len(pairs) == 0:
            problems.append(Problem(("validate", i, "dataset"), "there are no images to validate on"))
        validation.append(EvaluationSet(part.name, pairs))
    if problems:
        raise loaded.error(*problems)
    notes = unused_lr(training, recipe.data.degradation, drawn=recipe.data.scales is not None)
    return OpenedData(training, usable, too_small, validation, notes)


def _pairs_to_score(loaded: Loaded, part: Validate) -> Pairs:
    recipe, builder = loaded.recipe, loaded.builder
    source, scale = builder.make(part.dataset, **recipe.words), part.scale or recipe.scale
    if part.degradation is None:
        return make_pairs(builder, source, scale, recipe.data.degradation, for_training=False)
    degrade, made_by = make_degrade(builder, part.degradation, scale), builder.signature(part.degradation)
    return Pairs(source, scale, degradation=degrade, made_by=made_by, files=False)


def unused_lr(pairs: Pairs, degradation: Part | None, *, drawn: bool = False) -> list[str]:
    """Return a line on the LR files beside HR that training does not use, or none: those people mean to be used.

    `drawn`: its scales are drawn, so that no files could be.
    """
    if pairs.lr_source is not None:
        return []
    source, scale = pairs.source, pairs.scale
    if drawn:
        found = [f"x{other}" for other in LR_SCALES if _has_lr(source, other)]
        return [f"the LR files {', '.join(found)} beside HR are not used, since data.scales draws any"] if found else []
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


def make_pairs(
    builder: Builder, source: Dataset, scale: float, degradation: Part | None, *, for_training: bool
) -> Pairs:
    """Return a dataset's pairs at a scale.

    A degradation that a recipe names is what training takes; otherwise, and for scores, LR is what the dataset has
    beside HR, or else what the degradation, or MATLAB's bicubic, makes. Raises UsageError where the degradation does
    not serve the scale.
    """
    part = degradation
    if part is None or (not for_training and is_random(builder, part)):
        part = _bicubic(builder)
    named = for_training and degradation is not None
    if is_random(builder, part):
        return Pairs(source, scale, degradation=None, made_by=builder.signature(part), files=False)
    apply = _serving(builder, part, scale)
    return Pairs(source, scale, degradation=apply, made_by=builder.signature(part), files=not named)


def _bicubic(builder: Builder) -> Part:
    """Return MATLAB's, with its defaults written out, for the protocol."""
    return read_part(builder.registry, "degradation", "srkit:bicubic")


def _serving(builder: Builder, part: Part, scale: float) -> Callable[..., Any]:
    """Return a degradation for a scale. Raises UsageError where it does not serve that."""
    scales = builder.facts(part).get("scales", (scale,))
    if scale not in scales:
        raise UsageError(f"degradation '{part.type}' has scales {', '.join(map(str, scales))}, not {scale:g}")
    apply: Callable[..., Any] = builder.make(part, scale=scale)
    if scale != int(scale) and not takes(apply, "size"):
        text = f"degradation '{part.type}' serves whole scales, not {scale:g}: its call does not declare 'size'"
        raise UsageError(text)
    return apply


def _of_any_scale(loaded: Loaded) -> RandomDegradation:
    """Return the recipe's degradation, of batches of any scale. Raises UsageError where it is none."""
    recipe, builder = loaded.recipe, loaded.builder
    part = recipe.data.degradation or _bicubic(builder)
    made = builder.make(part, scale=recipe.scale)
    if is_random(builder, part):
        if takes(made, "size"):
            return RandomDegradation(made, builder.facts(part).get("draws"))
        raise UsageError(f"degradation '{part.type}' has one scale, and data.scales draws any: it must declare 'size'")
    if hasattr(made, "batch"):
        return RandomDegradation(lambda hr, size, draws: made.batch(hr, size), 0)
    text = f"degradation '{part.type}' takes whole images, and with data.scales each window has a scale"
    raise UsageError(f"{text}; one with a method 'batch' takes them, as bicubic does")


def make_plan(loaded: Loaded) -> BatchPlan:
    """Return what decides each batch of the recipe."""
    recipe, builder = loaded.recipe, loaded.builder

    augmentations = [
        Augmentation(f"augment.{i}.{part.type}", builder.make(part, **recipe.words), builder.facts(part).get("draws"))
        for i, part in enumerate(recipe.data.augment)
    ]
    named, degradation = recipe.data.degradation, None
    if recipe.data.scales is not None:
        degradation = _of_any_scale(loaded)
    elif named is not None and is_random(builder, named):
        degradation = RandomDegradation(builder.make(named, scale=recipe.scale), builder.facts(named).get("draws"))
    return BatchPlan(
        seed=recipe.seed,
        batch=recipe.data.batch,
        patch=recipe.data.patch,
        scale=recipe.scale,
        augmentations=tuple(augmentations),
        degradation=degradation,
        scales=recipe.data.scales,
        points=recipe.data.points,
    )


def make_degrade(builder: Builder, part: Part, scale: float, *, seed: int = 0) -> Callable[..., NDArray[Any]]:
    """Return (whole HR image at rest, its index, perhaps LR's size) to LR; a random degradation draws by the seed and
    the index, and is called from one thread at a time.

    The LR is the very one that training sees. Raises UsageError where it does not serve the scale, and ValueError, when
    called, for an image smaller than the scale.
    """
    facts = builder.facts(part)
    apply = _serving(builder, part, scale)
    takes_size = takes(apply, "size")
    one_at_a_time = threading.Lock()

    def degrade(hr: NDArray[Any], index: int, size: Size | None = None) -> NDArray[Any]:
        size = size or (shrunk(hr.shape[0], scale), shrunk(hr.shape[1], scale))
        if not min(size):
            raise ValueError(f"is {hr.shape[1]}x{hr.shape[0]}, smaller than the scale")
        hr = np.ascontiguousarray(hr[: scaled(size[0], scale), : scaled(size[1], scale)])
        given = (size,) if takes_size else ()
        if facts.get("deterministic", True):
            return np.asarray(apply(hr, *given))
        draws = _draws_of(builder, part, seed, index)
        with one_at_a_time:
            return to_rest(apply(to_batch(hr, torch.device("cpu")), *given, draws), np.uint8)

    return degrade


def drawn_in_words(builder: Builder, part: Part, scale: float, *, seed: int, index: int) -> str:
    """Return what a random degradation draws for an image, in its own words, or "" where it has none."""
    describe = getattr(builder.make(part, scale=scale), "describe", None)
    if describe is None or not is_random(builder, part):
        return ""
    (text,) = describe(_draws_of(builder, part, seed, index))
    return str(text)


def _draws_of(builder: Builder, part: Part, seed: int, index: int) -> Any:
    count = builder.facts(part).get("draws")
    return sampling.counted(seed, "degradation", index, np.zeros(1, np.int64), torch.device("cpu"), count)


def is_random(builder: Builder, part: Part) -> bool:
    """Say whether a degradation draws."""
    return builder.facts(part).get("deterministic", True) is False
