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
    # In bands: as a whole, floats of a large picture would take many times its room. The pyramid above takes a quarter.
    bands = [
        _coarse(pixels[start : start + _BAND], alpha[start : start + _BAND]) for start in range(0, len(pixels), _BAND)
    ]
    fill = _filled(*(np.concatenate(parts) for parts in zip(*bands, strict=True)))
    found = pixels.copy()
    for start in range(0, len(pixels), _BAND):
        rows, columns = hidden[start : start + _BAND].nonzero()
        found[start + rows, columns] = np.floor(fill[(start + rows) // 2, columns // 2] + 0.5).astype(pixels.dtype)
    return found


_BAND = 256  # rows, an even number


def _coarse(pixels: Pixels, alpha: Pixels) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sums over 2x2 pixels of the colours times their weights, and of the weights."""
    weight = alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max)
    return _halved(pixels.astype(np.float32) * weight[..., None]), _halved(weight)


def _filled(color: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Return the colours, given times their weights; where a weight is 0, that of the coarser picture."""
    known = weight > 0
    mean = color / np.where(known, weight, 1)[..., None]
    if known.all():
        return mean
    height, width = weight.shape
    coarse = _filled(_halved(color), _halved(weight))
    wide = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known[..., None], mean, wide)


def _halved(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sums over 2x2 values of [h, w] or [h, w, c]; what is beyond an odd side is 0."""
    height, width = values.shape[:2]
    if height % 2 or width % 2:
        values = np.pad(values, ((0, height % 2), (0, width % 2), *[(0, 0)] * (values.ndim - 2)))
    halved: NDArray[Any] = values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
    return halved
