"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import numpy as np

from srkit_metrics.color import UNIT, WEIGHTS
from srkit_metrics.pair import Image, Score, check_pair

PEAK = 255.0
_PIXELS = 16_384  # taken at a time: their differences stay in a core's cache


def psnr() -> Score:
    """Return the PSNR over all RGB values: two uint8 [h, w, 3] to decibels, inf where they are identical.

    The score raises ValueError unless both are uint8 [h, w, 3] of one size.
    """
    return _psnr_rgb


def psnr_y() -> Score:
    """Return the PSNR of the unrounded BT.601 luma: two uint8 [h, w, 3] to decibels, inf where they are identical.

    The score raises ValueError unless both are uint8 [h, w, 3] of one size.
    """
    return _psnr_luma


def _psnr_rgb(sr: Image, hr: Image) -> float:
    return _decibels(_squared_error(sr, hr, on_luma=False) / sr.size)


def _psnr_luma(sr: Image, hr: Image) -> float:
    return _decibels(_squared_error(sr, hr, on_luma=True) / (sr.size // 3) / UNIT**2)


def _decibels(mean_squared_error: float) -> float:
    return 10 * math.log10(PEAK**2 / mean_squared_error) if mean_squared_error else math.inf


def _squared_error(sr: Image, hr: Image, *, on_luma: bool) -> float:
    """Return the sum of squared differences; of the luma, in units of 1 / UNIT squared.

    Every difference is an integer and so is its square, below 2**53: float64 adds nothing of its own but the
    rounding of the sum, and not even that on RGB.
    """
    check_pair(sr, hr)
    total = 0.0
    rows = max(1, _PIXELS // sr.shape[1])
    for top in range(0, sr.shape[0], rows):
        part = slice(top, top + rows)
        difference = np.subtract(sr[part], hr[part], dtype=np.int16).astype(np.float64)
        values = difference.reshape(-1, 3) @ WEIGHTS if on_luma else difference.ravel()
        total += float(values @ values)
    return total
