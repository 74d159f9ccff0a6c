"""Images of an HDF5 file: what `srkit prepare` packs, and groups of floats as others write them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import mmap
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5t
from numpy.typing import NDArray

from srkit import InputRejected, Manifest, Window
from srkit_datasets.faults import watch
from srkit_datasets.joined import Packed
from srkit_datasets.packed import (
    HR,
    LR,
    MAX_PIXELS,
    Contents,
    Image,
    Images,
    PreparedImages,
    Size,
    bytes_to_hash,
    check_size,
    key,
    missing,
    natural,
    read_manifest,
    words,
)

MANIFEST = "manifest"
# What others call the groups.
_GROUPS = {HR: ("hr", "gt"), LR: ("lr", "lq")}

_MAX_MANIFEST = 2**30
_LARGER = 4  # how much larger than its image a chunk may be
_MOST_PACKED = 2_000  # decoded bytes for a stored one, at most: deflate reaches 1,032, and LZF 90
_BAND = 2**22  # samples of floats that are read at a time
_TOLERANCE = 1e-4  # how far a float may be from 0..1: less than half a level, so that it is still one of the 256


class H5(Packed):
    """Images of an HDF5 file that `srkit prepare` wrote: a window is read without its image.

    Other people's files are read too: groups `hr` (or `gt`) and, beside it, `lr` (or `lq`), with a dataset an image,
    [3, h, w] or [h, w, 3], floats in 0..1 or 8 or 16 bits. Floats become 8 bits.

    Args:
        path: the HDF5 file; several, or a pattern (shard_*.h5), are read as one
        lr: another HDF5 file, with LR images of the same names or with x4 behind; may contain {scale}
    """

    def __init__(self, *, path: str | list[str], lr: str | list[str] | None = None) -> None:
        super().__init__(path, lr, _open_contents)


def _open_contents(path: Path) -> Contents:
    file = _File(path)
    with file.naming(str(path)):
        data = file.manifest()
        if data is not None:
            manifest = read_manifest(data, path)
            return Contents({side: _Prepared(file, side, manifest) for side in manifest.sides}, manifest)
        found = {side: next(filter(file.has, names), None) for side, names in _GROUPS.items()}
        sides = {side: _Foreign(file, group, file.members(group)) for side, group in found.items() if group}
    if not sides:
        looked = ", ".join(name for names in _GROUPS.values() for name in names)
        raise InputRejected(path, f"has neither srkit's manifest nor a group of images: looked for {looked}")
    for images in sides.values():
        if not images.names:
            raise InputRejected(path, f"has no images in its group {images.side}")
    return Contents(sides)


class _Prepared(PreparedImages):
    """A side that srkit wrote: [h, w, 3], uint8 or uint16, as the manifest says."""

    def __init__(self, file: _File, side: str, manifest: Manifest) -> None:
        super().__init__(file.path, side, manifest)
        self._file = file
        self._arrays: list[Any] = [None] * len(self)

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an image or a window of it, [height, width, 3]; a window may be a read-only view of the file.

        Raises InputRejected where the file does not have what the manifest says.
        """
        pixels = self._arrays[index]
        if pixels is None:
            pixels = self._arrays[index] = self._resolved(index)
        if window is None:
            image: Image = pixels[:]
            return image if image.flags.writeable else image.copy()  # torch warns of what cannot be written to
        top, left, height, width = window
        part: Image = pixels[top : top + height, left : left + width]
        return part

    def _resolved(self, index: int) -> Any:
        pixels = self._file.array(key(self.side, index), self.label(index))
        record = self.records[index]
        if (pixels.shape, pixels.dtype) != ((*record.size, 3), record.dtype):
            found, was = f"{list(pixels.shape)} {pixels.dtype}", f"{[*record.size, 3]} {record.dtype}"
            raise InputRejected(self.label(index), f"is {found} where the manifest says {was}")
        _refuse_costly(pixels)
        return pixels


