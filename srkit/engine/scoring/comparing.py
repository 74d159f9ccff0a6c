"""Networks, and folders of SR images, scored beside each other and beside bicubic."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import nn

from srkit.engine.builder import Builder
from srkit.engine.data.opening import make_pairs
from srkit.engine.data.pairs import Alone, EvaluationSet, Resized
from srkit.engine.networks.calling import scales_of
from srkit.engine.networks.folding import for_inference
from srkit.engine.scoring import evaluate
from srkit.engine.scoring.metrics import Metric
from srkit.engine.scoring.tiler import Tiler
from srkit.errors import UsageError
from srkit.protocol import ALONE, Method
from srkit.recipe.reading import read_part
from srkit.reports import intervals

log = logging.getLogger("srkit")

PathLike = str | os.PathLike[str]


@attrs.frozen
class Comparison:
    """What is scored, at one scale and by one method: networks by name, then folders of SR images by name.

    Without a `reference` there is no HR, and the images are LR.
    """

    builder: Builder
    networks: Mapping[str, nn.Module]
    tilers: Mapping[str, Tiler]
    images: Mapping[str, PathLike]
    scale: float
    metrics: Sequence[Metric]
    method: Method
    reference: bool

    @staticmethod
    def of(
        builder: Builder,
        networks: Mapping[str, tuple[nn.Module, Mapping[str, Any]]],
        images: Mapping[str, PathLike],
        scale: float | None,
        metrics: Sequence[Metric],
        method: Method,
        *,
        reference: bool,
        tile: int | None,
        memory: int | None,
    ) -> Comparison:
        """Return the comparison of networks, given with their facts. Raises UsageError for what cannot be meant."""
        _refuse_names([*networks, *images])
        scale = _common_scale([network for network, _ in networks.values()]) if scale is None else scale
        for name, (network, facts) in networks.items():
            if fault := scales_of(network, facts, scale).fault(scale):
                raise UsageError(f"network '{name}' {fault}")
        if not reference:
            _refuse_without_reference(metrics, scale)
        tilers = {
            name: Tiler(for_inference(network), evaluate.device_of(network), facts, tile=tile, memory=memory)
            for name, (network, facts) in networks.items()
        }
        method = _in_tiles(method, tilers, is_limited=tile is not None or memory is not None)
        plain = {name: network for name, (network, _) in networks.items()}
        return Comparison(builder, plain, tilers, images, scale, metrics, method, reference)

    def table(self, name: str, source: Any) -> dict[str, Any] | None:
        """Return the scores on the images of a dataset, a row each and bicubic's; None where there are no images.

        The rows behind the first one have their difference to it.
        """
        evaluation = EvaluationSet(name, self._pairs(source))
        if len(evaluation.pairs) == 0:
            return None
        rows: list[dict[str, Any]] = []
        for model, tiler in self.tilers.items():
            given = self.networks[model], evaluation, self.metrics, tiler.device
            rows.append(evaluate.row(model, evaluate.score(*given, method=self.method, tiler=tiler)))
        for model, folder in self.images.items():
            rows.append(
                evaluate.row(model, evaluate.score_finished(folder, evaluation, self.metrics, method=self.method))
            )
        for row in rows[1:]:
            row["difference"] = {"to": rows[0]["model"], **intervals.differences(row, rows[0])}
        method, baseline = attrs.evolve(self.method, precision="float32"), self.builder.baseline(self.scale)
        scores = evaluate.score(baseline, evaluation, self.metrics, torch.device("cpu"), method=method)
        rows.append(evaluate.row(evaluate.BASELINE, scores))
        return evaluate.table(evaluation, self.metrics, rows, self.method, self.networks)

    def _pairs(self, source: Any) -> Any:
        named = self.method.degradation if self.reference else ""
        degradation = read_part(self.builder.registry, "degradation", named) if named else None
        if not self.reference:
            source = Alone(source, int(self.scale))
        elif self.method.fit == "resize":
            source = Resized(source, self.scale)
        pairs = make_pairs(self.builder, source, self.scale, degradation, for_training=degradation is not None)
        pairs.made_by = pairs.made_by if self.reference else ALONE
        return pairs


def _refuse_names(names: Sequence[str]) -> None:
    if evaluate.BASELINE in names:
        raise UsageError(f"a network cannot be named '{evaluate.BASELINE}': that row is always there")
    if len(set(names)) < len(names):
        raise UsageError("a network and a folder of SR images have one name")


def _common_scale(networks: Sequence[nn.Module]) -> float:
    """Return the scale that all networks have. Raises UsageError where that is none, or several."""
    scales = {own for own in map(evaluate.scale_of, networks) if own is not None}
    if not scales:
        what = "a network serves several scales" if networks else "without a network nothing says the scale"
        raise UsageError(f"{what}: give it")
    if len(scales) != 1:
        raise UsageError(f"the networks have scales {', '.join(map(str, sorted(scales)))}: one at a time")
    return scales.pop()


def _refuse_without_reference(metrics: Sequence[Metric], scale: float) -> None:
    """Raise UsageError for what needs HR."""
    for metric in metrics:
        if metric.reference:
            what = f"metric '{metric.name}' compares SR with HR, and there is none"
            raise UsageError(f"{what}: give metrics that look at SR alone")
    if scale != int(scale):
        raise UsageError(f"LR images without HR are taken at whole scales, not {scale:g}")


def _in_tiles(method: Method, tilers: Mapping[str, Tiler], *, is_limited: bool) -> Method:
    """Return the method, with tiles for all networks where one of them cannot take an image as a whole."""
    if method.forward != "whole":
        return method
    if any(getattr(tiler.network, "fixed", None) for tiler in tilers.values()):
        return attrs.evolve(method, forward="tiles")  # files that take one size of LR
    inexact = [name for name, tiler in tilers.items() if not tiler.is_exact] if is_limited else []
    if inexact:
        log.warning("tiles do not make up the output of %s: these are scores of tiles", ", ".join(inexact))
        return attrs.evolve(method, forward="tiles")
    return method
