"""Structural similarity: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861."""

from __future__ import annotations

import statistics

from srkit_metrics.arithmetic import arithmetic
from srkit_metrics.gaussian import SIZE
from srkit_metrics.pair import Image, Score


def ssim() -> Score:
    """Return the mean SSIM of red, green and blue: two uint8 [h, w, 3] to -1..1.

    Only windows that lie wholly inside count. The score takes numpy's arrays or torch's tensors, and raises ValueError
    unless both are uint8 [h, w, 3] of one size, 11 pixels or more on a side.
    """
    return _ssim_rgb


def ssim_y() -> Score:
    """Return the SSIM of the unrounded BT.601 luma: two uint8 [h, w, 3] to -1..1.

    Only windows that lie wholly inside count. The score takes numpy's arrays or torch's tensors, and raises ValueError
    unless both are uint8 [h, w, 3] of one size, 11 pixels or more on a side.
    """
    return _ssim_luma


def _ssim_rgb(sr: Image, hr: Image) -> float:
    return statistics.fmean(arithmetic(sr, hr, least=SIZE).similarities(sr, hr, on_luma=False))


def _ssim_luma(sr: Image, hr: Image) -> float:
    return statistics.fmean(arithmetic(sr, hr, least=SIZE).similarities(sr, hr, on_luma=True))
