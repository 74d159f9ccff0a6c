"""Zero-normalised cross-correlation of whole images: Pearson's correlation of their values."""

from __future__ import annotations

import math

from srkit_metrics.arithmetic import arithmetic
from srkit_metrics.pair import Image, Moments, Score


def zncc() -> Score:
    """Return the correlation of all RGB values: two uint8 [h, w, 3] to -1..1.

    It is 1 where the images differ only in brightness and contrast, the same for all three channels, and -1 where one
    is the other's negative. Two constant images differ in brightness alone: 1. Between a constant image and any other
    it is 0.

    The score takes numpy's arrays or torch's tensors, and raises ValueError unless both are uint8 [h, w, 3] of one
    size.
    """
    return _zncc_rgb


def zncc_y() -> Score:
    """Return the correlation of the unrounded BT.601 luma: two uint8 [h, w, 3] to -1..1.

    All else is as with `zncc`.
    """
    return _zncc_luma


def _zncc_rgb(sr: Image, hr: Image) -> float:
    return _correlation(arithmetic(sr, hr).moments(sr, hr, on_luma=False))


def _zncc_luma(sr: Image, hr: Image) -> float:
    return _correlation(arithmetic(sr, hr).moments(sr, hr, on_luma=True))


def _correlation(sums: Moments) -> float:
    """Return Pearson's correlation. In integers nothing cancels, and images that are equal score 1 to the last bit."""
    of_sr = sums.values * sums.sr_sr - sums.sr**2
    of_hr = sums.values * sums.hr_hr - sums.hr**2
    of_both = sums.values * sums.sr_hr - sums.sr * sums.hr
    if not of_sr or not of_hr:
        return float(of_sr == of_hr)
    # With 64 bits behind the point, so that the root of small numbers is as exact.
    return (of_both << 64) / math.isqrt(of_sr * of_hr << 128)
