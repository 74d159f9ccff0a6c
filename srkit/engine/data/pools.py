"""Where windows of images are copied from: memory, their source, or the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.engine.data.conversions import to_device
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.ring import Ring, Shape, Windows
from srkit.engine.memory import free_memory
from srkit.engine.reading import BadImages, Readers, TooManyBad, Watch
from srkit.errors import InputRejected

T = TypeVar("T")

NAMED = 20  # images that cannot be used are named one by one up to here


class Fetched(Protocol):
    """`fetched[step]` is a batch's windows, (lr or None, hr), uint8 or uint16 [n, h, w, 3] on the device."""

    def __getitem__(self, step: int) -> tuple[Tensor | None, Tensor]:
        """Return the windows of a step, counted from 0."""

    def close(self) -> None:
        """End what threads there are."""


class Pool(Protocol):
    """Where windows come from. `is_packed`: its images were read once, and are kept. No windows of `bad` are drawn."""

    sizes: NDArray[np.int64]  # LR (height, width) of each image, [images, 2]
    weights: NDArray[np.float64] | None  # how often each is drawn beside the others; None: all alike
    is_packed: bool
    bad: BadImages

    def fetch(self, windows: Callable[[int], Windows], shape: Shape, device: torch.device, *, threads: int) -> Fetched:
        """Return the windows of any step, on the device; `threads` read where reading takes time."""


class PackedPool:
    """Whole images, decoded and degraded once and kept in memory: a window is a copy of some rows."""

    is_packed = True

    def __init__(
        self,
        pairs: Pairs,
        indices: Sequence[int],
        threads: int,
        heed: Callable[[], object] = lambda: None,
        bad: BadImages | None = None,
    ) -> None:
        self.bad = BadImages() if bad is None else bad
        self.name = lambda index: pairs.name(indices[index])

        def read(place: int) -> tuple[NDArray[Any] | None, NDArray[Any]]:
            try:
                return pairs.read(indices[place])
            except InputRejected as error:
                self.bad.take(place, error)
                nothing = np.empty((0, 0, 3), np.uint8)
                return nothing, nothing

        images = each_image(read, range(len(indices)), threads=threads, heed=heed, name=self.name)
        # One image of 16 bits makes all of them so; 8 bits times 257 is the same colour.
        deep = any(image.dtype == np.uint16 for pair in images for image in pair if image is not None)
        self.dtype = np.dtype(np.uint16 if deep else np.uint8)
        self._lr = [None if lr is None else np.ascontiguousarray(_as_depth(lr, self.dtype)) for lr, _ in images]
        self._hr = [np.ascontiguousarray(_as_depth(hr, self.dtype)) for _, hr in images]
        self._scale = pairs.scale
        self.sizes = _sizes(pairs, indices)
        self.weights = pairs.weights(indices)

    def copy_window(
        self, index: int, top: int, left: int, patch: int, lr: NDArray[Any] | None, hr: NDArray[Any]
    ) -> None:
        """Copy a window of `patch` LR pixels into `lr` [patch, patch, 3] and the HR window into `hr`."""
        s, small = self._scale, self._lr[index]
        if lr is not None and small is not None:
            lr[...] = small[top : top + patch, left : left + patch]
        hr[...] = self._hr[index][top * s : (top + patch) * s, left * s : (left + patch) * s]

    def fetch(self, windows: Callable[[int], Windows], shape: Shape, device: torch.device, *, threads: int) -> Fetched:
        """Return a ring of buffers, filled by one thread: copying rows takes no more."""
        return Ring(self, windows, shape, device, threads=1)

    @property
    def images(self) -> list[tuple[NDArray[Any] | None, NDArray[Any]]]:
        """The (lr, hr) images."""
        return list(zip(self._lr, self._hr, strict=True))


