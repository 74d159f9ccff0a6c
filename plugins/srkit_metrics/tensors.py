"""The sums and means behind the metrics, on torch tensors, on the images' device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from srkit_metrics.color import OFFSET, UNITS, WEIGHTS
from srkit_metrics.gaussian import BLOCK, C1, C2, MARGIN, band
from srkit_metrics.pair import Moments

Term = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def squared_error(sr: Tensor, hr: Tensor, *, on_luma: bool) -> int:
    """Return the exact sum of squared differences of two uint8 [h, w, 3]: RGB levels, or luma, `UNITS` to a level."""
    difference = _values(sr, on_luma) - _values(hr, on_luma)
    return int((difference * difference).sum())


def steps(image: Tensor) -> tuple[list[int], list[int]]:
    """Return the exact sums of the squared differences of the luma of neighbours, `UNITS` to a level: one between each
    two columns of a uint8 [h, w, 3], and one between each two rows."""
    luma = _values(image, on_luma=True)[0]
    across, down = (luma.diff(dim=dim).square().sum(1 - dim).tolist() for dim in (1, 0))
    return across, down


def moments(sr: Tensor, hr: Tensor, *, on_luma: bool) -> Moments:
    """Return the exact sums over two uint8 [h, w, 3]: RGB levels, or luma less `OFFSET`, `UNITS` to a level."""
    x, y = _values(sr, on_luma), _values(hr, on_luma)
    sums = torch.stack([x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
    return Moments(x.numel(), *sums.tolist())


def similarities(sr: Tensor, hr: Tensor, *, on_luma: bool) -> list[float]:
    """Return each plane's mean SSIM, -1..1: red, green and blue, or the luma alone; images are uint8 [h, w, 3]."""
    means: list[float] = _means(_similarity, _planes(sr, on_luma), _planes(hr, on_luma)).tolist()
    return means


def scales(sr: Tensor, hr: Tensor, count: int, *, on_luma: bool) -> list[list[float]]:
    """Return the terms of MS-SSIM of each plane, `count` of them: red, green and blue, or the luma alone.

    Contrast and structure at all scales but the last, SSIM itself there; the images are uint8 [h, w, 3].
    """
    x, y = _planes(sr, on_luma), _planes(hr, on_luma)
    terms = []
    for _ in range(count - 1):
        terms.append(_means(_contrast, x, y))
        x, y = _half(x), _half(y)
    terms.append(_means(_similarity, x, y))
    of_planes: list[list[float]] = torch.stack(terms, 1).tolist()
    return of_planes


def _values(image: Tensor, on_luma: bool) -> Tensor:
    """Return [k, h, w], int64: RGB, or luma in units."""
    rgb = image.permute(2, 0, 1).to(torch.int64)
    if not on_luma:
        return rgb
    red, green, blue = (weight * channel for weight, channel in zip(WEIGHTS, rgb, strict=True))
    luma: Tensor = red + green + blue
    return luma[None]


def _planes(image: Tensor, on_luma: bool) -> Tensor:
    """Return [k, h, w], float64: RGB, or luma, in levels. Apple's devices have no float64, so there the CPU does it."""
    values: Tensor = _values(image.cpu() if image.device.type == "mps" else image, on_luma).to(torch.float64)
    if on_luma:
        values = values / UNITS + OFFSET
    return values


def _means(term: Term, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of a term over all windows of each plane, [k]. `windows.mean` says what p, q, a and b are."""
    means = []
    for p, q in zip(x + y, x - y, strict=True):
        p, q, a, b = _filter(torch.stack([p, q, p * p, q * q]))
        p, q = p * p, q * q
        means.append(term(p, q, a - p, b - q).mean())
    return torch.stack(means)


def _similarity(p: Tensor, q: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (p - q + 2 * C1) * (a - b + 2 * C2) / ((p + q + 2 * C1) * (a + b + 2 * C2))


def _contrast(p: Tensor, q: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (a - b + 2 * C2) / (a + b + 2 * C2)


def _filter(x: Tensor) -> Tensor:
    """Return [n, h, w] filtered by the window, [n, h - MARGIN, w - MARGIN]."""
    weights = torch.from_numpy(band()).to(x.device).T
    for _ in range(2):  # across, turned over, and across again
        length = x.shape[2] - MARGIN
        runs = functional.pad(x, (0, -length % BLOCK)).unfold(2, BLOCK + MARGIN, BLOCK)
        x = (runs @ weights).flatten(2)[..., :length].mT
    return x


def _half(x: Tensor) -> Tensor:
    """Return the means of 2x2 pixels; the last row or column of an odd side is repeated."""
    height, width = x.shape[1:]
    return functional.avg_pool2d(functional.pad(x[None], (0, width % 2, 0, height % 2), mode="replicate")[0], 2)
