"""HR images with the LR image that belongs to each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from srkit.engine.networks.calling import scaled, shrunk, takes
from srkit.errors import InputRejected, SrkitError, located
from srkit.images.manifest import HR, Manifest, lr_side
from srkit.plugin.contracts import Dataset, Window

Image = NDArray[Any]


class Pairs:
    """A dataset at a scale: LR from files beside HR, or made from whole HR images by a degradation.

    HR is cropped first to what LR becomes at that scale: to a multiple where it is a whole number. With neither files
    nor a degradation, LR is left to be made from batches (by a random degradation), and `read` gives HR alone. A
    degradation is given LR's `size` and the image's `index` where it declares these. Windows and files of LR are those
    of whole scales.
    """

    def __init__(
        self, source: Dataset, scale: float, *, degradation: Callable[..., Image] | None, made_by: str, files: bool
    ) -> None:
        self.source = source
        self.scale: Any = int(scale) if scale == int(scale) else scale  # a number that JSON writes as people do
        self.lr_source = source.lr(self.scale) if files and isinstance(self.scale, int) else None
        self.degradation = degradation
        # For the protocol: two scores are comparable only where LR was made in the same way.
        self.made_by = "files" if self.lr_source is not None else made_by
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.source)

    def name(self, index: int) -> str:
        """Return an image's name, as the dataset has it."""
        return self.source.name(index)

    def weights(self, indices: Sequence[int]) -> NDArray[np.float64] | None:
        """Return how often each of these images is to be drawn beside the others, or None: all alike.

        Raises InputRejected for weights that are none.
        """
        weight = getattr(self.source, "weight", None)
        if weight is None:
            return None
        found = np.array([weight(index) for index in indices], np.float64)
        for index, value in zip(indices, found, strict=True):
            if not 0 <= value < np.inf:
                raise InputRejected(self.name(index), f"its weight must be a number of at least 0, not {value:g}")
        if not found.any():
            raise InputRejected(self.name(indices[0]), "has a weight of 0, as has every other image")
        return None if (found == found[0]).all() else found

    @property
    def windowed(self) -> bool:
        """Whether the windows of a pair are read without their images, so that keeping those gains nothing."""
        if self.degradation is not None and self.lr_source is None:
            return False  # LR is made of whole images
        sources = [self.source] if self.lr_source is None else [self.source, self.lr_source]
        return all(getattr(source, "windowed", False) for source in sources)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What holds every image: uint16 where any is; without a manifest, the first ones', which are read for it."""
        manifest: Manifest | None = getattr(self.source, "manifest", lambda: None)()
        sources = [self.source] if self.lr_source is None else [self.source, self.lr_source]
        if manifest is None:
            found = {str(np.asarray(_first(source)).dtype) for source in sources}
        else:
            sides = [HR, lr_side(self.scale)][: len(sources)]
            found = {record.dtype for side in sides for record in manifest.sides.get(side, ())}
        return np.dtype("uint16" if "uint16" in found else "uint8")

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the LR image."""
        height, width = self.source.size(index)
        return shrunk(height, self.scale), shrunk(width, self.scale)

    def read(self, index: int) -> tuple[Image | None, Image]:
        """Return the whole LR image, or None where it is left to batches, and the whole HR image."""
        size = self.source.size(index)
        height, width = (scaled(side, self.scale) for side in self.size(index))
        with self._telling(index):
            hr = self._image(index, self.source.read(index), size, "the dataset")
        return self.read_lr(index, hr), hr[:height, :width]

    def read_lr(self, index: int, hr: Image) -> Image | None:
        """Return the whole LR image of a whole HR image, or None where it is left to batches."""
        height, width = self.size(index)
        if self.lr_source is not None:
            with self._telling(index):
                lr = self.lr_source.read(index)
            if getattr(lr, "ndim", 0) != 3 or lr.shape[2] != 3:
                return self._image(index, lr, (height, width), "the dataset's LR")
            if lr.shape != (height, width, 3):
                raise InputRejected(self.name(index), self._other_lr(lr, height, width))
            return lr
        if self.degradation is not None:
            whole = np.ascontiguousarray(hr[: scaled(height, self.scale), : scaled(width, self.scale)])
            words = {"size": (height, width), "index": index}
            words = {name: word for name, word in words.items() if takes(self.degradation, name)}
            with self._telling(index, "cannot be degraded"):
                try:
                    return self._image(index, self.degradation(whole, **words), (height, width), "the degradation")
                except ValueError as error:  # in which it says why
                    raise InputRejected(self.name(index), str(error)) from error
        return None

    def _other_lr(self, lr: Image, height: int, width: int) -> str:
        """Return what is wrong with an LR image that is not of the shape that HR needs."""
        if lr.ndim != 3 or lr.shape[2] != 3:
            return f"LR has the shape {list(lr.shape)}, and an image here is [height, width, 3]: red, green and blue"
        return f"LR is {lr.shape[1]}x{lr.shape[0]}, but HR at scale {self.scale} needs {width}x{height}"

    def read_window(self, index: int, top: int, left: int, patch: int) -> tuple[Image | None, Image]:
        """Return a window of `patch` LR pixels and the HR window that belongs to it."""
        if self.degradation is not None and self.lr_source is None:
            # The LR of a window is the window of the LR: only the whole image gives that at its borders.
            lr, hr = self.read(index)
            assert lr is not None
            s = self.scale
            return (
                lr[top : top + patch, left : left + patch],
                hr[top * s : (top + patch) * s, left * s : (left + patch) * s],
            )
        wide = Window(top * self.scale, left * self.scale, patch * self.scale, patch * self.scale)
        with self._telling(index):
            small = None if self.lr_source is None else self.lr_source.read(index, Window(top, left, patch, patch))
            if small is not None:
                small = self._image(index, small, (patch, patch), "the dataset")
            return small, self._image(index, self.source.read(index, wide), wide[2:], "the dataset")

    def _image(self, index: int, image: Any, size: tuple[int, int], whose: str) -> Image:
        """Return an image of a size. Raises InputRejected where a plugin's code gave something else."""
        if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16) or image.shape != (*size, 3):
            found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            must = f"uint8 or uint16 {[*size, 3]}"
            raise InputRejected(self.name(index), f"{whose} gives {found}, and an image here is {must}")
        return image

    @contextlib.contextmanager
    def _telling(self, index: int, what: str = "cannot be read") -> Iterator[None]:
        """Name the image at which a dataset or a degradation raised something of its own."""
        try:
            yield
        except (SrkitError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise InputRejected(self.name(index), f"{what}: {located(error)}") from error

    def fingerprint(self) -> str:
        """Return the fingerprint of HR, and of LR where that is files; they are asked for theirs once."""
        if self._fingerprint is None:
            sources = [self.source] if self.lr_source is None else [self.source, self.lr_source]
            self._fingerprint = "-".join(source.fingerprint() for source in sources)
        return self._fingerprint

    def images(self) -> dict[str, str]:
        """Return a short text for each image, by its name, that changes with it; without the dataset's own, its size.

        LR's files stand there, too: "p1 (LR x4)".
        """
        sides = [("", self.source)]
        if self.lr_source is not None:
            sides.append((f" (LR x{self.scale})", self.lr_source))
        found: dict[str, str] = {}
        for label, source in sides:
            digests = getattr(source, "digests", None)
            sizes = (source.size(index) for index in range(len(source)))
            texts = digests() if digests is not None else [f"{width}x{height}" for height, width in sizes]
            found |= {f"{source.name(index)}{label}": text for index, text in enumerate(texts)}
        return found

    def describe(self) -> str:
        """Return a line on what was found, in the dataset's own words where it has some."""
        own: Any = None
        with contextlib.suppress(AttributeError):
            own = self.source.describe()  # type: ignore[attr-defined]
        return own if isinstance(own, str) else f"{len(self)} images"


def _first(source: Dataset) -> Any:
    """Return the first image that can be read. Raises the first one's InputRejected where there is none of a few."""
    for index in range(min(8, len(source))):
        with contextlib.suppress(InputRejected):
            return source.read(index)
    return source.read(0)


@attrs.frozen
class EvaluationSet:
    """A named set of pairs to score networks on."""

    name: str
    pairs: Pairs


class Alone:
    """LR images without HR, as a dataset whose HR is black: for scores that look at SR alone."""

    def __init__(self, source: Dataset, scale: int) -> None:
        self._source, self._scale = source, scale

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._source)

    def name(self, index: int) -> str:
        """Return an image's name, as the dataset has it."""
        return self._source.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of what LR becomes."""
        height, width = self._source.size(index)
        return height * self._scale, width * self._scale

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return black, uint8 [h, w, 3]."""
        height, width = self.size(index) if window is None else window[2:]
        return np.zeros((height, width, 3), np.uint8)

    def lr(self, scale: int) -> Dataset:
        """Return the images."""
        return self._source

    def fingerprint(self) -> str:
        """Return the dataset's own."""
        return self._source.fingerprint()


