"""Images of an LMDB: raw pixels as `srkit prepare` packs them, and encoded files as BasicSR does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from srkit import InputRejected, Manifest, Window, decode_image
from srkit_datasets.faults import watch
from srkit_datasets.joined import Packed
from srkit_datasets.lmdb_tree import check_tree, is_lmdb
from srkit_datasets.packed import (
    HR,
    Contents,
    Image,
    Images,
    PreparedImages,
    Size,
    bytes_to_hash,
    check_size,
    key,
    missing,
    read_manifest,
    words,
)

DATA = "data.mdb"
MANIFEST = "MANIFEST.json"  # as all of srkit's folders call it
META_INFO = "meta_info.txt"

_LINE = re.compile(r"(.+?)\s+\(\d+(?:, ?\d+){1,2}\)(?:\s+\d+)?")
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # then width and height, four bytes each
_IMAGES = (_PNG[:8], b"\xff\xd8\xff", b"RIFF", b"II*\0", b"MM\0*", b"BM")  # as image files begin
_MAX_TEXT = 2**30
# By a record's dtype: as it is stored, as it is read, and bytes a sample.
_DTYPES = {
    name: (np.dtype(name).newbyteorder("<"), np.dtype(name), np.dtype(name).itemsize) for name in ("uint8", "uint16")
}
_WAITS, _WAIT = 20, 0.01  # how often, and how many seconds each, an environment is waited for that is being closed
_SPARE = 16  # transactions kept for the next read: as many threads read without making one

# What this process has open, by process and file: py-lmdb refuses to open a file twice, and an environment does not
# outlive a fork. The values are weak: with the last dataset that reads from it an environment is closed.
_environments: WeakValueDictionary[tuple[int, tuple[int, int]], Any] = WeakValueDictionary()
# A lock for each process: one that a thread holds while another forks would never be free in the child.
_locks: dict[int, threading.Lock] = {}
# The files whose trees were walked: device, number, length and time of each.
_checked: set[tuple[int, int, int, int]] = set()


class LMDB(Packed):
    """Images of an LMDB that `srkit prepare` wrote: a window is read without its image.

    BasicSR's are read, too: image files under the keys that its meta_info.txt names, which are decoded whole. Without
    that file, each value that is an image file is one.

    Args:
        path: the folder that holds data.mdb, or an LMDB that is one file; several, or a pattern, are read as one
        lr: another such folder, with LR images of the same names or with x4 behind; may contain {scale}
    """

    def __init__(self, *, path: str | list[str], lr: str | list[str] | None = None) -> None:
        super().__init__(path, lr, _open_contents)


def _open_contents(path: Path) -> Contents:
    if not path.exists():
        raise missing(path)
    folder = path
    if not path.is_dir():
        if not _is_lmdb(path):
            raise InputRejected(
                path, 'is a file; give the folder that holds data.mdb, or take another dataset: type = "h5"'
            )
        if path.name == DATA:  # the folder is meant
            folder = path = path.parent
    data = _text(folder / MANIFEST) if folder.is_dir() else None
    if data is not None:
        manifest = read_manifest(data, folder / MANIFEST)
        database = _Database(path)
        return Contents({side: _Prepared(database, side, manifest) for side in manifest.sides}, manifest)
    data = _text(folder / META_INFO) if folder.is_dir() else None
    if data is None and folder.is_dir() and not (folder / DATA).exists():
        raise InputRejected(path, f"has neither srkit's {MANIFEST} nor BasicSR's {META_INFO}")
    database = _Database(path)
    keys = database.keys_of_images() if data is None else database.found(_keys(folder / META_INFO, data))
    if not keys:
        raise InputRejected(
            path, f"has neither srkit's {MANIFEST}, nor BasicSR's {META_INFO}, nor image files as values"
        )
    return Contents({HR: _Encoded(database, keys)})


class _Prepared(PreparedImages):
    """A side that srkit wrote: pixels row by row, 16 bits little-endian."""

    def __init__(self, database: _Database, side: str, manifest: Manifest) -> None:
        super().__init__(database.path, side, manifest)
        self._database = database

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return a copy of an image or of a window of it, [height, width, 3].

        Raises InputRejected where the record is missing or its length is not the manifest's.
        """
        record = self.records[index]
        height, width = record.size
        stored, dtype, itemsize = _DTYPES[record.dtype]
        try:
            with self._database.begin() as transaction:
                value = transaction.get(key(self.side, index).encode())
                if value is None or len(value) != height * width * 3 * itemsize:
                    raise _unlike(self.label(index), value)
                image: Image = np.ndarray((height, width, 3), stored, value)
                if window is not None:
                    top, left, height, width = window
                    image = image[top : top + height, left : left + width]
                # A copy: the bytes are there only until the transaction ends.
                return image.astype(dtype, order="C")
        except lmdb.Error as error:
            raise InputRejected(self.label(index), f"cannot be read: {words(error)}") from error


