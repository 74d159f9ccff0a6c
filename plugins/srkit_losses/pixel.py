"""Losses that compare SR and HR value by value.

Each is called with float images of one shape, [n, 3, h, w], and gives a scalar; its `reduction` says whether that is a
mean or a sum over all values.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

Reduction = Literal["mean", "sum"]
LEAST_EPSILON = 1e-12  # in float32 the gradient of sqrt(epsilon) is still far from overflowing


def _checked(reduction: str) -> str:
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction must be "mean" or "sum", not "{reduction}"')
    return reduction


class L1(nn.L1Loss):
    """The absolute difference, |sr - hr|.

    Args:
        reduction: "mean" or "sum" over all values of the batch.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=_checked(reduction))


class L2(nn.MSELoss):
    """The squared difference, (sr - hr)^2.

    Args:
        reduction: "mean" or "sum" over all values of the batch.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=_checked(reduction))


class Charbonnier(nn.Module):
    """The root sqrt((sr - hr)^2 + epsilon), as of Lai et al., arXiv:1710.01992, whose epsilon is squared: 1e-3 there is
    1e-6 here. Equal images give sqrt(epsilon) a value, not 0.

    Args:
        epsilon: added to the squared difference under the root, as it is; at least 1e-12.
        reduction: "mean" or "sum" over all values of the batch.
    """

    def __init__(self, *, epsilon: float = 1e-6, reduction: Reduction = "mean") -> None:
        if not LEAST_EPSILON <= epsilon < math.inf:
            raise ValueError(f"epsilon must be at least {LEAST_EPSILON:g}, not {epsilon:g}")
        super().__init__()
        self.epsilon = epsilon
        self.reduction = _checked(reduction)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a scalar for float images of one shape; other shapes are not rejected but broadcast."""
        root = (sr - hr).square().add(self.epsilon).sqrt()
        return root.mean() if self.reduction == "mean" else root.sum()
