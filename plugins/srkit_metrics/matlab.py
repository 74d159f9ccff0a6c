"""Matrices in MATLAB's files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# MATLAB's numbers by the code of their type.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15


def matrices(data: bytes, most_bytes: int) -> dict[str, Floats]:
    """Return the real matrices of a MATLAB file of version 5 to 7 by name, as its "MAT-File Format" describes.

    No element is unpacked beyond `most_bytes`. Raises ValueError, KeyError, struct.error or zlib.error for other files.
    """
    return dict(_matrices(data, most_bytes))


def _matrices(data: bytes, most_bytes: int) -> Iterator[tuple[str, Floats]]:
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("it is not of MATLAB's version 5 to 7")
    for kind, element in _elements(data[128:], order):
        if kind == _COMPRESSED:
            ((kind, element),) = _elements(zlib.decompressobj().decompress(element, most_bytes), order)
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
