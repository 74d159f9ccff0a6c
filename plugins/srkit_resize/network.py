"""MATLAB's bicubic enlarging as a network, the baseline of every table."""

from __future__ import annotations

from torch import Tensor, nn

from srkit_resize.device import enlarge
from srkit_resize.kernel import check_scale


class Bicubic(nn.Module):
    """MATLAB's imresize(x, scale, "bicubic") of [n, c, h, w], any floating dtype, to [n, c, h * scale, w * scale].

    Nothing is rounded or clamped: images of 16 bits keep their depth. Sums are made in float32 at least. There are no
    parameters. Raises ValueError for a scale below 1.

    Args:
        scale: how much larger the output is.
    """

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        check_scale(scale)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return x enlarged, in its dtype and on its device. Raises ValueError as `device.enlarge` does."""
        return enlarge(x, self.scale, mode="double")
