"""MATLAB's bicubic enlarging as a network, the baseline of every table."""

from __future__ import annotations

from torch import Tensor, nn

from srkit_resize.device import enlarge, resize
from srkit_resize.kernel import check_scale


class Bicubic(nn.Module):
    """MATLAB's imresize(x, scale, "bicubic") of [n, c, h, w], any floating dtype, to [n, c, h * scale, w * scale].

    Nothing is rounded or clamped: images of 16 bits keep their depth. Sums are made in float32 at least. There are no
    parameters. Given the size of SR, it is imresize(x, [height, width], "bicubic"), which serves any scale. Raises
    ValueError for a scale below 1.

    Args:
        scale: how much larger the output is, where no size is given.
    """

    def __init__(self, *, scale: float = 1) -> None:
        super().__init__()
        check_scale(scale)
        self.scale = scale

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return x enlarged, in its dtype and on its device. Raises ValueError as `device.enlarge` does."""
        height, width = x.shape[-2:]
        scale = self.scale if size is None else size[0] // height
        if size is None or size == (height * scale, width * scale):
            return enlarge(x, scale, mode="double")
        return resize(x, size)
