"""Several datasets as one."""

from __future__ import annotations

import functools
import hashlib
from bisect import bisect_right
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

import srkit

Image = NDArray[np.uint8] | NDArray[np.uint16]


class Mix:
    """The images of several datasets; each image is named with its dataset's number before it, "2/baby".

    Args:
        datasets: what there is to mix; one at least.
        weights: how often training draws from each beside the others, none below 0; as often as it has images where
            absent.
    """

    def __init__(self, *, datasets: list[srkit.Dataset], weights: list[float] | None = None) -> None:
        srkit.check_weights(weights, len(datasets), "datasets")
        self._datasets, self._weights = datasets, weights
        self._ends = list(accumulate(map(len, datasets)))
        self.windowed = all(getattr(dataset, "windowed", False) for dataset in datasets)

    def __len__(self) -> int:
        """Return the number of images of all datasets."""
        return self._ends[-1]

    def name(self, index: int) -> str:
        """Return an image's name: the number of its dataset, from 1, and its name there, "2/baby"."""
        number, inner = self._place(index)
        return f"{number + 1}/{self._datasets[number].name(inner)}"

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        number, inner = self._place(index)
        return self._datasets[number].size(inner)

    def read(self, index: int, window: srkit.Window | None = None) -> Image:
        """Return an image or a window of it, uint8 or uint16 [height, width, 3]. Raises InputRejected."""
        number, inner = self._place(index)
        return self._datasets[number].read(inner, window)

    def lr(self, scale: int) -> Mix | None:
        """Return the LR images, or None where no dataset has any. Raises InputRejected where some alone have."""
        found = [dataset.lr(scale) for dataset in self._datasets]
        sides = [side for side in found if side is not None]
        if not sides:
            return None
        if len(sides) < len(found):
            with_lr, without = (
                next(i for i, s in enumerate(found, 1) if (s is None) == lacks) for lacks in (False, True)
            )
            raise srkit.InputRejected(
                "mix",
                f"dataset {with_lr} has LR images x{scale}, and dataset {without} none: take the same of both, or "
                "name a data.degradation",
            )
        return Mix(datasets=sides, weights=self._weights)

    def weight(self, index: int) -> float:
        """Return how often training draws an image beside the others."""
        number, inner = self._place(index)
        within = _weight(self._datasets[number], inner)
        return within if self._weights is None else self._weights[number] * within / self._sums[number]

    @functools.cached_property
    def _sums(self) -> list[float]:
        """The weights of each dataset's images, together."""
        return [sum(_weight(dataset, inner) for inner in range(len(dataset))) or 1.0 for dataset in self._datasets]

    def describe(self) -> str:
        """Return how many images there are, and what each dataset says of its own."""
        texts = [
            dataset.describe() if hasattr(dataset, "describe") else f"{len(dataset)} images"
            for dataset in self._datasets
        ]
        return f"{len(self)} images of {len(texts)} datasets: {'; '.join(texts)}"

    def fingerprint(self) -> str:
        """Return a text that changes when that of any dataset does."""
        texts = "\n".join(f"{len(dataset)} {dataset.fingerprint()}" for dataset in self._datasets)
        return hashlib.sha256(texts.encode()).hexdigest()[:16]

    def digests(self) -> list[str]:
        """Return a short text for each image: that of its dataset, or its size where that has none."""
        found: list[str] = []
        for dataset in self._datasets:
            sizes = (dataset.size(index) for index in range(len(dataset)))
            own = dataset.digests() if hasattr(dataset, "digests") else [f"{w}x{h}" for h, w in sizes]
            found += own
        return found

    def _place(self, index: int) -> tuple[int, int]:
        """Return the number of an image's dataset, from 0, and its index there. Raises IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} images, and no image {index}")
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)


def _weight(dataset: srkit.Dataset, index: int) -> float:
    return float(dataset.weight(index)) if hasattr(dataset, "weight") else 1.0
