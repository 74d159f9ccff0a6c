"""The network of Shocher et al., "Zero-Shot" Super-Resolution using Deep Internal Learning, arXiv:1712.06087."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from srkit_networks.layers import conv, refuse_below_one


class ZSSR(nn.Module):
    """Bicubic, then convolutions beside it: RGB [n, 3, h, w] to SR of any size, not clamped.

    Small enough to be trained on one image. The defaults are the paper's (225 k parameters).

    Args:
        scale: how much larger SR is where no size is asked for; any from 1. No weight depends on it.
        features: channels between the convolutions.
        layers: how many convolutions there are; at least 2.
    """

    def __init__(self, *, scale: float, features: int = 64, layers: int = 8) -> None:
        refuse_below_one(scale=scale, features=features)
        if layers < 2:
            raise ValueError(f"layers must be at least 2, not {layers}")
        super().__init__()
        self.scale = scale
        body: list[nn.Module] = [conv(3, features), nn.ReLU(inplace=True)]
        for _ in range(layers - 2):
            body += [conv(features, features), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*body, conv(features, 3))

    def forward(self, lr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return SR of LR [n, 3, h, w] in 0..1: [n, 3, *size], `scale` times LR's size where none is given."""
        size = size or (round(lr.shape[-2] * self.scale), round(lr.shape[-1] * self.scale))
        # Only with `antialias` has torch's bicubic the kernel of MATLAB's; enlarging, nothing is smoothed by it.
        enlarged = F.interpolate(lr, size=size, mode="bicubic", align_corners=False, antialias=True)
        out: Tensor = enlarged + self.body(enlarged)
        return out
