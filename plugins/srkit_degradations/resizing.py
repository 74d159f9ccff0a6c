"""Images made larger or smaller, each by a factor of its own."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

import srkit
from srkit_degradations.canvas import State, alone, between, check_range, sizes_of

Mode = Literal["nearest", "bilinear", "bicubic", "area"]
MODES: tuple[Mode, ...] = ("nearest", "bilinear", "bicubic", "area")
_CUBIC = -0.75  # the parameter of cubic convolution, as torch and OpenCV have it


class Resize:
    """Another size: nearest, bilinear, bicubic (cubic convolution with -0.75) or the mean of areas, as torch's
    `interpolate` has them: none but the last blurs what it makes smaller.

    Args:
        factor: least and largest factor.
        shares: of the samples that become larger, become smaller, and keep their size; without it, the factor is
            drawn from its whole range.
        modes: of which one is drawn: "nearest", "bilinear", "bicubic", "area".
        of: what is multiplied: the height and width of the "image", or those of "lr", the degradation's result.
    """

    def __init__(
        self,
        *,
        factor: tuple[float, float] = (0.5, 1.5),
        shares: tuple[float, float, float] | None = None,
        modes: list[Mode] = ("bilinear", "bicubic", "area"),  # type: ignore[assignment]
        of: Literal["image", "lr"] = "image",
    ) -> None:
        check_range("factor", factor, 0.02, 16)
        if shares is not None and (min(shares) < 0 or not 0 < sum(shares) < math.inf):
            raise ValueError("shares must be three numbers of 0 at least: larger, smaller, kept")
        check_modes(modes)
        if of not in ("image", "lr"):
            raise ValueError(f'of must be "image" or "lr", not "{of}"')
        self.factor, self.shares, self.modes, self.of = factor, shares, list(modes), of

    def __call__(
        self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> State:
        """Return the images and their sizes. Raises ValueError where the factor is of LR's and there is no LR."""
        state = (images, sizes)
        base, canvas = sizes_of(state), list(images.shape[2:])
        if self.of == "lr":
            if size is None:
                raise ValueError('of = "lr" is for a step of the degradation `chain`: it has no LR alone')
            base, canvas = base.new_tensor(size).expand_as(base), list(size)
        factor, mode = self._values(draws)
        made = (base * factor[:, None]).round().long().clamp(min=1)
        most = max(self.factor[1], 1.0 if self.shares is not None else 0.0)
        return resized(state, made, [max(1, round(side * most)) for side in canvas], mode, self.modes)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the factor and the mode of each sample."""
        factor, mode = self._values(draws)
        of = " of LR" if self.of == "lr" else ""
        return [f"resize x{f:.2f}{of} {self.modes[m]}" for f, m in zip(factor.tolist(), mode.tolist(), strict=True)]

    def _values(self, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        drawn = draws.uniform(3)
        factor = between(drawn[:, 1], self.factor)
        if self.shares is not None:
            up, down = self.shares[0] / sum(self.shares), self.shares[1] / sum(self.shares)
            larger = between(drawn[:, 1], (min(1.0, self.factor[1]), self.factor[1]))
            smaller = between(drawn[:, 1], (self.factor[0], max(1.0, self.factor[0])))
            which = drawn[:, 0]
            factor = torch.where(which < up, larger, torch.where(which < up + down, smaller, 1.0))
        return factor, drawn_mode(drawn[:, 2], self.modes)


def check_modes(modes: list[Mode]) -> None:
    """Raise ValueError unless there are modes, and each is one."""
    if not modes or set(modes) - set(MODES):
        raise ValueError(f"modes must name some of {', '.join(MODES)}, not {', '.join(modes) or 'none'}")


def drawn_mode(draws: Tensor, modes: list[Mode]) -> Tensor:
    """Return which of some modes each sample takes, all alike often."""
    return (draws * len(modes)).long().clamp(max=len(modes) - 1)


def resized(state: State, made: Tensor, canvas: list[int], mode: Tensor, modes: list[Mode]) -> State:
    """Return images resized to the sizes `made`, int64 [n, 2], on a canvas, each in its mode of `modes`."""
    images = state[0]
    if alone(images):
        height, width = made[0].tolist()
        if (height, width) == tuple(images.shape[2:]):
            return images, None
        name = modes[int(mode[0])]
        smooth = {"align_corners": False} if name in ("bilinear", "bicubic") else {}
        return F.interpolate(images, (height, width), mode=name, **smooth), None
    was = sizes_of(state)
    rows, columns = (
        _weights(images.shape[2 + axis], was[:, axis], canvas[axis], made[:, axis], mode, modes) for axis in (0, 1)
    )
    found = torch.matmul(torch.matmul(rows[:, None], images), columns[:, None].transpose(2, 3))
    return found, made


def _weights(inputs: int, was: Tensor, outputs: int, made: Tensor, mode: Tensor, modes: list[Mode]) -> Tensor:
    """Return the weights of all pixels of a side in all outputs, [n, outputs, inputs]: a row beyond an image's size
    repeats its last."""
    places = torch.arange(outputs, device=was.device).minimum(made[:, None] - 1)
    pixels = torch.arange(inputs, device=was.device)
    last, step = was[:, None] - 1, (was.float() / made.float())[:, None]
    found = torch.zeros(len(was), outputs, inputs, device=was.device)

    def tap(position: Tensor, weight: Tensor | float) -> Tensor:
        position = position.minimum(last).clamp(min=0)
        return (position[..., None] == pixels) * (weight[..., None] if isinstance(weight, Tensor) else weight)

    for i, name in enumerate(modes):
        if name == "nearest":
            own = tap((places * step).floor().long(), 1.0)
        elif name == "area":
            first = places * was[:, None] // made[:, None]
            beyond = -(-(places + 1) * was[:, None] // made[:, None])
            inside = (pixels >= first[..., None]) & (pixels < beyond[..., None])
            own = inside / (beyond - first)[..., None]
        else:
            middle = (places + 0.5) * step - 0.5
            middle = middle.clamp(min=0) if name == "bilinear" else middle
            first = middle.floor()
            within = middle - first
            weights = _linear(within) if name == "bilinear" else _cubic(within)
            start = 0 if name == "bilinear" else -1
            own = sum(tap(first.long() + start + k, weight) for k, weight in enumerate(weights))  # type: ignore[assignment]
        found = torch.where((mode == i)[:, None, None], own, found)
    # Of the same size, an image is the same in every mode.
    same = (was == made)[:, None, None]
    return torch.where(same, tap(places, 1.0), found)


def _linear(t: Tensor) -> list[Tensor]:
    return [1 - t, t]


def _cubic(t: Tensor) -> list[Tensor]:
    """Return the weights of the four pixels around a place t from the second."""
    a = _CUBIC

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]
