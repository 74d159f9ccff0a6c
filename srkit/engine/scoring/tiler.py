"""Images at rest through a network, on a canvas of the host, in as little memory as is asked for.

One way for all that enlarges: `upscale`, `eval` and validation.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srkit.engine.data.conversions import to_batch, to_pixels, to_rest
from srkit.engine.memory import free_memory, lacks_memory, return_what_is_free, size_text, used_memory
from srkit.engine.networks.calling import Size, scaled, takes_size
from srkit.engine.networks.footprint import SIDE, peak
from srkit.engine.networks.halo import measured_halo
from srkit.engine.scoring.streaming import bytes_for, count_strips, stages_of, streamed
from srkit.engine.scoring.tiling import OVERLAP, Cut, Grid, Passed, count_tiles, each_tile, forward
from srkit.plugin.contracts import Stage
from srkit.protocol import PAPER, Ensemble, Method, Precision

log = logging.getLogger("srkit")

Image = NDArray[Any]
Progress = Callable[[int, int], None]  # of (parts done, parts in all)

# LR pixels from which an image goes in parts, where it may and nothing is said. An image of 64 features in float32
# takes 256 bytes an LR pixel, and a network holds several at once, four times as large behind an enlargement: that is
# more than a gigabyte here.
LARGE = 1_000_000
TOGETHER = LARGE // 4  # LR pixels of images that go through at once: more save nothing, and memory is not asked
USUAL = 2**30  # bytes that parts take then
WIDEST = 1024  # LR pixels of a tile's side: larger ones save next to nothing
ROWS = 32  # of a strip: more are no faster, since they leave the caches
# Convolutions take more than the tensors that are seen: their input and output in a layout of their own.
UNSEEN = 1.5


class NotFinite(ValueError):
    """Raised where a network's output has values that are no colour."""


@attrs.frozen
class Whole:
    """An image at once, or in the quarters of EDSR's --chop."""

    way: Literal["whole", "chop"] = "whole"


@attrs.frozen
class Strips:
    """An image stage by stage, in strips of so many rows; features between stages lie in memory or `in_file`."""

    rows: int
    in_file: bool = False


Way = Whole | Strips | Grid
_Part = tuple[int, int, Passed | None]  # how many are done, of how many, and a part of SR where it is one


