"""Images into an LMDB: raw pixels under a key each, in a map that grows by itself."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray

from srkit import Manifest
from srkit_datasets.lmdb import MANIFEST
from srkit_datasets.packed import Image, key, words

_FIRST_SIZE = 2**24  # bytes of the map; it doubles whenever it is full


class LMDBWriter:
    """Writes a folder: data.mdb with pixels row by row, 16 bits little-endian, and MANIFEST.json.

    Args:
        path: the folder, which is not there yet
    """

    def __init__(self, *, path: Path) -> None:
        self._path = path
        self._count = 0
        with self._as_os_error():
            path.mkdir()
            # Without locks, since no other process opens it yet, and without waiting for the disk: it is flushed whole.
            self._environment = lmdb.open(str(path), map_size=_FIRST_SIZE, lock=False, sync=False, metasync=False)

    def add(self, name: str, images: Mapping[str, Image]) -> None:
        """Write all sides in one transaction under keys like "lr_x4/00000012". Raises OSError."""
        rows = {
            key(side, self._count).encode(): np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
            for side, image in images.items()
        }
        while not self._put(rows):
            self._environment.set_mapsize(2 * self._environment.info()["map_size"])
        self._count += 1

    def finish(self, manifest: Manifest) -> None:
        """Write MANIFEST.json beside data.mdb. Raises OSError."""
        (self._path / MANIFEST).write_bytes(manifest.to_bytes())

    def close(self) -> None:
        """Close the environment; the data are not synced to the disk yet. Raises OSError."""
        with self._as_os_error():
            self._environment.close()

    def _put(self, rows: Mapping[bytes, NDArray[Any]]) -> bool:
        """Write rows in one transaction, which keeps memory small; return False where the map is full."""
        try:
            with self._as_os_error(), self._environment.begin(write=True) as transaction:
                for name, pixels in rows.items():
                    transaction.put(name, pixels.data)
        except lmdb.MapFullError:
            return False
        return True

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """Raise OSError in place of LMDB's errors, except for a full map."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:  # of a full disk it may say "Input/output error"
            free = shutil.disk_usage(self._path).free
            raise OSError(f"{words(error)} ({free // 2**20:,} MiB are free there)") from error
