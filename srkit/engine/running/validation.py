"""The validation of a run: a table a set, with bicubic's row, and pictures of its first images."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn

from srkit import files
from srkit.engine.builder import Loaded
from srkit.engine.data.pairs import EvaluationSet
from srkit.engine.scoring import evaluate, picture
from srkit.engine.scoring.metrics import make_metrics
from srkit.errors import ComponentError

log = logging.getLogger("srkit")

SHOWN = 4  # images of a set of which there are pictures
LONGEST = 100  # bytes of a set's name in the name of its picture; file systems take 255 in all


@attrs.frozen
class Scored:
    """What a network makes of a set: the scores, and its first images, each with its HR, uint8 [h, w, 3]."""

    scores: dict[str, dict[str, float]]
    shown: list[tuple[evaluate.Image, evaluate.Image]]


class Validation:
    """Scores a network on the sets of a recipe; what bicubic makes of them is worked out once."""

    def __init__(
        self,
        loaded: Loaded,
        sets: Sequence[EvaluationSet],
        device: torch.device,
        samples: Path,
    ) -> None:
        recipe, builder = loaded.recipe, loaded.builder
        self.metrics = make_metrics(builder, recipe.metric)
        self._model, self._sets, self._device, self._samples = recipe.architecture.type, sets, device, samples
        self._bicubic: nn.Module | None = None
        with contextlib.suppress(ComponentError):  # a registry without srkit's own plugins
            self._bicubic = builder.baseline(recipe.scale)  # which is asked for each set's size
        self._baselines: dict[str, Scored] = {}

    def tables(self, network: nn.Module, step: int) -> list[dict[str, Any]]:
        """Return the table of each set, and write its picture."""
        return [self._table(network, evaluation, step) for evaluation in self._sets]

    def _table(self, network: nn.Module, evaluation: EvaluationSet, step: int) -> dict[str, Any]:
        name, found = evaluation.name, self._score(network, evaluation)
        rows = [evaluate.row(self._model, found.scores)]
        if self._bicubic is not None:
            if name not in self._baselines:
                self._baselines[name] = self._score(self._bicubic, evaluation)
            baseline = self._baselines[name]
            rows.append(evaluate.row(evaluate.BASELINE, baseline.scores))
            label = f"{self._model}, step {step}"
            pairs = zip(baseline.shown, found.shown, strict=True)
            for number, ((bicubic, _), (sr, hr)) in enumerate(pairs, 1):
                of = file_name(name) + (f"+{number}" if number > 1 else "")  # a sign that no set's name brings in
                self._write_picture(of, step, picture.png(bicubic, sr, hr, label))
        return evaluate.table(evaluation, self.metrics, rows, networks={self._model: network})

    def _score(self, network: nn.Module, evaluation: EvaluationSet) -> Scored:
        shown: list[tuple[evaluate.Image, evaluate.Image]] = []

        def look(index: int, lr: evaluate.Image, sr: evaluate.Image, hr: evaluate.Image) -> None:
            if index < SHOWN:
                shown.append((sr, hr))

        scores = evaluate.score(network, evaluation, self.metrics, self._device, look=look)
        return Scored(scores, shown)

    def _write_picture(self, name: str, step: int, png: bytes) -> None:
        path = self._samples / f"step_{step:08d}_{name}.png"
        try:
            files.make_directory(self._samples)
            files.write_file(path, png)
        except OSError as error:
            log.warning("%s could not be written: %s", path, error.strerror)


def file_name(name: str) -> str:
    """Return a name for files that is short, plain, and no other name's: "a/b" is not "a_b"."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    if plain == name and len(plain.encode()) <= LONGEST:
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = plain.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore")
    return f"{short}-{digest}"
