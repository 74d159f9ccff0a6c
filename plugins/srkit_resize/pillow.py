"""Pillow's bicubic shrinking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srkit_resize.kernel import check_scale


class PillowBicubic:
    """Pillow's BICUBIC resize: [h, w, 3] uint8 to [h / scale, w / scale, 3], rounded up.

    It is the same kernel as MATLAB's in fixed point, with another rule at the border: 16 to 20 % of the values differ.
    Raises ValueError for images of 16 bits, which Pillow cannot resize in colour.

    Args:
        scale: how much smaller the output is.
    """

    def __init__(self, *, scale: int) -> None:
        check_scale(scale)
        self.scale = scale

    def __call__(self, hr: NDArray[Any]) -> NDArray[Any]:
        """Return LR, uint8 [ceil(h / scale), ceil(w / scale), 3]. Raises ValueError unless HR is uint8."""
        if hr.dtype != np.uint8:
            raise ValueError(f"pillow_bicubic resizes images of 8 bits, not {hr.dtype}; bicubic resizes both")
        height, width = hr.shape[:2]
        size = -(-width // self.scale), -(-height // self.scale)
        return np.array(Image.fromarray(hr).resize(size, Image.Resampling.BICUBIC))
