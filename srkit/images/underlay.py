"""Colours for where a picture shows none: so that an enlargement does not mix in what lies under transparency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from srkit.plugin.contracts import Image as Pixels


def filled_under(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Return [h, w, 3] with what is wholly transparent filled by the visible colours around it, in the same dtype.

    What is nearest counts most: means of 2x2 pixels, weighted by alpha, fill what they cover, and means of those what
    is left. All else is as it was; so is a picture that shows nothing.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    weight = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    fill = _filled(pixels.astype(np.float32) * weight[..., None], weight)
    found = pixels.copy()
    found[hidden] = np.floor(fill[hidden] + 0.5).astype(pixels.dtype)
    return found


def _filled(color: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Return the colours, given times their weights; where a weight is 0, that of the coarser picture."""
    known = weight > 0
    mean = color / np.where(known, weight, 1)[..., None]
    if known.all():
        return mean
    height, width = weight.shape
    even = ((0, height % 2), (0, width % 2))
    coarse = _filled(_halved(np.pad(color, (*even, (0, 0)))), _halved(np.pad(weight, even)))
    wide = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known[..., None], mean, wide)


def _halved(values: NDArray[Any]) -> NDArray[Any]:
    halved: NDArray[Any] = values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
    return halved
