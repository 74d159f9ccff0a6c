"""The luma of RGB images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# ITU-R BT.601 as in MATLAB's rgb2ycbcr: Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, for R, G, B in 0..255. That
# is 16 + 219 (0.299 R + 0.587 G + 0.114 B) / 255: in units of 219 / 255000, luma less 16 is an integer, below 2**18,
# which even float32 holds.
WEIGHTS = (299, 587, 114)
UNITS = 255_000 / 219  # in one level of luma
OFFSET = 16.0


def luma(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Return the luma of an RGB image of 0..255, [h, w] in 16..235, not rounded. Raises ValueError unless [h, w, 3]."""
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an RGB image is [height, width, 3], not [{', '.join(map(str, rgb.shape))}]")
    y: NDArray[np.float64] = rgb.astype(np.float64) @ np.array(WEIGHTS, np.float64)
    y /= UNITS
    y += OFFSET
    return y
