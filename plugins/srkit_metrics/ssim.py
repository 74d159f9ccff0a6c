"""Structural similarity: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from srkit_metrics.color import OFFSET, UNIT, WEIGHTS
from srkit_metrics.pair import Image, Score, check_pair

SIZE, SIGMA = 11, 1.5  # the Gaussian window of section III-C
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # K1 and K2 of section III-C, for images of 0..255

_MARGIN = SIZE - 1
_BLOCK = 16  # neighbours filtered by one small matrix product
_TILE = 64, 256  # values of the map made at a time: all that they need stays in a core's cache


def ssim() -> Score:
    """Return the mean SSIM of red, green and blue: two uint8 [h, w, 3] to -1..1.

    Only windows that lie wholly inside count. The score raises ValueError unless both are uint8 [h, w, 3] of one
    size, 11 pixels or more on a side.
    """
    return _ssim_rgb


def ssim_y() -> Score:
    """Return the SSIM of the unrounded BT.601 luma: two uint8 [h, w, 3] to -1..1.

    Only windows that lie wholly inside count. The score raises ValueError unless both are uint8 [h, w, 3] of one
    size, 11 pixels or more on a side.
    """
    return _ssim_luma


def _ssim_rgb(sr: Image, hr: Image) -> float:
    return sum(_mean_ssim(sr, hr, weights, 0.0) for weights in np.eye(3)) / 3


def _ssim_luma(sr: Image, hr: Image) -> float:
    return _mean_ssim(sr, hr, WEIGHTS / UNIT, OFFSET)


def _mean_ssim(sr: Image, hr: Image, weights: NDArray[np.float64], offset: float) -> float:
    """Return the mean of the SSIM map of the planes `weights` times RGB plus `offset`."""
    check_pair(sr, hr, least=SIZE)
    height, width = (side - _MARGIN for side in sr.shape[:2])
    values: int = height * width
    total = 0.0
    for top in range(0, height, _TILE[0]):
        for left in range(0, width, _TILE[1]):
            tile = slice(top, top + _TILE[0] + _MARGIN), slice(left, left + _TILE[1] + _MARGIN)
            total += _sum_of_map(sr[tile], hr[tile], weights, offset)
    return total / values


def _sum_of_map(sr: Image, hr: Image, weights: NDArray[np.float64], offset: float) -> float:
    """Return the sum of the SSIM map of two planes.

    In place of the planes x, y, their squares and product, the sum p = x + y and the difference q = x - y are filtered
    with their squares, four planes and not five. With P, Q their means and A, B their variances,

        SSIM = (P^2 - Q^2 + 2 C1) (A - B + 2 C2) / ((P^2 + Q^2 + 2 C1) (A + B + 2 C2))

    A variance is a small difference of large means: in float32 it would put SSIM off by up to 2e-5, so it is made in
    float64. What comes before is about 0, for which the middle, 255, is left out of p, and what comes after multiplies
    and divides: there float32 does.
    """
    planes = np.empty((4, *sr.shape[:2]))
    single = weights.astype(np.float32)
    total = np.add(sr, hr, dtype=np.int16)
    total -= 255
    planes[0] = total.astype(np.float32) @ single
    planes[1] = np.subtract(sr, hr, dtype=np.int16).astype(np.float32) @ single
    np.multiply(planes[:2], planes[:2], out=planes[2:])

    mean, variance = np.split(_blur(planes), 2)
    square = mean.astype(np.float32)
    np.multiply(mean, mean, out=mean)
    variance -= mean
    a, b = variance.astype(np.float32)
    p, q = square
    p += np.float32(2 * offset + 255 * weights.sum())
    square *= square

    p += np.float32(2 * C1)
    a += np.float32(2 * C2)
    above = p - q
    above *= a - b
    p += q
    a += b
    p *= a
    above /= p
    return float(above.sum(dtype=np.float64))


def _band() -> NDArray[np.float64]:
    """Return the matrix [_BLOCK, _BLOCK + _MARGIN] that filters neighbours by the Gaussian."""
    weights = np.exp(-((np.arange(SIZE) - SIZE // 2) ** 2) / (2 * SIGMA**2))
    band = np.zeros((_BLOCK, _BLOCK + _MARGIN))
    for row in range(_BLOCK):
        band[row, row : row + SIZE] = weights / weights.sum()
    return band


_BAND = _band()
_TRANSPOSED = np.ascontiguousarray(_BAND.T)  # copied: matmul is up to four times slower with a transposed view


def _blur(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return planes [k, h, w] filtered by the Gaussian where it lies wholly inside, [k, h - 10, w - 10]."""
    return _blur_columns(_blur_rows(planes))


def _blur_rows(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    count, height, width = planes.shape
    height -= _MARGIN
    out = np.empty((count, height, width))
    blocks, rest = divmod(height, _BLOCK)
    plane, row, value = planes.strides
    windows = as_strided(planes, (count, blocks, _BLOCK + _MARGIN, width), (plane, row * _BLOCK, row, value))
    plane, row, value = out.strides
    np.matmul(_BAND, windows, out=as_strided(out, (count, blocks, _BLOCK, width), (plane, row * _BLOCK, row, value)))
    if rest:
        np.matmul(_BAND[:rest, : rest + _MARGIN], planes[:, blocks * _BLOCK :], out=out[:, blocks * _BLOCK :])
    return out


def _blur_columns(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    count, height, width = planes.shape
    lines = planes.reshape(count * height, width)
    width -= _MARGIN
    out = np.empty((count * height, width))
    blocks, rest = divmod(width, _BLOCK)
    row, value = lines.strides
    windows = as_strided(lines, (blocks, len(lines), _BLOCK + _MARGIN), (value * _BLOCK, row, value))
    row, value = out.strides
    np.matmul(windows, _TRANSPOSED, out=as_strided(out, (blocks, len(lines), _BLOCK), (value * _BLOCK, row, value)))
    if rest:
        np.matmul(lines[:, blocks * _BLOCK :], _TRANSPOSED[: rest + _MARGIN, :rest], out=out[:, blocks * _BLOCK :])
    return out.reshape(count, height, width)
