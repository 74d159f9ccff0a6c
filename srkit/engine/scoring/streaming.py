"""A whole image through a network stage by stage, each in strips of rows: the whole image's SR, means over it and all.

Between two stages stands one map of features, which the next one overwrites strip by strip where it makes as many. What
else a network needs is a strip's.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from srkit.engine.networks.calling import Size
from srkit.engine.networks.footprint import SIDE, peak
from srkit.engine.networks.padding import padding_of
from srkit.engine.scoring.tiling import Cut, Passed
from srkit.plugin.contracts import Stage
from srkit.plugin.settings import named

Read = Callable[[int, int], Tensor]  # of (first row, end)


def stages_of(network: nn.Module, lr: Size) -> Sequence[Stage]:
    """Return the stages that a network offers for LR of a size; none where it has none, or where LR would be padded."""
    offered = getattr(type(network), "stages", None)  # a method: networks have modules of such a name, too
    if not callable(offered) or padding_of(network, [lr]):
        return ()
    found: Sequence[Stage] = offered(network)
    return found


def streamed(
    stages: Sequence[Stage], cut: Cut, height: int, width: int, *, rows: int, in_file: bool = False
) -> Iterator[Passed | None]:
    """Yield strips of SR from above, and None for each strip before the last stage's.

    `cut(rows, columns)` returns a window of LR [n, 3, h, w], of an image of that height and width. Maps of features lie
    on the device of what stages make, or else `in_file`.
    """

    def lr(first: int, end: int) -> Tensor:
        return cut(slice(first, end), slice(0, width))

    rows = max(rows, *(stage.halo for stage in stages))  # what is above a strip is at most one strip's
    read, tall, found = lr, height, _Map(in_file=in_file)
    mean = _Mean.over(stages[0].pooled, lr, height, rows)
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        made = _Map(in_file=in_file)
        total = _Mean(None if following is None else following.pooled)
        for first, strip in _computed(stage, read, lr, tall, rows, mean.value):
            lines = slice(first * stage.scale, first * stage.scale + strip.shape[2])
            if following is None:
                yield Passed(strip, lines, slice(0, strip.shape[3]), (tall * stage.scale, strip.shape[3]))
                continue
            total.add(strip)
            if made.pixels is None:
                made = found if found.holds(strip, tall * stage.scale) else made.like(strip, tall * stage.scale)
            made.write(lines, strip)
            yield None
        read, tall, found, mean = made.read, tall * stage.scale, made, total


def count_strips(stages: Sequence[Stage], height: int, rows: int) -> int:
    """Return how many strips, those of all stages, an image has."""
    count, rows = 0, max(rows, *(stage.halo for stage in stages))
    for stage in stages:
        count += len(_spans(height, rows))
        height *= stage.scale
    return count


def bytes_for(stages: Sequence[Stage], device: torch.device, dtype: torch.dtype) -> tuple[int, int]:
    """Return what stages take: bytes of maps for each LR pixel of the image, and of a strip for each of its own."""
    lr = x = torch.zeros(1, 3, SIDE, SIDE, device=device, dtype=dtype)
    maps, strip = 0, 0
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        mean = None if stage.pooled is None else stage.pooled(x).mean((2, 3))
        made: list[Tensor] = []
        strip = max(strip, peak(lambda: made.append(run(stage, x, lr, mean))) + 2 * x.nbytes)  # noqa: B023
        before, x = x, made[0]
        if following is not None:
            maps = max(maps, x.nbytes + (before.nbytes if before.shape != x.shape and before is not lr else 0))
    return -(-maps // SIDE**2), -(-strip // SIDE**2)


def _computed(
    stage: Stage, read: Read, lr: Read, tall: int, rows: int, mean: Tensor | None
) -> Iterator[tuple[int, Tensor]]:
    """Yield what a stage makes of each strip, with the first row of that strip.

    A strip is read before what the one above became is yielded, so that this may be written in place of its input.
    """
    spans = _spans(tall, rows)
    takes_lr = "lr" in declared(stage)

    def around(span: tuple[int, int]) -> tuple[int, int]:
        return max(span[0] - stage.halo, 0), min(span[1] + stage.halo, tall)

    x = read(*around(spans[0]))
    for span, after in zip(spans, [*spans[1:], None], strict=True):
        made = run(stage, x, lr(*around(span)) if takes_lr else None, mean)
        top = (span[0] - around(span)[0]) * stage.scale
        x = x if after is None else read(*around(after))
        yield span[0], made[:, :, top : top + (span[1] - span[0]) * stage.scale]


def run(stage: Stage, x: Tensor, lr: Tensor | None, mean: Tensor | None) -> Tensor:
    """Return what a stage makes of rows of its input, given what it declares."""
    words = {word: value for word, value in (("lr", lr), ("mean", mean)) if word in declared(stage)}
    made: Tensor = stage.run(x, **words)
    return made


def declared(stage: Stage) -> tuple[str, ...]:
    """Return which of "lr" and "mean" a stage takes; a module says it by its `forward`."""
    return named(getattr(stage.run, "forward", stage.run), ("lr", "mean"))


def _spans(height: int, rows: int) -> list[tuple[int, int]]:
    return [(first, min(first + rows, height)) for first in range(0, height, rows)]


class _Mean:
    """The mean over an image of what a stage pools, from its strips; in float64, since there are many pixels."""

    def __init__(self, pooled: Callable[[Tensor], Tensor] | None) -> None:
        self._pooled = pooled
        self._sum: Any = 0
        self._pixels = 0
        self._dtype, self._device = torch.float32, torch.device("cpu")

    @staticmethod
    def over(pooled: Callable[[Tensor], Tensor] | None, read: Read, height: int, rows: int) -> _Mean:
        mean = _Mean(pooled)
        for span in _spans(height, rows) if pooled is not None else ():
            mean.add(read(*span))
        return mean

    def add(self, strip: Tensor) -> None:
        if self._pooled is not None:
            values = self._pooled(strip)
            self._dtype, self._device = values.dtype, values.device
            self._sum = self._sum + values.sum((2, 3)).cpu().double()
            self._pixels += values.shape[2] * values.shape[3]

    @property
    def value(self) -> Tensor | None:
        if self._pooled is None:
            return None
        mean: Tensor = (self._sum / self._pixels).to(self._device, self._dtype)
        return mean


@attrs.define
class _Map:
    """What a stage made of the whole image, channels_last, in memory or in a file that is gone with it."""

    in_file: bool
    pixels: Tensor | None = None
    _mapped: Any = None

    def holds(self, strip: Tensor, height: int) -> bool:
        """Say whether this map has the shape of the one that such strips make."""
        return self.pixels is not None and self.pixels.shape == _shape(strip, height)

    def like(self, strip: Tensor, height: int) -> _Map:
        """Return an empty map for such strips."""
        n, c, h, w = _shape(strip, height)
        if not self.in_file:
            empty = strip.new_empty((n, h, w, c))
            return _Map(in_file=False, pixels=empty.permute(0, 3, 1, 2))
        with tempfile.TemporaryFile() as file:
            array = np.memmap(file, np.float32, "w+", shape=(n, h, w, c))
        return _Map(in_file=True, pixels=torch.from_numpy(array).permute(0, 3, 1, 2), mapped=array._mmap)  # type: ignore[attr-defined]

    def write(self, lines: slice, strip: Tensor) -> None:
        assert self.pixels is not None
        self.pixels[:, :, lines] = strip.to(self.pixels.device)
        self._release()

    def read(self, first: int, end: int) -> Tensor:
        """Return rows, not those that lie here: what is written meanwhile does not change them."""
        assert self.pixels is not None
        strip = self.pixels[:, :, first:end].clone(memory_format=torch.channels_last)
        self._release()
        return strip

    def _release(self) -> None:
        """Let what was read or written of a file leave the memory."""
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)


def _shape(strip: Tensor, height: int) -> tuple[int, int, int, int]:
    return strip.shape[0], strip.shape[1], height, strip.shape[3]
