"""Weights of a choice, as components' settings give them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_weights(weights: Sequence[float] | None, count: int, what: str) -> list[float]:
    """Return how often each of `count` things is chosen beside the others: all alike where `weights` is None.

    Messages call the things `what`, the name of their setting. Raises ValueError where there is nothing to choose from,
    or the weights are not one for each, 0 at least, and one of them above it.
    """
    if not count:
        raise ValueError(f"{what} must name one at least")
    if weights is None:
        return [1.0] * count
    if len(weights) != count:
        raise ValueError(f"weights must be one for each of the {count} {what}, not {len(weights)}")
    if min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise ValueError(f"weights must be 0 at least, and one above it, not {', '.join(f'{w:g}' for w in weights)}")
    return list(weights)
