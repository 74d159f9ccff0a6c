"""The distance of two images by features that recognise what they show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit_features.efficientnet import NAMES, EfficientNetLite0

Image = NDArray[np.uint8]


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
        for name, image in (("SR", sr), ("HR", hr)):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                shape = ", ".join(map(str, image.shape))
                raise ValueError(f"{name} must be uint8 [height, width, 3], not {image.dtype} [{shape}]")
        if sr.shape != hr.shape:
            raise ValueError(f"SR and HR must be of one size, not {_size(sr)} and {_size(hr)}")
        of_sr, of_hr = (network(_tensor(image), layers) for image in (sr, hr))
        return float(torch.stack([_difference(of_sr[name], of_hr[name]) for name in layers]).mean())

    return score


def _difference(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().sum() / ((a.abs().sum() + b.abs().sum()) / 2)


def _tensor(image: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
