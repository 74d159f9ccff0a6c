"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

from srkit_metrics.arithmetic import arithmetic
from srkit_metrics.color import UNITS
from srkit_metrics.pair import Image, Score

PEAK = 255.0


def psnr() -> Score:
    """Return the PSNR over all RGB values: two uint8 [h, w, 3] to decibels, inf where they are identical.

    The score takes numpy's arrays or torch's tensors, and raises ValueError unless both are uint8 [h, w, 3] of one
    size.
    """
    return _psnr_rgb


def psnr_y() -> Score:
    """Return the PSNR of the unrounded BT.601 luma: two uint8 [h, w, 3] to decibels, inf where they are identical.

    The score takes numpy's arrays or torch's tensors, and raises ValueError unless both are uint8 [h, w, 3] of one
    size.
    """
    return _psnr_luma


def _psnr_rgb(sr: Image, hr: Image) -> float:
    error = arithmetic(sr, hr).squared_error(sr, hr, on_luma=False)
    return decibels(error, PEAK**2 * 3 * sr.shape[0] * sr.shape[1])


def _psnr_luma(sr: Image, hr: Image) -> float:
    error = arithmetic(sr, hr).squared_error(sr, hr, on_luma=True)
    return decibels(error, (PEAK * UNITS) ** 2 * sr.shape[0] * sr.shape[1])


def decibels(error: float, largest: float) -> float:
    """Return how far an error lies below the largest, inf where there is none."""
    return 10 * math.log10(largest / error) if error else math.inf
