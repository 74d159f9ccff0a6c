"""The weights of MATLAB's bicubic imresize, and the pixels that they weigh: as integers for whole scales."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import attrs
import numpy as np
from numpy.typing import NDArray

Mode = Literal["uint8", "double"]
Edge = Literal["symmetric", "replicate"]


@attrs.frozen(eq=False)
class Kernel:
    """What one axis is filtered with: from every `step` inputs `outputs` outputs are made.

    The weights [outputs, taps], int64, of the outputs from i * outputs on weigh the inputs from i * step - before on.
    Each row adds up to the divisor. With integers sums are exact, and halves are halves, in any order. So they are in
    MATLAB's doubles at scales 2, 4, 8..., where its weights are exact. At odd scales there are no halves; at others,
    such as 6, MATLAB may round a half down.
    """

    weights: NDArray[np.int64]
    divisor: int
    before: int
    step: int

    @property
    def outputs(self) -> int:
        """How many outputs each `step` inputs give: 1 for shrinking, the scale for enlarging."""
        return len(self.weights)

    def length(self, inputs: int) -> int:
        """Return how many outputs so many inputs make, rounded up."""
        return -(-inputs * self.outputs // self.step)

    def largest(self, peak: int, passes: int) -> int:
        """Return a bound on the magnitude of all sums after so many passes over integers from 0 to the peak."""
        largest: int = peak * int(np.abs(self.weights).sum(1).max()) ** passes
        return largest


def shrinking(scale: float) -> Kernel:
    """Return the kernel of imresize(image, 1 / scale), widened by the scale against aliasing.

    Raises ValueError for a scale below 1, or one that is no whole number.
    """
    scale = _whole(scale)
    # In half inputs, since the centre of an output lies between two inputs where the scale is even.
    centre = scale - 1
    first = (centre - 4 * scale) // 2 + 1
    positions = np.arange(first, scale - first)
    return _reduced(_keys(centre - 2 * positions, scale)[None], 16 * scale**4, before=-first, step=scale)


def enlarging(scale: float) -> Kernel:
    """Return the kernel of imresize(image, scale). Raises ValueError as `shrinking` does."""
    scale = _whole(scale)
    centres = 2 * np.arange(scale) + 1 - scale  # in units of 1 / (2 * scale)
    distances = centres[:, None] - 2 * scale * np.arange(-2, 3)
    return _reduced(_keys(distances, scale), 16 * scale**3, before=2, step=1)


def resizing(length: int, outputs: int, edge: Edge) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which pixels of a side weigh how much in imresize(image, [.. outputs ..]): two arrays [outputs, taps].

    The weights of an output add up to 1. This is MATLAB's rule in its float64, for any two lengths.
    """
    ratio = outputs / length
    widened = min(ratio, 1.0)
    centres = (np.arange(outputs) + 0.5) / ratio - 0.5
    first = np.floor(centres - 2 / widened).astype(np.int64)
    positions = first[:, None] + np.arange(math.ceil(4 / widened) + 2)
    x = np.abs((centres[:, None] - positions) * widened)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
    return inside(positions, length, edge), weights / weights.sum(1, keepdims=True)


# Added before rounding down, beside a half: in float64 a sum that is a half may come to a little less.
NEARLY_HALF = 0.5 + 1e-9


def order(inputs: tuple[int, int], outputs: tuple[int, int]) -> tuple[int, int]:
    """Return which of rows (0) and columns (1) MATLAB resizes first: those that shrink more, or else rows."""
    return (0, 1) if outputs[0] / inputs[0] <= outputs[1] / inputs[1] else (1, 0)


def inside(positions: NDArray[np.int64], length: int, edge: Edge) -> NDArray[np.int64]:
    """Return the pixel, from 0 to length - 1, at each position; positions outside are filled as `edge` says.

    "symmetric" mirrors the image with its edge pixel repeated; "replicate" repeats the edge pixel.
    """
    if edge == "replicate":
        return np.clip(positions, 0, length - 1)
    positions = positions % (2 * length)
    return np.minimum(positions, 2 * length - 1 - positions)


def _whole(scale: float) -> int:
    check_scale(scale)
    if scale != int(scale):
        raise ValueError(f"scale {scale:g} is no whole number: give the size that the image is resized to")
    return int(scale)


def check_scale(scale: float) -> None:
    """Raise ValueError for a scale below 1."""
    if scale < 1:
        raise ValueError(f"scale must be at least 1, not {scale}")


def check_choices(mode: str, edge: str) -> None:
    """Raise ValueError for an unknown mode or edge."""
    for name, value, choices in (("mode", mode, get_args(Mode)), ("edge", edge, get_args(Edge))):
        if value not in choices:
            raise ValueError(f'{name} must be "{choices[0]}" or "{choices[1]}", not "{value}"')


def _keys(distances: NDArray[np.int64], scale: int) -> NDArray[np.int64]:
    """Return 16 * scale**3 times the cubic convolution kernel at distances in units of 1 / (2 * scale).

    Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -0.5: 1.5 x**3 - 2.5 x**2 + 1 up to a distance of 1, and
    -0.5 x**3 + 2.5 x**2 - 4 x + 2 up to 2.
    """
    m = np.abs(distances)
    near = 3 * m**3 - 10 * scale * m**2 + 16 * scale**3
    far = -(m**3) + 10 * scale * m**2 - 32 * scale**2 * m + 32 * scale**3
    return np.where(m <= 2 * scale, near, np.where(m <= 4 * scale, far, 0))


def _reduced(weights: NDArray[Any], divisor: int, *, before: int, step: int) -> Kernel:
    """Return the kernel with the greatest common divisor taken out."""
    common = int(np.gcd.reduce([*weights.ravel().tolist(), divisor]))
    return Kernel(weights // common, divisor // common, before, step)
