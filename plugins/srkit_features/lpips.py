"""LPIPS: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", arXiv:1801.03924."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from srkit_features import packages, trunks
from srkit_features.images import Image, batch
from srkit_features.weights import read_state, refuse_other

# Of each network: what makes its convolutions, the layers that are compared (behind an activation), their channels, the
# least side of images, and torchvision's file.
NETWORKS = {
    "alex": (trunks.alexnet, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256), 31, "alexnet-owt-7be5be79.pth"),
    "vgg": (lambda: trunks.vgg(trunks.VGG16), (3, 8, 15, 22, 29), (64, 128, 256, 512, 512), 16, "vgg16-397923af.pth"),
    "squeeze": (
        trunks.squeezenet,
        (1, 4, 7, 9, 10, 11, 12),
        (64, 128, 256, 384, 384, 512, 512),
        17,
        "squeezenet1_1-b8a52dc0.pth",
    ),
}
TITLES = {"alex": "AlexNet", "vgg": "VGG16", "squeeze": "SqueezeNet 1.1"}
# The authors' own mean and deviation, for images of -1..1.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10  # beside the length of a feature vector


class Lpips:
    """The distance of deep features that was learnt from people's judgements, version 0.1: 0 for equal images.

    Features of each pixel are scaled to length 1; their squared differences are weighted by the heads, summed over the
    channels, averaged over the pixels, and summed over the layers. Images are taken as they are, and not resized.

    Args:
        weights: file of the network's weights, torchvision's `alexnet-owt-7be5be79.pth`, `vgg16-397923af.pth` or
            `squeezenet1_1-b8a52dc0.pth`; its name carries the first eight digits of its sha256.
        network: "alex", which the authors advise for scores, "vgg" or "squeeze".
    """

    def __init__(self, *, weights: Path, network: Literal["alex", "vgg", "squeeze"] = "alex") -> None:
        make, layers, channels, self.least, _ = NETWORKS[network]
        self.heads = _heads(network, channels)
        with torch.device("meta"):  # the weights are the file's: none are drawn
            features = make()
        self.trunk = trunks.Trunk(TITLES[network], features, layers, Path(weights))
        self.protocol = f"{network} by {Path(weights).name}, heads 0.1"
        self.shift, self.scale = (torch.tensor(values)[:, None, None] for values in (SHIFT, SCALE))

    @torch.no_grad()
    def __call__(self, sr: Image, hr: Image) -> float:
        """Return the distance of two uint8 [h, w, 3]. Raises ValueError for other images, and for smaller ones than the
        network takes."""
        x = (2 * batch(sr, hr, least=self.least) - 1 - self.shift) / self.scale
        total = 0.0
        for features, head in zip(self.trunk(x), self.heads, strict=True):
            a, b = features / (features.square().sum(1, keepdim=True).sqrt() + EPSILON)
            total += float(((a - b).square() * head).sum(0).mean())
        return total


def _heads(network: str, channels: tuple[int, ...]) -> list[Tensor]:
    """Return the weight of each channel, [channels, 1, 1] of each layer. Raises ComponentError where no package has
    them."""
    path = packages.LPIPS.path() / f"{network}.pth"
    found = read_state(path)
    wanted = {f"lin{number}.model.1.weight": torch.empty(1, width, 1, 1) for number, width in enumerate(channels)}
    refuse_other(path, f"LPIPS's heads of {TITLES[network]}", wanted, found)
    return [found[name][0].float() for name in wanted]
