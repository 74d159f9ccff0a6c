"""The convolutions of networks that were trained on ImageNet, with the parameters' names of torchvision's files.

Each is a `Sequential` that stands as `features` in its network, so that `features.0.weight` is its first kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkit_features.weights import fill

VGG16 = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # channels; a pooling follows each block
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


class Fire(nn.Module):
    """A block of SqueezeNet: fewer channels, then 1x1 and 3x3 convolutions of them side by side."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(squeezed, outputs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, outputs, h, w], not negative."""
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def alexnet() -> nn.Sequential:
    """AlexNet of arXiv:1404.5997, up to its last convolution."""
    pool = nn.MaxPool2d(3, 2)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), pool),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def squeezenet() -> nn.Sequential:
    """SqueezeNet 1.1 of arXiv:1602.07360, without its classifier."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool),
        *(Fire(64, 16, 128), Fire(128, 16, 128), pool),
        *(Fire(128, 32, 256), Fire(256, 32, 256), pool),
        *(Fire(256, 48, 384), Fire(384, 48, 384), Fire(384, 64, 512), Fire(512, 64, 512)),
    )


def vgg(blocks: Sequence[Sequence[int]]) -> nn.Sequential:
    """VGG of arXiv:1409.1556: blocks of 3x3 convolutions, with a pooling behind each block."""
    layers: list[nn.Module] = []
    inputs = 3
    for channels in blocks:
        for outputs in channels:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Trunk(nn.Module):
    """Such a network with the frozen weights of a file, which gives what some of its layers make of images."""

    def __init__(self, name: str, features: nn.Sequential, layers: Sequence[int], path: Path) -> None:
        """Read the weights; `layers` are the numbers of those whose output is given. Raises ValueError as `fill` does.

        The features may have been made on the device "meta".
        """
        super().__init__()
        self.features = features
        self.layers = tuple(layers)
        fill(self, name, path)

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        """Yield what each of the layers makes of [n, 3, h, w], normalised as the network wants it."""
        for number in range(self.layers[-1] + 1):
            x = self.features[number](x)
            if number in self.layers:
                yield x
