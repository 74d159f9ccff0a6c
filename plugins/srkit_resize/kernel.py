"""The weights of MATLAB's bicubic imresize, as integers, and the pixels that they weigh."""

from __future__ import annotations

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


def shrinking(scale: int) -> Kernel:
    """Return the kernel of imresize(image, 1 / scale), widened by the scale against aliasing.

    Raises ValueError for a scale below 1.
    """
    check_scale(scale)
    # In half inputs, since the centre of an output lies between two inputs where the scale is even.
    centre = scale - 1
    first = (centre - 4 * scale) // 2 + 1
    positions = np.arange(first, scale - first)
    return _reduced(_keys(centre - 2 * positions, scale)[None], 16 * scale**4, before=-first, step=scale)


def enlarging(scale: int) -> Kernel:
    """Return the kernel of imresize(image, scale). Raises ValueError for a scale below 1."""
    check_scale(scale)
    centres = 2 * np.arange(scale) + 1 - scale  # in units of 1 / (2 * scale)
    distances = centres[:, None] - 2 * scale * np.arange(-2, 3)
    return _reduced(_keys(distances, scale), 16 * scale**3, before=2, step=1)


def inside(positions: NDArray[np.int64], length: int, edge: Edge) -> NDArray[np.int64]:
    """Return the pixel, from 0 to length - 1, at each position; positions outside are filled as `edge` says.

    "symmetric" mirrors the image with its edge pixel repeated; "replicate" repeats the edge pixel.
    """
    if edge == "replicate":
        return np.clip(positions, 0, length - 1)
    positions = positions % (2 * length)
    return np.minimum(positions, 2 * length - 1 - positions)


def check_scale(scale: int) -> None:
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
