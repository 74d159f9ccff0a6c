"""How far around a window the SR of that window depends on LR, measured by a gradient."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from srkit.engine.networks.calling import enlarge, takes_size

BLOCK = 16  # LR pixels of the window: tiles begin at multiples of it, and networks that look in windows know no finer
FARTHEST = 128  # LR pixels that are looked at on each side
IMAGES = 2  # each has other units that a ReLU switches off


def measured_halo(network: nn.Module) -> int | None:
    """Return how many LR pixels around a window its SR depends on; None where that is more than FARTHEST, or unknown.

    It is measured once, and kept with the network.
    """
    if not hasattr(network, _KEPT):
        setattr(network, _KEPT, _measure(network))
    halo: int | None = getattr(network, _KEPT)
    return halo


_KEPT = "_srkit_halo"


def _measure(network: nn.Module) -> int | None:
    """Return the halo by the gradient of a window's SR.

    What lies outside has a gradient of exactly 0; so has what lies so far away that it changes nothing in float32. It
    is a copy on the CPU that is looked at, and chance is left as it was.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            alone = copy.deepcopy(network).cpu().float().eval().requires_grad_(requires_grad=False)
            far = 32
            while far <= FARTHEST:
                found = max(_reach(alone, far, turned=turned) for turned in (False, True))
                if found < far:
                    return found
                far *= 2
    except Exception:  # of networks that cannot be copied, have no gradient
        return None
    return None


def _reach(network: nn.Module, far: int, *, turned: bool) -> int:
    """Return how far along a strip a block in its middle looks; the strip is one of rows, or `turned`, of columns."""
    side = -(-far // BLOCK) * BLOCK
    shape = (BLOCK, 2 * side + BLOCK)
    x = torch.rand(IMAGES, 3, *(shape[::-1] if turned else shape), requires_grad=True)
    size = (2 * x.shape[2], 2 * x.shape[3]) if takes_size(network) else None  # where pixels lie between those of LR
    sr = enlarge(network, x * 1.0, size)
    scale = sr.shape[-2] // x.shape[-2]
    lines = slice(side * scale, (side + BLOCK) * scale)
    block = sr[..., lines, :] if turned else sr[..., lines]
    (gradient,) = torch.autograd.grad((block * torch.rand_like(block)).sum(), x)
    seen = _seen(gradient, along=2 if turned else 3)
    return max([side - int(seen[0]), int(seen[-1]) + 1 - (side + BLOCK), 0]) if len(seen) else 0


def _seen(gradient: Tensor, along: int) -> Tensor:
    others = [dim for dim in range(gradient.dim()) if dim != along]
    return gradient.abs().amax(others).nonzero()[:, 0]
