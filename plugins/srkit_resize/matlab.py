"""MATLAB's imresize with the bicubic kernel: bit by bit for whole factors, and by its rule in float64 to any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from srkit_resize.kernel import (
    NEARLY_HALF,
    Edge,
    Kernel,
    Mode,
    check_choices,
    check_scale,
    enlarging,
    inside,
    order,
    resizing,
    shrinking,
)

if TYPE_CHECKING:
    from torch import Tensor

_OUTPUTS = 4  # rows or columns made by one small matrix product, or one period of the weights where that is more
_STRIP = 2**18  # values of the image resized at a time: they stay in a core's cache


class Bicubic:
    """MATLAB's imresize(hr, 1 / scale, "bicubic"): [h, w, 3] uint8 or uint16 to [h / scale, w / scale, 3], rounded up.

    Given the size of LR, it is imresize(hr, [height, width], "bicubic"), which serves any scale.

    Args:
        scale: how much smaller the output is, where no size is given.
        mode: "uint8" rounds to the image's own integers after the rows and again after the columns, as MATLAB does with
            integer images and the benchmarks' LR files were made; "double" rounds once, as after im2double.
        edge: "symmetric" mirrors the image at its edge; "replicate" repeats its last pixels, as MATLAB did when
            SelfExSR's files were made.
    """

    def __init__(self, *, scale: float = 1, mode: Mode = "uint8", edge: Edge = "symmetric") -> None:
        check_scale(scale)
        check_choices(mode, edge)
        self.scale = scale
        self.mode: Mode = mode
        self.edge: Edge = edge

    def __call__(self, hr: NDArray[Any], size: tuple[int, int] | None = None) -> NDArray[Any]:
        """Return LR in HR's dtype. Raises ValueError unless HR is a non-empty uint8 or uint16 [h, w, c]."""
        if size is None:
            return shrink(hr, self.scale, mode=self.mode, edge=self.edge)
        return resize(hr, size, mode=self.mode, edge=self.edge)

    def batch(self, hr: Tensor, size: tuple[int, int]) -> Tensor:
        """Return LR of a batch [n, 3, h, w], floats of 8 bits in 0..1, of a size, on its device and in its dtype."""
        from srkit_resize.device import resize_levels

        return resize_levels(hr * 255, size, mode=self.mode, edge=self.edge) / 255


def shrink(image: NDArray[Any], scale: float, *, mode: Mode = "uint8", edge: Edge = "symmetric") -> NDArray[Any]:
    """Return imresize(image, 1 / scale, "bicubic") of [h, w, c], uint8 or uint16, in the same dtype.

    It is [ceil(h / scale), ceil(w / scale), c]: where the scale does not divide a side, the last output reaches beyond
    the edge. Benchmarks crop HR to a multiple of the scale first, as srkit does. Raises ValueError for another dtype or
    shape, a scale below 1, or an unknown mode or edge.
    """
    return _resize(image, shrinking(scale), mode, edge)


def enlarge(image: NDArray[Any], scale: float, *, mode: Mode = "uint8", edge: Edge = "symmetric") -> NDArray[Any]:
    """Return imresize(image, scale, "bicubic") of [h, w, c], uint8 or uint16, in the same dtype.

    It is [h * scale, w * scale, c]. Raises ValueError as `shrink` does.
    """
    return _resize(image, enlarging(scale), mode, edge)