class _Foreign(Images):
    """A group of images that others wrote: a dataset each, floats in 0..1 or 8 or 16 bits, channels first or last."""

    def __init__(self, file: _File, group: str, names: list[str]) -> None:
        super().__init__(file.path, group, names)
        self._file = file
        self._found: dict[int, tuple[Any, int]] = {}

    def size(self, index: int) -> Size:
        """Return (height, width) in pixels from the dataset's shape. Raises InputRejected."""
        pixels, channels = self._resolved(index)
        height, width = (side for axis, side in enumerate(pixels.shape) if axis != channels)
        return height, width

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an image or a window of it; floats are rounded to 256 levels.

        Raises InputRejected, also for floats that are not in 0..1.
        """
        pixels, channels = self._resolved(index)
        top, left, height, width = window or (0, 0, *self.size(index))

        def part(first: int, last: int) -> NDArray[Any]:
            rows, columns = slice(top + first, top + last), slice(left, left + width)
            found: NDArray[Any] = (
                pixels[:, rows, columns].transpose(1, 2, 0) if channels == 0 else pixels[rows, columns]
            )
            return found

        if pixels.dtype.kind != "f":
            return np.array(part(0, height), order="C")
        image = np.empty((height, width, 3), np.uint8)
        step = max(1, _BAND // (3 * max(1, width)))  # in bands: floats are up to eight times as large as the image
        for first in range(0, height, step):
            image[first : first + step] = self._levels(index, part(first, min(height, first + step)))
        return image

    def fingerprint(self) -> str:
        """Return sixteen hexadecimal digits of each image's name, shape, dtype and pixels.

        Of 256 MiB in all images, or of 1 MiB in each, every pixel counts; of larger ones, the rows at the top and at
        the bottom.
        """
        digest, most = hashlib.blake2b(digest_size=8), bytes_to_hash(len(self))
        for index, name in enumerate(self.names):
            pixels, channels = self._resolved(index)
            digest.update(f"{name}\0{list(pixels.shape)} {pixels.dtype.name}\0".encode(errors="surrogateescape"))
            rows, _ = self.size(index)
            each = max(1, most * rows // (2 * pixels.dtype.itemsize * math.prod(pixels.shape)))
            ends = [slice(None)] if 2 * each >= rows else [slice(each), slice(rows - each, None)]
            for end in ends:
                part = pixels[:, end] if channels == 0 else pixels[end]
                digest.update(np.ascontiguousarray(part.astype(part.dtype.newbyteorder("<"), copy=False)).data)
        return digest.hexdigest()

    def _resolved(self, index: int) -> tuple[Any, int]:
        """Return an image's array, [3, h, w] or [h, w, 3], and which axis the channels are."""
        found = self._found.get(index)
        if found is None:
            label = self.label(index)
            pixels = self._file.array(f"{self.side}/{self.names[index]}", label)
            shape = list(pixels.shape)
            axes = [axis for axis in (0, 2) if len(shape) == 3 and shape[axis] == 3]
            if not axes or 0 in shape:
                raise InputRejected(label, f"has the shape {shape}; [3, h, w] and [h, w, 3] are read")
            if len(axes) == 2:
                raise InputRejected(label, f"has the shape {shape}: its channels may be the first or the last axis")
            if pixels.dtype.kind != "f" and pixels.dtype not in (np.uint8, np.uint16):
                raise InputRejected(label, f"is {pixels.dtype}; floats in 0..1, uint8 and uint16 are read")
            check_size(label, (shape[1], shape[2]) if axes == [0] else (shape[0], shape[1]))
            _refuse_costly(pixels)
            found = self._found[index] = pixels, axes[0]
        return found

    def _levels(self, index: int, part: NDArray[Any]) -> NDArray[np.uint8]:
        low, high = float(part.min()), float(part.max())
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # so written, what is no number is not inside either
            values = f"values from {low:g} to {high:g}" if np.isfinite(part).all() else "values that are not finite"
            raise InputRejected(self.label(index), f"has {values}; floats must be in 0..1")
        levels: NDArray[np.uint8] = np.rint(np.multiply(part, 255, dtype=np.float32)).astype(np.uint8)
        return levels


