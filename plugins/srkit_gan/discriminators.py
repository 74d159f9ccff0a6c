"""Networks that tell HR from SR. The names of their parts are those of their authors' files.

Each takes images [n, 3, h, w] in 0..1 and gives logits that begin with n: above 0 for what looks like HR.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

SLOPE = 0.2  # of leaky ReLU below 0, in all three papers
WIDEST = 8  # times `features` at most


def _refuse_below_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")


class VGGLike(nn.Module):
    """The discriminator of SRGAN and ESRGAN, as BasicSR has it: one logit an image, [n, 1].

    Each level is a convolution and one of stride 2, up to 4 x 4 pixels, and two linear layers follow.

    Args:
        size: side of the images in pixels, a power of 2 from 8 on; of a recipe `data.patch` times `scale`.
        features: channels of the first level.
    """

    def __init__(self, *, size: int = 128, features: int = 64) -> None:
        if size < 8 or size & (size - 1):
            raise ValueError(f"size must be a power of 2 from 8 on, not {size}")
        _refuse_below_one(features=features)
        super().__init__()
        self.size = self.min_size = size
        self.levels = size.bit_length() - 3
        inputs = 3
        for level in range(self.levels):
            outputs = features * min(2**level, WIDEST)
            self.add_module(f"conv{level}_0", nn.Conv2d(inputs, outputs, 3, padding=1, bias=level == 0))
            if level:
                self.add_module(f"bn{level}_0", nn.BatchNorm2d(outputs))
            self.add_module(f"conv{level}_1", nn.Conv2d(outputs, outputs, 4, stride=2, padding=1, bias=False))
            self.add_module(f"bn{level}_1", nn.BatchNorm2d(outputs))
            inputs = outputs
        self.linear1 = nn.Linear(inputs * 4 * 4, 100)
        self.linear2 = nn.Linear(100, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return a logit an image, [n, 1]. Raises ValueError for images of another size."""
        height, width = images.shape[-2:]
        if (height, width) != (self.size, self.size):
            raise ValueError(
                f"discriminator 'vgg_like' with size = {self.size} wants images of {self.size}x{self.size} pixels, not "
                f"{width}x{height}: change its size, or data.patch"
            )
        x = images
        for level in range(self.levels):
            for half in (0, 1):
                x = self.get_submodule(f"conv{level}_{half}")(x)
                if level or half:
                    x = self.get_submodule(f"bn{level}_{half}")(x)
                x = F.leaky_relu(x, SLOPE)
        logits: Tensor = self.linear2(F.leaky_relu(self.linear1(x.flatten(1)), SLOPE))
        return logits


class UNet(nn.Module):
    """The discriminator of Real-ESRGAN: a U-Net of three levels with spectral normalisation; a logit a pixel.

    Args:
        features: channels at full size.
    """

    def __init__(self, *, features: int = 64) -> None:
        _refuse_below_one(features=features)
        super().__init__()
        self.conv0 = nn.Conv2d(3, features, 3, padding=1)
        for number in (1, 2, 3):  # half the size each
            widths = features * 2 ** (number - 1), features * 2**number
            self.add_module(f"conv{number}", spectral_norm(nn.Conv2d(*widths, 4, stride=2, padding=1, bias=False)))
        for number in (4, 5, 6):  # twice the size each
            widths = features * 2 ** (7 - number), features * 2 ** (6 - number)
            self.add_module(f"conv{number}", spectral_norm(nn.Conv2d(*widths, 3, padding=1, bias=False)))
        for number in (7, 8):
            layer = nn.Conv2d(features, features, 3, padding=1, bias=False)
            self.add_module(f"conv{number}", spectral_norm(layer))
        self.conv9 = nn.Conv2d(features, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return a logit a pixel, [n, 1, h, w], of images of 8 x 8 pixels at least."""
        down = [F.leaky_relu(self.conv0(images), SLOPE)]
        for number in (1, 2, 3):
            down.append(self._layer(number, down[-1]))
        x = down.pop()
        for number in (4, 5, 6):
            beside = down.pop()
            x = F.interpolate(x, beside.shape[-2:], mode="bilinear", align_corners=False)
            x = self._layer(number, x) + beside
        for number in (7, 8):
            x = self._layer(number, x)
        logits: Tensor = self.conv9(x)
        return logits

    def _layer(self, number: int, x: Tensor) -> Tensor:
        return F.leaky_relu(self.get_submodule(f"conv{number}")(x), SLOPE)


class Patch(nn.Module):
    """The PatchGAN of pix2pix: a logit for each of many overlapping patches, [n, 1, about h / 2**layers, and w].

    With three layers a logit sees 70 x 70 pixels, with two 34, with one 16.

    Args:
        features: channels of the first layer.
        layers: convolutions of stride 2.
    """

    def __init__(self, *, features: int = 64, layers: int = 3) -> None:
        _refuse_below_one(features=features, layers=layers)
        super().__init__()
        model: list[nn.Module] = [nn.Conv2d(3, features, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        inputs = features
        for number in range(1, layers + 1):
            outputs, stride = features * min(2**number, WIDEST), 2 if number < layers else 1
            model.append(nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1, bias=False))
            model += [nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]
            inputs = outputs
        self.model = nn.Sequential(*model, nn.Conv2d(inputs, 1, 4, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return a map of logits, [n, 1, ...]."""
        logits: Tensor = self.model(images)
        return logits