class SourcePool:
    """Windows read from their source each time, for images that do not fit into memory."""

    is_packed = False

    def __init__(self, pairs: Pairs, indices: Sequence[int], bad: BadImages | None = None) -> None:
        self._pairs, self._indices = pairs, np.fromiter(indices, np.int64, len(indices))
        self.bad = BadImages() if bad is None else bad
        self.dtype = pairs.dtype
        self.sizes = _sizes(pairs, indices)
        self.weights = pairs.weights(indices)

    def name(self, index: int) -> str:
        """Return an image's name, as the dataset has it."""
        return self._pairs.name(int(self._indices[index]))

    def copy_window(
        self, index: int, top: int, left: int, patch: int, lr: NDArray[Any] | None, hr: NDArray[Any]
    ) -> None:
        """Copy a window of `patch` LR pixels into `lr` [patch, patch, 3] and the HR window into `hr`."""
        small, large = self._pairs.read_window(int(self._indices[index]), top, left, patch)
        if max(side.dtype.itemsize for side in (small, large) if side is not None) > self.dtype.itemsize:
            reason = 'has 16 bits where the first image has 8; use cache = "memory", or make them alike'
            raise InputRejected(self._pairs.name(int(self._indices[index])), reason)
        if lr is not None and small is not None:
            lr[...] = _as_depth(small, self.dtype)
        hr[...] = _as_depth(large, self.dtype)

    def fetch(self, windows: Callable[[int], Windows], shape: Shape, device: torch.device, *, threads: int) -> Fetched:
        """Return a ring of buffers, filled by these threads."""
        return Ring(self, windows, shape, device, threads=threads)


def _sizes(pairs: Pairs, indices: Sequence[int]) -> NDArray[np.int64]:
    """Return the LR height and width of images, [n, 2]: a list of as many tuples would be ten times as large."""
    sides = (side for index in indices for side in pairs.size(index))
    return np.fromiter(sides, np.int64, 2 * len(indices)).reshape(-1, 2)


