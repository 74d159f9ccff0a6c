"""VGG19 of Simonyan and Zisserman, arXiv:1409.1556, up to its last convolution."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from srkit_features import trunks
from srkit_features.weights import fill

NAMES = tuple(f"conv{block}_{i}" for block, widths in enumerate(trunks.VGG19, 1) for i in range(1, len(widths) + 1))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images in 0..1: what it was trained on


class VGG19(nn.Module):
    """The convolutions of VGG19 with frozen weights, under the names of their files: `features.N.weight`."""

    def __init__(self, path: Path) -> None:
        """Read the weights from a file. Raises ValueError where it is absent, damaged or of another network."""
        super().__init__()
        with torch.device("meta"):  # the weights are the file's: none are drawn
            self.features = trunks.vgg(trunks.VGG19)
        convolutions = [number for number, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        self.places = dict(zip(NAMES, convolutions, strict=True))  # among the layers, by the name in the literature
        fill(self, "VGG19", path)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return what these convolutions make of images [n, 3, h, w] in 0..1, before the activation, by name.

        Raises ValueError for images that are smaller than a pixel there.
        """
        places = {self.places[name]: name for name in layers}
        least = 2 ** (max(int(name[4]) for name in layers) - 1)
        if min(images.shape[-2:]) < least:
            height, width = images.shape[-2:]
            raise ValueError(
                f"VGG19 wants images of at least {least}x{least} pixels for these layers, not {width}x{height}"
            )
        x = (images - self.mean) / self.std
        found = {}
        for place in range(max(places) + 1):
            x = self.features[place](x)
            if place in places:
                found[places[place]] = x
        return found
