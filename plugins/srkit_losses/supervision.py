"""A loss of every output of a network, not of SR alone."""

from __future__ import annotations

import inspect

import torch.nn.functional as F
from torch import Tensor, nn

import srkit


class DeepSupervision(nn.Module):
    """The sum of a loss over SR and each output beside it, against HR shrunk to its size by bicubic.

    So a pyramid learns at each of its levels (Lai et al., arXiv:1710.01992).

    Args:
        loss: what compares an output with HR; one that is given nothing else.
        weights: by an output's name, "sr" for SR, what its loss is multiplied by; 1 where absent.
    """

    def __init__(self, *, loss: srkit.Loss = "l1", weights: dict[str, float] | None = None) -> None:  # type: ignore[assignment]
        super().__init__()
        called = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
        more = [p.name for p in called.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
        if more:
            raise ValueError(f"loss compares SR and HR alone, and this one wants {', '.join(more)}, too")
        self.loss, self.weights = loss, weights or {}
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"the weight of '{name}' must be at least 0, not {weight:g}")
        self.reduction = getattr(loss, "reduction", "mean")

    def forward(self, sr: Tensor, hr: Tensor, *, extras: dict[str, Tensor]) -> Tensor:
        """Return a scalar. Raises ValueError for an output that is no smaller image, and a weight of none of them."""
        outputs = {"sr": sr, **extras}
        for name in self.weights:
            if name not in outputs:
                raise ValueError(f"a weight is of '{name}', and the network's outputs are {', '.join(outputs)}")
        total = sr.new_zeros(())
        for name, output in outputs.items():
            if output.dim() != 4 or output.shape[:2] != hr.shape[:2] or output.shape[2] > hr.shape[2]:
                raise ValueError(f"'{name}' is {list(output.shape)}: no image of HR's {list(hr.shape)}, made smaller")
            total = total + self.weights.get(name, 1.0) * self.loss(output.to(hr.dtype), shrunk(hr, output))
        return total


def shrunk(hr: Tensor, output: Tensor) -> Tensor:
    """Return HR shrunk to an output's size by bicubic, MATLAB's but for the two pixels at the edge."""
    if output.shape[-2:] == hr.shape[-2:]:
        return hr
    size = (output.shape[-2], output.shape[-1])
    return F.interpolate(hr, size=size, mode="bicubic", align_corners=False, antialias=True)
