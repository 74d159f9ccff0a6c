"""Blur kernels in files: numpy's, MATLAB's, and text."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from srkit_metrics.matlab import matrices

import srkit

LARGEST = 255  # pixels of a kernel's side
MOST_BYTES = 8 * 2**20  # of a kernel's file
_VERSION_7_3 = b"\x89HDF\r\n\x1a\n"  # which MATLAB's own head of 512 bytes stands before


def read_kernel(path: str | os.PathLike[str], matrix: str = "") -> NDArray[np.float64]:
    """Return a file's kernel, float64 [rows, columns] with the sum 1; of a .mat, the `matrix` of that name.

    Raises InputRejected.
    """
    suffix = Path(path).suffix.lower()
    if matrix and suffix != ".mat":
        raise srkit.InputRejected(path, f"is no .mat, and has no matrix '{matrix}'")
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES // 2**20} MB")
        if suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        elif suffix == ".mat":
            found = _chosen(_of_matlab(Path(path).read_bytes()), matrix)
        else:
            text = Path(path).read_text(encoding="utf-8").replace(",", " ").splitlines()
            found = np.array([[float(word) for word in line.split()] for line in text if line.strip()])
        kernel = np.asarray(found, dtype=np.float64)
    except OSError as error:
        raise srkit.InputRejected(path, f"cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, EOFError, KeyError, RuntimeError, struct.error, zlib.error) as error:
        raise srkit.InputRejected(path, f"is no kernel: {error}") from None
    if kernel.ndim != 2 or not 1 <= min(kernel.shape) <= max(kernel.shape) <= LARGEST:
        raise srkit.InputRejected(path, f"is no kernel of 1 to {LARGEST} rows and columns, but {list(kernel.shape)}")
    if not np.isfinite(kernel).all() or not kernel.sum() > 0:
        raise srkit.InputRejected(path, "is no kernel: its values are to be finite, and their sum above 0")
    normed: NDArray[np.float64] = kernel / kernel.sum()
    return normed


def _of_matlab(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the matrices of a .mat by name. Raises what its readers raise."""
    if _VERSION_7_3 not in data[: 512 + len(_VERSION_7_3)]:
        return dict(matrices(data, MOST_BYTES))
    import h5py

    with h5py.File(io.BytesIO(data), "r") as file:
        there = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset) and item.ndim == 2}
        # HDF5 has MATLAB's columns as rows. Its sizes are looked at before memory is taken.
        return {
            name: item[()].T for name, item in there.items() if max(item.shape) <= LARGEST and item.dtype.kind in "fiu"
        }


def _chosen(found: dict[str, NDArray[Any]], matrix: str) -> NDArray[Any]:
    """Return the matrix of a name, or the only one. Raises ValueError."""
    names = ", ".join(sorted(found)) or "none"
    if matrix:
        if matrix not in found:
            raise ValueError(f"there is no matrix '{matrix}'; there are: {names}")
        return found[matrix]
    if len(found) != 1:
        raise ValueError(f'it has not one matrix, but {names}; say which: matrix = "NAME"')
    return next(iter(found.values()))
