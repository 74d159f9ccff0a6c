"""The network of Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural Network".

arXiv:1608.00367. Written after the paper's section 3.2; the names d, s and m are the paper's.
"""

from __future__ import annotations

from torch import Tensor, nn

KERNEL = 9  # of the deconvolution
SLOPE = 0.25  # that every PReLU begins with


def _conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Return a convolution that keeps height and width, and the PReLU behind it, which has a slope a channel."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(conv.weight, a=SLOPE)  # He et al., arXiv:1502.01852, eq. 15
    return [conv, nn.PReLU(outputs, init=SLOPE)]


def _deconv(inputs: int, scale: int) -> nn.ConvTranspose2d:
    """Return the deconvolution that enlarges by the scale."""
    # KERNEL - scale values more than the size asks for are cut off: half of them on each side, so that the kernel lies
    # over the middle of what becomes of a pixel, or half a pixel beside it.
    more = KERNEL - scale
    padding = (more + 1) // 2
    deconv = nn.ConvTranspose2d(inputs, 3, KERNEL, stride=scale, padding=padding, output_padding=2 * padding - more)
    nn.init.normal_(deconv.weight, std=1e-3)  # the paper's, as no activation follows
    return deconv


class FSRCNN(nn.Module):
    """Fast SRCNN: RGB [n, 3, h, w] in 0..1 to [n, 3, h * scale, w * scale], not clamped.

    All convolutions work at the size of LR, most of them on s channels; the deconvolution makes the image, and it alone
    knows the scale. The default is the paper's FSRCNN(56, 12, 4), whose 12,464 weights are for luma. On RGB these are
    24,336; with biases and slopes, which the paper does not count, 24,683 parameters at every scale.

    Args:
        d: channels of the features that are taken from LR, and of those that SR is made from.
        s: channels in between, to which these shrink: fewer are faster.
        m: convolutions of the mapping.
    """

    def __init__(self, *, scale: int, d: int = 56, s: int = 12, m: int = 4) -> None:
        if scale not in (2, 3, 4):
            raise ValueError(f"fsrcnn has scales 2, 3 and 4, not {scale}")
        for name, value in (("d", d), ("s", s), ("m", m)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        super().__init__()
        self.features = nn.Sequential(*_conv(3, d, 5))
        self.shrinking = nn.Sequential(*_conv(d, s, 1))
        self.mapping = nn.Sequential(*(layer for _ in range(m) for layer in _conv(s, s, 3)))
        self.expanding = nn.Sequential(*_conv(s, d, 1))
        self.deconvolution = _deconv(d, scale)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expanding(self.mapping(self.shrinking(self.features(x))))
        sr: Tensor = self.deconvolution(x)
        return sr
