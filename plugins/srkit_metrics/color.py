"""The luma of RGB images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# ITU-R BT.601 as in MATLAB's rgb2ycbcr: Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, for R, G, B in 0..255.
# Kept as integers, so that the luma of an integer image is an integer too, below 2**26 and exact in float64.
WEIGHTS = np.array([65481.0, 128553.0, 24966.0])
UNIT = 255_000.0
OFFSET = 16.0


def luma(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Return the luma of an RGB image of 0..255, [h, w] in 16..235, not rounded. Raises ValueError unless [h, w, 3]."""
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an RGB image is [height, width, 3], not [{', '.join(map(str, rgb.shape))}]")
    y: NDArray[np.float64] = rgb.astype(np.float64) @ (WEIGHTS / UNIT)
    y += OFFSET
    return y
