"""Blurs: a kernel for each sample, and the images filtered by them.

A kernel weighs a square of an odd number of pixels around each pixel; beyond an image's edge its last pixels repeat.
Settings are in pixels of the image as it is when it is blurred.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

import srkit
from srkit_degradations.canvas import between, check_range

LARGEST = 101  # pixels of a kernel's side
KINDS = (
    "isotropic",
    "anisotropic",
    "generalized_isotropic",
    "generalized_anisotropic",
    "plateau_isotropic",
    "plateau_anisotropic",
)


def filtered(images: Tensor, kernels: Tensor) -> Tensor:
    """Return images [n, c, h, w], each weighed around each pixel by its kernel [n, k, k] of an odd k (correlation)."""
    height, width = images.shape[2:]
    reach = kernels.shape[-1] // 2
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    sides = (_fast(height + 2 * reach), _fast(width + 2 * reach))
    of_kernels = torch.fft.rfft2(kernels.flip(1, 2), s=sides)[:, None]
    found: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded, s=sides).mul_(of_kernels), s=sides)
    return found[..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


@functools.cache
def _fast(length: int) -> int:
    """Return the least length from here on whose only prime factors are 2, 3 and 5."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def grid(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return x and y of each pixel of a kernel from its middle, [side, side] when broadcast."""
    places = torch.arange(side, device=device, dtype=torch.float32) - side // 2
    return places[None, :], places[:, None]


def gaussian(side: int, sigma: float, device: torch.device) -> Tensor:
    """Return a Gaussian kernel [1, side, side]."""
    x, y = grid(side, device)
    return _normed(torch.exp((x * x + y * y) / (-2 * sigma * sigma))[None])


def _normed(kernels: Tensor) -> Tensor:
    return kernels / kernels.sum((1, 2), keepdim=True)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _odd(draws: Tensor, limits: tuple[int, int]) -> Tensor:
    """Return an odd number within limits for each draw, all alike."""
    count = (limits[1] - limits[0]) // 2 + 1
    return limits[0] + 2 * (draws * count).floor().clamp(max=count - 1)


def _check_side(side: tuple[int, int]) -> None:
    if not 1 <= side[0] <= side[1] <= LARGEST or not side[0] % 2 == side[1] % 2 == 1:
        text = f"side must be two odd numbers from 1 to {LARGEST}, the smaller first, not {side[0]} and {side[1]}"
        raise ValueError(text)


