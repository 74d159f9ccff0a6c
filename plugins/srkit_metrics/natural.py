"""Files of what features of good photographs are like: their mean and covariance."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import srkit

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
    """Return what a file holds: .npz, or MATLAB's .mat of version 5 to 7.3. Raises ValueError, one line."""
    suffix = path.suffix.lower()
    if suffix not in NAMES:
        raise ValueError(f"{path}: parameters are an .npz file, or MATLAB's .mat")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES // 2**20} MB")
        found = _read_npz(path) if suffix == ".npz" else srkit.read_matrices(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
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
