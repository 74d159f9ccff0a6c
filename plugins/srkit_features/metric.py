"""The distance of two images by features that recognise what they show."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from srkit_features.efficientnet import NAMES, EfficientNetLite0
from srkit_features.images import Image, batch


def features(*, layers: tuple[str, ...] = ("stage5", "stage6", "stage7")) -> Callable[[Image, Image], float]:
    """Return the relative difference of features of EfficientNet-Lite0: two uint8 [h, w, 3] to 0..2, 0 for equal ones.

    Of each layer it is the sum of the absolute differences, divided by the mean of both sums of absolute values; the
    score is the mean over the layers. It is no LPIPS: no person's judgement went into it. The score raises ValueError
    unless both images are uint8 [h, w, 3] of one size.

    Args:
        layers: stages of the network, stage1 to stage7; the first three see texture, the last three what is shown.
    """
    if not layers:
        raise ValueError(f"layers must name one at least: {', '.join(NAMES)}")
    for name in layers:
        if name not in NAMES:
            raise ValueError(f"efficientnet_lite0 has no layer '{name}'; it has {', '.join(NAMES)}")
    network = EfficientNetLite0()

    @torch.no_grad()
    def score(sr: Image, hr: Image) -> float:
        found = network(batch(sr, hr), layers)
        return float(torch.stack([_difference(*found[name]) for name in layers]).mean())

    return score


def _difference(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().sum() / ((a.abs().sum() + b.abs().sum()) / 2)
