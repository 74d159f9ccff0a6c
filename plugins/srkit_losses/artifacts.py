"""The loss of artifacts: what differs from HR in the manner of a GAN's artifacts, and not of details."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LDL(nn.Module):
    """Locally discriminative learning: Liang, Zeng and Zhang, CVPR 2022, arXiv:2203.09195.

    The absolute difference of SR and HR, weighted by how much that difference varies around a pixel and in its whole
    patch, and counted only where the moving average of the network is as near to HR or nearer. It wants `train.ema`. No
    gradient flows through the weights.

    Args:
        window: side of the square around a pixel, odd.
    """

    def __init__(self, *, window: int = 7) -> None:
        if window < 3 or window % 2 == 0:
            raise ValueError(f"window must be odd and at least 3, not {window}")
        super().__init__()
        self.window = window

    def forward(self, sr: Tensor, hr: Tensor, *, ema: Tensor | None) -> Tensor:
        """Return the mean over all values of float images of one shape, [n, 3, h, w]; `ema` is the average's SR.

        Raises ValueError where there is none.
        """
        if ema is None:
            raise ValueError("ldl wants the moving average of the network: set train.ema, to 0.999 say")
        with torch.no_grad():
            residual = (sr - hr).abs().sum(1, keepdim=True)
            weights = self._local_variance(residual) * residual.var((1, 2, 3), keepdim=True) ** (1 / 5)
            weights = weights * (residual >= (ema - hr).abs().sum(1, keepdim=True))
        return (weights * (sr - hr).abs()).mean()

    def _local_variance(self, plane: Tensor) -> Tensor:
        """Return the unbiased variance within the window around each pixel; [n, 1, h, w] to the same."""
        padded = F.pad(plane, (self.window // 2,) * 4, mode="reflect")
        return padded.unfold(2, self.window, 1).unfold(3, self.window, 1).var((-1, -2))
