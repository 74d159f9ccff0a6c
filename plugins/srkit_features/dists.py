"""DISTS: Ding et al., "Image quality assessment: unifying structure and texture similarity", arXiv:2004.07728."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkit_features import packages, trunks
from srkit_features.images import Image, batch
from srkit_features.vgg import MEAN, STD
from srkit_features.weights import read_state, refuse_other

LAYERS = (3, 8, 15, 22, 29)  # behind the last activation of each block
CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image itself, and of the layers
C1 = C2 = 1e-6  # the paper's, for means and for variances
AT_ONCE = 8  # channels whose statistics are taken in float64: all of a large image's would not fit into memory


class Pool(nn.Module):
    """The root of the weighted mean of squares in place of the largest of 2x2 values: it does not alias."""

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])  # a Hann window of five without its zeros
        self.window = line[:, None] * line

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, c, h / 2, w / 2], rounded up."""
        window = self.window.expand(x.shape[1], 1, 3, 3)
        return (F.conv2d(x.square(), window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


class Dists:
    """The distance of texture (means) and structure (covariances) of VGG16's features and of the images themselves.

    0 for equal images. Their weights were learnt from people's judgements, and so that textures that look alike are
    near. Images are taken as they are; the authors resize the shorter side to 256 where they compare with people.

    Args:
        weights: file of VGG16's weights, torchvision's `vgg16-397923af.pth`; its name carries the first eight digits of
            its sha256.
    """

    def __init__(self, *, weights: Path) -> None:
        self.alpha, self.beta = _weights()
        with torch.device("meta"):  # the weights are the file's: none are drawn
            features = trunks.vgg(trunks.VGG16)
        for number, layer in enumerate(features):
            if isinstance(layer, nn.MaxPool2d):
                features[number] = Pool()
        self.trunk = trunks.Trunk("VGG16", features, LAYERS, Path(weights))
        self.protocol = f"by {Path(weights).name}"
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    @torch.no_grad()
    def __call__(self, sr: Image, hr: Image) -> float:
        """Return the distance of two uint8 [h, w, 3]. Raises ValueError for other images."""
        images = batch(sr, hr)
        textures, structures = [], []
        for features in itertools.chain([images], self.trunk((images - self.mean) / self.std)):
            for some in features.split(AT_ONCE, 1):
                texture, structure = _similarities(*some.double())
                textures.append(texture)
                structures.append(structure)
        return 1 - float((self.alpha * torch.cat(textures) + self.beta * torch.cat(structures)).sum())


def _similarities(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return how alike the means of two [c, h, w] are, and their deviations from them: two [c], 1 for equal ones."""
    (mean_a, from_a), (mean_b, from_b) = map(_centred, (a, b))
    texture = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    covariance, squares = (from_a * from_b).mean((1, 2)), (from_a**2 + from_b**2).mean((1, 2))
    return texture, (2 * covariance + C2) / (squares + C2)


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean((1, 2))
    return mean, x - mean[:, None, None]


def _weights() -> tuple[Tensor, Tensor]:
    """Return the weights of texture and of structure, one a channel, which add up to 1. Raises ComponentError where no
    package has them."""
    path = packages.DISTS.path()
    found = read_state(path)
    shape = torch.empty(1, sum(CHANNELS), 1, 1)
    refuse_other(path, "DISTS", {"alpha": shape, "beta": shape}, found)
    alpha, beta = (found[name].flatten().double() for name in ("alpha", "beta"))
    return alpha / (alpha.sum() + beta.sum()), beta / (alpha.sum() + beta.sum())
