"""Whole images through a network, scored by metrics under a protocol."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from srkit.engine.pairs import Pairs
from srkit.engine.tensors import to_8_bits, to_batch, to_rest
from srkit.errors import InputRejected

Image = NDArray[Any]
BASELINE = "bicubic"  # the row of every table, and the name of the component of srkit's that makes it


@attrs.frozen
class Metric:
    """A metric of a recipe, by name, and what its component states."""

    name: str
    score: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
    higher_is_better: bool
    color: str


@attrs.frozen
class EvaluationSet:
    """A named set of pairs to score networks on."""

    name: str
    pairs: Pairs


def upscale(image: Image, network: nn.Module, device: torch.device | None = None) -> Image:
    """Return an image at rest, [h, w, 3] uint8 or uint16, enlarged by a network; the dtype is kept."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image is [height, width, 3], uint8 or uint16, not {list(image.shape)} {image.dtype}")
    if device is None:
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            return to_rest(network(to_batch(image, device)), image.dtype)
    finally:
        network.train(was_training)


def scale_of(network: nn.Module) -> int:
    """Return how much larger a network's output is, as a small image shows."""
    side = 32
    return int(upscale(np.zeros((side, side, 3), np.uint8), network).shape[0]) // side


def protocol(evaluation: EvaluationSet, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return what the scores of a set mean; two scores are comparable only where this is the same."""
    scale = evaluation.pairs.scale
    return {
        "scale": scale,
        "border": scale,
        "rounding": "8 bits",
        "crop": "multiple of scale",
        "lr": evaluation.pairs.made_by,
        "forward": "whole",
        "color": {metric.name: metric.color for metric in metrics},
        "images": len(evaluation.pairs),
        "fingerprint": _fingerprint(evaluation.pairs),
    }


@functools.lru_cache(maxsize=64)
def _fingerprint(pairs: Pairs) -> str:
    return pairs.fingerprint()


Look = Callable[[int, Image, Image, Image], None]


def score(
    network: nn.Module,
    evaluation: EvaluationSet,
    metrics: Sequence[Metric],
    device: torch.device,
    *,
    look: Look | None = None,
) -> dict[str, dict[str, float]]:
    """Return {image: {metric: value}}. `look(index, lr, sr, hr)` sees each image.

    HR is cropped to a multiple of the scale, SR rounded to 8 bits, and as many pixels as the scale cut from each side.
    """
    pairs = evaluation.pairs
    border = pairs.scale
    found: dict[str, dict[str, float]] = {}
    for index in range(len(pairs)):
        lr, hr = pairs.read(index)
        if lr is None:
            raise InputRejected(pairs.name(index), "there is no LR image, and a random degradation makes none to score")
        sr = to_8_bits(upscale(lr, network, device))
        hr = to_8_bits(hr)
        if sr.shape != hr.shape:
            raise InputRejected(pairs.name(index), f"the network gives {list(sr.shape)} where HR is {list(hr.shape)}")
        if look is not None:
            look(index, lr, sr, hr)
        inside = (slice(border, -border), slice(border, -border))
        try:
            found[pairs.name(index)] = {m.name: float(m.score(sr[inside], hr[inside])) for m in metrics}
        except ValueError as error:
            raise InputRejected(pairs.name(index), str(error)) from None
    return found


def refuse_too_small(evaluation: EvaluationSet, metrics: Sequence[Metric]) -> None:
    """Raise InputRejected where the smallest image of a set is too small for a metric; better now than after hours."""
    pairs, border = evaluation.pairs, evaluation.pairs.scale
    smallest = min(range(len(pairs)), key=lambda index: min(pairs.size(index)))
    inside = to_8_bits(pairs.read(smallest)[1])[border:-border, border:-border]
    try:
        for metric in metrics:
            metric.score(inside, inside)
    except ValueError as error:
        raise InputRejected(pairs.name(smallest), str(error)) from None


def row(model: str, images: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return a table's row: the mean of each metric, and the images."""
    names = list(next(iter(images.values())))
    mean = {name: statistics.fmean(scores[name] for scores in images.values()) for name in names}
    return {"model": model, "mean": mean, "images": {name: dict(scores) for name, scores in images.items()}}


def table(evaluation: EvaluationSet, metrics: Sequence[Metric], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a table: one set, one protocol, a row a model."""
    return {
        "data": evaluation.name,
        "scale": evaluation.pairs.scale,
        "protocol": protocol(evaluation, metrics),
        "rows": [dict(entry) for entry in rows],
    }
