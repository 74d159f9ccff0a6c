"""The network of Hu et al., "Meta-SR: A Magnification-Arbitrary Network for Super-Resolution", arXiv:1903.00875."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit
from srkit_networks.anyscale import AnyScale, Size, taken
from srkit_networks.layers import refuse_below_one

KERNEL = 3  # on the features


class MetaSR(AnyScale):
    """Weight prediction: RGB [n, 3, h, w] to SR of any size, not clamped.

    Each pixel of SR is a 3x3 convolution of the features at the pixel of LR that it lies in. Two linear layers predict
    its kernel from where in that pixel it lies, and from the scale. The paper has RDN as trunk, this one EDSR or any.

    Args:
        scale: how much larger SR is where no size is asked for; any from 1. No weight depends on it.
        trunk: a network with a method `features(lr)`, such as `rcan` or `pan`; EDSR's where there is none.
        features: channels of EDSR's trunk.
        blocks: residual blocks of EDSR's trunk.
        res_scale: what a residual of EDSR's trunk is multiplied by.
        hidden: width of the layer between the two that predict weights.
    """

    MOST = 2**13  # each with a kernel of its own

    def __init__(
        self,
        *,
        scale: float,
        trunk: srkit.Architecture | None = None,
        features: int = 64,
        blocks: int = 16,
        res_scale: float = 1.0,
        hidden: int = 256,
    ) -> None:
        super().__init__(scale)
        refuse_below_one(hidden=hidden)
        default = {"features": features, "blocks": blocks, "res_scale": res_scale}
        self.trunk, channels = self.trunk_of(trunk, default)
        self.predict = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, KERNEL**2 * channels * 3))

    def prepared(self, lr: Tensor) -> Tensor:
        """Return the features with a frame of zeros, [n, h + 2, w + 2, c]."""
        features: Tensor = self.trunk.features(lr)  # type: ignore[operator]
        return F.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1)

    def pixels(self, prepared: Tensor, lr: Tensor, size: Size, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the colours of SR's pixels there, [n, q, 3]."""
        height, width = lr.shape[-2:]
        row = torch.div(rows * height, size[0], rounding_mode="floor")
        column = torch.div(columns * width, size[1], rounding_mode="floor")
        around = [taken(prepared, row + y, column + x) for y in range(KERNEL) for x in range(KERNEL)]
        kernels = self._kernels((height, width), size, rows, columns, lr.dtype)
        colors: Tensor = torch.cat(around, -1)[..., None, :] @ kernels
        return colors[..., 0, :]

    def _kernels(self, lr: Size, size: Size, rows: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the kernel of each pixel, [n or 1, q, 9 * c, 3]."""
        # Places within LR's pixels repeat: at whole scales there are scale**2 of them.
        down, right = (outputs // math.gcd(inputs, outputs) for inputs, outputs in zip(lr, size, strict=True))
        repeats = down * right < rows.numel()
        if repeats:
            index = (rows % down) * right + columns % right
            every = torch.arange(down * right, device=rows.device)
            rows, columns = every // right, every % right
        exact = torch.promote_types(dtype, torch.float32)
        y, x = (
            ((pixels * inputs) % outputs).to(exact) / outputs
            for pixels, inputs, outputs in ((rows, lr[0], size[0]), (columns, lr[1], size[1]))
        )
        smaller = torch.full_like(y, (lr[0] / size[0] + lr[1] / size[1]) / 2)
        kernels: Tensor = self.predict(torch.stack([y, x, smaller], -1).to(dtype))
        kernels = kernels.reshape(*kernels.shape[:-1], -1, 3)
        return kernels[index] if repeats else kernels
