"""Whole images through a network, scored by metrics under a protocol."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from srkit.engine.data.conversions import to_8_bits
from srkit.engine.data.pairs import EvaluationSet, Pairs
from srkit.engine.data.pools import all_of, each_image
from srkit.engine.distributed import ALONE, World
from srkit.engine.networks.calling import Size, needs_size
from srkit.engine.networks.padding import padding_of
from srkit.engine.scoring.finished import Finished
from srkit.engine.scoring.metrics import Metric
from srkit.engine.scoring.tiler import NotFinite, Tiler
from srkit.errors import ComponentError, InputRejected, located
from srkit.protocol import PAPER, Method, Protocol
from srkit.runs import best

Image = NDArray[Any]
BASELINE = "bicubic"  # the row of every table, and the name of the component of srkit's that makes it


def upscale(
    image: Image,
    network: nn.Module,
    device: torch.device | None = None,
    *,
    size: Size | None = None,
    method: Method = PAPER,
    progress: Callable[[int, int], None] | None = None,
) -> Image:
    """Return an image at rest, [h, w, 3] uint8 or uint16, enlarged by a network; the dtype is kept.

    `size` is SR's (height, width), for a network that serves several scales; the others have their own.

    Parts are rounded as they come, and SR is nowhere whole in floats. `progress(done, all)` hears of each part.
    Raises NotFinite, and ValueError for what is no image.
    """
    refuse_no_image(image)
    return Tiler(network, device or device_of(network)).upscale(image, size, method, progress)


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's parameters, the CPU where it has none."""
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def refuse_no_image(image: object) -> None:
    """Raise ValueError for what is no image at rest."""
    if not isinstance(image, np.ndarray):
        kind = type(image)
        cure = "numpy.asarray(image.convert('RGB'))" if hasattr(image, "convert") else "numpy.asarray(image, 'uint8')"
        raise ValueError(f"an image is a numpy array, not {kind.__module__}.{kind.__qualname__}: give {cure}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image is [height, width, 3], uint8 or uint16, not {list(image.shape)} {image.dtype}")
    if 0 in image.shape:
        raise ValueError(f"an image has pixels, and this one none: {list(image.shape)}")


def scale_of(network: nn.Module) -> float | None:
    """Return how much larger a network's output is, as a small image shows; None where only a size tells it."""
    if needs_size(network):
        return None
    side = 32
    scale = upscale(np.zeros((side, side, 3), np.uint8), network).shape[0] / side
    return int(scale) if scale == int(scale) else scale


def protocol(
    evaluation: EvaluationSet,
    metrics: Sequence[Metric],
    method: Method = PAPER,
    networks: Mapping[str, nn.Module] | None = None,
) -> Protocol:
    """Return what the scores of a set mean; two scores are comparable only where this is the same, but for what it says
    of the networks, by name."""
    scale = evaluation.pairs.scale
    sizes = [evaluation.pairs.size(index) for index in range(len(evaluation.pairs))] if networks else []
    padding = {name: padding_of(network, sizes) for name, network in (networks or {}).items()}
    return Protocol(
        scale=scale,
        color={metric.name: metric.color for metric in metrics},
        border={metric.name: metric.border(method, scale) for metric in metrics},
        fit=method.fit,
        lr=evaluation.pairs.made_by,
        forward=method.forward,
        ensemble=method.ensemble,
        precision=method.precision,
        images=len(evaluation.pairs),
        fingerprint=evaluation.pairs.fingerprint(),
        padding={name: sides for name, sides in padding.items() if sides},
    )


Look = Callable[[int, Image, Image, Image], None]


def score(
    network: nn.Module,
    evaluation: EvaluationSet,
    metrics: Sequence[Metric],
    device: torch.device,
    *,
    method: Method = PAPER,
    look: Look | None = None,
    tiler: Tiler | None = None,
    world: World = ALONE,
) -> dict[str, dict[str, float]]:
    """Return {image: {metric: value}}, with SR rounded to 8 bits. `look(index, lr, sr, hr)` sees each image.

    `tiler` is the network's, where more is known of it, or of the memory that there is. Values are NaN, and SR is
    black, where the network's output is not finite. Several processes share the images, and each has the scores of all.
    """

    tiler = tiler or Tiler(network, device)

    def enlarge(index: int, lr: Image, shape: tuple[int, ...]) -> Image:
        sr = tiler.upscale(lr, (shape[0], shape[1]), method)
        if sr.shape != shape:
            name = evaluation.pairs.name(index)
            raise InputRejected(name, f"the network gives {list(sr.shape)} where HR is {list(shape)}")
        return sr

    return _scores(enlarge, evaluation, metrics, method, look, world)


def score_finished(
    folder: str | os.PathLike[str], evaluation: EvaluationSet, metrics: Sequence[Metric], *, method: Method = PAPER
) -> dict[str, dict[str, float]]:
    """Return {image: {metric: value}} of SR files that some program has made, rounded to 8 bits, as `Finished` reads.

    The files are those of the folder's folder of the set's name, where there is one.
    """
    pairs, own = evaluation.pairs, Path(folder) / evaluation.name
    finished = Finished(own if own.is_dir() else folder, [pairs.name(index) for index in range(len(pairs))])
    return _scores(lambda i, _, shape: finished.read(pairs.name(i), shape), evaluation, metrics, method, None)


