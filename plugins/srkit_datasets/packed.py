"""What all formats of packed images share: sides, size limits, LR paired with HR, and error messages."""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from srkit import ImageRecord, InputRejected, Manifest, Window
from srkit_datasets.pairing import pair

Image = NDArray[np.uint8] | NDArray[np.uint16]
Size = tuple[int, int]

HR = "hr"
LR = "lr"  # of a scale that the file does not state

# As srkit reads image files.
MAX_SIDE = 65_535
MAX_PIXELS = 100_000_000


def key(side: str, index: int) -> str:
    """Return where prepared pixels are kept: "hr/00000012". Names are in the manifest: they may hold anything."""
    return f"{side}/{index:08d}"


class Images(abc.ABC):
    """One side of a packed dataset: HR images, or the LR images of a scale.

    Args:
        path: the file or folder that holds them
        side: "hr", "lr_x4", ...
        names: the name of each image
    """

    windowed = True

    def __init__(self, path: Path, side: str, names: Sequence[str]) -> None:
        self.path, self.side, self.names = path, side, names

    def __len__(self) -> int:
        """Return the number of images on this side."""
        return len(self.names)

    def name(self, index: int) -> str:
        """Return an image's name in the file or its manifest, "baby"."""
        return self.names[index]

    def label(self, index: int) -> str:
        """Return what errors call an image: "data/set.h5: hr/baby"."""
        return f"{self.path}: {self.side}/{self.names[index]}"

    def lr(self, scale: int) -> Images | None:
        """Return None: `Packed.lr` pairs the sides."""
        return None

    @abc.abstractmethod
    def size(self, index: int) -> Size:
        """Return (height, width) in pixels. Raises InputRejected for a damaged image or one above the size limits."""

    @abc.abstractmethod
    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an image or a window of it, uint8 or uint16 [height, width, 3], RGB. Raises InputRejected."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return sixteen hexadecimal digits that change with the images. Raises InputRejected."""


class PreparedImages(Images):
    """A side that a manifest describes; a format adds how pixels are read."""

    def __init__(self, path: Path, side: str, manifest: Manifest) -> None:
        super().__init__(path, side, manifest.names)
        self.records: tuple[ImageRecord, ...] = manifest.sides[side]
        self._fingerprint = manifest.fingerprint
        for index, record in enumerate(self.records):
            check_size(self.label(index), record.size)

    def size(self, index: int) -> Size:
        """Return (height, width) in pixels from the manifest; no pixels are read."""
        return self.records[index].size

    def fingerprint(self) -> str:
        """Return the manifest's, which is that of all sides."""
        return self._fingerprint

    def digests(self) -> list[str]:
        """Return 16 hexadecimal digits of each image's pixels, from the manifest."""
        return [record.sha256[:16] for record in self.records]


class _Chosen(Images):
    """LR images in the order and by the names of their HR images."""

    def __init__(self, images: Images, names: Sequence[str], indices: Sequence[int]) -> None:
        super().__init__(images.path, images.side, names)
        self._images, self._indices = images, indices
        self.windowed = images.windowed

    def size(self, index: int) -> Size:
        """Return (height, width) in pixels of an HR image's LR image."""
        return self._images.size(self._indices[index])

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an HR image's LR image or a window of it, uint8 or uint16 [height, width, 3]."""
        return self._images.read(self._indices[index], window)

    def fingerprint(self) -> str:
        """Return the digits of the whole side, in its own order."""
        return self._images.fingerprint()


@attrs.frozen
class Contents:
    """What a packed file holds: images by side, "lr" where their scale is not known, and the manifest if it has one."""

    sides: Mapping[str, Images]
    manifest: Manifest | None = None


def paired(hr: Images, lr: Images, scale: int, *, scale_is_known: bool = True) -> Images | None:
    """Return the LR images in HR's order, by HR's names; None where the scale is not known and no size fits it.

    Raises InputRejected where some HR image has no LR image, or one of another size.
    """
    places = {name: place for place, name in enumerate(lr.names)}
    pairing = pair(hr.names, lr.names, scale)
    if pairing.unpaired:
        raise InputRejected(lr.path, pairing.reason(len(hr)))
    indices = [places[pairing.lr[name]] for name in hr.names]
    # HR is cropped to a multiple of the scale first.
    needed = [(height // scale, width // scale) for height, width in map(hr.size, range(len(hr)))]
    wrong = [i for i, place in enumerate(indices) if lr.size(place) != needed[i]]
    if wrong:
        if len(wrong) == len(hr) and not scale_is_known:
            return None
        found, own = lr.size(indices[wrong[0]]), hr.size(wrong[0])
        reason = f"is {_size(found)}, but HR is {_size(own)}, which needs {_size(needed[wrong[0]])} at scale {scale}"
        raise InputRejected(lr.label(indices[wrong[0]]), reason)
    return lr if list(lr.names) == list(hr.names) else _Chosen(lr, hr.names, indices)


def missing(path: Path) -> InputRejected:
    """Return the error for a file that is not there, in the words that srkit has for folders."""
    return InputRejected(path, "is not there" if path.is_absolute() else f"is not there; looked for in {os.getcwd()}")


def read_manifest(data: bytes, path: Path) -> Manifest:
    """Return the manifest of its bytes. Raises InputRejected, naming `path`."""
    try:
        return Manifest.from_bytes(data)
    except ValueError as error:
        raise InputRejected(path, f"its manifest cannot be used: {words(error)}") from None


def check_size(label: str, size: Size) -> None:
    """Raise InputRejected for an image that is larger than srkit reads image files."""
    height, width = size
    if max(size) > MAX_SIDE:
        raise InputRejected(label, f"is {_size(size)}; a side may have at most {MAX_SIDE:,} pixels")
    if height * width > MAX_PIXELS:
        megapixels = f"{height * width / 1e6:,.1f} megapixels"
        raise InputRejected(label, f"is {_size(size)}, {megapixels}; at most {MAX_PIXELS // 10**6} are read")


def bytes_to_hash(images: int) -> int:
    """Return how many bytes of each image a fingerprint reads: 256 MiB of all, from 4 KiB to 1 MiB of each."""
    return min(2**20, max(2**12, 2**28 // images))


def natural(name: str) -> tuple[list[Any], str]:
    """Return the key by which names are sorted as people count, "2" before "10"."""
    parts: list[Any] = re.split(r"(\d+)", name)
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def words(error: BaseException) -> str:
    """Return a library's error as one line."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error  # which would be in quotes
    return " ".join(str(text).split()) or type(error).__name__


def _size(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