@attrs.frozen(eq=False, slots=False)
class Tiler:
    """A network on its device, and what images may take on their way through it.

    `facts` are its component's: where it is `tileable`, overlapping tiles make up the whole image's SR, by its `halo`,
    or the one that is measured. Where it offers stages, these do. `tile` is a tile's side in LR pixels, `memory` the
    bytes that this process may take, or the device's tensors where that is no CPU; without both, an image of LARGE
    pixels goes in parts where these make up the whole. `approximate` lets others go in tiles, too, where there is a
    limit, or too little memory. What a person should know is passed to `say`, each line once.
    """

    network: nn.Module
    device: torch.device
    facts: Mapping[str, Any] = attrs.field(factory=dict)
    tile: int | None = None
    memory: int | None = None
    approximate: bool = False
    say: Callable[[str], object] = log.warning
    _said: set[str] = attrs.field(factory=set, init=False)
    _found: dict[Any, tuple[int, float]] = attrs.field(factory=dict, init=False)

    def upscale(
        self,
        image: Image,
        size: Size | None = None,
        method: Method = PAPER,
        progress: Progress | None = None,
        *,
        grey: bool = False,
    ) -> Image:
        """Return an image at rest, [h, w, 3] uint8 or uint16, enlarged; [H, W], the mean of the channels, if `grey`.

        Each part is rounded as it comes, and SR is nowhere whole in floats where there are several. In another
        precision than float32, a part whose output is not finite is computed again. Raises NotFinite.
        """
        job = self.job(image, size, method)
        if self.memory is not None:
            return_what_is_free()
        canvas, precision = _Canvas(image.dtype, grey=grey), method.precision
        was_training = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():  # not inference_mode: what a network keeps of it could not be trained with
                way = self.way_for(job, method)
                while True:
                    try:
                        return canvas.filled(self._parts(way, job, precision), progress)
                    except _Overflow:
                        self._say(f"in {precision} the output is not finite: it is computed in float32")
                        precision = "float32"
                    except (MemoryError, RuntimeError) as error:
                        smaller = self._smaller(way, job) if lacks_memory(error) else None
                        if smaller is None:
                            raise
                        self._say(f"there is too little memory for {_named(way)}: it goes on in {_named(smaller)}")
                        way = smaller
        finally:
            self.network.train(was_training)

    def together(self, size: Size) -> int:
        """Return how many images of such a (height, width) `upscale_together` takes well.

        On a CPU that is one: several leave its caches, and took 1.7 times as long.
        """
        return 1 if self._is_limited or self.device.type == "cpu" else min(16, max(1, TOGETHER // (size[0] * size[1])))

    def upscale_together(
        self, images: Sequence[Image], size: Size | None = None, method: Method = PAPER
    ) -> list[Image]:
        """Return images of one size and dtype enlarged, as `upscale` does: by one pass where each goes as a whole.

        Where that is not finite, or takes too much memory, they go one by one. Raises NotFinite.
        """
        job = self.job(images[0], size, method)
        way = self.way_for(job, method)
        if len(images) > 1 and isinstance(way, Whole):
            was_training = self.network.training
            self.network.eval()
            try:
                with torch.no_grad(), self._autocast(method.precision):
                    x = torch.cat([to_batch(image, self.device) for image in images]).to(self._dtype)
                    sr = forward(self.network, x, way.way, job.ensemble, job.size)
                if bool(sr.isfinite().all()):
                    return [to_rest(one[None], job.image.dtype) for one in sr]
            except (MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
            finally:
                self.network.train(was_training)
        return [self.upscale(image, size, method) for image in images]

    @property
    def is_exact(self) -> bool:
        """Whether parts of an image make up the whole image's SR; not so for a few images that a network would pad."""
        return self.halo is not None or bool(stages_of(self.network, (2**10, 2**10)))

    @functools.cached_property
    def halo(self) -> int | None:
        """How many LR pixels around a window its SR depends on; None where that is the whole image, or unknown."""
        if self.facts.get("tileable") is not True:
            return None
        if isinstance(self.facts.get("halo"), int):
            return int(self.facts["halo"])
        halo, scale = 0, 1
        for stage in stages_of(self.network, (2**10, 2**10)):
            halo += -(-stage.halo // scale)
            scale *= stage.scale
        return halo or measured_halo(self.network)

    def job(self, image: Image, size: Size | None = None, method: Method = PAPER) -> _Job:
        """Return what is to be done to an image."""
        return _Job(image, size if takes_size(self.network) else None, method.ensemble)

    def way_for(self, job: _Job, method: Method = PAPER) -> Way:
        """Return how an image is taken."""
        height, width = job.lr
        if method.forward == "chop":
            return Whole("chop")
        if method.forward == "tiles":
            return self._grid(job) if self._is_limited else Grid.within(Grid().side, max(self.halo or 0, OVERLAP))
        if self.tile is not None:
            fits = max(height, width) <= self.tile
        elif self.memory is not None:
            fits = self._whole_bytes(job) <= self._left(job)
        else:
            fits = height * width <= LARGE
        return Whole() if fits else self._in_parts(job) or Whole()

    @property
    def _is_limited(self) -> bool:
        return self.tile is not None or self.memory is not None

    def _in_parts(self, job: _Job) -> Way | None:
        """Return how an image is taken in parts; None where these would not make up the whole, and must."""
        height, width = job.lr
        if self.halo is not None:
            return self._grid(job)
        stages = stages_of(self.network, (height, width))
        if stages and job.ensemble != "median":
            return self._strips(stages, job)
        if not self.approximate or not (self._is_limited or self._whole_bytes(job) > free_memory()):
            return None
        self._say(f"{width}x{height} goes in tiles, which do not make up this network's output: seams may be seen")
        return self._grid(job)

    def _grid(self, job: _Job) -> Grid:
        halo = max(self.halo or 0, OVERLAP)
        if self.tile is not None:
            return Grid.within(self.tile, halo)
        left, each = self._left(job), self._pixel_bytes(job)
        side = math.isqrt(max(0, left) // each)
        grid = Grid.within(min(side, WIDEST), halo)
        if self.memory is not None and grid.side > side:
            needed = self.memory - left + grid.side**2 * each
            over = size_text(needed - self.memory)
            self._say(f"the smallest tiles take {size_text(needed)}: {over} more than is allowed")
        return grid

    def _strips(self, stages: Sequence[Stage], job: _Job) -> Strips:
        height, width = job.lr
        most = max(stage.halo for stage in stages)
        if self.tile is not None:
            return Strips(max(self.tile**2 // width, most))
        maps, strip = bytes_for(stages, self.device, self._dtype)
        left, maps, row = self._left(job), maps * height * width, math.ceil(strip * UNSEEN) * width
        if self.memory is None:
            in_file = self.device.type == "cpu" and maps > free_memory() // 2
        else:
            in_file = self.device.type == "cpu" and maps + 4 * most * row > left
            left -= 0 if in_file else maps
        if in_file:
            self._say(f"features of {width}x{height} are kept in a temporary file of {size_text(maps)}")
        return Strips(max(most, min(ROWS, left // row - 2 * most)), in_file)

    def _smaller(self, way: Way, job: _Job) -> Way | None:
        """Return a way that takes less memory; None where there is none."""
        if isinstance(way, Grid):
            return way.halved()
        if isinstance(way, Whole):
            return self._in_parts(job) if way.way == "whole" else None
        least = max(stage.halo for stage in stages_of(self.network, job.lr))
        return attrs.evolve(way, rows=max(way.rows // 2, least)) if way.rows > least else None

    def _parts(self, way: Way, job: _Job, precision: Precision) -> Iterator[_Part]:
        if isinstance(way, Strips):
            yield from (self._streamed if job.ensemble == "none" else self._streamed_together)(way, job, precision)
            return
        how = way.way if isinstance(way, Whole) else "whole"

        def run(x: Tensor, size: Size | None = None) -> Tensor:
            for chosen in dict.fromkeys((precision, "float32")):
                with self._autocast(chosen):
                    sr = forward(self.network, x, how, job.ensemble, size)
                if chosen == "float32" or bool(sr.isfinite().all()):
                    break
                self._say(f"in {chosen} a part of the output is not finite: it is computed in float32")
            return sr

        if isinstance(way, Whole):
            sr = run(self._cut(job.image)(slice(None), slice(None)), job.size)
            yield 1, 1, Passed(sr, slice(None), slice(None), (sr.shape[2], sr.shape[3]))
        else:
            yield from _counted(each_tile(run, self._cut(job.image), *job.lr, job.size, way), count_tiles(*job.lr, way))

    def _streamed(self, way: Strips, job: _Job, precision: Precision) -> Iterator[_Part]:
        stages, (height, width) = stages_of(self.network, job.lr), job.lr
        count = count_strips(stages, height, way.rows)
        with self._autocast(precision):
            parts = streamed(stages, self._cut(job.image), height, width, rows=way.rows, in_file=way.in_file)
            for done, _, part in _counted(parts, count):
                if part is not None and precision != "float32" and not bool(part.sr.isfinite().all()):
                    raise _Overflow
                yield done, count, part
                del part

    def _streamed_together(self, way: Strips, job: _Job, precision: Precision) -> Iterator[_Part]:
        """Yield at last the mean over the eight symmetries: SR is whole in floats here."""
        total: NDArray[np.float32] | None = None
        for number in range(8):
            mirrored, turns = divmod(number, 4)
            for done, count, part in self._streamed(way, job.turned(bool(mirrored), turns), precision):
                if part is not None:
                    if total is None:  # of what is not turned
                        total = np.zeros((*part.size, 3), np.float32)
                    turned(total, bool(mirrored), turns)[part.rows, part.columns] += to_pixels(part.sr)
                yield number * count + done, 8 * count + 1, None
        assert total is not None  # an image has pixels, and so strips
        mean = torch.from_numpy(total).div_(8).permute(2, 0, 1)[None]
        yield 8 * count + 1, 8 * count + 1, Passed(mean, slice(None), slice(None), (mean.shape[2], mean.shape[3]))

    def _cut(self, image: Image) -> Cut:
        return lambda rows, columns: to_batch(image[rows, columns], self.device).to(self._dtype)

    def _autocast(self, precision: Precision) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, getattr(torch, precision), enabled=precision != "float32")

    @functools.cached_property
    def _dtype(self) -> torch.dtype:
        # A network in half or double is given its own numbers.
        first = next(self.network.parameters(), None)
        return first.dtype if first is not None and first.is_floating_point() else torch.float32

    def _left(self, job: _Job) -> int:
        """Return how many bytes parts may take, beside what this process has and what SR takes."""
        if self.memory is None:
            return min(USUAL, free_memory() // 2)
        if self.device.type == "cuda":
            return self.memory - torch.cuda.memory_allocated(self.device)
        _, scale = self._measured(job)
        return self.memory - used_memory() - math.ceil(job.image.nbytes * scale**2)

    def _pixel_bytes(self, job: _Job) -> int:
        """Return how many bytes a network takes for each LR pixel of what goes through it at once."""
        return self._measured(job)[0]

    def _whole_bytes(self, job: _Job) -> int:
        return self._pixel_bytes(job) * job.lr[0] * job.lr[1]

    def _measured(self, job: _Job) -> tuple[int, float]:
        """Return the bytes for each LR pixel, and by how much the network enlarges, as a small image shows."""
        size = None if job.size is None else tuple(scaled(SIDE, b / a) for a, b in zip(job.lr, job.size, strict=True))
        if (size, job.ensemble) not in self._found:
            x = torch.zeros(1, 3, SIDE, SIDE, device=self.device, dtype=self._dtype)
            made: list[Tensor] = []
            most = peak(lambda: made.append(forward(self.network, x, "whole", job.ensemble, size)))  # type: ignore[arg-type]
            bytes_each = math.ceil((most * UNSEEN + x.nbytes) / SIDE**2)
            self._found[size, job.ensemble] = bytes_each, math.sqrt(made[0].shape[2] * made[0].shape[3]) / SIDE
        return self._found[size, job.ensemble]

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)


@attrs.frozen(eq=False)
class _Job:
    """An image, the size that SR is to have, and the ensemble."""

    image: Image
    size: Size | None
    ensemble: Ensemble

    @property
    def lr(self) -> Size:
        """Its (height, width)."""
        return self.image.shape[0], self.image.shape[1]

    def turned(self, mirrored: bool, turns: int) -> _Job:
        return attrs.evolve(self, image=turned(self.image, mirrored, turns))


def turned(image: Image, mirrored: bool, turns: int) -> Image:
    """Return one of the eight symmetries of an image [h, w, c], as a view."""
    return np.rot90(image[:, ::-1] if mirrored else image, turns)


class _Overflow(Exception):
    """Raised where a strip is not finite in less than float32: what it depends on is the whole image."""


@attrs.define
class _Canvas:
    """SR at rest, filled part by part."""

    dtype: Any
    grey: bool
    pixels: Image | None = None

    def filled(self, parts: Iterator[_Part], progress: Progress | None) -> Image:
        """Return SR once all parts have come. Raises NotFinite."""
        for done, count, part in parts:
            if part is not None:
                if not bool(part.sr.isfinite().all()):
                    raise NotFinite("the network's output is not finite: its weights are spoilt, or too large")
                pixels = to_rest(part.sr, self.dtype)
                pixels = grey_of(pixels) if self.grey else pixels
                if self.pixels is None:
                    whole = part.size == pixels.shape[:2]  # which needs no copy
                    self.pixels = pixels if whole else np.empty((*part.size, *pixels.shape[2:]), self.dtype)
                if pixels is not self.pixels:
                    self.pixels[part.rows, part.columns] = pixels
            del part  # which would be held while the next one is computed
            if progress is not None:
                progress(done, count)
        assert self.pixels is not None  # an image has pixels, and so parts
        return self.pixels


def _counted(parts: Iterator[Passed | None], count: int) -> Iterator[_Part]:
    """Yield parts with their number and their count, and hold none while the next one is computed."""
    for done in range(1, count + 1):
        yield done, count, next(parts)


def grey_of(image: Image) -> Image:
    """Return [h, w] of [h, w, 3]: a network's channels need not agree on a grey image; their mean is grey again."""
    return np.asarray(np.floor(image.mean(2) + 0.5), dtype=image.dtype)


def _named(way: Way) -> str:
    if isinstance(way, Grid):
        return f"tiles of {way.side} pixels"
    return f"strips of {way.rows} rows" if isinstance(way, Strips) else "the whole image"
