"""MATLAB's bicubic imresize of batches, on the device that they are on.

    from srkit_resize.device import shrink

    lr = shrink(hr, 4)  # uint8 [n, c, h, w] to uint8 [n, c, h / 4, w / 4]

Images of integers become, bit by bit, what `srkit_resize.matlab` makes of them, which is the faster way on a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit_resize.kernel import (
    NEARLY_HALF,
    Edge,
    Kernel,
    Mode,
    check_choices,
    enlarging,
    inside,
    order,
    resizing,
    shrinking,
)

_INTEGERS = (torch.uint8, torch.uint16)


def shrink(images: Tensor, scale: float, *, mode: Mode = "uint8", edge: Edge = "symmetric") -> Tensor:
    """Return imresize(image, 1 / scale, "bicubic") of each image [n, c, h, w], in the same dtype, on the same device.

    It is [n, c, ceil(h / scale), ceil(w / scale)]; benchmarks crop HR to a multiple of the scale first.

    uint8 and uint16: `mode` and `edge` are those of the degradation `bicubic`, and no value differs from MATLAB's.
    Floats of any range, 0..1 or 0..255: as MATLAB resizes double images, that is, `mode` must be "double", and nothing
    is rounded or clamped. Sums are made in the images' own dtype, float32 at least; where the result is to be rounded
    to MATLAB's levels, give integers, or whole levels in float64.

    Raises ValueError for another dtype or shape, a scale below 1, an unknown mode or edge, floats in mode "uint8", and
    where sums of integers would need more than 64 bits (in mode "double", some scales from 52 on; from 26 with uint16).
    """
    return _resize(images, shrinking(scale), mode, edge)


def enlarge(images: Tensor, scale: float, *, mode: Mode = "uint8", edge: Edge = "symmetric") -> Tensor:
    """Return imresize(image, scale, "bicubic") of each image [n, c, h, w], in the same dtype, on the same device.

    It is [n, c, h * scale, w * scale]. All else is as with `shrink`.
    """
    return _resize(images, enlarging(scale), mode, edge)


def resize(images: Tensor, size: tuple[int, int], *, edge: Edge = "symmetric") -> Tensor:
    """Return imresize(image, [height, width], "bicubic") of floats [n, c, h, w] of any range, as MATLAB resizes double
    images: nothing is rounded or clamped. In the same dtype, on the same device.

    Raises ValueError for another dtype or shape, and for an unknown edge.
    """
    if images.ndim != 4 or 0 in images.shape[1:] or not images.dtype.is_floating_point:
        found = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        raise ValueError(f"images are floats [n, channels, height, width], not {found}")
    return resize_levels(images, size, mode="double", edge=edge)


def resize_levels(levels: Tensor, size: tuple[int, int], *, mode: Mode, edge: Edge) -> Tensor:
    """Return what `resize` does; with mode "uint8" rounded to levels of 0..255 after rows and again after columns, as
    MATLAB does with images of 8 bits."""
    check_choices(mode, edge)
    # Sums of float64, so that a GPU rounds as a CPU does, and neither TF32 nor autocast takes bits; Apple's have none.
    work = torch.float32 if levels.device.type == "mps" else torch.float64
    made = levels.to(work)
    sides = (levels.shape[2], levels.shape[3])
    for axis in order(sides, size):
        matrix = torch.from_numpy(_matrix(sides[axis], size[axis], edge)).to(work)
        on_cuda = levels.device.type == "cuda"  # where a copy from other memory than pinned would wait for the device
        matrix = (matrix.pin_memory() if on_cuda else matrix).to(levels.device, non_blocking=on_cuda)
        made = matrix @ made if axis == 0 else made @ matrix.T
        if mode == "uint8":
            made = (made + NEARLY_HALF).floor_().clamp_(0, 255)
    return made.to(levels.dtype)


def _matrix(length: int, outputs: int, edge: Edge) -> NDArray[np.float64]:
    """Return the weights of all pixels of a side in all outputs, [outputs, length]."""
    positions, weights = resizing(length, outputs, edge)
    matrix = np.zeros((outputs, length))
    np.add.at(matrix, (np.arange(outputs)[:, None], positions), weights)
    return matrix


def _resize(images: Tensor, kernel: Kernel, mode: Mode, edge: Edge) -> Tensor:
    check_choices(mode, edge)
    dtype = images.dtype
    if images.ndim != 4 or 0 in images.shape[1:] or not (dtype in _INTEGERS or dtype.is_floating_point):
        found = f"{str(dtype).removeprefix('torch.')} {list(images.shape)}"
        raise ValueError(f"images are uint8, uint16 or floats [n, channels, height, width], not {found}")
    if dtype in _INTEGERS:
        return _resize_integers(images, kernel, mode, edge)
    if mode == "uint8":
        raise ValueError('floats are resized in mode "double"; mode "uint8" is for images of uint8 and uint16')
    weights, work = (kernel.weights / kernel.divisor).tolist(), torch.promote_types(dtype, torch.float32)
    # Columns first: without rounding the order is free, and a larger result is then put together from whole rows.
    for dim in (3, 2):
        images = _filter(images, work, weights, kernel, edge, dim)
    return images.to(dtype)


def _resize_integers(images: Tensor, kernel: Kernel, mode: Mode, edge: Edge) -> Tensor:
    dtype, peak = images.dtype, torch.iinfo(images.dtype).max
    weights = kernel.weights.tolist()
    sums = images.to(torch.int32) if dtype == torch.uint16 else images  # few operations know uint16
    passes = 0  # since the last rounding
    for dim in (2, 3):
        passes += 1
        largest = 2 * kernel.largest(peak, passes)  # with room for half the divisor
        if largest >= 2**63:
            bits = dtype.itemsize * 8
            raise ValueError(f'images of {bits} bits need sums of more than 64 at this scale; use mode "uint8"')
        sums = _filter(sums, torch.int32 if largest < 2**31 else torch.int64, weights, kernel, edge, dim)
        if mode == "uint8" or passes == 2:
            divisor = kernel.divisor**passes
            sums = _quotient(sums.add_(divisor // 2), divisor).clamp_(0, peak)
            passes = 0
    return sums.to(dtype)


def _quotient(sums: Tensor, divisor: int) -> Tensor:
    """Divide in place, rounding down."""
    if divisor & (divisor - 1) == 0:  # a shift, which takes a fraction of the time
        return sums.bitwise_right_shift_(divisor.bit_length() - 1)
    return sums.div_(divisor, rounding_mode="floor")


def _filter(
    x: Tensor, dtype: torch.dtype, weights: list[list[int]] | list[list[float]], kernel: Kernel, edge: Edge, dim: int
) -> Tensor:
    """Return x filtered along one of its last two axes, in `dtype`: a sum over taps, of whole images each.

    Sums and not a convolution or a matrix product: those have no integers on GPUs, and with floats TF32 and autocast
    would do them in fewer bits.
    """
    outputs, taps = kernel.weights.shape
    length = x.shape[dim]
    periods = kernel.length(length) // outputs
    beyond = [np.arange(-kernel.before, 0), np.arange(length, (periods - 1) * kernel.step + taps - kernel.before)]
    first, last = (x.index_select(dim, torch.from_numpy(inside(b, length, edge)).to(x.device)) for b in beyond)
    padded = torch.cat([first, x, last], dim)
    # Every step-th input apart, so that the inputs of one tap are contiguous.
    whole = (slice(None),) * dim
    inputs = [padded[(*whole, slice(i, None, kernel.step))].to(dtype).contiguous() for i in range(kernel.step)]
    made = []
    for row in weights:
        used = [
            (inputs[tap % kernel.step].narrow(dim, tap // kernel.step, periods), weight)
            for tap, weight in enumerate(row)
            if weight
        ]
        total = used[0][0] * used[0][1]
        for values, weight in used[1:]:
            total = total.add_(values, alpha=weight)
        made.append(total)
    return made[0] if outputs == 1 else torch.stack(made, dim + 1).flatten(dim, dim + 1)
