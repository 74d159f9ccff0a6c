"""Tiles of a LitData set, of a folder or of an object store whose chunks are kept in a folder."""

from __future__ import annotations

import functools
import json
import mmap
import os
import re
import threading
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import attrs
import filelock
import numpy as np

from srkit import InputRejected, Manifest, Window
from srkit_datasets.faults import watch
from srkit_datasets.joined import Packed
from srkit_datasets.packed import Contents, Image, PreparedImages, missing, read_manifest, words

INDEX = "index.json"
MANIFEST = "srkit"  # the index's key for sizes and digests; LitData itself looks at "chunks" and "config"

_MAX_INDEX = 2**30
_OFFSET = 4  # bytes of a number in a chunk, little-endian
_STORES = ("s3://", "r2://", "gs://", "azure://")  # of which LitData writes objects into an open file
_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("uint8", "uint16")}


class LitData(Packed):
    """Tiles of a LitData set that `srkit prepare` wrote: a window is read without its tile.

    Of an object store, a chunk of some 64 MB is fetched when it is first needed, and kept in `cache`.

    Args:
        path: the folder, or the address of one (s3://bucket/set, gs://, azure://, hf://, r2://, local:/mnt/set);
            several are read as one
        lr: another set, with LR images of the same names; may contain {scale}
        cache: the folder in which the chunks of an address are kept; it needs room for all of them
        endpoint: the URL of an S3 store that is not Amazon's; who may read is said where the store's own library looks
    """

    def __init__(
        self,
        *,
        path: str | list[str],
        lr: str | list[str] | None = None,
        cache: str | None = None,
        endpoint: str = "",
    ) -> None:
        super().__init__(path, lr, functools.partial(_open_contents, cache=cache, endpoint=endpoint))


def _open_contents(path: Path, *, cache: str | None, endpoint: str) -> Contents:
    address = _address(path)
    if address is None:
        if not path.is_dir():
            raise missing(path) if not path.exists() else InputRejected(path, f"is a file; give the folder of {INDEX}")
        fetch = None
        folder = path
    else:
        if cache is None:
            raise ValueError(f'{address} is an address: give cache = "FOLDER", in which its chunks are kept')
        folder = Path(cache).expanduser() / re.sub(r"\W+", "_", address)
        fetch = _Fetch(address, folder, {"endpoint_url": endpoint} if endpoint else {})
        fetch(INDEX)
    chunks, manifest = _read_index(folder / INDEX)
    sides = list(manifest.sides)
    store = _Chunks(folder, chunks, len(sides), fetch)
    if store.count != len(manifest.names):
        raise InputRejected(folder / INDEX, f"has {store.count} items, and sizes of {len(manifest.names)}")
    return Contents({side: _Tiles(store, i, side, manifest) for i, side in enumerate(sides)}, manifest)


def _address(path: Path) -> str | None:
    """Return the address that a path was made of, which has taken one of its slashes; None for a folder."""
    found = re.fullmatch(r"(s3|gs|azure|hf|r2):/([^/].*)", str(path))
    if found is not None:
        return f"{found[1]}://{found[2]}"
    return str(path) if str(path).startswith("local:") else None


@attrs.frozen
class _Chunk:
    """A file of several items, one behind the other."""

    name: str
    bytes: int
    items: int


def _read_index(path: Path) -> tuple[list[_Chunk], Manifest]:
    """Return what an index says. Raises InputRejected where srkit did not write it, or where it is damaged."""
    try:
        if path.stat().st_size > _MAX_INDEX:
            raise InputRejected(path, "is larger than a gibibyte")
        tree = json.loads(path.read_bytes())
        chunks = [_Chunk(str(c["filename"]), int(c["chunk_bytes"]), int(c["chunk_size"])) for c in tree["chunks"]]
        plain = tree["config"]["compression"] is None and tree["config"]["encryption"] is None
    except FileNotFoundError:
        raise InputRejected(path.parent, f"has no {INDEX}: it is no LitData set") from None
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputRejected(path, "is no index of LitData") from None
    if not isinstance(tree.get(MANIFEST), dict):
        raise InputRejected(path, "has no sizes: make the set by srkit prepare SRC DST --to litdata")
    if not plain or any(Path(c.name).name != c.name or c.items < 1 or c.bytes < 1 for c in chunks):
        raise InputRejected(path, "is no index that srkit wrote: chunks are compressed, empty or elsewhere")
    return chunks, read_manifest(json.dumps(tree[MANIFEST]).encode(), path)


