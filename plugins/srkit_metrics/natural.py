"""Files of what features of good photographs are like: their mean and covariance."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_BYTES = 8 * 2**20  # of such a file
NAMES = {".npz": ("mu_pris_param", "cov_pris_param"), ".mat": ("mu_prisparam", "cov_prisparam")}


class Natural(NamedTuple):
    """The mean [n] and the covariance [n, n] of features."""

    mean: Floats
    covariance: Floats

    @property
    def digest(self) -> str:
        """The first eight digits of the sha256 of the numbers, the same in whichever file they stand."""
        return hashlib.sha256(b"".join(np.ascontiguousarray(values).tobytes() for values in self)).hexdigest()[:8]

    def distance(self, mean: Floats, covariance: Floats) -> float:
        """Return how far another distribution is, equation 10 of NIQE's paper."""
        difference = self.mean - mean
        return float(np.sqrt(difference @ np.linalg.pinv((self.covariance + covariance) / 2) @ difference))


def read_natural(path: Path, features: int) -> Natural:
    """Return what a file holds: .npz, or MATLAB's .mat of version 5 to 7. Raises ValueError, one line."""
    suffix = path.suffix.lower()
    if suffix not in NAMES:
        raise ValueError(f"{path}: parameters are an .npz file, or MATLAB's .mat")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES // 2**20} MB")
        found = _read_npz(path) if suffix == ".npz" else dict(_matrices(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError) as error:
        raise ValueError(f"{path}: is no {suffix} file of parameters: {error}") from None
    for name, shape in zip(NAMES[suffix], ((1, features), (features, features)), strict=True):
        if name not in found:
            there = ", ".join(sorted(found)) or "nothing"
            raise ValueError(f"{path}: it has no '{name}'; it has {there}")
        if found[name].shape != shape or not np.isfinite(found[name]).all():
            raise ValueError(f"{path}: '{name}' must be {list(shape)}, all finite, not {list(found[name].shape)}")
    mean, covariance = (found[name] for name in NAMES[suffix])
    return Natural(mean[0], covariance)


def _read_npz(path: Path) -> dict[str, Floats]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name], np.float64) for name in archive.files}


# MATLAB's numbers by the code of their type.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15


def _matrices(data: bytes) -> Iterator[tuple[str, Floats]]:
    """Yield the real matrices of a MATLAB file of version 5 to 7 by name, as its "MAT-File Format" describes."""
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