def _as_depth(image: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if image.dtype == dtype:
        return image
    return image.astype(np.uint16) * np.uint16(257)


class DevicePool:
    """All images in the device's memory, where a batch is a gather. 8 bits only."""

    is_packed = True

    def __init__(self, packed: PackedPool, device: torch.device) -> None:
        self.sizes, self.weights, self.bad = packed.sizes, packed.weights, packed.bad
        self._lr_images = all(lr is not None for lr, _ in packed.images)
        sides = [[hr for _, hr in packed.images]] + ([[lr for lr, _ in packed.images]] if self._lr_images else [])
        self._flat, self._starts, self._widths = [], [], []
        for images in sides:
            arrays = [image for image in images if image is not None]
            lengths = np.array([0, *(image.size for image in arrays)], np.int64)
            flat = np.concatenate([image.reshape(-1) for image in arrays])
            self._flat.append(torch.from_numpy(flat).to(device))
            self._starts.append(np.cumsum(lengths)[:-1])
            self._widths.append(np.array([image.shape[1] for image in arrays], np.int64))
        self._device = device

    def fetch(self, windows: Callable[[int], Windows], shape: Shape, device: torch.device, *, threads: int) -> Fetched:
        """Return the gathered windows of any step."""
        return _Gathered(self, windows, shape)

    def gather(self, windows: Windows, scale: int) -> tuple[Tensor | None, Tensor]:
        """Return the windows' (lr, hr) as uint8 [n, h, w, 3] on the device."""
        images, tops, lefts, patch = windows
        hr = self._side(0, images, tops * scale, lefts * scale, patch * scale)
        return (self._side(1, images, tops, lefts, patch) if self._lr_images else None), hr

    def _side(
        self, side: int, images: NDArray[np.int64], tops: NDArray[np.int64], lefts: NDArray[np.int64], patch: int
    ) -> Tensor:
        widths = self._widths[side][images]
        corners = to_device(self._starts[side][images] + (tops * widths + lefts) * 3, self._device)
        rows = to_device(widths * 3, self._device)[:, None] * torch.arange(patch, device=self._device)
        columns = torch.arange(patch * 3, device=self._device)
        index = corners[:, None, None] + rows[:, :, None] + columns
        return self._flat[side][index].view(len(images), patch, patch, 3)


@attrs.frozen
class _Gathered:
    pool: DevicePool
    windows: Callable[[int], Windows]
    shape: Shape

    def __getitem__(self, step: int) -> tuple[Tensor | None, Tensor]:
        """Return the windows of a step, counted from 0."""
        return self.pool.gather(self.windows(step), self.shape.scale)

    def close(self) -> None:
        """Do nothing: there are no threads."""


def each_image(
    work: Callable[[int], T],
    indices: Sequence[int],
    *,
    threads: int = 1,
    heed: Callable[[], object] = lambda: None,
    name: Callable[[int], str] = str,
    at_once: int = 1,
) -> list[T]:
    """Return the results of `work` for images, in order, computed by threads, each of which takes so many `at_once`.

    Raises InputRejected after all images, in which each that cannot be used has a line, up to `NAMED`; Hung for one
    that is read for too long, by its name; what `heed` raises, which is called before each image.
    """
    watch, readers = Watch(name), Readers(threads)

    def attempt(index: int) -> T | InputRejected:
        heed()
        watch.begins(index)
        try:
            return work(index)
        except TooManyBad:
            raise
        except InputRejected as error:
            return error
        finally:
            watch.ends()

    parts = [indices[start : start + at_once] for start in range(0, len(indices), at_once)]
    futures = [readers.submit(lambda part: [attempt(index) for index in part], part) for part in parts]
    try:
        found = [result for future in futures for result in watch.result(future)]
    finally:
        for future in futures:
            future.cancel()
        readers.close(wait=not watch.hung)
    bad = [result for result in found if isinstance(result, InputRejected)]
    if bad:
        raise all_of(bad, len(found)) from bad[0]
    return [result for result in found if not isinstance(result, InputRejected)]


def all_of(bad: Sequence[InputRejected], count: int) -> InputRejected:
    """Return one error of those of several images, of `count`: a line for each, up to `NAMED`, and what to do."""
    more = [f"and {len(bad) - NAMED:,} more"] if len(bad) > NAMED else []
    advice = (
        f"{len(bad):,} of {count:,} images cannot be used: mend or remove them, or pack the others with "
        "srkit prepare SRC DST --skip-bad"
    )
    return InputRejected(bad[0].path, bad[0].reason, [*map(str, bad[1:NAMED]), *more, advice])


def large_enough(pairs: Pairs, patch: int) -> tuple[Sequence[int], list[str]]:
    """Return the indices of the images that a patch of LR pixels fits into, and the names of the others.

    Raises InputRejected, in which every image without a size is named.
    """
    large = each_image(lambda i: min(pairs.size(i)) >= patch, range(len(pairs)), name=pairs.name, at_once=1_000)
    if all(large):
        return range(len(large)), []
    fits = [index for index, is_large in enumerate(large) if is_large]
    return fits, [pairs.name(index) for index, is_large in enumerate(large) if not is_large]


def make_pool(
    pairs: Pairs,
    indices: Sequence[int],
    *,
    cache: str,
    threads: int,
    device: torch.device,
    heed: Callable[[], object] = lambda: None,
    bad: BadImages | None = None,
    processes: int = 1,
) -> Pool:
    """Return the pool for `data.cache`.

    "auto" is the device where that has room for all images, or their source where it reads windows or they are too
    many, or else memory. Each of the `processes` of this machine has its own. `heed` is called before each image that
    is read, and may raise. Raises InputRejected, in which every bad image is named; `bad` says what is done with them
    otherwise.
    """
    scale = pairs.scale
    pixels = sum(height * width for height, width in map(pairs.size, indices))
    size = 3 * pairs.dtype.itemsize * pixels * (scale * scale + 1)
    on_device = device.type != "cpu" and (cache == "device" or (cache == "auto" and size < _room(device)))
    too_large = size > free_memory() // (2 * processes)
    if cache == "none" or (cache == "auto" and (too_large or (pairs.windowed and not on_device))):
        return SourcePool(pairs, indices, bad)
    packed = PackedPool(pairs, indices, threads, heed, bad)
    return DevicePool(packed, device) if on_device and packed.dtype == np.uint8 else packed


def _room(device: torch.device) -> int:
    """Return how many bytes of a device's memory images may take."""
    return torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else free_memory() // 8
