"""What decodes an image, seen while other code runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import attrs
import numpy as np
import torch

# Packages whose functions give pixels of files. What a component's own functions give may have been in memory before.
READERS = ("h5py", "imageio", "numpy.lib", "skimage", "tifffile", "torchvision", "zarr")


@attrs.frozen
class Seen:
    """Decoders that ran, and arrays that readers gave: (reader, sides)."""

    decoders: list[str] = attrs.field(factory=list)
    arrays: list[tuple[str, tuple[int, ...]]] = attrs.field(factory=list)

    def decoder(self, height: int, width: int) -> str:
        """Return what decoded an image of this size, or nothing."""
        whole = (reader for reader, sides in self.arrays if {height, width} <= set(sides) and len(sides) > 1)
        return next(iter(self.decoders), None) or next(whole, "")


@contextlib.contextmanager
def watching() -> Iterator[Seen]:
    """Watch this thread for what decodes images."""
    seen = Seen()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            name = getattr(argument, "__name__", "")
            if name in ("imread", "imdecode"):  # OpenCV's
                seen.decoders.append(f"{name}()")
            return
        module, name = str(frame.f_globals.get("__name__", "")), frame.f_code.co_name
        if event == "call" and name == "load" and module.startswith("PIL."):
            seen.decoders.append("Pillow's load()")
        elif event == "return" and isinstance(argument, np.ndarray | torch.Tensor):
            reader = next((reader for reader in READERS if f"{module}.".startswith(f"{reader}.")), None)
            if reader is not None and not isinstance(argument, np.memmap):  # which reads what is used of it
                seen.arrays.append((f"{reader.partition('.')[0]}'s {name}()", tuple(argument.shape)))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield seen
    finally:
        sys.setprofile(before)
