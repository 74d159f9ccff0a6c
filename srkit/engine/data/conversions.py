"""Images at rest to the network's form and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return a small array as a tensor on a device, without waiting for what the device is computing."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # from other memory the copy would wait


def to_network(images: Tensor) -> Tensor:
    """Return [n, h, w, 3] uint8 or uint16 as float32 [n, 3, h, w] in 0..1, channels_last in memory, on its device."""
    top = 255.0 if images.dtype == torch.uint8 else 65535.0
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(top)


def to_batch(image: NDArray[Any], device: torch.device) -> Tensor:
    """Return one image at rest, [h, w, 3], as a batch of one in the network's form."""
    # Writable, or torch warns: it knows no array that is only read.
    pixels = np.require(image, requirements=["C_CONTIGUOUS", "WRITEABLE"])
    return to_network(torch.from_numpy(pixels).unsqueeze(0).to(device))


def to_rest(batch: Tensor, dtype: Any = np.uint8) -> NDArray[Any]:
    """Return a batch of one, [1, 3, h, w] in 0..1, as an image at rest, clamped and rounded (halves up, as MATLAB)."""
    top = float(np.iinfo(dtype).max)
    values = batch[0].detach().cpu()
    found = np.empty((*values.shape[1:], values.shape[0]), dtype)
    for start in range(0, len(found), _BAND):
        # In float64: 0.5 added to a float32 just below a half would round up. On the CPU: Apple's have no float64.
        levels = values[:, start : start + _BAND].to(torch.float64).mul(top).clamp_(0.0, top).add_(0.5).floor_()
        found[start : start + _BAND] = levels.permute(1, 2, 0).numpy()
    return found


_BAND = 256  # rows at a time: in float64 a whole picture takes eight times the room of its 8 bits


def to_pixels(batch: Tensor) -> NDArray[np.float32]:
    """Return a batch of one, [1, 3, h, w], as float32 [h, w, 3], neither clamped nor rounded."""
    pixels: NDArray[np.float32] = batch[0].detach().float().cpu().permute(1, 2, 0).numpy()
    return pixels


def to_8_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image at rest as uint8; 16 bits are rounded to the nearest level (65535 is 255)."""
    if image.dtype == np.uint8:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def rounded_to_8_bits(images: Tensor) -> Tensor:
    """Return float images as a saved 8-bit file would give them back: clamped, on the 256 levels."""
    return images.clamp(0.0, 1.0).mul(255.0).add_(0.5).floor_().div_(255.0)