class Resized:
    """A dataset whose HR images are resized to a multiple of the scale, by Pillow's bicubic; 8 bits only.

    Papers crop instead. The fingerprint is that of the images as they are: how they are fitted is the protocol's.
    """

    def __init__(self, source: Dataset, scale: float) -> None:
        self._source, self._scale = source, scale

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._source)

    def name(self, index: int) -> str:
        """Return an image's name, as the dataset has it."""
        return self._source.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of HR in pixels, what LR becomes at the scale."""
        height, width = (scaled(shrunk(side, self._scale), self._scale) for side in self._source.size(index))
        return height, width

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return HR, or a window of it, uint8 [h, w, 3]. Raises InputRejected."""
        image, (height, width) = self._source.read(index), self.size(index)
        if image.shape[:2] != (height, width):
            if image.dtype != np.uint8 or 0 in (height, width):
                raise InputRejected(self.name(index), "cannot be resized: only images of 8 bits, larger than the scale")
            image = np.array(PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC))
        if window is None:
            return image
        top, left, tall, wide = window
        return image[top : top + tall, left : left + wide]

    def lr(self, scale: int) -> None:
        """Return None: LR files are those of cropped images."""

    def fingerprint(self) -> str:
        """Return the dataset's own."""
        return self._source.fingerprint()
