"""Structural similarity at five scales: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
assessment", Asilomar 2003, doi:10.1109/ACSSC.2003.1292216."""

from __future__ import annotations

import math
import statistics

from srkit_metrics.arithmetic import arithmetic
from srkit_metrics.gaussian import SIZE
from srkit_metrics.pair import Image, Score

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # section 3.2 of the paper, the finest scale first
LEAST = SIZE * 2 ** (len(WEIGHTS) - 1)  # pixels on a side: so the authors' own code has it


def ms_ssim() -> Score:
    """Return the mean MS-SSIM of red, green and blue: two uint8 [h, w, 3] to 0..1.

    It is that of the authors' own code: SSIM's window and constants, with windows that lie wholly inside alone; each
    scale the means of 2x2 pixels of the one before, where the last row or column of an odd side is repeated; contrast
    and structure of the first four scales, averaged over the image and weighted as powers, times SSIM itself of the
    fifth. An average below 0 counts as 0. The weights are the paper's, which sum to 1.0001.

    The score takes numpy's arrays or torch's tensors, and raises ValueError unless both are uint8 [h, w, 3] of one
    size, 176 pixels or more on a side.
    """
    return _ms_ssim_rgb


def ms_ssim_y() -> Score:
    """Return the MS-SSIM of the unrounded BT.601 luma: two uint8 [h, w, 3] to 0..1.

    All else is as with `ms_ssim`.
    """
    return _ms_ssim_luma


def _ms_ssim_rgb(sr: Image, hr: Image) -> float:
    return _score(sr, hr, on_luma=False)


def _ms_ssim_luma(sr: Image, hr: Image) -> float:
    return _score(sr, hr, on_luma=True)


def _score(sr: Image, hr: Image, *, on_luma: bool) -> float:
    planes = arithmetic(sr, hr, least=LEAST).scales(sr, hr, len(WEIGHTS), on_luma=on_luma)
    return statistics.fmean(
        math.prod(max(term, 0.0) ** weight for term, weight in zip(terms, WEIGHTS, strict=True)) for terms in planes
    )
