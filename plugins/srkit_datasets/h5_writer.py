"""Images into one HDF5 file: a contiguous dataset each, which a window can be read from without the others."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
from h5py import h5f, h5p

from srkit import Manifest
from srkit_datasets.h5 import MANIFEST
from srkit_datasets.packed import Image, key, words

_ALIGNMENT = 64  # bytes: 16 bits that begin at an odd byte are slow to copy


class H5Writer:
    """Writes one HDF5 file: groups hr, lr_x4, ..., a dataset an image, and the manifest beside them.

    Args:
        path: the file, which is not there yet
    """

    def __init__(self, *, path: Path) -> None:
        self._path = path
        self._count = 0
        self._failed = False
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fclose_degree(h5f.CLOSE_STRONG)  # as h5py does
        # The oldest format that can hold it, so that any HDF5 from 1.8 (2008) on reads it.
        access.set_libver_bounds(h5f.LIBVER_EARLIEST, h5f.LIBVER_V18)
        access.set_alignment(_ALIGNMENT, _ALIGNMENT)
        # Without a buffer of small images, which HDF5 writes when their dataset is released, where h5py drops errors.
        access.set_sieve_buf_size(0)
        with self._as_os_error():
            self._file = h5py.File(h5f.create(os.fsencode(path), h5f.ACC_EXCL, fapl=access))

    def add(self, name: str, images: Mapping[str, Image]) -> None:
        """Write each side as a contiguous little-endian dataset, "lr_x4/00000012". Raises OSError."""
        with self._as_os_error():
            for side, image in images.items():
                little_endian = image.astype(image.dtype.newbyteorder("<"), copy=False)
                self._file.create_dataset(key(side, self._count), data=little_endian)
        self._count += 1

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest as the dataset `manifest`, uint8, and flush the file. Raises OSError."""
        with self._as_os_error():
            self._file.create_dataset(MANIFEST, data=np.frombuffer(manifest.to_bytes(), np.uint8))
            self._file.flush()

    def close(self) -> None:
        """Close the file. Raises OSError; after a failed write it empties the file instead and raises nothing."""
        if self._failed:
            with contextlib.suppress(OSError), self._as_os_error():
                # HDF5 writes what it still has when it closes, and may crash where that fails, too: make room for it.
                os.truncate(self._path, 0)
                self._file.close()
            return
        with self._as_os_error():
            self._file.close()

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """Raise OSError, in the system's words, where HDF5 fails: its own errors are of several types and long."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            self._failed = True
            number = re.search(r"errno = (\d+)", str(error))
            if number is None:
                raise OSError(words(error)) from error
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
