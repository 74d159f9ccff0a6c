"""VGG19 of Simonyan and Zisserman, arXiv:1409.1556, up to its last convolution."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from srkit_features.weights import read_weights, refuse_other

CHANNELS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)  # of convolutions; a pooling between the blocks
NAMES = tuple(f"conv{block}_{i}" for block, widths in enumerate(CHANNELS, 1) for i in range(1, len(widths) + 1))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images in 0..1: what it was trained on


class VGG19(nn.Module):
    """The convolutions of VGG19 with frozen weights, under the names of their files: `features.N.weight`."""

    def __init__(self, path: Path) -> None:
        """Read the weights from a file. Raises ValueError where it is absent, damaged or of another network."""
        super().__init__()
        layers: list[nn.Module] = []
        self.places: dict[str, int] = {}  # of each convolution among the layers, by its name in the literature
        names, inputs = iter(NAMES), 3
        with torch.device("meta"):  # the weights are the file's: none are drawn
            for widths in CHANNELS:
                for width in widths:
                    self.places[next(names)] = len(layers)
                    layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                    inputs = width
                layers.append(nn.MaxPool2d(2))
            self.features = nn.Sequential(*layers)
        found, wanted = read_weights(path), self.state_dict()
        refuse_other(path, "VGG19", wanted, found)
        self.load_state_dict({name: found[name].float() for name in wanted}, assign=True)
        self.requires_grad_(False)
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
