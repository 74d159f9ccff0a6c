"""MATLAB's bicubic enlarging as a network, the baseline of every table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from srkit_resize.matlab import enlarging_weights


class Bicubic(nn.Module):
    """MATLAB's imresize(x, scale, "bicubic") of [n, c, h, w], any floating dtype, to [n, c, h * scale, w * scale].

    Nothing is rounded or clamped: images of 16 bits keep their depth. Sums are made in float32 at least. There are no
    parameters. Raises ValueError for a scale below 1.

    Args:
        scale: how much larger the output is.
    """

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        weights, self._before = enlarging_weights(scale)
        self._weights: list[list[float]] = weights.tolist()

    def forward(self, x: Tensor) -> Tensor:
        # Sums and not a convolution or a matrix product, which autocast and TF32 would do in fewer bits.
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        # Columns first: without rounding the order is free, and the larger result is then put together from whole rows.
        return self._enlarge(self._enlarge(wide, 3), 2).to(x.dtype)

    def _enlarge(self, x: Tensor, dim: int) -> Tensor:
        """Return x enlarged along one of its last two axes."""
        length = x.shape[dim]
        taps = len(self._weights[0])
        positions = torch.arange(-self._before, length + taps - self._before - 1, device=x.device) % (2 * length)
        padded = x.index_select(dim, torch.minimum(positions, 2 * length - 1 - positions))
        phases = []
        for weights in self._weights:
            used = [(tap, weight) for tap, weight in enumerate(weights) if weight]
            phase = padded.narrow(dim, used[0][0], length) * used[0][1]
            for tap, weight in used[1:]:
                phase = phase.add_(padded.narrow(dim, tap, length), alpha=weight)
            phases.append(phase)
        return torch.stack(phases, dim + 1).flatten(dim, dim + 1)