def _inside(side: Tensor, largest: int) -> Tensor:
    """Return whether each pixel of the largest kernel belongs to one of a side, [n, largest, largest]."""
    x, y = grid(largest, side.device)
    return torch.maximum(x.abs(), y.abs()) <= _column(side // 2)


class Blur:
    """A blur by a Gaussian, which may be wider in one direction (anisotropic), or by one of its two relatives.

    With q = (x / sigma_x)^2 + (y / sigma_y)^2, turned by an angle: the Gaussian is exp(-q / 2), the generalized one
    exp(-q^beta / 2), the plateau 1 / (1 + q^beta). The angle is any. Half of the betas are from the least to 1, half
    from 1 to the largest.

    Args:
        sigma: least and largest standard deviation in pixels.
        kinds: how often each kind is drawn beside the others: "isotropic", "anisotropic", "generalized_isotropic",
            "generalized_anisotropic", "plateau_isotropic", "plateau_anisotropic".
        side: least and largest side of the kernel in pixels; odd.
        beta_generalized: least and largest exponent of the generalized kinds.
        beta_plateau: least and largest exponent of the plateaus.
    """

    def __init__(
        self,
        *,
        sigma: tuple[float, float] = (0.2, 3.0),
        kinds: dict[str, float] | None = None,
        side: tuple[int, int] = (7, 21),
        beta_generalized: tuple[float, float] = (0.5, 4.0),
        beta_plateau: tuple[float, float] = (1.0, 2.0),
    ) -> None:
        check_range("sigma", sigma, 0.01, 100)
        _check_side(side)
        check_range("beta_generalized", beta_generalized, 0.1, 20)
        check_range("beta_plateau", beta_plateau, 0.1, 20)
        shares = {"isotropic": 0.5, "anisotropic": 0.5} if kinds is None else kinds
        for name in shares:
            if name not in KINDS:
                raise ValueError(f"kinds has '{name}'; there are {', '.join(KINDS)}")
        if not shares or min(shares.values()) < 0 or not 0 < sum(shares.values()) < math.inf:
            raise ValueError("kinds must be weights of 0 at least, and one above it")
        self.sigma, self.side = sigma, side
        self.betas = {"generalized": beta_generalized, "plateau": beta_plateau}
        self.kinds = [name for name, share in shares.items() if share]
        total, reached = sum(shares.values()), 0.0
        self.bounds = []
        for name in self.kinds[:-1]:
            reached += shares[name] / total
            self.bounds.append(reached)

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images blurred."""
        return filtered(images, self.kernels(draws))

    def kernels(self, draws: srkit.Draws) -> Tensor:
        """Return a kernel for each sample, [n, k, k] with k the largest side."""
        kind, side, wide, tall, angle, beta = self._values(draws)
        x, y = grid(self.side[1], kind.device)
        cos, sin = _column(angle.cos()), _column(angle.sin())
        q = ((x * cos + y * sin) / _column(wide)).square() + ((y * cos - x * sin) / _column(tall)).square()
        power = q.pow(_column(beta))
        plateau = self._are(kind, "plateau")
        kernels = torch.where(_column(plateau), 1 / (1 + power), torch.exp(-0.5 * power))
        return _normed(kernels * _inside(side, self.side[1]))

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return kind, sigma and side of each sample's kernel."""
        kind, side, wide, tall, angle, beta = (values.tolist() for values in self._values(draws))
        texts = []
        for i, which in enumerate(kind):
            name = self.kinds[which]
            text = f"blur {name.replace('_', ' ')} sigma {wide[i]:.2f}"
            text += (
                ""
                if name.endswith("isotropic") and "an" not in name
                else f" x {tall[i]:.2f} at {math.degrees(angle[i]):.0f}°"
            )
            text += f" beta {beta[i]:.2f}" if "_" in name else ""
            texts.append(f"{text}, {side[i]:.0f} px")
        return texts

    def _values(self, draws: srkit.Draws) -> tuple[Tensor, ...]:
        """Return kind, side, sigma_x, sigma_y, angle and beta of each sample."""
        drawn = draws.uniform(7).unbind(1)
        kind = sum(((drawn[0] >= bound).long() for bound in self.bounds), torch.zeros_like(drawn[0], dtype=torch.long))
        wide, tall = between(drawn[2], self.sigma), between(drawn[3], self.sigma)
        round_ = self._are(kind, "isotropic")
        beta = torch.ones_like(wide)
        for name, (least, most) in self.betas.items():
            halves = [(least, max(1.0, least)), (min(1.0, most), most)]
            halves = [half for half in halves if half[0] <= half[1]]
            of_half = [between(drawn[6], half) for half in halves]
            own = (
                torch.where(drawn[5] < 0.5, of_half[0], of_half[-1])
                if least < 1 < most
                else between(drawn[6], (least, most))
            )
            beta = torch.where(self._are(kind, name), own, beta)
        angle = math.pi * drawn[4]
        return kind, _odd(drawn[1], self.side), wide, torch.where(round_, wide, tall), angle, beta

    def _are(self, kind: Tensor, word: str) -> Tensor:
        """Return which samples have a kind with a word in its name."""
        found = torch.zeros_like(kind, dtype=torch.bool)
        for i, name in enumerate(self.kinds):
            if word in name.split("_"):
                found |= kind == i
        return found


class MotionBlur:
    """A blur along a straight line of a pixel's width, in any direction.

    Args:
        length: least and largest length of the line in pixels.
    """

    def __init__(self, *, length: tuple[float, float] = (3.0, 15.0)) -> None:
        check_range("length", length, 1, LARGEST - 2)
        self.length = length

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images blurred."""
        length, angle = self._values(draws)
        x, y = grid(2 * math.ceil(self.length[1] / 2) + 3, images.device)
        cos, sin = _column(angle.cos()), _column(angle.sin())
        along, across = (x * cos + y * sin).abs(), (y * cos - x * sin).abs()
        weights = (1 - across).clamp(min=0) * (_column(length / 2) + 0.5 - along).clamp(0, 1)
        return filtered(images, _normed(weights))

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the length and direction of each sample's line."""
        length, angle = self._values(draws)
        return [
            f"motion {a:.1f} px at {math.degrees(b):.0f}°" for a, b in zip(length.tolist(), angle.tolist(), strict=True)
        ]

    def _values(self, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        drawn = draws.uniform(2)
        return between(drawn[:, 0], self.length), math.pi * drawn[:, 1]


class Defocus:
    """A blur by a disc.

    Args:
        radius: least and largest radius in pixels.
    """

    def __init__(self, *, radius: tuple[float, float] = (1.0, 6.0)) -> None:
        check_range("radius", radius, 0, LARGEST // 2 - 1)
        self.radius = radius

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images blurred."""
        x, y = grid(2 * math.ceil(self.radius[1]) + 3, images.device)
        radius = _column(self._values(draws))
        return filtered(images, _normed((radius + 0.5 - (x * x + y * y).sqrt()).clamp(0, 1)))

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the radius of each sample's disc."""
        return [f"defocus radius {r:.1f} px" for r in self._values(draws).tolist()]

    def _values(self, draws: srkit.Draws) -> Tensor:
        return between(draws.uniform()[:, 0], self.radius)


class Sinc:
    """The low-pass filter that has nothing above a frequency, in every direction: edges ring, as after some
    sharpening, and after strong compression.

    The kernel is c J1(c r) / (2 pi r), r from its middle, c the cutoff.

    Args:
        cutoff: least and largest cutoff, as a share of half the sampling rate (pi radians a pixel).
        cutoff_small: the same for kernels of less than 13 pixels.
        side: least and largest side of the kernel in pixels; odd.
    """

    def __init__(
        self,
        *,
        cutoff: tuple[float, float] = (0.2, 1.0),
        cutoff_small: tuple[float, float] = (1 / 3, 1.0),
        side: tuple[int, int] = (7, 21),
    ) -> None:
        check_range("cutoff", cutoff, 0.05, 1)
        check_range("cutoff_small", cutoff_small, 0.05, 1)
        _check_side(side)
        self.cutoff, self.cutoff_small, self.side = cutoff, cutoff_small, side

    def __call__(self, images: Tensor, draws: srkit.Draws) -> Tensor:
        """Return the images filtered."""
        return filtered(images, self.kernels(draws))

    def kernels(self, draws: srkit.Draws) -> Tensor:
        """Return a kernel for each sample, [n, k, k] with k the largest side."""
        cutoff, side = self._values(draws)
        x, y = grid(self.side[1], cutoff.device)
        r, c = (x * x + y * y).sqrt()[None], math.pi * _column(cutoff)
        kernels = torch.where(
            r == 0, c * c / (4 * math.pi), c * torch.special.bessel_j1(c * r) / (2 * math.pi * r.clamp(min=1))
        )
        return _normed(kernels * _inside(side, self.side[1]))

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return cutoff and side of each sample's kernel."""
        return [
            f"sinc cutoff {c:.2f} pi, {s:.0f} px"
            for c, s in zip(*(v.tolist() for v in self._values(draws)), strict=True)
        ]

    def _values(self, draws: srkit.Draws) -> tuple[Tensor, Tensor]:
        drawn = draws.uniform(2)
        side = _odd(drawn[:, 0], self.side)
        return torch.where(side < 13, between(drawn[:, 1], self.cutoff_small), between(drawn[:, 1], self.cutoff)), side
