"""Pillow's bicubic shrinking."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srkit_resize.kernel import check_scale


class PillowBicubic:
    """Pillow's BICUBIC resize: [h, w, 3] uint8 to [h / scale, w / scale, 3], rounded up.

    It is the same kernel as MATLAB's in fixed point, with another rule at the border: 16 to 20 % of the values differ.
    Raises ValueError for images of 16 bits, which Pillow cannot resize in colour.

    Given the size of LR, it serves any scale.

    Args:
        scale: how much smaller the output is, where no size is given.
    """

    def __init__(self, *, scale: float = 1) -> None:
        check_scale(scale)
        self.scale = scale

    def __call__(self, hr: NDArray[Any], size: tuple[int, int] | None = None) -> NDArray[Any]:
        """Return LR, uint8, of a size or else rounded up. Raises ValueError unless HR is uint8."""
        if hr.dtype != np.uint8:
            raise ValueError(f"pillow_bicubic resizes images of 8 bits, not {hr.dtype}; bicubic resizes both")
        height, width = size or (math.ceil(side / self.scale) for side in hr.shape[:2])
        return np.array(Image.fromarray(hr).resize((width, height), Image.Resampling.BICUBIC))
