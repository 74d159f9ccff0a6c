"""Tiles into a LitData set: chunks of some 64 MB, which object stores like, and an index with their sizes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from litdata.streaming.writer import BinaryWriter

from srkit import Manifest
from srkit_datasets.litdata import INDEX, MANIFEST
from srkit_datasets.packed import Image

_CHUNK = 64_000_000  # bytes, LitData's own advice


class LitDataWriter:
    """Writes a folder: chunk-0-0.bin and so on, and index.json, in which srkit's manifest stands beside LitData's own.

    An item is a list of bytes, HR's pixels and then LR's of each scale, which LitData reads too. The folder can be
    copied to an object store as it is.

    Args:
        path: the folder, which is not there yet
    """

    def __init__(self, *, path: Path) -> None:
        self._path = path
        path.mkdir()
        self._writer = BinaryWriter(str(path), chunk_bytes=_CHUNK)
        self._count = 0

    def add(self, name: str, images: Mapping[str, Image]) -> None:
        """Write an item, which goes to the disk with its chunk. Raises OSError."""
        item = [image.astype(image.dtype.newbyteorder("<"), copy=False).tobytes() for image in images.values()]
        self._writer[self._count] = item
        self._count += 1

    def finish(self, manifest: Manifest) -> None:
        """Write the last chunk and index.json. Raises OSError."""
        self._writer.done()
        (own,) = self._path.glob(f"*.{INDEX}")  # of this writer, which LitData would put together with others'
        index = json.loads(own.read_bytes())
        index["updated_at"] = str(time.time())
        index[MANIFEST] = json.loads(manifest.to_bytes())
        (self._path / INDEX).write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
        own.unlink()

    def close(self) -> None:
        """Leave nothing behind in memory; what is there is removed by who calls, where `finish` was not reached."""
        with contextlib.suppress(AttributeError):
            del self._writer