@attrs.frozen
class _Slices:
    """The pixels of an image that the library itself must read: they are in chunks, compressed or swapped."""

    file: _File
    place: str
    label: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, part: Any) -> NDArray[Any]:
        """Return the part as an array in the machine's byte order. Raises InputRejected."""
        with self.file.naming(self.label):
            found = h5py.Dataset(self.file.dataset(self.place, self.label))[part]
            return np.asarray(found, self.dtype)


@attrs.frozen
class _Opened:
    """An HDF5 file as one process has it open."""

    pid: int
    file: Any
    groups: dict[str, Any]


class _File:
    """An HDF5 file for reading, by several threads.

    The library says where an image's pixels lie, once; from then on they are read out of a map of the file, which
    takes no lock and which a forked process shares with its parent. No link is followed and no other file is opened,
    even where the file asks for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map, self._identity = _mapped(path)
        self._opened: _Opened | None = None

    def has(self, name: str) -> bool:
        """Say whether the file's root has a link of this name, even a dangling one."""
        return bool(self._open().file.id.links.exists(name.encode()))

    def members(self, group: str) -> list[str]:
        """Return the names in a group in natural order, "2" before "10"."""
        return sorted(h5py.Group(self._group(group)), key=natural)

    def manifest(self) -> bytes | None:
        """Return the bytes of srkit's manifest, or None where there is none."""
        if not self.has(MANIFEST):
            return None
        data = self.array(MANIFEST, f"{self.path}: {MANIFEST}")
        if data.dtype != np.uint8 or len(data.shape) != 1 or data.shape[0] > _MAX_MANIFEST:
            raise InputRejected(self.path, f"has a dataset '{MANIFEST}' that srkit did not write")
        _refuse_costly(data)
        return bytes(data[:])

    def array(self, place: str, label: str) -> Any:
        """Return the pixels of an image: a view of the map, or what reads slices of them through the library.

        Raises InputRejected, naming `label`, unless all of them are in this file.
        """
        with self.naming(label):
            dataset = self.dataset(place, label)
            plan = dataset.get_create_plist()
            layout = plan.get_layout()  # first of all: to ask a virtual dataset for its shape may open other files
            if layout == h5d.VIRTUAL or plan.get_external_count():
                raise InputRejected(label, "keeps its pixels in other files, which are not opened")
            shape, dtype = dataset.shape, dataset.dtype.newbyteorder("=")
            if shape is None or dtype.kind not in "fiu":
                raise InputRejected(label, f"is no array of numbers (shape {shape}, {dtype})")
            if layout == h5d.CHUNKED and math.prod(plan.get_chunk()) > 3 * MAX_PIXELS:
                raise InputRejected(label, f"is stored in chunks of {list(plan.get_chunk())}, which are too large")
            if layout != h5d.CONTIGUOUS or not dataset.get_type().equal(h5t.py_create(dtype)):
                return _Slices(self, place, label, shape, dtype)
            offset, length = dataset.get_offset(), math.prod(shape) * dtype.itemsize
            if not length or dataset.get_storage_size() != length:  # it gets a place when it is first written to
                raise InputRejected(label, "has no pixels: nothing was ever written to it")
            if offset is None or offset + length > len(self._map):
                raise InputRejected(label, "reaches beyond the end of the file")
            return np.ndarray(shape, dtype, self._map, offset)

    def dataset(self, place: str, label: str) -> Any:
        """Return the library's own dataset."""
        # h5py's lower floor, which opens a dataset in a quarter of the time: there may be a hundred thousand.
        group, _, name = place.rpartition("/")
        dataset = _member(self._group(group), name, label)
        if not isinstance(dataset, h5d.DatasetID):
            raise InputRejected(label, "is not a dataset")
        return dataset

    @contextlib.contextmanager
    def naming(self, label: str) -> Iterator[None]:
        """Raise InputRejected, naming `label`, for any error inside."""
        try:
            yield
        except InputRejected:
            raise
        except Exception as error:  # of bytes that anyone may have written, HDF5 raises anything
            raise InputRejected(label, f"is damaged: {words(error)}") from error

    def _group(self, name: str) -> Any:
        opened = self._open()
        if name not in opened.groups:
            label = f"{self.path}: {name}"
            group = _member(opened.file.id, name, label) if name else opened.file.id
            if not isinstance(group, h5g.GroupID):
                raise InputRejected(label, "is not a group with a dataset for each image")
            opened.groups[name] = group
        return opened.groups[name]

    def _open(self) -> _Opened:
        pid, opened = os.getpid(), self._opened
        if opened is None or opened.pid != pid:
            if opened is not None:
                # It came through a fork. HDF5 would share it for as long as it is open, and with it a descriptor that
                # is the parent's, too.
                opened.file.close()
            opened = self._opened = _Opened(pid, self._open_anew(), {})
        return opened

    def _open_anew(self) -> Any:
        try:
            file = h5py.File(self.path, "r")
        except OSError as error:
            inner = re.search(r"\((.+)\)", words(error))  # what is outside says that it could not be opened
            raise InputRejected(self.path, f"cannot be opened: {inner[1] if inner else words(error)}") from None
        if _identity(file.id.get_vfd_handle()) != self._identity:
            raise InputRejected(self.path, "was replaced while it was in use; start again")
        return file


