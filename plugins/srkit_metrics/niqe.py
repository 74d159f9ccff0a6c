"""NIQE: Mittal, Soundararajan and Bovik, "Making a completely blind image quality analyzer", IEEE SPL 20(3), 2013,
doi:10.1109/LSP.2012.2227726; where the paper leaves a choice, as its authors' MATLAB code has it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srkit_metrics.color import luma
from srkit_metrics.natural import read_natural
from srkit_metrics.pair import Image, check_image

Floats = NDArray[np.float64]

PATCH = 96  # pixels on a side
FEATURES = 36  # of a patch: 18 at each of two scales
SHARP = 0.75  # of a photograph's sharpest patch: less sharp ones are not fitted to
# MATLAB's rgb2gray.
GREY = np.array([0.298936021293776, 0.587043074451121, 0.114020904255103])
# MATLAB's imresize(image, 0.5): the bicubic kernel, widened against aliasing.
HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # from a pixel to the neighbour that it is multiplied with
NOTHING = 1e-9  # levels: less is the rounding of sums, where all pixels around are alike


class Niqe:
    """How far the statistics of an image's patches are from those of good photographs; it looks at SR alone.

    An image is cut to whole patches of 96x96 pixels. It has no neighbours' contrast where all of it is of one colour;
    then its features are 0, where MATLAB has no number.

    Args:
        parameters: mean and covariance of the features of good photographs: a file that `srkit fit niqe` has made, the
            authors' `modelparameters.mat`, or BasicSR's `niqe_pris_params.npz`, which has the same numbers.
        plane: "grey", MATLAB's rgb2gray, as the authors have it, or "y", the luma of psnr_y, as BasicSR has it.
    """

    def __init__(self, *, parameters: Path, plane: Literal["grey", "y"] = "grey") -> None:
        self.natural = read_natural(Path(parameters), FEATURES)
        self.plane = plane
        self.protocol = f"{'rgb2gray, ' if plane == 'grey' else ''}parameters {self.natural.digest}"

    def __call__(self, sr: Image) -> float:
        """Return the distance, 0 at best, of a uint8 [h, w, 3]. Raises ValueError for other images, and for those of
        less than two patches."""
        check_image(sr, "SR", least=PATCH)
        image = sr if isinstance(sr, np.ndarray) else sr.cpu().numpy()
        found = np.concatenate([features for features, _ in _scales(_plane(image, self.plane))], 1)
        if len(found) < 2:
            height, width = image.shape[:2]
            raise ValueError(f"NIQE wants two patches of {PATCH}x{PATCH} pixels at least, and {width}x{height} has one")
        whole = ~np.isnan(found).any(1)
        if not whole.any():
            found = np.nan_to_num(found)
        covariance = np.cov(found[whole], rowvar=False) if whole.sum() > 1 else np.zeros((FEATURES, FEATURES))
        return self.natural.distance(np.nanmean(found, 0), covariance)

    @staticmethod
    def fit(images: Iterable[NDArray[np.uint8]]) -> bytes:
        """Return the file of the mean and the covariance of the sharp patches' features of good photographs.

        Patches are sharp whose mean local deviation is above three quarters of that of their photograph's sharpest.
        Photographs smaller than a patch are left out. Raises ValueError where there are too few sharp patches.
        """
        kept = [_sharp(image) for image in images if min(image.shape[:2]) >= PATCH]
        found = np.concatenate(kept) if kept else np.empty((0, FEATURES))
        found = found[~np.isnan(found).any(1)]
        if len(found) <= FEATURES:
            raise ValueError(
                f"{len(found)} sharp patches of {PATCH}x{PATCH} pixels are too few for {FEATURES} features: give more "
                "photographs, or larger ones"
            )
        file = io.BytesIO()
        np.savez(file, mu_pris_param=found.mean(0)[None], cov_pris_param=np.cov(found, rowvar=False))
        return file.getvalue()


def _sharp(image: NDArray[np.uint8]) -> Floats:
    (fine, deviation), (coarse, _) = _scales(_plane(image, "grey"))
    sharpness = deviation.mean((1, 2))
    kept: Floats = np.concatenate([fine, coarse], 1)[sharpness > SHARP * sharpness.max()]
    return kept


def _plane(image: NDArray[np.uint8], plane: str) -> Floats:
    """Return the grey or the luma of an image, in whole levels, cut to whole patches."""
    height, width = (side // PATCH * PATCH for side in image.shape[:2])
    levels = luma(image[:height, :width]) if plane == "y" else image[:height, :width] @ GREY
    return np.floor(levels + 0.5)


def _scales(plane: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield, for a plane and for it halved, each patch's 18 features [n, 18] and its local deviations [n, side, side].

    A feature is NaN where it has no values to be made of.
    """
    for side in (PATCH, PATCH // 2):
        mean = _blurred(plane)
        deviation = np.sqrt(np.abs(_blurred(plane * plane) - mean * mean))
        difference = plane - mean
        difference[np.abs(difference) < NOTHING] = 0
        yield _features(_patches(difference / (deviation + 1), side)), _patches(deviation, side)
        if side == PATCH:
            plane = _halved(_halved(plane).T).T


def _blurred(plane: Floats) -> Floats:
    """Return a plane filtered by a Gaussian of 7x7 and standard deviation 7 / 6, with its edges repeated."""
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    weights /= weights.sum()
    for _ in range(2):
        padded = np.pad(plane, ((3, 3), (0, 0)), "edge")
        plane = sum((w * padded[k : k + len(plane)] for k, w in enumerate(weights)), np.zeros_like(plane)).T
    return plane


def _halved(plane: Floats) -> Floats:
    """Return half as many rows, an even number of them, as MATLAB's imresize makes them, not rounded."""
    padded = np.pad(plane, ((3, 3), (0, 0)), "symmetric")
    rows = np.zeros((len(plane) // 2, plane.shape[1]))
    for k, weight in enumerate(HALVING):
        rows += weight * padded[k : k + len(plane) - 1 : 2]
    return rows


def _patches(plane: Floats, side: int) -> Floats:
    height, width = plane.shape
    return plane.reshape(height // side, side, width // side, side).swapaxes(1, 2).reshape(-1, side, side)


def _features(patches: Floats) -> Floats:
    shape, left, right, _ = _fitted(patches)
    columns = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right, mean = _fitted(patches * np.roll(patches, shift, (1, 2)))
        columns += [shape, mean, left, right]
    return np.stack(columns, 1)


def _fitted(patches: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the asymmetric generalised Gaussians of each patch's values: shapes, left and right scales, means.

    By moments, section II-B of the paper: of the shapes 0.2, 0.201 to 10 the one whose ratio of moments is nearest.
    """
    values = patches.reshape(len(patches), -1)
    squares = values * values
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (np.sqrt((squares * side).sum(1) / side.sum(1)) for side in (values < 0, values > 0))
        ratio = left / right
        moments = np.abs(values).mean(1) ** 2 / squares.mean(1)
        wanted = moments * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    nearest = np.searchsorted((_RATIOS[1:] + _RATIOS[:-1]) / 2, wanted)
    nearest[np.isnan(wanted)] = 0  # as MATLAB's min has it
    left, right = left * _SCALES[nearest], right * _SCALES[nearest]
    return _SHAPES[nearest], left, right, (right - left) * _MEANS[nearest]


def _ratios(a: float, b: float) -> Floats:
    """Return gamma(a / shape) / gamma(b / shape) of all shapes."""
    return np.array([math.exp(math.lgamma(a / shape) - math.lgamma(b / shape)) for shape in _SHAPES])


_SHAPES = np.arange(0.2, 10.001, 0.001)
_MEANS = _ratios(2, 1)
_RATIOS = _MEANS * _ratios(2, 3)
_SCALES = np.sqrt(_ratios(1, 3))