def _scores(
    enlarge: Callable[[int, Image, tuple[int, ...]], Image],  # index, LR and SR's shape to SR
    evaluation: EvaluationSet,
    metrics: Sequence[Metric],
    method: Method,
    look: Look | None,
    world: World = ALONE,
) -> dict[str, dict[str, float]]:
    pairs = evaluation.pairs
    found: list[tuple[int, dict[str, float]]] = []
    bad: list[InputRejected] = []
    for index in range(world.rank, len(pairs), world.size):
        world.begins(f"scoring {pairs.name(index)}")
        try:
            lr, hr = _read(pairs, index)
            if not bad:  # otherwise it only goes on to name all that are bad
                found.append((index, _score(enlarge, index, lr, hr, pairs, metrics, method, look)))
        except InputRejected as error:
            bad.append(error)
    world.begins("")
    if bad:
        raise bad[0] if len(bad) == 1 else all_of(bad, len(pairs)) from bad[0]
    # JSON has every float to the bit, as Python writes it.
    shares = world.gather(found, lambda own: json.dumps(own).encode(), json.loads)
    return {pairs.name(index): scores for index, scores in sorted(itertools.chain(*shares), key=itemgetter(0))}


def _read(pairs: Pairs, index: int) -> tuple[Image, Image]:
    if min(pairs.size(index)) == 0:
        raise InputRejected(pairs.name(index), f"is smaller than the scale, {pairs.scale}")
    lr, hr = pairs.read(index)
    if lr is None:
        raise InputRejected(pairs.name(index), "there is no LR image, and a random degradation makes none to score")
    return lr, to_8_bits(hr)


def _score(
    enlarge: Callable[[int, Image, tuple[int, ...]], Image],
    index: int,
    lr: Image,
    hr: Image,
    pairs: Pairs,
    metrics: Sequence[Metric],
    method: Method,
    look: Look | None,
) -> dict[str, float]:
    spoilt = False
    try:
        sr = to_8_bits(enlarge(index, lr, hr.shape))
    except NotFinite:
        sr, spoilt = np.zeros_like(hr), True
    if look is not None:
        look(index, lr, sr, hr)
    try:
        values = {
            metric.name: float(metric.score(*(_inside(image, metric, pairs.scale, method) for image in (sr, hr))))
            for metric in metrics
        }
    except ValueError as error:
        raise InputRejected(pairs.name(index), str(error)) from None
    return dict.fromkeys(values, math.nan) if spoilt else values


def _inside(image: NDArray[np.uint8], metric: Metric, scale: float, method: Method) -> NDArray[np.uint8]:
    border = metric.border(method, scale)
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def refuse_too_small(evaluation: EvaluationSet, metrics: Sequence[Metric], method: Method = PAPER) -> None:
    """Raise InputRejected where the smallest image of a set is too small for a metric; better now than after hours.

    Raises ComponentError for a metric that gives no number.
    """
    pairs = evaluation.pairs
    smallest = min(range(len(pairs)), key=lambda index: min(pairs.size(index)))
    if min(pairs.size(smallest)) == 0:
        raise InputRejected(pairs.name(smallest), f"is smaller than the scale, {pairs.scale}")
    image = to_8_bits(pairs.read(smallest)[1])
    for metric in metrics:
        inside = _inside(image, metric, pairs.scale, method)
        try:
            float(metric.score(inside, inside))
        except ValueError as error:
            raise InputRejected(pairs.name(smallest), str(error)) from None
        except Exception as error:
            raise ComponentError(f"metric '{metric.name}' gives no number: {located(error)}") from error


def read_all(sets: Sequence[EvaluationSet], threads: int, heed: Callable[[], object] = lambda: None) -> None:
    """Read every image of the sets once; `heed` is called before each, and may raise.

    Raises InputRejected, in which every image of a set that cannot be read is named.
    """
    for evaluation in sets:

        def read(index: int, pairs: Pairs = evaluation.pairs) -> None:
            pairs.read(index)

        names = evaluation.pairs.name
        each_image(read, range(len(evaluation.pairs)), threads=threads, heed=heed, name=names)


def row(model: str, images: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return a table's row: the mean of each metric, and the images.

    An image that is exact has an infinite PSNR, which would hide all others: means are of the finite values, infinite
    only where there are none. Where images are left out, "exact" has their names by metric.
    """
    names = list(next(iter(images.values())))
    exact = {name: [image for image, scores in images.items() if scores[name] == math.inf] for name in names}
    return {
        "model": model,
        "mean": {name: _mean([scores[name] for scores in images.values()]) for name in names},
        **({"exact": found} if (found := {name: left_out for name, left_out in exact.items() if left_out}) else {}),
        "images": {name: dict(scores) for name, scores in images.items()},
    }


def _mean(values: Sequence[float]) -> float:
    return best.mean(values)


def table(
    evaluation: EvaluationSet,
    metrics: Sequence[Metric],
    rows: Sequence[Mapping[str, Any]],
    method: Method = PAPER,
    networks: Mapping[str, nn.Module] | None = None,
) -> dict[str, Any]:
    """Return a table: one set, one protocol, a row a model. Of the networks, by name, it says how LR was padded."""
    return {
        "data": evaluation.name,
        "scale": evaluation.pairs.scale,
        "protocol": protocol(evaluation, metrics, method, networks).to_tree(),
        "rows": [dict(entry) for entry in rows],
    }
