"""Images to a prepared dataset: whole frames or tiles, LR beside HR, all of it or nothing."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import filelock
import numpy as np
from numpy.typing import NDArray

from srkit import files
from srkit.engine.builder import Builder
from srkit.engine.data.opening import is_random, make_degrade, make_pairs
from srkit.engine.data.pairs import Pairs
from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.images.manifest import HR, ImageRecord, Manifest, Shard, lr_side
from srkit.plugin.contracts import Dataset, Window, Writer
from srkit.plugin.part import Part
from srkit.runs.stopping import StopFlag

AHEAD = 2  # images a thread that may be decoded and not yet written: they are what takes memory

WHOLE = Shard()

Bad = Callable[[InputRejected], None]


@attrs.frozen
class Tiles:
    """How images are cut: tiles of `crop` pixels every `step` pixels, of HR; whole images where `crop` is 0.

    The last row and column of tiles end at the image's edge. Where LR is kept too, tiles begin at multiples of `unit`,
    so that the LR of a tile is the window of the image's LR; what is left of an image beyond a multiple of it is lost.
    """

    crop: int = 0
    step: int = 0
    unit: int = 1

    def windows(self, height: int, width: int) -> list[Window]:
        """Return the tiles of an image, from left to right and from top to bottom; an image that is smaller, whole."""
        (tops, tall), (lefts, wide) = self._starts(height), self._starts(width)
        return [Window(top, left, tall, wide) for top in tops for left in lefts]

    def _starts(self, length: int) -> tuple[list[int], int]:
        """Return where tiles begin along one side, and how long they are."""
        last = length // self.unit * self.unit - self.crop
        if not self.crop or last < 0:
            return [0], length
        return [*range(0, last, self.step), last], self.crop


@attrs.frozen
class Prepared:
    """What was written: how many images of the source went in, and the manifest."""

    images: int
    manifest: Manifest


@attrs.frozen
class _Tile:
    name: str
    images: Mapping[str, NDArray[Any]]
    records: Mapping[str, ImageRecord]


def prepare(
    builder: Builder,
    source: Dataset,
    path: Path,
    make_writer: Callable[[Path], Writer],
    *,
    format: str,
    tiles: Tiles,
    scales: Sequence[int] = (),
    degradation: Part | None = None,
    seed: int = 0,
    shard: Shard = WHOLE,
    threads: int = 1,
    skip_bad: bool = False,
    bad: Bad = lambda error: None,
    track: Callable[[Iterator[int], int], Iterator[int]] = lambda indices, count: indices,
) -> Prepared:
    """Write the images of a source, or those of a shard, under `path`, which is there when all of it is there and on
    the disk.

    LR of each scale is made by the degradation that is named (a random one draws by the seed and the image's index), or
    else taken from the source, or else by MATLAB's bicubic. `bad` is called with the error of every image that cannot
    be used; `track` watches the indices. Raises UsageError where the path is there already or another process is
    writing it, InputRejected after all bad images were named, RunFailed for a disk, KeyboardInterrupt after a signal.
    """
    pairs = [_pairs(builder, source, scale, degradation, seed) for scale in scales]
    drawn = degradation is not None and is_random(builder, degradation)
    made = {
        "format": format,
        "crop": tiles.crop,
        "step": tiles.step,
        "lr": {f"x{pair.scale}": pair.made_by for pair in pairs},
    }
    made |= {"seed": seed} if drawn else {}
    made |= {"shard": str(shard)} if shard.of > 1 else {}
    indices = shard.part(len(source))
    if shard.of > 1 and not indices:
        raise UsageError(f"--shard {shard}: has none of the {len(source)} images; give fewer shards")
    with StopFlag() as stop, whole_or_nothing(path) as temporary:
        packing = _Packing(make_writer, temporary, made)
        rejected = 0
        try:
            for found in _in_order(indices, lambda i: _tiles_of(source, i, pairs, tiles), threads, track):
                if stop():  # not at any instant: where Python is called back, by HDF5 say, an exception is lost
                    raise KeyboardInterrupt
                if isinstance(found, InputRejected):
                    rejected += 1
                    bad(found)
                elif rejected == 0 or skip_bad:  # otherwise it only goes on to name all that are bad
                    packing.add(found)
            if rejected and not skip_bad:
                raise InputRejected(
                    path,
                    f"was not written: {rejected} of {len(indices)} images cannot be used (--skip-bad leaves them out)",
                )
            if not packing.names:
                raise InputRejected(path, "was not written: there are no images that can be used")
            manifest = packing.finish()
        finally:
            packing.close()
        files.sync_tree(temporary)
    return Prepared(len(indices) - rejected, manifest)


def _pairs(builder: Builder, source: Dataset, scale: int, degradation: Part | None, seed: int) -> Pairs:
    if degradation is None or not is_random(builder, degradation):
        return make_pairs(builder, source, scale, degradation, for_training=True)
    apply, made_by = make_degrade(builder, degradation, scale, seed=seed), builder.signature(degradation)
    return Pairs(source, scale, degradation=apply, made_by=made_by, files=False)


class _Packing:
    """Gives tiles to a writer and remembers their records. The writer is made with the first one."""

    def __init__(self, make_writer: Callable[[Path], Writer], path: Path, made: Mapping[str, Any]) -> None:
        self._make_writer, self._path, self._made = make_writer, path, made
        self._writer: Writer | None = None
        self.names: dict[str, None] = {}
        self._records: dict[str, list[ImageRecord]] = {}

    def add(self, tiles: Sequence[_Tile]) -> None:
        if self._writer is None:
            files.about_to("make", self._path)
            self._writer = self._make_writer(self._path)
        for tile in tiles:
            if tile.name in self.names:
                raise InputRejected(tile.name, "is the name of two images, or of an image and a tile of another")
            files.about_to("write", self._path)  # which the format's library does
            self._writer.add(tile.name, tile.images)
            self.names[tile.name] = None
            for side, record in tile.records.items():
                self._records.setdefault(side, []).append(record)

    def finish(self) -> Manifest:
        assert self._writer is not None
        manifest = Manifest(
            tuple(self.names), {side: tuple(records) for side, records in self._records.items()}, self._made
        )
        files.about_to("write", self._path)
        self._writer.finish(manifest)
        return manifest

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _tiles_of(source: Dataset, index: int, pairs: Sequence[Pairs], tiles: Tiles) -> list[_Tile]:
    """Return an image's tiles, each with its LR and the records of both."""
    try:
        source.name(index).encode()
    except UnicodeEncodeError:  # a file's name is bytes, a manifest's is text
        raise InputRejected(ascii(source.name(index)), "its name is no text in UTF-8; rename the image") from None
    for pair in pairs:
        if min(pair.size(index)) == 0:
            raise InputRejected(source.name(index), f"is smaller than the scale, {pair.scale}")
    whole = source.read(index)
    small = {pair.scale: pair.read_lr(index, whole) for pair in pairs}
    windows = tiles.windows(*whole.shape[:2])
    found = []
    for number, window in enumerate(windows, 1):
        name = source.name(index) if len(windows) == 1 else f"{source.name(index)}_s{number:03d}"
        images = {HR: _cut(whole, window, 1)}
        for scale, lr in small.items():
            assert lr is not None
            images[lr_side(scale)] = _cut(lr, window, scale)
        found.append(_Tile(name, images, {side: ImageRecord.of(image) for side, image in images.items()}))
    return found


def _cut(image: NDArray[Any], window: Window, scale: int) -> NDArray[Any]:
    top, left, height, width = (side // scale for side in window)
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _in_order(
    indices: Sequence[int],
    work: Callable[[int], list[_Tile]],
    threads: int,
    track: Callable[[Iterator[int], int], Iterator[int]],
) -> Iterator[list[_Tile] | InputRejected]:
    """Yield the results of `work` in the order of the indices, computed by threads that stay a little ahead."""

    def attempt(index: int) -> list[_Tile] | InputRejected:
        try:
            return work(index)
        except InputRejected as error:
            return error

    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[list[_Tile] | InputRejected]] = deque()
        try:
            ahead = iter(indices)
            for _ in track(iter(indices), len(indices)):
                while len(waiting) < threads * AHEAD and (index := next(ahead, None)) is not None:
                    waiting.append(executor.submit(attempt, index))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Give a place to write at, and rename what is there to `path` if all went well; nothing is left otherwise.

    The place is a folder beside `path` that is locked: what a process that was killed left in it is removed by the next
    one, and a second process at once is refused.
    """
    _refuse_existing(path)
    folder = path.with_name(f"{files.ASIDE}{path.name}")
    try:
        files.make_directory(folder)
        lock = filelock.FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise UsageError(f"another process is writing {path}; wait for it, or give another DST") from None
    except OSError as error:
        raise RunFailed(f"{path}: cannot be written: {error.strerror or error}") from None
    try:
        for left_over in folder.iterdir():
            if left_over.name != ".lock":
                files.remove(left_over)
        yield folder / path.name
        _refuse_existing(path)  # it may have come since
        files.rename(folder / path.name, path)
        try:
            files.sync_directory(path.parent)
        except OSError:  # whole, but perhaps not for long: the command is to be given again
            files.rename(path, folder / path.name)
            raise
    except OSError as error:
        kept = "" if path.exists() else "; nothing of it was kept"
        raise RunFailed(f"{path}: cannot be written: {error.strerror or error}{kept}") from None
    finally:
        lock.release()
        files.remove_quietly(folder)


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already; remove it first, or give another DST")


def unit_of(scales: Sequence[int]) -> int:
    """Return what tiles must be multiples of, so that each begins and ends at an LR pixel of every scale."""
    return math.lcm(*scales) if scales else 1
