"""Peak signal-to-noise ratio that counts block edges: Yim and Bovik, "Quality assessment of deblocked images", IEEE TIP
20(1), 2011, doi:10.1109/TIP.2010.2061859."""

from __future__ import annotations

import math

from srkit_metrics.arithmetic import arithmetic
from srkit_metrics.color import UNITS
from srkit_metrics.pair import Image, Score
from srkit_metrics.psnr import PEAK, decibels


def psnr_b(*, block: int = 8) -> Score:
    """Return the PSNR of the unrounded BT.601 luma with the blocking effect of SR added to the mean squared error.

    Two uint8 [h, w, 3] to decibels, at most those of `psnr_y`; inf where the images are identical and have no block
    edges. The blocking effect is how much larger the squared difference of two neighbours is across the edges of the
    blocks than elsewhere, times log(block) / log(shorter side); none where it is smaller. Blocks begin at the upper
    left pixel, so no border is cut. The score takes numpy's arrays or torch's tensors, and raises ValueError unless
    both are uint8 [h, w, 3] of one size, a pixel larger than a block or more.

    Args:
        block: side of a block in pixels of SR: 8 for JPEG, times the scale where LR was JPEG.
    """
    if block < 2:
        raise ValueError(f"block must be at least 2 pixels, not {block}")

    def score(sr: Image, hr: Image) -> float:
        compare = arithmetic(sr, hr, least=block + 1)
        height, width = sr.shape[:2]
        error = compare.squared_error(sr, hr, on_luma=True) / (height * width)
        return decibels(error + _blocking(*compare.steps(sr), block), (PEAK * UNITS) ** 2)

    return score


def _blocking(across: list[int], down: list[int], block: int) -> float:
    """Return the blocking effect factor, of the sums of squared differences between columns and between rows."""
    width, height = len(across) + 1, len(down) + 1
    at_edges = sum(across[block - 1 :: block]) + sum(down[block - 1 :: block])
    elsewhere = sum(across) + sum(down) - at_edges
    # As many pairs at edges as the paper's formula has, and the code of its authors: more than there are.
    edges = height * width / block - 1 + width * height / block - 1
    pairs = height * (width - 1) + width * (height - 1)
    excess = at_edges / edges - elsewhere / (pairs - edges)
    return max(excess, 0.0) * math.log(block) / math.log(min(height, width))
