"""JPEG and WebP: pictures written and read again."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import srkit
from srkit_degradations.canvas import between, check_range
from srkit_degradations.libjpeg import decoded


class Jpeg:
    """JPEG as libjpeg writes it, with colours at half the width and height (4:2:0), and reads it again.

    On the CPU Pillow does it; on other devices tensors do, with the same bits.

    Args:
        quality: least and largest quality, from 1 to 100.
    """

    def __init__(self, *, quality: tuple[int, int] = (30, 95)) -> None:
        check_range("quality", quality, 1, 100)
        self.quality = quality

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None) -> Tensor:
        """Return the images as they are read, of 8 bits."""
        quality = drawn_quality(draws, self.quality)
        if images.device.type in ("cpu", "mps"):  # Apple's devices have no float64, which the tensors' way needs
            return through_files(images, quality, sizes, "JPEG")
        return decoded(images, quality, sizes)

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the quality of each sample."""
        return [f"JPEG {quality}" for quality in drawn_quality(draws, self.quality).tolist()]


class Webp:
    """WebP, lossy, written and read by Pillow: also on a GPU, whose images go to the host for it and back.

    Args:
        quality: least and largest quality, from 0 to 100.
    """

    def __init__(self, *, quality: tuple[int, int] = (30, 95)) -> None:
        check_range("quality", quality, 0, 100)
        self.quality = quality

    def __call__(self, images: Tensor, draws: srkit.Draws, *, sizes: Tensor | None = None) -> Tensor:
        """Return the images as they are read, of 8 bits."""
        return through_files(images, drawn_quality(draws, self.quality), sizes, "WEBP")

    def describe(self, draws: srkit.Draws) -> list[str]:
        """Return the quality of each sample."""
        return [f"WebP {quality}" for quality in drawn_quality(draws, self.quality).tolist()]


def drawn_quality(draws: srkit.Draws, limits: tuple[int, int]) -> Tensor:
    """Return a whole number within limits for each sample, int64 [n], all alike often."""
    return between(draws.uniform()[:, 0], (limits[0], limits[1] + 1)).long().clamp(max=limits[1])


def through_files(images: Tensor, quality: Tensor, sizes: Tensor | None, format: str) -> Tensor:
    """Return images written by Pillow in a format, each in its quality, and read again."""
    pixels = (images.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    read = np.empty_like(pixels, order="C")
    tall, wide = pixels.shape[1:3]
    each = [(tall, wide)] * len(pixels) if sizes is None else sizes.tolist()
    for i, ((height, width), own) in enumerate(zip(each, quality.tolist(), strict=True)):
        written = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels[i, :height, :width])).save(written, format, quality=own)
        with Image.open(written) as opened:
            found = np.asarray(opened.convert("RGB"))
        read[i] = np.pad(found, ((0, tall - height), (0, wide - width), (0, 0)), "edge")
    return (
        torch.from_numpy(read)
        .to(images.device)
        .permute(0, 3, 1, 2)
        .to(torch.float32, memory_format=torch.contiguous_format)
        .div_(255)
    )
