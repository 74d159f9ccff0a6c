"""MATLAB's imresize with the bicubic kernel, for integer factors, bit by bit."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Mode = Literal["uint8", "double"]

_OUTPUTS = 4  # rows or columns made by one small matrix product, or one period of the weights where that is more
_STRIP = 2**18  # values of the image resized at a time: they stay in a core's cache


class Bicubic:
    """MATLAB's imresize(hr, 1 / scale, "bicubic"): [h, w, 3] uint8 or uint16 to [h / scale, w / scale, 3], rounded up.

    Args:
        scale: how much smaller the output is.
        mode: "uint8" rounds to the image's own integers after the rows and again after the columns, as MATLAB does with
            integer images and the benchmarks' LR files were made; "double" rounds once, as after im2double.
    """

    def __init__(self, *, scale: int, mode: Mode = "uint8") -> None:
        check_scale(scale)
        _check_mode(mode)
        self.scale = scale
        self.mode: Mode = mode

    def __call__(self, hr: NDArray[Any]) -> NDArray[Any]:
        return shrink(hr, self.scale, mode=self.mode)


def shrink(image: NDArray[Any], scale: int, *, mode: Mode = "uint8") -> NDArray[Any]:
    """Return imresize(image, 1 / scale, "bicubic") of [h, w, c], uint8 or uint16; sizes are rounded up.

    Raises ValueError for another dtype or shape, a scale below 1, or an unknown mode.
    """
    return _resize(image, shrinking_weights(scale), scale, 1, mode)


def enlarge(image: NDArray[Any], scale: int, *, mode: Mode = "uint8") -> NDArray[Any]:
    """Return imresize(image, scale, "bicubic") of [h, w, c], uint8 or uint16.

    Raises ValueError for another dtype or shape, a scale below 1, or an unknown mode.
    """
    return _resize(image, enlarging_weights(scale), 1, scale, mode)


def check_scale(scale: int) -> None:
    """Raise ValueError for a scale below 1."""
    if scale < 1:
        raise ValueError(f"scale must be at least 1, not {scale}")


def keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cubic convolution kernel at distances x: Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -0.5."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def shrinking_weights(scale: int) -> tuple[NDArray[np.float64], int]:
    """Return the weights [1, k] of every output, and how many inputs before input i * scale those of output i begin.

    The kernel is widened by the scale, against aliasing. Raises ValueError for a scale below 1.
    """
    check_scale(scale)
    centre = (scale - 1) / 2
    first = int(np.floor(centre - 2 * scale)) + 1
    positions = np.arange(first, scale - first)
    weights = keys((centre - positions) / scale)
    return (weights / weights.sum())[None], -first


def enlarging_weights(scale: int) -> tuple[NDArray[np.float64], int]:
    """Return the weights [scale, 5] of the outputs from i * scale on the inputs from i - 2, and that 2.

    Raises ValueError for a scale below 1.
    """
    check_scale(scale)
    centres = (np.arange(scale) + 0.5) / scale - 0.5
    weights = keys(centres[:, None] - np.arange(-2, 3))
    return weights / weights.sum(1, keepdims=True), 2


def _resize(
    image: NDArray[Any], weights: tuple[NDArray[np.float64], int], step: int, outputs: int, mode: Mode
) -> NDArray[Any]:
    """Filter the rows, then the columns: from every `step` inputs `outputs` outputs are made."""
    _check_mode(mode)
    if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16):
        shape = ", ".join(map(str, image.shape))
        raise ValueError(f"an image is uint8 or uint16 [height, width, channels], not {image.dtype} [{shape}]")
    height, width, channels = image.shape
    peak = float(np.iinfo(image.dtype).max)
    # With 8 bits and factors to 4 float32 is enough: weights of 2 and 4 are multiples of 2**-12 and every sum is exact,
    # those of 3 are multiples of 1 / 81 and no sum comes closer to a half than 1 / 162.
    exact_in_float32 = image.dtype == np.uint8 and mode == "uint8" and max(step, outputs) <= 4
    dtype = np.dtype(np.float32 if exact_in_float32 else np.float64)

    band = _Band(*weights, step=step, outputs=outputs, dtype=dtype)
    # The same for interleaved channels, so that no plane has to be taken out; its zeros cost less than that.
    columns = np.ascontiguousarray(np.kron(band.matrix, np.eye(channels, dtype=dtype)).T)
    down, across = band.blocks(height), band.blocks(width)
    out = np.empty((band.length(height), band.length(width), channels), image.dtype)
    at_once = max(1, _STRIP // (band.stride * width * channels))
    for block in range(0, down, at_once):
        blocks = min(at_once, down - block)
        rows = image[band.inputs(block, blocks, height)].reshape(-1, width * channels).astype(dtype)
        lines = _filter_rows(rows, band, blocks).reshape(-1, width, channels)
        if mode == "uint8":
            _round(lines, peak)
        lines = _filter_columns(lines.take(band.inputs(0, across, width), axis=1), band, columns)
        _round(lines, peak)
        part = out[block * len(band.matrix) :][: len(lines)]
        part[:] = lines[: len(part), : out.shape[1]]
    return out


class _Band:
    """The weights of a block of neighbouring outputs as one matrix [outputs, inputs], the same for every block."""

    def __init__(
        self, weights: NDArray[np.float64], before: int, *, step: int, outputs: int, dtype: np.dtype[Any]
    ) -> None:
        periods = max(1, _OUTPUTS // outputs)
        taps = weights.shape[1]
        self.matrix = np.zeros((periods * outputs, (periods - 1) * step + taps), dtype)
        for period in range(periods):
            rows = slice(period * outputs, (period + 1) * outputs)
            self.matrix[rows, period * step : period * step + taps] = weights
        self.stride = periods * step  # from the inputs of one block to those of the next
        self._before, self._step, self._outputs = before, step, outputs

    def length(self, inputs: int) -> int:
        """Return how many outputs so many inputs make, rounded up."""
        return -(-inputs * self._outputs // self._step)

    def blocks(self, inputs: int) -> int:
        """Return how many blocks hold these outputs, the last perhaps in part."""
        return -(-self.length(inputs) // len(self.matrix))

    def inputs(self, block: int, blocks: int, length: int) -> NDArray[np.int64]:
        """Return which of `length` inputs these blocks are made of, mirrored at the edges, the edge itself repeated."""
        first = block * self.stride - self._before
        last = first + (blocks - 1) * self.stride + self.matrix.shape[1]
        positions = np.arange(first, last) % (2 * length)
        mirrored: NDArray[np.int64] = np.minimum(positions, 2 * length - 1 - positions)
        return mirrored


def _filter_rows(rows: NDArray[Any], band: _Band, blocks: int) -> NDArray[Any]:
    """Return the rows [inputs, n] of so many blocks filtered, [blocks, outputs, n]."""
    row, value = rows.strides
    windows = as_strided(rows, (blocks, band.matrix.shape[1], rows.shape[1]), (row * band.stride, row, value))
    filtered: NDArray[Any] = np.matmul(band.matrix, windows)
    return filtered


def _filter_columns(lines: NDArray[Any], band: _Band, columns: NDArray[Any]) -> NDArray[Any]:
    """Return [h, inputs, c] filtered along its lines, [h, outputs, c]; `columns` is the band for c channels."""
    height, inputs, channels = lines.shape
    taken, made = columns.shape
    blocks = (inputs - band.matrix.shape[1]) // band.stride + 1
    row, pixel, value = lines.strides
    windows = as_strided(lines, (blocks, height, taken), (pixel * band.stride, row, value))
    out = np.empty((height, blocks * made), lines.dtype)
    row, value = out.strides
    np.matmul(windows, columns, out=as_strided(out, (blocks, height, made), (value * made, row, value)))
    return out.reshape(height, -1, channels)


def _round(values: NDArray[Any], peak: float) -> None:
    """Round in place as MATLAB does, halves away from zero, and saturate at 0 and the peak."""
    values += 0.5
    np.floor(values, out=values)
    np.clip(values, 0, peak, out=values)


def _check_mode(mode: str) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f'mode must be "uint8" or "double", not "{mode}"')
