"""A network, called: with the size of SR where it asks for it; and the scales that it serves."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import attrs
from torch import Tensor, nn

from srkit.plugin.settings import named

Size = tuple[int, int]  # (height, width) in pixels
Network = Callable[..., Any]  # of a module, or a function like one


def scaled(side: int, scale: float | Fraction) -> int:
    """Return how many pixels so many become at a scale: the nearest whole number, halves up."""
    return math.floor(side * scale + Fraction(1, 2))


def shrunk(side: int, scale: float) -> int:
    """Return the largest side that becomes so many pixels at a scale, or fewer."""
    return math.floor(side / scale + 1e-9)


def nearest_to_whole(sides: Iterable[int], scale: float) -> int:
    """Return the side, of some, that becomes most nearly a whole number of pixels at a scale; the first of equals.

    Where images are cut or padded there, the pixels of SR lie where they lie in the whole.
    """
    return min(sides, key=lambda side: round(abs(side * scale - scaled(side, scale)), 9))


def takes(function: Any, word: str) -> bool:
    """Say whether a callable declares a parameter of this name."""
    return bool(named(function, [word]))


def takes_size(network: Network) -> bool:
    """Say whether a network is given the size of SR, and so may serve several scales."""
    return takes(getattr(network, "forward", network), "size")


def needs_size(network: nn.Module) -> bool:
    """Say whether a network has no scale that it enlarges by where no size is given."""
    if not takes_size(network):
        return False
    return inspect.signature(network.forward).parameters["size"].default is inspect.Parameter.empty


def enlarge(network: Network, lr: Tensor, size: Size | None) -> Tensor:
    """Return SR of LR [n, 3, h, w], alone: `size` is SR's (height, width), which is given where `forward` declares it.

    None is the network's own scale, where it has one. A network that does not declare it has one scale, whatever the
    size.
    """
    made = network(lr, size=size) if size is not None and takes_size(network) else network(lr)
    sr: Tensor = made[0] if isinstance(made, tuple) else made
    return sr


@attrs.frozen
class Scales:
    """Which scales a network serves: `some`, or all from `least` to `most` where there are none of those."""

    some: tuple[float, ...] = ()
    least: float = 1.0
    most: float = math.inf
    hint: str = ""  # to the author of one that means to serve more

    @property
    def line(self) -> str:
        """Which they are, as the rest of a sentence on a network: "has scales 2, 4", "takes scales from 1 to 4"."""
        if self.some:
            return f"has scale{'' if len(self.some) == 1 else 's'} {', '.join(f'{scale:g}' for scale in self.some)}"
        return f"takes scales from {self.least:g}" + ("" if math.isinf(self.most) else f" to {self.most:g}")

    def fault(self, scale: float) -> str:
        """Return the same with a scale that is none of them, "has scale 4, not 3"; nothing where it is."""
        serves = scale in self.some if self.some else self.least <= scale <= self.most
        return "" if serves else f"{self.line}, not {scale:g}{self.hint}"


_NO_SIZE = ": its forward must declare 'size', (height, width) of SR, by which it knows which of its scales is meant"


def scales_of(network: nn.Module, facts: Mapping[str, Any], scale: float) -> Scales:
    """Return which scales a network serves that was made for one, with its facts.

    That one alone, unless its `forward` declares `size`: then its `scales`, or else those of its `scale_range`, or else
    all from 1.
    """
    if not takes_size(network):
        return Scales((scale,), hint=_NO_SIZE if hasattr(network, "scales") else "")
    some = facts.get("scales", ())
    least, most = facts.get("scale_range", (1.0, math.inf))
    return Scales(tuple(some), least, most)