def resize(
    image: NDArray[Any], size: tuple[int, int], *, mode: Mode = "uint8", edge: Edge = "symmetric"
) -> NDArray[Any]:
    """Return imresize(image, [height, width], "bicubic") of [h, w, c], uint8 or uint16, in the same dtype.

    Where a whole number divides both sides alike it is `shrink`, or `enlarge`, bit by bit. Raises ValueError as they
    do, and for a size without pixels.
    """
    _check(image, mode, edge)
    if min(size) < 1:
        raise ValueError(f"an image cannot be resized to {size[1]}x{size[0]}")
    (height, width), (tall, wide) = image.shape[:2], size
    if (tall * (height // tall), wide * (height // tall)) == (height, width):
        return shrink(image, height // tall, mode=mode, edge=edge)
    if (height * (tall // height), width * (tall // height)) == size:
        return enlarge(image, tall // height, mode=mode, edge=edge)
    values, peak = image.astype(np.float64), int(np.iinfo(image.dtype).max)
    for done, axis in enumerate(order((height, width), size)):
        positions, weights = resizing(image.shape[axis], size[axis], edge)
        lines = np.moveaxis(values, axis, 0)
        total = np.zeros((size[axis], *lines.shape[1:]))
        for tap in range(positions.shape[1]):
            total += lines[positions[:, tap]] * weights[:, tap, None, None]
        if mode == "uint8" or done:
            np.clip(np.floor(total + NEARLY_HALF), 0, peak, out=total)
        values = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(values.astype(image.dtype))


def _check(image: NDArray[Any], mode: str, edge: str) -> None:
    check_choices(mode, edge)
    if image.ndim != 3 or 0 in image.shape or image.dtype not in (np.uint8, np.uint16):
        shape = ", ".join(map(str, image.shape))
        raise ValueError(f"an image is uint8 or uint16 [height, width, channels], not {image.dtype} [{shape}]")


def _resize(image: NDArray[Any], kernel: Kernel, mode: Mode, edge: Edge) -> NDArray[Any]:
    """Filter the rows, then the columns."""
    _check(image, mode, edge)
    height, width, channels = image.shape
    peak = int(np.iinfo(image.dtype).max)
    # What a float holds without loss, less what rounding needs: then every sum and every half is exact. float64 holds
    # all but those of mode "double" from scale 20 on, or 10 with uint16.
    exact_in_float32 = kernel.largest(peak, passes=1 if mode == "uint8" else 2) < 2**22
    dtype = np.dtype(np.float32 if exact_in_float32 else np.float64)

    band = _Band(kernel, edge, dtype)
    # The same for interleaved channels, so that no plane has to be taken out; its zeros cost less than that.
    columns = np.ascontiguousarray(np.kron(band.matrix, np.eye(channels, dtype=dtype)).T)
    down, across = band.blocks(height), band.blocks(width)
    out = np.empty((kernel.length(height), kernel.length(width), channels), image.dtype)
    at_once = max(1, _STRIP // (band.stride * width * channels))
    for block in range(0, down, at_once):
        blocks = min(at_once, down - block)
        rows = image[band.inputs(block, blocks, height)].reshape(-1, width * channels).astype(dtype)
        lines = _filter_rows(rows, band, blocks).reshape(-1, width, channels)
        if mode == "uint8":
            _round(lines, kernel.divisor, peak)
        lines = _filter_columns(lines.take(band.inputs(0, across, width), axis=1), band, columns)
        _round(lines, kernel.divisor if mode == "uint8" else kernel.divisor**2, peak)
        part = out[block * len(band.matrix) :][: len(lines)]
        part[:] = lines[: len(part), : out.shape[1]]
    return out


class _Band:
    """The weights of a block of neighbouring outputs as one matrix [outputs, inputs], the same for every block."""

    def __init__(self, kernel: Kernel, edge: Edge, dtype: np.dtype[Any]) -> None:
        periods = max(1, _OUTPUTS // kernel.outputs)
        taps = kernel.weights.shape[1]
        self.matrix = np.zeros((periods * kernel.outputs, (periods - 1) * kernel.step + taps), dtype)
        for period in range(periods):
            rows = slice(period * kernel.outputs, (period + 1) * kernel.outputs)
            self.matrix[rows, period * kernel.step : period * kernel.step + taps] = kernel.weights
        self.stride = periods * kernel.step  # from the inputs of one block to those of the next
        self._kernel, self._edge = kernel, edge

    def blocks(self, inputs: int) -> int:
        """Return how many blocks hold these outputs, the last perhaps in part."""
        return -(-self._kernel.length(inputs) // len(self.matrix))

    def inputs(self, block: int, blocks: int, length: int) -> NDArray[np.int64]:
        """Return which of `length` inputs these blocks are made of."""
        first = block * self.stride - self._kernel.before
        last = first + (blocks - 1) * self.stride + self.matrix.shape[1]
        return inside(np.arange(first, last), length, self._edge)


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


def _round(sums: NDArray[Any], divisor: int, peak: int) -> None:
    """Divide in place, round as MATLAB does, halves away from zero, and saturate at 0 and the peak."""
    # Half a unit is added to the integer sums, beside half the divisor: then no quotient is so near an integer that
    # the error of a float could carry it over.
    sums += divisor // 2 + 0.5
    sums *= 1 / divisor
    np.floor(sums, out=sums)
    np.clip(sums, 0, peak, out=sums)
