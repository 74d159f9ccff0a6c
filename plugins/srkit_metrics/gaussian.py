"""The window of SSIM: section III-C of Wang et al. 2004, doi:10.1109/TIP.2003.819861."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE, SIGMA = 11, 1.5
MARGIN = SIZE - 1  # an image has as many windows less on a side than pixels: only those wholly inside count
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # K1 and K2, for images of 0..255

# Neighbours filtered by one small matrix product: with more it multiplies by more zeros, with fewer it is too small.
BLOCK = 8


def band() -> NDArray[np.float64]:
    """Return the matrix [BLOCK, BLOCK + MARGIN] whose rows are the window's weights, each one further to the right."""
    weights = np.exp(-((np.arange(SIZE) - SIZE // 2) ** 2) / (2 * SIGMA**2))
    matrix = np.zeros((BLOCK, BLOCK + MARGIN))
    for row in range(BLOCK):
        matrix[row, row : row + SIZE] = weights / weights.sum()
    return matrix
