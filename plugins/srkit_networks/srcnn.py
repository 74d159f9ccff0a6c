"""The network of Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", arXiv:1501.00092."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    # The authors' own code filters with replicated edges; zeros would darken the frame.
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="replicate")


class SRCNN(nn.Module):
    """Three convolutions on the enlarged image: RGB [n, 3, h, w] to [n, 3, h * scale, w * scale], not clamped.

    The image is enlarged by torch's bicubic interpolation, whose kernel has a = -0.75 where MATLAB's has -0.5. The
    default is the paper's best, 9-5-5, on RGB (69,251 parameters): the 57K of the field's tables is 9-5-5 on luma
    alone, 8K is 9-1-5 on luma. Weights start from PyTorch's initialisation, not from the paper's N(0, 0.001).

    Args:
        scale: how much larger the output is; any integer from 1.
        channels: channels after the first and the second convolution.
        middle_kernel: kernel size of the second convolution: 1, 3 or 5, for the paper's 9-1-5, 9-3-5 and 9-5-5.
    """

    def __init__(
        self, *, scale: int, channels: tuple[int, int] = (64, 32), middle_kernel: Literal[1, 3, 5] = 5
    ) -> None:
        if scale < 1:
            raise ValueError(f"scale must be at least 1, not {scale}")
        if min(channels) < 1:
            raise ValueError(f"channels must be at least 1 each, not {channels[0]} and {channels[1]}")
        if middle_kernel not in (1, 3, 5):
            raise ValueError(f"middle_kernel must be 1, 3 or 5, not {middle_kernel}")
        super().__init__()
        self.scale = scale
        self.conv1 = _conv(3, channels[0], 9)
        self.conv2 = _conv(channels[0], channels[1], middle_kernel)
        self.conv3 = _conv(channels[1], 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return SR [n, 3, h * scale, w * scale] of LR [n, 3, h, w] in 0..1; SR may leave that range."""
        x = F.interpolate(x, scale_factor=float(self.scale), mode="bicubic", align_corners=False)
        out: Tensor = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return out
