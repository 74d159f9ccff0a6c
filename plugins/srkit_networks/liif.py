"""The network of Chen et al., "Learning Continuous Image Representation with Local Implicit Image Function".

arXiv:2012.09161. Parameter names and shapes are those of the authors' weight files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit
from srkit_networks.anyscale import AnyScale, Size, taken
from srkit_networks.layers import refuse_below_one


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))


class LIIF(AnyScale):
    """Local implicit image function: RGB [n, 3, h, w] to SR of any size, not clamped.

    A perceptron makes each pixel's colour of the features around it, of where it lies between LR's pixels and of how
    large it is. Four neighbours in LR each make one, and count by the area of the rectangle between the pixel and the
    opposite neighbour. The defaults are the paper's (1.57 M parameters).

    Args:
        scale: how much larger SR is where no size is asked for; any from 1. No weight depends on it.
        trunk: a network with a method `features(lr)`, such as `rcan` or `pan`; EDSR's where there is none.
        features: channels of EDSR's trunk.
        blocks: residual blocks of EDSR's trunk.
        res_scale: what a residual of EDSR's trunk is multiplied by.
        hidden: the widths of the perceptron's layers.
    """

    def __init__(
        self,
        *,
        scale: float,
        trunk: srkit.Architecture | None = None,
        features: int = 64,
        blocks: int = 16,
        res_scale: float = 1.0,
        hidden: tuple[int, ...] = (256, 256, 256, 256),
    ) -> None:
        super().__init__(scale)
        if not hidden:
            raise ValueError("hidden must have a width at least")
        refuse_below_one(hidden=min(hidden))
        # Images in -1..1, as the authors' network sees them.
        form = {"img_range": 2.0, "mean": (0.5, 0.5, 0.5)}
        default = {"features": features, "blocks": blocks, "res_scale": res_scale}
        self.encoder, channels = self.trunk_of(trunk, default, **form)
        self.imnet = Perceptron(9 * channels + 4, hidden, 3)

    def prepared(self, lr: Tensor) -> Tensor:
        """Return what the first layer makes of the 3x3 features around each pixel of LR, [n, h, w, width].

        It is a convolution: once for each pixel of LR, where it would be four times for each pixel of SR.
        """
        features: Tensor = self.encoder.features(lr)  # type: ignore[operator]
        first, channels = self.imnet.layers[0], features.shape[1]
        assert isinstance(first, nn.Linear)
        kernel = first.weight[:, :-4].reshape(-1, channels, 3, 3)
        return F.conv2d(features, kernel, first.bias, padding=1).permute(0, 2, 3, 1)

    def pixels(self, prepared: Tensor, lr: Tensor, size: Size, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the colours of SR's pixels there, [n, q, 3]."""
        height, width = lr.shape[-2:]
        first = self.imnet.layers[0]
        assert isinstance(first, nn.Linear)
        above, down = between(rows, height, size[0], lr.dtype)
        left, right = between(columns, width, size[1], lr.dtype)
        # Lengths are in half pixels of LR, as the authors' coordinates of -1..1 times its size.
        cell = [torch.full_like(down, 2 * height / size[0]), torch.full_like(right, 2 * width / size[1])]
        total: Tensor | None = None
        for step_down in (0, 1):
            for step_right in (0, 1):
                row, column = (above + step_down).clamp(0, height - 1), (left + step_right).clamp(0, width - 1)
                away = [2 * (down + (above - row)), 2 * (right + (left - column))]
                seen = taken(prepared, row, column) + F.linear(torch.stack([*away, *cell], -1), first.weight[:, -4:])
                share = (down if step_down else 1 - down) * (right if step_right else 1 - right)
                color = self.imnet.layers[1:](seen) * share[..., None]
                total = color if total is None else total + color
        assert total is not None
        return total / 2 + 0.5


def between(pixels: Tensor, inputs: int, outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the input pixel whose centre is at or before that of each output pixel, -1 for none, and how far behind
    it the output's centre lies, in 0..1.

    Whole numbers make it exact: a pixel in a tile has the same neighbours as in the whole image.
    """
    twice = (2 * pixels + 1) * inputs - outputs  # the centre, in units of 1 / (2 * outputs)
    before = torch.div(twice, 2 * outputs, rounding_mode="floor")
    exact = torch.promote_types(dtype, torch.float32)
    return before, ((twice - before * 2 * outputs).to(exact) / (2 * outputs)).to(dtype)
