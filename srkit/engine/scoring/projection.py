"""SR made to agree with its LR."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from srkit.engine.data.conversions import to_batch, to_rest

Image = NDArray[Any]


def back_projected(sr: Image, lr: Image, bicubic: nn.Module, device: torch.device, *, times: int) -> Image:
    """Return SR at rest, [h, w, 3], after so many steps towards one that becomes LR when it is made smaller.

    In each step what SR, made smaller by bicubic, lacks of LR is enlarged by bicubic and added (Irani and Peleg 1991).
    `bicubic` is the baseline, which resizes to any size. The dtype is kept.
    """
    wanted, found = to_batch(lr, device), to_batch(sr, device)
    small, large = lr.shape[:2], sr.shape[:2]
    with torch.no_grad():
        for _ in range(times):
            found = found + bicubic(wanted - bicubic(found, size=small), size=large)
    return to_rest(found, sr.dtype)
