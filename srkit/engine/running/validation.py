"""The validation of a run: a table a set, with bicubic's row, and its first images to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import safetensors.numpy
import torch
from torch import nn

from srkit.engine.builder import Loaded
from srkit.engine.data.pairs import EvaluationSet
from srkit.engine.distributed import ALONE, World
from srkit.engine.scoring import evaluate
from srkit.engine.scoring.metrics import make_metrics
from srkit.engine.scoring.tiler import Tiler
from srkit.errors import ComponentError
from srkit.plugin.contracts import Picture

SHOWN = 4  # images of a set that are pictured


@attrs.frozen
class Scored:
    """What a network makes of a set: the scores, and its first images, each with its HR, uint8 [h, w, 3]."""

    scores: dict[str, dict[str, float]]
    shown: list[tuple[evaluate.Image, evaluate.Image]]


class Validation:
    """Scores a network on the sets of a recipe; what bicubic makes of them is worked out once.

    Several processes share the images; each has all tables and pictures.
    """

    def __init__(
        self, loaded: Loaded, sets: Sequence[EvaluationSet], device: torch.device, world: World = ALONE
    ) -> None:
        recipe, builder = loaded.recipe, loaded.builder
        self.metrics = make_metrics(builder, recipe.metric)
        self._component = builder.component(recipe.architecture)
        self._model, self._sets, self._device, self._world = recipe.architecture.type, sets, device, world
        self._bicubic: nn.Module | None = None
        with contextlib.suppress(ComponentError):  # a registry without srkit's own plugins
            self._bicubic = builder.baseline(recipe.scale)  # which is asked for each set's size
        self._baselines: dict[str, Scored] = {}

    def tables(self, network: nn.Module) -> tuple[list[dict[str, Any]], list[Picture]]:
        """Return the table of each set, and the first images of each."""
        tables, pictures = [], []
        for evaluation in self._sets:
            found, baseline = self._score(network, evaluation), self._baseline(evaluation)
            rows = [evaluate.row(self._model, found.scores)]
            rows += [evaluate.row(evaluate.BASELINE, baseline.scores)] if baseline is not None else []
            tables.append(evaluate.table(evaluation, self.metrics, rows, networks={self._model: network}))
            for i, (name, (sr, hr)) in enumerate(zip(found.scores, found.shown, strict=False)):
                plain = None if baseline is None else baseline.shown[i][0]
                pictures.append(Picture(evaluation.name, name, plain, sr, hr))
        return tables, pictures

    def _baseline(self, evaluation: EvaluationSet) -> Scored | None:
        if self._bicubic is not None and evaluation.name not in self._baselines:
            self._baselines[evaluation.name] = self._score(self._bicubic, evaluation)
        return self._baselines.get(evaluation.name)

    def _score(self, network: nn.Module, evaluation: EvaluationSet) -> Scored:
        shown: dict[str, evaluate.Image] = {}

        def look(index: int, lr: evaluate.Image, sr: evaluate.Image, hr: evaluate.Image) -> None:
            if index < SHOWN:
                shown.update({f"{index}.sr": sr, f"{index}.hr": hr})

        facts = {"tileable": True} if network is self._bicubic else self._component.facts_of(network)
        tiler = Tiler(network, self._device, facts)
        scores = evaluate.score(
            network, evaluation, self.metrics, self._device, look=look, tiler=tiler, world=self._world
        )
        for others in self._world.gather(shown, _to_bytes, safetensors.numpy.load):
            shown |= others
        return Scored(scores, [(shown[f"{i}.sr"], shown[f"{i}.hr"]) for i in range(min(SHOWN, len(scores)))])


def _to_bytes(images: Mapping[str, evaluate.Image]) -> bytes:
    return safetensors.numpy.save({name: np.ascontiguousarray(image) for name, image in images.items()})
