"""PNG files in folders, HR and LR as EDSR's benchmark sets lay them out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srkit import InputRejected, Manifest, encode_image
from srkit_datasets.folder import MANIFEST

Image = NDArray[np.uint8] | NDArray[np.uint16]

MAX_NAME = 240  # bytes; a file's name may have 255, of which "x64.png" takes some


class FolderWriter:
    """Writes HR/baby.png and LR_bicubic/X4/babyx4.png: what the dataset `folder` and most other programs read.

    An image that is called "cats/001", as in an LMDB, becomes HR/cats/001.png.

    Args:
        lr: the folder of LR images, called after the degradation: LR_blur, say
    """

    def __init__(self, *, path: Path, lr: str = "LR_bicubic") -> None:
        if not lr.startswith("LR_") or "/" in lr or "\0" in lr:
            raise ValueError(f'lr must be the name of a folder that begins with LR_, as "LR_bicubic" does, not "{lr}"')
        self.path = path
        self._lr = lr
        self._written: set[str] = set()
        # Compression takes most of the time, and is done by zlib, outside of Python's lock.
        self._threads = os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self._threads)
        self._waiting: deque[Future[None]] = deque()

    def add(self, name: str, images: Mapping[str, Image]) -> None:
        """Write an image's HR and LR. Raises OSError, and InputRejected where the name cannot be a file's."""
        if (reason := _obstacle(name)) is not None:
            raise InputRejected(ascii(name), f"cannot be the name of a file: {reason}; rename the image")
        if name.casefold() in self._written:  # on some disks, capital letters make no other name
            raise InputRejected(ascii(name), "is the name of two images, but for small and capital letters")
        self._written.add(name.casefold())
        for side, image in images.items():
            file = self.path / self._place(name, side)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._waiting.append(self._executor.submit(_save, file, image))
        while len(self._waiting) > 4 * self._threads:
            self._waiting.popleft().result()

    def finish(self, manifest: Manifest) -> None:
        """Write MANIFEST.json beside the images. Raises OSError."""
        while self._waiting:
            self._waiting.popleft().result()
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / MANIFEST).write_bytes(manifest.to_bytes())

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(cancel_futures=True)

    def _place(self, name: str, side: str) -> Path:
        """Return the file of a side, "hr" or "lr_x4", below the root."""
        if side == "hr":
            return Path("HR", f"{name}.png")
        scale = int(side.removeprefix("lr_x"))
        return Path(self._lr, f"X{scale}", f"{name}x{scale}.png")


def _obstacle(name: str) -> str | None:
    """Return why a name cannot be a file's that the dataset `folder` finds again, or None."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "it is no text"
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it contains NUL"
    parts = name.split("/")  # keys of an LMDB may have them: they become folders
    if "" in parts:
        return "it has a / at an end, or two beside each other"
    if any(part.startswith(".") for part in parts):
        return "it begins with a full stop, which hides a file"
    if max(len(part.encode()) for part in parts) > MAX_NAME:
        return f"it has {length} bytes, of at most {MAX_NAME}"
    return None


def _save(path: Path, image: Image) -> None:
    path.write_bytes(encode_image(image))