class _Encoded(Images):
    """Image files under their names without a suffix, as BasicSR packs them."""

    windowed = False

    def __init__(self, database: _Database, keys: list[str]) -> None:
        super().__init__(database.path, HR, keys)
        self._database = database
        self._sizes: dict[int, Size] = {}

    def label(self, index: int) -> str:
        """Return what errors call an image: "data/set.lmdb: baby"."""
        return f"{self.path}: {self.names[index]}"

    def size(self, index: int) -> Size:
        """Return (height, width) from the file's own header: what meta_info.txt says need not be so."""
        size = self._sizes.get(index)
        if size is None:
            with self._value(index) as value:
                head = bytes(value[: len(_PNG) + 8])
            if head.startswith(_PNG) and len(head) == len(_PNG) + 8:
                size = int.from_bytes(head[-4:]), int.from_bytes(head[-8:-4])
                check_size(self.label(index), size)
            else:
                size = self.read(index).shape[:2]
            self._sizes[index] = size
        return size

    def read(self, index: int, window: Window | None = None) -> Image:
        """Decode an image whole; return it or a window of it, [height, width, 3]. Raises InputRejected."""
        with self._value(index) as value:
            data = bytes(value)
        image: Image = decode_image(data, self.label(index))
        if window is None:
            return image
        top, left, height, width = window
        return image[top : top + height, left : left + width]

    def fingerprint(self) -> str:
        """Return sixteen hexadecimal digits of each image's key, length and bytes.

        Of 256 MiB in all images, or of 1 MiB in each, every byte counts; of larger ones, those at either end.
        """
        digest, most = hashlib.blake2b(digest_size=8), bytes_to_hash(len(self))
        for index, name in enumerate(self.names):
            with self._value(index) as value:
                digest.update(f"{name}\0{len(value)}\0".encode())
                for part in (value,) if len(value) <= most else (value[: most // 2], value[-(most // 2) :]):
                    digest.update(part)
        return digest.hexdigest()

    @contextlib.contextmanager
    def _value(self, index: int) -> Iterator[memoryview]:
        """Give the bytes of an image, which are there only inside."""
        try:
            with self._database.begin() as transaction:
                value = transaction.get(self.names[index].encode())
                if value is None:
                    raise _unlike(self.label(index), value)
                yield value
        except lmdb.Error as error:
            raise InputRejected(self.label(index), f"cannot be read: {words(error)}") from error


class _Database:
    """An LMDB for reading, by several threads and by forked processes.

    Args:
        path: the folder that holds data.mdb, or an LMDB that is one file; several, or a pattern, are read as one
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path / DATA if path.is_dir() else path
        self._identity = self._status()[1]
        self._opened = os.getpid(), self._shared()

    def begin(self) -> Any:
        """Return a transaction for reading, whose values are memory of the file itself."""
        pid, environment = self._opened
        if pid != os.getpid():
            environment = self._shared()
            self._opened = os.getpid(), environment
        return environment.begin(buffers=True)

    def keys_of_images(self) -> list[str]:
        """Return the keys whose values begin as an image file does, in the database's order."""
        with self.begin() as transaction:
            return [
                bytes(name).decode(errors="surrogateescape")
                for name, value in transaction.cursor()
                if bytes(value[:16]).startswith(_IMAGES)
            ]

    def found(self, keys: list[str]) -> list[str]:
        """Return keys as the database has them: lists that were made on Windows may say cats\\1 for cats/1."""
        if not any("\\" in name for name in keys):
            return keys
        with self.begin() as transaction:
            return [name if transaction.get(name.encode()) is not None else name.replace("\\", "/") for name in keys]

    def _shared(self) -> Any:
        """Return this process's environment of the file."""
        pid = os.getpid()
        with _locks.setdefault(pid, threading.Lock()):
            length, identity = self._status()
            if identity != self._identity:
                raise InputRejected(self.path, "was replaced while it was in use; start again")
            for (owner, place), environment in list(_environments.items()):
                if owner != pid and place == identity:
                    environment.close()  # it came through a fork, and counts as open here
            environment = _environments.get((pid, identity))
            if environment is None:
                environment = _environments[pid, identity] = self._open(length)
            return environment

    def _status(self) -> tuple[int, tuple[int, int]]:
        """Return the file's length, and which file it is."""
        try:
            status = os.stat(self._file)
        except FileNotFoundError:
            raise InputRejected(self.path, f"has no {DATA}") from None
        except OSError as error:
            raise InputRejected(self._file, f"cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputRejected(self._file, "is not a file")
        return status.st_size, (status.st_dev, status.st_ino)

    def _check(self) -> None:
        """Walk the tree of a file that was not walked yet, or that was changed since. Raises InputRejected."""
        try:
            with open(self._file, "rb") as file:
                status = os.fstat(file.fileno())
                known = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
                if known in _checked or not is_lmdb(file.read(32)) or sys.byteorder != "little":
                    return  # what is no LMDB, the library says itself
                check_tree(file)
                _checked.add(known)
        except ValueError as error:
            raise InputRejected(self._file, f"is damaged: {error}; pack the images again") from None
        except OSError as error:
            raise InputRejected(self._file, f"cannot be read: {error.strerror}") from None

    def _open(self, length: int) -> Any:
        self._check()
        try:
            environment = self._open_anew()
            needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        except lmdb.Error as error:
            raise InputRejected(self._file, f"cannot be opened: {words(error)}") from None
        if length < needed:  # LMDB does not look, and to read behind the end of a file kills the process
            environment.close()
            raise InputRejected(self._file, f"is truncated: it has {length:,} bytes of {needed:,}")
        watch(self._file, needed)
        return environment

    def _open_anew(self) -> Any:
        waits = _WAITS
        while True:
            try:
                # Without locks, since a finished dataset is never written to, and its folder may be read-only.
                # With the system's read-ahead: the rows of a window lie near each other, and a disk that is asked for
                # a page at a time takes two to six times as long.
                return lmdb.open(
                    str(self.path),
                    subdir=self.path != self._file,
                    readonly=True,
                    create=False,
                    lock=False,
                    max_spare_txns=_SPARE,
                )
            except lmdb.Error as error:
                # Another thread may just have released the last dataset, and its environment is still being closed.
                if "already open" not in str(error) or not waits:
                    raise
                waits -= 1
                time.sleep(_WAIT)


def _is_lmdb(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if path.is_file():
            with open(path, "rb") as file:
                return is_lmdb(file.read(32))
    return False


def _text(path: Path) -> bytes | None:
    """Return what a small file holds, or None where it is not there."""
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _MAX_TEXT:
            raise InputRejected(path, f"has more than {_MAX_TEXT // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror}") from None


def _keys(path: Path, data: bytes) -> list[str]:
    """Return the keys that a meta_info.txt names: its file names without their suffixes."""
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputRejected(path, "is not UTF-8") from None
    keys: dict[str, None] = {}
    for number, line in enumerate(map(str.strip, re.split(r"\r\n|\n|\r", text)), 1):
        if not line:
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputRejected(f"{path}:{number}", "is not of the form 'baboon.png (480,500,3) 1'")
        name = os.path.splitext(found[1])[0]
        if name in keys:
            raise InputRejected(f"{path}:{number}", f"names {name} a second time")
        keys[name] = None
    if not keys:
        raise InputRejected(path, "names no images")
    return list(keys)


def _unlike(label: str, value: memoryview | None) -> InputRejected:
    return InputRejected(label, "is not there" if value is None else f"has {len(value):,} bytes, not those of its size")