class _Fetch:
    """Brings files of an object store into a folder, each once, by LitData's own downloaders."""

    def __init__(self, address: str, folder: Path, storage: dict[str, str]) -> None:
        self._address, self._folder, self._storage = address.rstrip("/"), folder, storage

    def __call__(self, name: str) -> None:
        """Bring a file. Raises InputRejected where it cannot be had."""
        target = self._folder / name
        if target.exists():
            return
        try:
            from litdata.streaming.downloader import get_downloader
        except ImportError:
            raise InputRejected(self._address, "is fetched by litdata: pip install 'srkit[litdata]'") from None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            loader = get_downloader(self._address, str(self._folder), [], self._storage, {})
            with filelock.FileLock(self._folder / ".lock"):  # of several processes, one fetches and the others wait
                if not target.exists():
                    self._bring(loader, f"{self._address}/{name}", target)
        except Exception as error:  # each store has errors of its own
            raise InputRejected(f"{self._address}/{name}", f"cannot be fetched: {words(error)}") from error

    @staticmethod
    def _bring(loader: Any, remote: str, target: Path) -> None:
        if not remote.startswith(_STORES):
            loader.download_file(remote, str(target))
            return
        # Not download_file, which takes obstore for chunks: it refuses http, and does not outlive a fork.
        part = target.with_name(f"{target.name}.part")
        with open(part, "wb") as file:
            loader.download_fileobj(remote, file)
        os.replace(part, target)


class _Chunks:
    """The items of all chunks; a chunk is mapped into memory when it is first read."""

    def __init__(self, folder: Path, chunks: list[_Chunk], fields: int, fetch: _Fetch | None) -> None:
        self.folder = folder
        self._chunks, self._fields, self._fetch = chunks, fields, fetch
        self._ends = list(accumulate(chunk.items for chunk in chunks))
        self._maps: dict[int, mmap.mmap] = {}
        self._lock = (os.getpid(), threading.Lock())

    @property
    def count(self) -> int:
        """How many items there are."""
        return self._ends[-1] if self._ends else 0

    def field(self, index: int, field: int, length: int, label: str) -> tuple[mmap.mmap, int]:
        """Return the map in which a field of an item lies, and where it begins.

        Raises InputRejected where the chunk does not have so many bytes for it.
        """
        number = bisect_right(self._ends, index)
        inner = index - (self._ends[number - 1] if number else 0)
        mapped = self._maps.get(number) or self._mapped(number)
        # A chunk: the count of its items, where each begins and where the last ends; an item: its fields' lengths.
        begin, end = np.frombuffer(mapped, "<u4", 2, _OFFSET * (1 + inner)).tolist()
        if not 0 <= begin <= begin + _OFFSET * self._fields <= end <= len(mapped):
            raise InputRejected(label, "is damaged: its chunk says that it lies outside")
        sizes = np.frombuffer(mapped, "<u4", self._fields, begin).tolist()
        start = begin + _OFFSET * self._fields + sum(sizes[:field])
        if sizes[field] != length or start + length > end:
            raise InputRejected(label, f"has {sizes[field]:,} bytes in its chunk where {length:,} are needed")
        return mapped, start

    def _mapped(self, number: int) -> mmap.mmap:
        if self._lock[0] != os.getpid():  # one that another thread held at a fork would never be free
            self._lock = (os.getpid(), threading.Lock())
        with self._lock[1]:
            if number in self._maps:
                return self._maps[number]
            chunk = self._chunks[number]
            path = self.folder / chunk.name
            if self._fetch is not None:
                self._fetch(chunk.name)
            try:
                with open(path, "rb") as file:
                    found = os.fstat(file.fileno()).st_size
                    if found != chunk.bytes or found < _OFFSET * (chunk.items + 2):
                        raise InputRejected(path, f"has {found:,} bytes, and the index says {chunk.bytes:,}")
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except FileNotFoundError:
                raise missing(path) from None
            except OSError as error:
                raise InputRejected(path, f"cannot be read: {error.strerror}") from None
            watch(path, len(mapped))
            self._maps[number] = mapped
            return mapped


class _Tiles(PreparedImages):
    """A side: a field of each item, pixels row by row, 16 bits little-endian."""

    def __init__(self, chunks: _Chunks, field: int, side: str, manifest: Manifest) -> None:
        super().__init__(chunks.folder, side, manifest)
        self._chunks, self._field = chunks, field

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return a copy of a tile or of a window of it, [height, width, 3].

        Raises InputRejected where its chunk is not there, cannot be fetched, or has another length.
        """
        record = self.records[index]
        stored, (height, width) = _DTYPES[record.dtype], record.size
        length = height * width * 3 * stored.itemsize
        mapped, start = self._chunks.field(index, self._field, length, self.label(index))
        image: Image = np.ndarray((height, width, 3), stored, mapped, start)
        if window is not None:
            top, left, height, width = window
            image = image[top : top + height, left : left + width]
        return image.astype(np.dtype(record.dtype), order="C")
