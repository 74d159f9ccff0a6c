"""Who does the arithmetic: numpy for arrays, torch for tensors."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from srkit_metrics.pair import Image, Moments, check_pair


class Arithmetic(Protocol):
    """What a score needs of two images uint8 [h, w, 3], of RGB or of the luma.

    Values are whole: of RGB levels, of the luma `color.UNITS` to a level, less `color.OFFSET`.
    """

    def squared_error(self, sr: Any, hr: Any, *, on_luma: bool) -> int:
        """Return the exact sum of the squared differences of all values."""

    def steps(self, image: Any) -> tuple[list[int], list[int]]:
        """Return the exact sums of the squared differences of the luma of neighbours: one between each two columns of
        an image uint8 [h, w, 3], and one between each two rows."""

    def moments(self, sr: Any, hr: Any, *, on_luma: bool) -> Moments:
        """Return the exact sums over all values."""

    def similarities(self, sr: Any, hr: Any, *, on_luma: bool) -> list[float]:
        """Return the mean SSIM of red, green and blue, or of the luma."""

    def scales(self, sr: Any, hr: Any, count: int, *, on_luma: bool) -> list[list[float]]:
        """Return of each plane the mean of SSIM's contrast and structure term at all scales but the last, and of SSIM
        itself there. Each scale is half the size of the one before: the means of 2x2 pixels."""


def arithmetic(sr: Image, hr: Image, *, least: int = 1) -> Arithmetic:
    """Return what compares two images, where they are.

    Raises ValueError unless both are uint8 [h, w, 3] of one size and place, `least` pixels or more on a side.
    """
    check_pair(sr, hr, least=least)
    if isinstance(sr, np.ndarray):
        from srkit_metrics import arrays

        return arrays
    from srkit_metrics import tensors  # torch is there already: it made the images

    return tensors
