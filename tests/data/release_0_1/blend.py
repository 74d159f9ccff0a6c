"""A loss with a parameter that is trained and a layer that is not, for the runs of release 0.1 kept here."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    yield srkit.Component("loss", "blend", f"{__name__}:Blend", summary="L1 of images and of frozen features")


class Blend(nn.Module):
    """L1 of images, and L1 of the features of a frozen convolution with a trainable weight."""

    def __init__(self) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(()))
        self.features = nn.Conv2d(3, 4, 3, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.linspace(-1, 1, 108).reshape(4, 3, 3, 3))
        self.features.requires_grad_(False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        features = (self.features(sr) - self.features(hr)).abs().mean()
        return (sr - hr).abs().mean() + features * (-self.log_weight).exp() + self.log_weight
