"""Two images that can be compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Score = Callable[[Image, Image], float]


def check_pair(sr: Image, hr: Image, *, least: int = 1) -> None:
    """Raise ValueError unless both are uint8 [h, w, 3] of one size, `least` pixels or more on a side."""
    for name, image in (("SR", sr), ("HR", hr)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            shape = ", ".join(map(str, image.shape))
            raise ValueError(f"{name} must be uint8 [height, width, 3], not {image.dtype} [{shape}]")
    if sr.shape != hr.shape:
        raise ValueError(f"SR and HR must be of one size, not {_size(sr)} and {_size(hr)}")
    if min(sr.shape[:2]) < least:
        raise ValueError(f"images must be at least {least}x{least} pixels once the border is cut, not {_size(sr)}")


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
