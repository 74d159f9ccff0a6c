"""Two images as the batch that a network takes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8]


def batch(sr: Image, hr: Image, *, least: int = 1) -> Tensor:
    """Return SR and HR as float [2, 3, h, w] in 0..1.

    Raises ValueError unless both are uint8 [h, w, 3] of one size, `least` pixels or more on a side.
    """
    for name, image in (("SR", sr), ("HR", hr)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            shape = ", ".join(map(str, image.shape))
            raise ValueError(f"{name} must be uint8 [height, width, 3], not {image.dtype} [{shape}]")
    if sr.shape != hr.shape:
        raise ValueError(f"SR and HR must be of one size, not {_size(sr)} and {_size(hr)}")
    if min(sr.shape[:2]) < least:
        raise ValueError(f"images must be at least {least}x{least} pixels once the border is cut, not {_size(sr)}")
    return torch.tensor(np.stack([sr, hr])).permute(0, 3, 1, 2).float() / 255


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
