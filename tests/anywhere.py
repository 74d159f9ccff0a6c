"""A network of any scale as a plugin of one file: features of LR, looked up at each pixel of SR.

Beside it a pyramid of two scales, and degradations that serve any scale, or one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    facts = {"tileable": True, "scale_range": (1.0, 8.0)}
    yield srkit.Component("architecture", "anywhere", f"{__name__}:Anywhere", facts=facts)
    yield srkit.Component("architecture", "pyramid", f"{__name__}:Pyramid", facts={"scales": (2, 4)})
    for name, target in (("sizeless", "Sizeless"), ("unsaid", "Unsaid")):
        yield srkit.Component("architecture", name, f"{__name__}:{target}", facts={"scales": (2, 4)})
    facts = {"tileable": True, "weights_fit_any_scale": True, "scales": (2, 3, 4)}
    yield srkit.Component("architecture", "before", f"{__name__}:Before", facts=facts)
    random = {"deterministic": False, "draws": 1}
    yield srkit.Component("degradation", "dimmed", f"{__name__}:Dimmed", facts=random)
    yield srkit.Component("degradation", "dimmed_x2", f"{__name__}:DimmedTwice", facts=random)
    yield srkit.Component("degradation", "third", f"{__name__}:Third", facts={"scales": (2, 3)})


class Anywhere(nn.Module):
    """Looks up features between those of LR, and makes a pixel of each.

    Args:
        features: channels of the features
    """

    def __init__(self, *, features: int = 8) -> None:
        super().__init__()
        self.encode = nn.Conv2d(3, features, 3, padding=1)
        self.decode = nn.Sequential(nn.Conv2d(features, features, 1), nn.ReLU(), nn.Conv2d(features, 3, 1))

    def forward(self, lr: Tensor, size: tuple[int, int], points: Tensor | None = None) -> Tensor:
        """Return SR of a size, or its pixels at `points` as [n, 3, q, 1]."""
        (height, width), n = size, len(lr)
        whole = points is None
        if points is None:
            points = torch.arange(height * width, device=lr.device).expand(n, -1)
        y, x = (points // width + 0.5) / height * 2 - 1, (points % width + 0.5) / width * 2 - 1
        at = torch.stack([x, y], -1)[:, :, None]
        found = nn.functional.grid_sample(self.encode(lr), at, padding_mode="border", align_corners=False)
        sr: Tensor = self.decode(found)
        return sr.reshape(n, 3, height, width) if whole else sr


class Pyramid(nn.Module):
    """Made for 4, it gives 2 as well, and both in training."""

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale, self.scales = scale, (2, 4)[: scale // 2]
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, lr: Tensor, size: tuple[int, int] | None = None) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return SR, of twice or four times LR's size."""
        two = nn.functional.interpolate(self.conv(lr), scale_factor=2)
        four = nn.functional.interpolate(self.conv(two), scale_factor=2)
        if self.training:
            return (two, {}) if self.scale == 2 else (four, {"x2": two})
        return two if size is not None and size[0] == 2 * lr.shape[2] else four


class Sizeless(Pyramid):
    """One whose forward does not declare `size`."""

    def forward(self, lr: Tensor) -> Tensor | tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        """Return SR."""
        return super().forward(lr)


class Unsaid(Pyramid):
    """One that does not say which scales it serves."""

    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        del self.scales

    def forward(self, lr: Tensor, size: tuple[int, int] | None = None) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return SR, of twice LR's size where it is made for 2."""
        if self.scale == 2:
            return nn.functional.interpolate(self.conv(lr), scale_factor=2)
        return super().forward(lr, size)


class Before(nn.Module):
    """Enlarges first, so that its weights are the same for every scale."""

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """Return SR."""
        sr: Tensor = self.conv(nn.functional.interpolate(lr, scale_factor=self.scale))
        return sr


class Dimmed:
    """A darker LR of any size."""

    def __call__(self, hr: Tensor, size: tuple[int, int], draws: Tensor) -> Tensor:
        """Return LR."""
        lr = nn.functional.interpolate(hr, size=size, mode="bilinear", antialias=True)
        return lr * (1 - draws[:, :1, None, None] / 2)


class DimmedTwice:
    """A darker LR of half the size."""

    def __call__(self, hr: Tensor, draws: Tensor) -> Tensor:
        """Return LR."""
        return nn.functional.avg_pool2d(hr, 2) * (1 - draws[:, :1, None, None] / 2)


class Third:
    """Every other pixel, or every third."""

    def __init__(self, *, scale: int) -> None:
        self.scale = scale

    def __call__(self, hr: NDArray[Any]) -> NDArray[Any]:
        """Return LR."""
        return hr[:: self.scale, :: self.scale].copy()
