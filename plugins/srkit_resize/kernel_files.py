"""Blur kernels in files: numpy's, MATLAB's, and text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import srkit

LARGEST = 255  # pixels of a kernel's side
MOST_BYTES = 8 * 2**20  # of a kernel's file


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
            found = _chosen(srkit.read_matrices(path), matrix)
        else:
            text = Path(path).read_text(encoding="utf-8").replace(",", " ").splitlines()
            found = np.array([[float(word) for word in line.split()] for line in text if line.strip()])
        kernel = np.asarray(found, dtype=np.float64)
    except OSError as error:
        raise srkit.InputRejected(path, f"cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, EOFError) as error:
        raise srkit.InputRejected(path, f"is no kernel: {error}") from None
    if kernel.ndim != 2 or not 1 <= min(kernel.shape) <= max(kernel.shape) <= LARGEST:
        raise srkit.InputRejected(path, f"is no kernel of 1 to {LARGEST} rows and columns, but {list(kernel.shape)}")
    if not np.isfinite(kernel).all() or not kernel.sum() > 0:
        raise srkit.InputRejected(path, "is no kernel: its values are to be finite, and their sum above 0")
    normed: NDArray[np.float64] = kernel / kernel.sum()
    return normed


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
