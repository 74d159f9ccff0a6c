"""The sums and means behind the metrics, on numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from srkit_metrics.color import WEIGHTS, luma
from srkit_metrics.pair import Moments
from srkit_metrics.windows import contrast, mean, similarity

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

_PIXELS = 16_384  # taken at a time: they stay in a core's cache, and float64 sums their squares without loss


def squared_error(sr: Image, hr: Image, *, on_luma: bool) -> int:
    """Return the exact sum of squared differences of two uint8 [h, w, 3]: RGB levels, or luma, `UNITS` to a level."""
    read = _Values(sr.shape[1], on_luma=on_luma)
    differences = np.empty((2, read.rows, *sr.shape[1:]), np.int16)
    total = 0
    for rows in read.strips(len(sr)):
        x, y = differences[:, : rows.stop - rows.start]
        x[...], y[...] = sr[rows], hr[rows]
        x -= y
        values = read(x)
        total += int(values @ values)
    return total


def steps(image: Image) -> tuple[list[int], list[int]]:
    """Return the exact sums of the squared differences of the luma of neighbours, `UNITS` to a level: one between each
    two columns of a uint8 [h, w, 3], and one between each two rows."""
    width = image.shape[1]
    read = _Values(width, on_luma=True)
    across, down = np.zeros(width - 1, np.int64), []
    above = np.empty((0, width))
    for rows in read.strips(len(image)):
        values = read(image[rows]).reshape(-1, width)
        across += (np.diff(values, axis=1) ** 2).sum(0).astype(np.int64)
        down += (np.diff(np.concatenate([above, values]), axis=0) ** 2).sum(1).astype(np.int64).tolist()
        above = values[-1:].copy()
    return across.tolist(), down


def moments(sr: Image, hr: Image, *, on_luma: bool) -> Moments:
    """Return the exact sums over two uint8 [h, w, 3]: RGB levels, or luma less `OFFSET`, `UNITS` to a level."""
    read_sr, read_hr = (_Values(sr.shape[1], on_luma=on_luma) for _ in range(2))
    sums = [0] * 5
    for rows in read_sr.strips(len(sr)):
        x, y = read_sr(sr[rows]), read_hr(hr[rows])
        sums = [total + int(part) for total, part in zip(sums, (x.sum(), y.sum(), x @ x, y @ y, x @ y), strict=True)]
    return Moments(sr.size // 3 if on_luma else sr.size, *sums)


def similarities(sr: Image, hr: Image, *, on_luma: bool) -> list[float]:
    """Return each plane's mean SSIM, -1..1: red, green and blue, or the luma alone; images are uint8 [h, w, 3]."""
    if on_luma:
        return [mean(similarity, sr, hr)]
    return [mean(similarity, sr[..., channel], hr[..., channel]) for channel in range(3)]


def scales(sr: Image, hr: Image, count: int, *, on_luma: bool) -> list[list[float]]:
    """Return the terms of MS-SSIM of each plane, `count` of them: red, green and blue, or the luma alone.

    Contrast and structure at all scales but the last, SSIM itself there; the images are uint8 [h, w, 3].
    """
    return [_scales(x, y, count) for x, y in zip(_planes(sr, on_luma), _planes(hr, on_luma), strict=True)]


def _scales(x: Floats, y: Floats, count: int) -> list[float]:
    terms = []
    for _ in range(count - 1):
        terms.append(mean(contrast, x, y))
        x, y = _half(x), _half(y)
    return [*terms, mean(similarity, x, y)]


def _planes(image: Image, on_luma: bool) -> Iterator[Floats]:
    if on_luma:
        yield luma(image)
    else:
        yield from (image[..., channel].astype(np.float64) for channel in range(3))


def _half(plane: Floats) -> Floats:
    """Return the means of 2x2 pixels; the last row or column of an odd side is repeated."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    half: Floats = plane[::2, ::2] + plane[::2, 1::2]
    half += plane[1::2, ::2]
    half += plane[1::2, 1::2]
    half /= 4
    return half


class _Values:
    """Reads the values of integer images [h, w, 3] a few rows at a time, as float64: RGB, or luma in units.

    What one call returns, the next overwrites: fresh memory costs more than the arithmetic.
    """

    def __init__(self, width: int, *, on_luma: bool) -> None:
        self.rows = max(1, _PIXELS // max(1, width))
        self._on_luma = on_luma
        self._colors = np.empty((self.rows if on_luma else 0, width, 3), np.float32)
        self._luma = np.empty(self._colors.shape[:2], np.float32)
        self._weights = np.array(WEIGHTS, np.float32)
        self._values = np.empty((self.rows, width) if on_luma else (self.rows, width, 3))

    def strips(self, height: int) -> Iterator[slice]:
        """Yield the rows of an image of this height, from the top, as slices of at most `rows` rows."""
        for top in range(0, height, self.rows):
            yield slice(top, min(top + self.rows, height))

    def __call__(self, image: NDArray[np.integer]) -> Floats:
        """Return the values of at most `rows` rows, flat, in memory that the next call overwrites."""
        rows = slice(len(image))
        values = self._values[rows]
        if self._on_luma:
            self._colors[rows] = image
            values[...] = np.matmul(self._colors[rows], self._weights, out=self._luma[rows])  # integers below 2**24
        else:
            values[...] = image
        return values.reshape(-1)