def _refuse_costly(pixels: Any) -> None:
    """Raise InputRejected where a few bytes of the file would become many in memory; a view of the file has no more."""
    if not isinstance(pixels, _Slices):
        return
    label, shape = pixels.label, pixels.shape
    with pixels.file.naming(label):
        dataset = pixels.file.dataset(pixels.place, label)
        decoded, stored = math.prod(shape) * pixels.dtype.itemsize, dataset.get_storage_size()
        if decoded and not stored:
            raise InputRejected(label, "has no pixels: nothing was ever written to it")
        plan = dataset.get_create_plist()
        if plan.get_layout() != h5d.CHUNKED:
            return
        chunk = plan.get_chunk()
        if math.prod(chunk) > max(2**20, _LARGER * math.prod(shape)):
            raise InputRejected(label, f"is stored in chunks of {list(chunk)}, which are too large")
        needed = math.prod(-(-length // side) for length, side in zip(shape, chunk, strict=True))
        there = dataset.get_num_chunks()
        if there < needed:
            raise InputRejected(label, f"has {there:,} of its {needed:,} chunks: the others were never written")
        if decoded > _MOST_PACKED * stored + 2**20:
            raise InputRejected(label, f"is packed too tightly for pixels: {stored:,} bytes are to be {decoded:,}")


def _mapped(path: Path) -> tuple[mmap.mmap, tuple[int, int]]:
    """Return a map of a file, as long as the file is (to read behind its end would kill the process), and which file.

    Raises InputRejected for what is no HDF5 file.
    """
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            raise InputRejected(
                path,
                'is a folder; give the HDF5 file, or take another dataset: type = "folder" or "lmdb"'
                if stat.S_ISDIR(kind)
                else "is not a file",
            )
        with open(path, "rb") as file:
            head = file.read(12)
            if not head:
                raise InputRejected(path, "is empty")
            if not h5py.is_hdf5(path):
                raise InputRejected(path, f"is no HDF5 file: it begins with {head!r}")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            watch(path, len(mapped))
            return mapped, _identity(file.fileno())
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror or error}") from None


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _member(group: Any, name: str, label: str) -> Any:
    """Return a member of a group. Raises InputRejected for a link, which could lead to another file."""
    encoded = _encoded(name)
    if group.links.get_info(encoded).type != h5l.TYPE_HARD:
        raise InputRejected(label, "is a link to another place, which is not followed")
    return h5o.open(group, encoded)


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")  # as h5py has decoded it
