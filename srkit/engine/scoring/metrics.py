"""The metrics of a recipe, and what they look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from srkit.engine.builder import Builder, numbered
from srkit.plugin.part import Part
from srkit.protocol import Method


@attrs.frozen
class Metric:
    """A metric, by name, and what its component states.

    `color` is what it looks at, "Y" or "RGB", and what else its scores depend on. `score` is called with SR and HR;
    what states that it has no `reference` is given SR alone. Where it states `border=False`, no border is `cut`.
    """

    name: str
    score: Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
    higher_is_better: bool
    color: str
    component: str  # whose name it is, without a number
    reference: bool = True
    cut: bool = True

    def border(self, method: Method, scale: float) -> int:
        """Return how many pixels are cut from each side before it looks."""
        return method.border(self.component, scale) if self.cut else 0


def make_metrics(builder: Builder, parts: Sequence[Part]) -> list[Metric]:
    """Return the metrics, each with a name that no other has: psnr, psnr_2."""
    metrics = []
    for part, name in zip(parts, numbered([part.type for part in parts]), strict=True):
        made, component = builder.make(part), builder.component(part)
        facts = component.facts_of(made)
        reference = facts.get("reference", True)
        alone = "" if reference else " of SR alone"
        more = facts.get("protocol") or builder.changed(part)
        color = str(facts.get("color", "RGB")) + alone + (f" ({more})" if more else "")
        better = facts.get("better", "higher") != "lower"
        score = scoring(made, reference=reference)
        cut = facts.get("border", True)
        metrics.append(Metric(name, score, better, color, component.name, reference, cut))
    return metrics


def scoring(made: Callable[..., float], *, reference: bool) -> Callable[..., float]:
    """Return what a metric's target made as a function of (SR, HR), of which one without a reference is given SR."""
    return made if reference else lambda sr, _: made(sr)
