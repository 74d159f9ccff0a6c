"""A2N for inference: the same function with two convolutions a block fewer, and nothing at the enlarged size twice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit
from srkit.folding import AttentiveTail, convolution, copied, frozen, leaky_, pointwise, times
from srkit_a2n.network import A2N, TEMPERATURE, AttentionInAttentionBlock


class FoldedBlock(nn.Module):
    """An attention-in-attention block: convolutions of one input are one, and so are those that are added up.

    The branch weights are folded into the last 3x3 convolution where there is one image, or else into its input.
    """

    def __init__(self, block: AttentionInAttentionBlock) -> None:
        super().__init__()
        branch, plain = block.attention, block.non_attention
        side = (3 - plain.kernel_size[0]) // 2  # a 1x1 convolution is a 3x3 one
        self.conv_first, self.conv_last, self.ADM, self.k2 = block.conv_first, block.conv_last, block.ADM, branch.k2
        self.entering = convolution(torch.cat((branch.k1.weight, branch.k3.weight)), None, branch.k1)
        self.mixing = nn.Parameter(torch.cat((branch.k4.weight, F.pad(plain.weight, [side] * 4)), 1))

    def entered(self, x: Tensor) -> Tensor:
        """Return what both branches see of x, and the weights' mean is taken of."""
        return leaky_(pointwise(self.conv_first, x))

    def forward(self, x: Tensor, mean: Tensor | None = None) -> Tensor:
        """Return what the block makes of [n, c, h, w]; `mean` as in the block that this was folded of."""
        u = self.entered(x)
        mean = u.mean((2, 3)) if mean is None else mean
        weights = torch.softmax(self.ADM(mean) / TEMPERATURE, dim=1)
        gate, values = self.entering(u).chunk(2, 1)
        gated = values * pointwise(self.k2, leaky_(gate)).sigmoid_()
        both, weights = torch.cat((gated, u), 1), weights.repeat_interleave(x.shape[1], 1)[:, :, None, None]
        if len(x) == 1:
            mixed = F.conv2d(both, self.mixing * weights, padding=1)
        else:
            mixed = F.conv2d(both * weights, self.mixing, padding=1)
        return torch.add(pointwise(self.conv_last, leaky_(mixed)), x)


class FoldedA2N(nn.Module):
    """A2N with fixed weights: RGB [n, 3, h, w] in 0..1 to [n, 3, h * scale, w * scale], not clamped.

    What the network multiplies its input by, and divides its output by, is in its first weights and its last.
    """

    def __init__(self, network: A2N) -> None:
        super().__init__()
        own = copied(network)
        steps = [(own.upconv1, own.att1.conv, own.HRconv1)]
        if own.scale == 4:
            steps.append((own.upconv2, own.att2.conv, own.HRconv2))
        self.conv_first = times(own.conv_first, own.img_range, bias=False)
        self.blocks = [FoldedBlock(block) for block in own.blocks()]
        self.trunk = nn.Sequential(*self.blocks)
        self.trunk_conv = own.trunk_conv
        self.tail = AttentiveTail(
            steps, (2,) * len(steps) if own.scale == 4 else (own.scale,), times(own.conv_last, 1 / own.img_range)
        )
        self.scale = own.scale
        frozen(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return SR of LR; SR may leave 0..1."""
        first = self.conv_first(x)
        return self._last(self.trunk(first), x, first)

    def stages(self) -> list[srkit.Stage]:
        """Return the network in stages, those of A2N."""
        trunk = [srkit.Stage(block, halo=2, pooled=block.entered) for block in self.blocks]
        last = srkit.Stage(lambda x, lr: self._last(x, lr, self.conv_first(lr)), halo=3, scale=self.scale)
        return [srkit.Stage(self.conv_first, halo=1), *trunk, last]

    def _last(self, x: Tensor, lr: Tensor, first: Tensor) -> Tensor:
        out: Tensor = self.tail(first + self.trunk_conv(x), lr)
        return out
