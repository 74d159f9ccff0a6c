"""The terms of SSIM, averaged over all windows of two planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from srkit_metrics.color import OFFSET, UNITS, WEIGHTS
from srkit_metrics.gaussian import BLOCK, C1, C2, MARGIN, band

Floats = NDArray[np.float64]

# The map [n, w] of a term, made in place of means and means of squares [2, 2, n, w], where a level has so many units.
Term = Callable[[Floats, float], Floats]

_ROWS, _COLUMNS = 64, 256  # of a tile: all that it needs stays in a core's cache

_WEIGHTS = np.array(WEIGHTS, np.float32)
_BAND = band()
_BAND_ACROSS = np.ascontiguousarray(_BAND.T)  # copied: matmul is up to four times slower with a transposed view


def mean(term: Term, x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the mean of a term over all windows of two planes [h, w], or of the luma of two images uint8 [h, w, 3].

    In place of the planes x, y, their squares and product, the sum p = x + y and the difference q = x - y are filtered
    with their squares, four planes and not five. With P, Q their means and A, B their variances,

        SSIM = (P^2 - Q^2 + 2 C1) (A - B + 2 C2) / ((P^2 + Q^2 + 2 C1) (A + B + 2 C2))

    A variance is a small difference of large means, for which float32 does not do: flat images would be off by 2e-5.
    """
    height, width = x.shape[0] - MARGIN, x.shape[1] - MARGIN
    windows: int = height * width
    return _Tiles(x, width).sum(term, x, y) / windows


def similarity(windows: Floats, units: float) -> Floats:
    """The term of SSIM itself."""
    p: Floats
    (p, q), (a, b) = windows
    p *= p
    a -= p
    p += 2 * C1 * units**2
    q *= q
    b -= q
    a += 2 * C2 * units**2
    _difference_and_sum(p, q)
    _difference_and_sum(a, b)
    p *= a
    q *= b
    p /= q
    return p


def contrast(windows: Floats, units: float) -> Floats:
    """The term of contrast and structure alone, without that of luminance."""
    a: Floats
    means, (a, b) = windows
    means *= means
    a -= means[0]
    a += 2 * C2 * units**2
    b -= means[1]
    _difference_and_sum(a, b)
    a /= b
    return a


def _difference_and_sum(x: NDArray[Any], y: NDArray[Any]) -> None:
    """Make x - y of x and x + y of y, in place: other memory would not be in the cache."""
    x -= y
    y += y
    y += x


class _Tiles:
    """The memory to look at two planes, or at the luma of two images, a tile at a time.

    It is used again and again, since fresh memory costs more than the arithmetic, and whole, since strides do too: what
    a tile does not fill is 0 and filtered with it, and its windows are left out of the sum.

    Args:
        x: one of the planes or images
        width: how many windows there are in a row
    """

    def __init__(self, x: NDArray[Any], width: int) -> None:
        across = -(-width // _COLUMNS)
        self.width = -(-width // (across * BLOCK)) * BLOCK
        # Luma is read in units in which it is an integer, below 2**24 and so exact in float32.
        self._on_luma = x.ndim == 3
        self._units = UNITS if self._on_luma else 1.0
        levels = np.float32 if x.dtype == np.uint8 else np.float64

        self._lines = np.zeros((2, 2, MARGIN + _ROWS, self.width))  # filtered across: the planes, and their squares
        self._above = np.zeros((across, 2, 2, MARGIN, self.width))  # the last lines of each tile of the row before
        # What comes before the lines and what comes after them share their place: so all stays in the cache.
        pixels = _ROWS, self.width + MARGIN
        room = np.zeros((6, *pixels))
        self._planes: Floats = np.ndarray((2, *pixels), np.float64, room)
        self._levels: NDArray[Any] = np.ndarray((2, *pixels), levels, room[2:])
        self._colors: NDArray[np.float32] = np.ndarray((*pixels, 3), np.float32, room[4:])
        self._windows: Floats = np.ndarray((2, 2, _ROWS, self.width), np.float64, room)

        self._runs_across = sliding_window_view(self._planes, BLOCK + MARGIN, 2)[:, :, ::BLOCK].swapaxes(1, 2)
        self._blocks_across = self._lines.reshape(2, 2, MARGIN + _ROWS, -1, BLOCK).swapaxes(2, 3)
        self._runs_down = sliding_window_view(self._lines, BLOCK + MARGIN, 2)[:, :, ::BLOCK].swapaxes(3, 4)
        self._blocks_down = self._windows.reshape(2, 2, -1, BLOCK, self.width)

    def sum(self, term: Term, x: NDArray[Any], y: NDArray[Any]) -> float:
        """Return the sum of a term over all windows. Each row is filtered across once, even where two tiles need it."""
        height, width = x.shape[0], x.shape[1] - MARGIN
        total, kept = 0.0, 0
        for top in range(0, height, _ROWS):
            rows = slice(top, min(top + _ROWS, height))
            made = kept + rows.stop - top - MARGIN
            for above, left in zip(self._above, range(0, width, self.width), strict=True):
                columns = slice(left, left + self.width + MARGIN)
                self._lines[:, :, :kept] = above[:, :, :kept]
                self._read(x[rows, columns], y[rows, columns])
                self._filter_across(slice(kept, made + MARGIN))
                above[...] = self._lines[:, :, made : made + MARGIN]
                blocks = slice(-(-made // BLOCK))
                np.matmul(_BAND, self._runs_down[:, :, blocks], out=self._blocks_down[:, :, blocks])
                values = term(self._windows[:, :, :made], self._units)
                values[:, width - left :] = 0
                total += float(values.sum())
            kept = MARGIN
        return total

    def _read(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Put the sum and the difference into the planes."""
        rows, columns = map(slice, x.shape[:2])
        p, q = self._levels[:, rows]
        for image, levels in ((x, q), (y, p)):
            read = self._colors[rows] if self._on_luma else levels
            read[:, columns] = image
            read[:, columns.stop :] = 0
            if self._on_luma:
                np.matmul(read, _WEIGHTS, out=levels)
        _difference_and_sum(q, p)
        self._planes[:, rows] = self._levels[:, rows]
        if self._on_luma:
            self._planes[0, rows] += 2 * OFFSET * UNITS

    def _filter_across(self, lines: slice) -> None:
        """Fill these lines from the first rows of the planes, of which only the squares are left."""
        rows = slice(lines.stop - lines.start)
        means, squares = self._blocks_across[:, :, :, lines]
        np.matmul(self._runs_across[:, :, rows], _BAND_ACROSS, out=means)
        planes = self._planes[:, rows]
        planes *= planes
        np.matmul(self._runs_across[:, :, rows], _BAND_ACROSS, out=squares)
