"""L1 whose weight for each colour is learnt, after Kendall, Gal and Cipolla, arXiv:1705.07115.

There the tasks of one network are weighted by what is learnt of their noise; here the tasks are the three colours, and
the noise is Laplace's. With the spread b its likelihood has -log p = |sr - hr| / b + log b + log 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class UncertaintyL1(nn.Module):
    """The mean of |sr - hr| * exp(-s) + s, where s is the logarithm of a spread, one for each of R, G and B.

    s is trained with the network's weights and by the same optimizer: srkit does that for every parameter of a loss,
    and keeps it in the checkpoints. It is least where exp(s) is the mean of |sr - hr| over a colour, so a colour with
    smaller differences counts more. The loss falls below 0 as the spreads do.

    Args:
        spread: that each colour begins with, in 0..1 as images are: 1 begins as L1 does, and less, such as 0.03,
            nearer to where training ends.
    """

    # The parameters of the constructor are the settings: each has a type.
    def __init__(self, *, spread: float = 1.0) -> None:
        # srkit shows a ValueError with the recipe's file and line.
        if not 0 < spread < math.inf:
            raise ValueError(f"spread must be above 0, not {spread:g}")
        super().__init__()
        # A logarithm, so that no step of the optimizer makes the spread negative.
        self.log_spread = nn.Parameter(torch.full((3,), math.log(spread)))

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Two [n, 3, h, w], HR in 0..1, to one value."""
        differences = (sr - hr).abs().mean(dim=(0, 2, 3))
        return (differences * (-self.log_spread).exp() + self.log_spread).mean()
