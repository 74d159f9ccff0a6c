"""Matrices in MATLAB's files."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# MATLAB's numbers by the code of their type.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15


MOST_BYTES = 8 * 2**20  # of a file, and of a matrix
_HDF5 = b"\x89HDF\r\n\x1a\n"  # behind a head of 512 bytes, where a file is of version 7.3


def read_matrices(path: str | os.PathLike[str]) -> dict[str, Floats]:
    """Return the real matrices of a MATLAB file, .mat of version 5 to 7.3, by name: float64 [rows, columns].

    What else it holds is left out. Raises ValueError for other files, and those of more than 8 MiB; OSError where it
    cannot be read.
    """
    if os.path.getsize(path) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES // 2**20} MB")
    data = Path(path).read_bytes()
    try:
        return dict(_of_hdf5(data) if data[512:].startswith(_HDF5) else _matrices(data))
    except (KeyError, OSError, RuntimeError, struct.error, zlib.error) as error:
        raise ValueError(f"it is damaged: {error}") from None


def _of_hdf5(data: bytes) -> Iterator[tuple[str, Floats]]:
    import h5py  # type: ignore[import-untyped, unused-ignore]  # read by mypy of plugin authors, too

    with h5py.File(io.BytesIO(data), "r") as file:
        for name, item in file.items():
            if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.dtype.kind in "fiu":
                if item.size * 8 > MOST_BYTES:  # it may be a few bytes, packed
                    raise ValueError(f"matrix '{name}' has more than {MOST_BYTES // 2**20} MB")
                yield name, item[()].T.astype(np.float64)  # HDF5 has MATLAB's columns as rows


def _matrices(data: bytes) -> Iterator[tuple[str, Floats]]:
    """Yield what version 5 to 7 has, as MATLAB's "MAT-File Format" describes."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("it is not of MATLAB's version 5 to 7")
    for kind, element in _elements(data[128:], order):
        if kind == _COMPRESSED:
            ((kind, element),) = _elements(zlib.decompressobj().decompress(element, MOST_BYTES), order)
        if kind != _MATRIX:
            continue
        (_, flags), (_, sizes), (_, name), *values = _elements(element, order)
        numeric = 6 <= np.frombuffer(flags, f"{order}u4")[0] % 256 <= 15
        if numeric and values and values[0][0] in _TYPES:
            code, raw = values[0]
            shape = np.frombuffer(sizes, f"{order}i4")
            yield name.decode(), np.frombuffer(raw, order + _TYPES[code]).astype(np.float64).reshape(shape, order="F")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, Any]]:
    """Yield the type and the bytes of each element."""
    at = 0
    while at < len(data):
        (word,) = struct.unpack_from(f"{order}I", data, at)
        if word >> 16:  # a small element: its size, its type and its bytes are eight together
            yield word & 0xFFFF, data[at + 4 : at + 4 + (word >> 16)]
            at += 8
            continue
        (size,) = struct.unpack_from(f"{order}I", data, at + 4)
        yield word, data[at + 8 : at + 8 + size]
        at += 8 + size + (-size % 8 if word != _COMPRESSED else 0)
