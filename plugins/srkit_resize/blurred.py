"""LR by a blur kernel that is known: measured of a camera, say, or that of another degradation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srkit_resize.kernel import Edge, Kernel, check_choices, check_scale, inside, shrinking
from srkit_resize.kernel_files import read_kernel

STRIP = 2**16  # values of LR that are summed at a time: they stay in a core's cache


class KnownKernel:
    """HR blurred by a kernel, then made smaller: [h, w, 3] to [h / scale, w / scale, 3], rounded once.

    With `then = "middle"`, each pixel of LR is the weighted sum of HR around the middle of the square that it covers.
    Where the kernel's sides are odd and the scale even, or the other way round, the middle lies between two pixels of
    it: it is moved by half a pixel, by linear interpolation, and is then a pixel larger. "first" takes every scale-th
    pixel from the first on, around which the kernel is: LR then lies half a square up and to the left, as where
    `blurred[::scale, ::scale]` made it (KernelGAN, USRNet). "bicubic" is MATLAB's, after the blur (SRMD). Of these two
    a kernel with even sides is moved by half a pixel, too. Raises InputRejected for a file that has no kernel.

    Args:
        path: the kernel's file: .npy, MATLAB's .mat, or text with a row a line; it is divided by its sum. As
            correlation has it, its first value weighs what is above and to the left.
        edge: "symmetric" mirrors the image at its edge; "replicate" repeats its last pixels.
        then: how the blurred image is made smaller: "middle", "first" or "bicubic".
        matrix: what the kernel is called in a .mat that has several matrices.
    """

    def __init__(
        self,
        *,
        scale: int,
        path: Path,
        edge: Edge = "symmetric",
        then: Literal["middle", "first", "bicubic"] = "middle",
        matrix: str = "",
    ) -> None:
        check_scale(scale)
        check_choices("double", edge)
        if then not in ("middle", "first", "bicubic"):
            raise ValueError(f'then must be "middle", "first" or "bicubic", not "{then}"')
        self.scale = scale
        self.edge: Edge = edge
        self.kernel = fitted(read_kernel(path, matrix), scale if then == "middle" else 1)
        if then == "bicubic":
            self.kernel = _followed(self.kernel, shrinking(scale))
        self.then = then

    def __call__(self, hr: NDArray[Any]) -> NDArray[Any]:
        """Return LR in HR's dtype."""
        height, width = (side // self.scale for side in hr.shape[:2])
        first = [self._around(height, hr.shape[0], 0), self._around(width, hr.shape[1], 1)]
        lr = np.empty((height, width, hr.shape[2]), hr.dtype)
        peak = int(np.iinfo(hr.dtype).max)
        rows = max(1, STRIP // max(1, width * hr.shape[2]))
        for top in range(0, height, rows):
            total: Any = 0.0
            for weights, down in zip(self.kernel, first[0], strict=True):
                lines = hr[down[top : top + rows]].astype(np.float64)
                for weight, across in zip(weights, first[1], strict=True):
                    if weight:
                        total = total + weight * lines[:, across]
            lr[top : top + rows] = np.clip(np.floor(total + 0.5), 0, peak)
        return lr

    def _around(self, outputs: int, length: int, axis: int) -> list[NDArray[np.int64]]:
        """Return, for each row or column of the kernel, the pixels of HR that it weighs."""
        taps = self.kernel.shape[axis]
        middle = 1 - taps if self.then == "first" else self.scale - taps
        first = np.arange(outputs) * self.scale + middle // 2
        return [inside(first + tap, length, self.edge) for tap in range(taps)]


def _followed(kernel: NDArray[np.float64], line: Kernel) -> NDArray[np.float64]:
    """Return the kernel of a blur and then of another, the same along both axes."""
    for axis in (0, 1):
        lines = np.moveaxis(kernel, axis, 0)
        made = np.zeros((len(lines) + line.weights.shape[1] - 1, lines.shape[1]))
        for tap, weight in enumerate(line.weights[0] / line.divisor):
            made[tap : tap + len(lines)] += weight * lines
        kernel = np.moveaxis(made, 0, axis)
    return kernel


def fitted(kernel: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Return a kernel whose middle is that of `scale` pixels: between two of them where the scale is even."""
    for axis in (0, 1):
        if (kernel.shape[axis] - scale) % 2:
            ends = [(int(other == axis),) * 2 for other in (0, 1)]
            framed = np.moveaxis(np.pad(kernel, ends), axis, 0)
            kernel = np.moveaxis((framed[:-1] + framed[1:]) / 2, 0, axis)
    return kernel
