"""Images that can be scored, and two that can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

Image: TypeAlias = "NDArray[np.uint8] | Tensor"
Score: TypeAlias = "Callable[[Image, Image], float]"


class Moments(NamedTuple):
    """How many values SR and HR have each; exact sums over them, over their squares and over their products."""

    values: int
    sr: int
    hr: int
    sr_sr: int
    hr_hr: int
    sr_hr: int


def check_pair(sr: Image, hr: Image, *, least: int = 1) -> None:
    """Raise ValueError unless both are uint8 [h, w, 3] of one size and place, `least` pixels or more on a side."""
    for name, image in (("SR", sr), ("HR", hr)):
        check_image(image, name)
    if _place(sr) != _place(hr):
        raise ValueError(f"SR and HR must be arrays, or tensors on one device, not {_place(sr)} and {_place(hr)}")
    if sr.shape != hr.shape:
        raise ValueError(f"SR and HR must be of one size, not {_size(sr)} and {_size(hr)}")
    check_image(sr, "SR", least=least)


def check_image(image: Image, name: str, *, least: int = 1) -> None:
    """Raise ValueError unless an image is uint8 [h, w, 3], `least` pixels or more on a side."""
    dtype = str(image.dtype).removeprefix("torch.")
    if dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3:
        shape = ", ".join(map(str, image.shape))
        raise ValueError(f"{name} must be uint8 [height, width, 3], not {dtype} [{shape}]")
    if min(image.shape[:2]) < least:
        raise ValueError(f"images must be at least {least}x{least} pixels once the border is cut, not {_size(image)}")


def _place(image: Image) -> str:
    return "an array" if isinstance(image, np.ndarray) else f"a tensor on {image.device}"


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
