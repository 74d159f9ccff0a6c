"""Networks that want sizes of their own, given images of any size."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from srkit.engine.networks.calling import nearest_to_whole, scaled
from srkit.plugin.component import Component


def fit(network: nn.Module, component: Component) -> nn.Module:
    """Let a network take LR of any size, where its component states a `min_size` or what sides are a `multiple_of`.

    LR is padded at the right and the bottom by its mirror image, and SR is cut. The network itself is returned, of a
    class of its own, so that the names of its weights stay what they are. Words beside LR are passed on; a `size` grows
    with LR, which then has sides whose enlargement is as near to whole pixels as it gets.
    """
    facts = component.facts_of(network)
    return _fitted(network, facts.get("min_size", 1), facts.get("multiple_of", 1))


def fit_like(network: nn.Module, other: nn.Module) -> nn.Module:
    """Let a network take LR of any size as another does, which may have been fitted."""
    return _fitted(network, *getattr(other, _SIDES, (1, 1)))


def is_fitted(cls: type) -> bool:
    """Say whether a class is the one that `fit` made of a network's."""
    return _SIDES in vars(cls)


def _fitted(network: nn.Module, least: int, multiple: int) -> nn.Module:
    if least <= 1 and multiple <= 1:
        return network
    cls = type(network)

    @functools.wraps(cls.forward)  # which words it declares is read from its signature
    def forward(self: Any, x: Tensor, *more: Any, **words: Any) -> Any:
        sides, size = x.shape[-2:], words.get("size")
        if size is None:
            padded = [fitting(side, least, multiple) for side in sides]
        else:
            padded = [_aligned(side, large, least, multiple) for side, large in zip(sides, size, strict=True)]
        if padded == list(sides):
            return cls.forward(self, x, *more, **words)
        if size is not None:
            grown = (scaled(p, large / side) for p, side, large in zip(padded, sides, size, strict=True))
            words["size"] = tuple(grown)
        made = cls.forward(self, pad_to(x, *padded), *more, **words)
        sr, extras = made if isinstance(made, tuple) else (made, None)
        height, width = size or (side * (sr.shape[-2] // padded[0]) for side in sides)
        sr = sr[..., :height, :width]
        return sr if extras is None else (sr, extras)

    own = {"forward": forward, "__module__": cls.__module__, _SIDES: (least, multiple)}
    network.__class__ = type(cls.__name__, (cls,), own)
    return network


_TRIED = 8
_SIDES = "_srkit_sides"  # (least, multiple) of a network's class that was fitted


def sides_of(network: nn.Module) -> tuple[int, int]:
    """Return the least side of LR that a network takes as it is, and what its sides must be a multiple of."""
    least, multiple = getattr(network, _SIDES, (1, 1))
    return least, multiple


def unfitted(network: nn.Module) -> nn.Module:
    """Return a network, itself, as it was before `fit`: it takes LR of its own sides alone."""
    if hasattr(network, _SIDES):
        network.__class__ = type(network).__mro__[1]
    return network


def padding_of(network: nn.Module, sizes: Iterable[tuple[int, int]]) -> str:
    """Return what LR of these sizes, (height, width), is padded to for a network: "multiples of 8"; nothing where it
    takes all of them as they are."""
    least, multiple = sides_of(network)
    sides = {side for size in sizes for side in size}
    if all(fitting(side, least, multiple) == side for side in sides):
        return ""
    told = [f"multiples of {multiple}"] if multiple > 1 else []
    if any(side < least for side in sides):
        told.append(f"{least} pixels at least")
    return ", ".join(told)


def fitting(side: int, least: int, multiple: int) -> int:
    """Return the smallest side that is not below this one and that a network takes."""
    return -(-max(side, least) // multiple) * multiple


def _aligned(side: int, large: int, least: int, multiple: int) -> int:
    """Return a side that a network takes, of the next few, at which the pixels of SR lie as they do without padding."""
    first = fitting(side, least, multiple)
    return nearest_to_whole(range(first, first + _TRIED * multiple, multiple), large / side)


def pad_to(x: Tensor, height: int, width: int) -> Tensor:
    """Return images [n, c, h, w] with more rows and columns: their mirror image, or several of small ones."""
    while x.shape[-2:] != (height, width):
        down, right = height - x.shape[-2], width - x.shape[-1]
        if min(x.shape[-2:]) == 1:  # which has no mirror image
            return F.pad(x, (0, right, 0, down), mode="replicate")
        x = F.pad(x, (0, min(right, x.shape[-1] - 1), 0, min(down, x.shape[-2] - 1)), mode="reflect")
    return x
