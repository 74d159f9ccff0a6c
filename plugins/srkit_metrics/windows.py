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

# The map of a term, of means and means of squares [2, 2, n, w], room [n, w] and the units of a level.
Term = Callable[[Floats, Floats, float], Floats]

_ROWS, _COLUMNS = 64, 256  # windows looked at in one go: all that they need stays in a core's cache

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
    stripes = _Stripes(x, width)
    total = 0.0
    for left in range(0, width, stripes.width):
        columns = slice(left, left + stripes.width + MARGIN)
        total += stripes.sum(term, x[:, columns], y[:, columns])
    windows: int = height * width
    return total / windows


def similarity(windows: Floats, room: Floats, units: float) -> Floats:
    """The term of SSIM itself. `windows` is used up."""
    p: Floats
    (p, q), (a, b) = windows
    p *= p
    a -= p
    p += 2 * C1 * units**2
    q *= q
    b -= q
    a += 2 * C2 * units**2
    np.add(p, q, out=room)
    p -= q
    np.add(a, b, out=q)
    a -= b
    p *= a
    room *= q
    p /= room
    return p


def contrast(windows: Floats, room: Floats, units: float) -> Floats:
    """The term of contrast and structure alone, without that of luminance. `windows` is used up."""
    a: Floats
    means, (a, b) = windows
    means *= means
    a -= means[0]
    a += 2 * C2 * units**2
    b -= means[1]
    np.add(a, b, out=room)
    a -= b
    a /= room
    return a


class _Stripes:
    """The memory to look at two planes, or at the luma of two images, a stripe at a time.

    It is used again and again, since fresh memory costs more than the arithmetic, and whole, since strides do too: what
    a stripe does not fill is filtered with it, and its windows are left out of the sum.

    Args:
        x: one of the planes or images
        width: of the windows of all stripes
    """

    def __init__(self, x: NDArray[Any], width: int) -> None:
        count = -(-width // _COLUMNS)
        self.width = -(-width // (count * BLOCK)) * BLOCK
        pixels = _ROWS, self.width + MARGIN
        # Luma is read in units in which it is an integer, below 2**24 and so exact in float32.
        self._on_luma = x.ndim == 3
        self._colors = np.zeros((*pixels, 3) if self._on_luma else 0, np.float32)
        self._levels = np.zeros((3, *pixels), np.float32 if x.dtype == np.uint8 else np.float64)
        self._planes = np.zeros((2, *pixels))
        self._lines = np.zeros((2, 2, MARGIN + _ROWS, self.width))  # filtered across: the planes, and their squares
        self._windows = np.zeros((2, 2, _ROWS, self.width))
        self._room = np.zeros((_ROWS, self.width))

    def sum(self, term: Term, x: NDArray[Any], y: NDArray[Any]) -> float:
        """Return the sum of a term over a stripe.

        Each row is read and filtered across once: the last ones of a step are kept for the windows of the next.
        """
        height, width = x.shape[0], x.shape[1] - MARGIN
        runs_across = sliding_window_view(self._planes, BLOCK + MARGIN, 2)[:, :, ::BLOCK].swapaxes(1, 2)
        blocks_across = self._lines.reshape(2, 2, MARGIN + _ROWS, -1, BLOCK).swapaxes(2, 3)
        runs_down = sliding_window_view(self._lines, BLOCK + MARGIN, 2)[:, :, ::BLOCK].swapaxes(3, 4)
        blocks_down = self._windows.reshape(2, 2, -1, BLOCK, self.width)
        total, kept = 0.0, 0
        for top in range(0, height, _ROWS):
            rows = slice(top, min(top + _ROWS, height))
            count = rows.stop - top
            filled = kept + count
            self._read(x[rows], y[rows])
            fresh = self._planes[:, :count]
            np.matmul(runs_across[:, :, :count], _BAND_ACROSS, out=blocks_across[0, :, :, kept:filled])
            fresh *= fresh
            np.matmul(runs_across[:, :, :count], _BAND_ACROSS, out=blocks_across[1, :, :, kept:filled])

            made = filled - MARGIN
            blocks = -(-made // BLOCK)
            np.matmul(_BAND, runs_down[:, :, :blocks], out=blocks_down[:, :, :blocks])
            values = term(self._windows[:, :, :made], self._room[:made], UNITS if self._on_luma else 1.0)
            values[:, width:] = 0
            total += float(values.sum())
            self._lines[:, :, :MARGIN] = self._lines[:, :, made:filled]
            kept = MARGIN
        return total

    def _read(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Put the sum and the difference into the planes."""
        rows, columns = map(slice, x.shape[:2])
        p, q, other = self._levels[:, rows]
        for image, levels in ((x, p), (y, other)):
            if self._on_luma:
                self._colors[rows, columns] = image
                np.matmul(self._colors[rows], _WEIGHTS, out=levels)
            else:
                levels[:, columns] = image
        np.subtract(p, other, out=q)
        p += other
        self._planes[:, rows] = self._levels[:2, rows]
        if self._on_luma:
            self._planes[0, rows] += 2 * OFFSET * UNITS
