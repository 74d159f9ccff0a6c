"""Ways to take a whole image through a network: at once, in quarters, in tiles, and all its symmetries.

A network of any scale is given the size of SR; the others say by their output how much larger it is. An image is cut
where an edge between LR pixels is one of SR's, too: at scale 2.5 at every other pixel. Where there are few such edges
(427 pixels that become 1067), a scale nearby that has many, 2.5, is taken: no seam is seen, and the last pixels lie off
by a part of a pixel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import attrs
import torch
from torch import Tensor

from srkit.engine.networks.calling import Network, Size, enlarge, scaled, takes_size
from srkit.protocol import Ensemble, Forward

Span = tuple[int, int]
Cut = Callable[[slice, slice], Tensor]  # of (rows, columns): a window of LR, [n, 3, h, w]

# EDSR's --chop, which the A2N authors' numbers were measured with: how many LR pixels the quarters share, and how many
# one may have before it is divided again.
SHAVE = 10
LARGEST = 160_000
# Tiles of so many LR pixels a side, of which so many at each inner side are thrown away, where no more is known.
TILE, OVERLAP = 128, 16
STEP = 16  # tiles begin at multiples of it: networks that look in windows keep theirs
COARSEST = 64  # LR pixels between two edges that are edges of SR, too


def forward(network: Network, lr: Tensor, how: Forward, ensemble: Ensemble, size: Size | None = None) -> Tensor:
    """Return a network's output for LR [n, 3, h, w]: of this size where the network takes one, or else of its own."""
    way = functools.partial({"whole": enlarge, "chop": chop, "tiles": tiles}[how], network)
    if ensemble == "none":
        return way(lr, size)
    outputs = _of_symmetries(way, lr, size)
    return _median(outputs) if ensemble == "median" else _mean(outputs)


def chop(network: Network, lr: Tensor, size: Size | None = None) -> Tensor:
    """Return the output put together of four quarters, each with SHAVE pixels more on its inner sides.

    A quarter of LARGEST pixels or more is divided in turn. Where a network pools over the image, this is another
    function than the whole image's: the published A2N numbers are this one's.
    """
    size = size if takes_size(network) else None
    pieces = _pieces(_halves, lr.shape[-2], lr.shape[-1], size)
    if len(pieces) == 4 and pieces[0].pixels >= LARGEST:
        return _stitched(lambda x, size=None: chop(network, x, size), lr, pieces, size)
    return _stitched(network, lr, pieces, size)


def _halves(length: int, scale: Fraction) -> list[tuple[Span, Span]]:
    """Return the two halves of a side, each as (what goes in, what is kept of it)."""
    half = length // 2
    size = half + SHAVE
    if size >= length:  # nothing would be saved
        return [((0, length), (0, length))]
    return [((0, _end(size, length, scale)), (0, half)), ((_start(length - size, scale), length), (half, length))]


def tiles(network: Network, lr: Tensor, size: Size | None = None, grid: Grid | None = None) -> Tensor:
    """Return the output put together of overlapping tiles.

    It is the whole image's where no output depends on LR further away than OVERLAP; a network that pools over the image
    has another one.
    """
    size = size if takes_size(network) else None
    return _stitched(network, lr, _pieces((grid or Grid()).spans, lr.shape[-2], lr.shape[-1], size), size)


@attrs.frozen
class Grid:
    """How an image is cut into tiles: their side, and how many LR pixels are thrown away at each inner side."""

    side: int = TILE
    overlap: int = OVERLAP

    @staticmethod
    def within(side: int, halo: int) -> Grid:
        """Return tiles of a side, or a little less, of a network with such a halo; they keep STEP pixels at least."""
        overlap = -(-halo // STEP) * STEP
        return Grid(max(side // STEP * STEP, 2 * overlap + STEP), overlap)

    def halved(self) -> Grid | None:
        """Return tiles of half the side or a little more; None where nothing would be saved."""
        smaller = Grid.within(self.side // 2, self.overlap)
        return smaller if smaller.side < self.side else None

    def spans(self, length: int, scale: Fraction) -> list[tuple[Span, Span]]:
        """Return what goes in and what is kept of it along a side."""
        inner, over = self.side - 2 * self.overlap, self.overlap
        kept = [(start, min(start + inner, length)) for start in range(0, length, inner)]
        return [((_start(first - over, scale), _end(end + over, length, scale)), (first, end)) for first, end in kept]


def _start(first: int, scale: Fraction) -> int:
    """Return where a piece begins that needs the pixels from `first` on: where an edge is one of SR's, too."""
    return max(first, 0) // scale.denominator * scale.denominator


def _end(end: int, length: int, scale: Fraction) -> int:
    """Return where a piece ends that needs the pixels before `end`."""
    return min(-(-end // scale.denominator) * scale.denominator, length)


@attrs.frozen
class _Piece:
    """A window of LR that goes through the network, and the part whose output is kept; in LR pixels, [first, end)."""

    rows: Span
    columns: Span
    rows_kept: Span
    columns_kept: Span

    @property
    def pixels(self) -> int:
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


def _pieces(
    spans: Callable[[int, Fraction], list[tuple[Span, Span]]], height: int, width: int, size: Size | None
) -> list[_Piece]:
    """Return the pieces of an image whose sides are cut by `spans`, for SR of a size."""
    down, across = _scales((height, width), size or (height, width))
    return [_Piece(r, c, r_kept, c_kept) for r, r_kept in spans(height, down) for c, c_kept in spans(width, across)]


def _scales(lr: Size, sr: Size) -> tuple[Fraction, Fraction]:
    """Return by how much rows and columns are enlarged, as fractions that leave enough edges to cut at."""
    down, across = (Fraction(large, side).limit_denominator(COARSEST) for side, large in zip(lr, sr, strict=True))
    return down, across


def _stitched(network: Network, lr: Tensor, pieces: Sequence[_Piece], size: Size | None) -> Tensor:
    out: Tensor | None = None
    lr_size = (lr.shape[-2], lr.shape[-1])
    for passed in _passed(network, lambda rows, columns: lr[..., rows, columns], pieces, lr_size, size):
        if out is None:
            out = passed.sr.new_empty((*passed.sr.shape[:-2], *passed.size))
        out[..., passed.rows, passed.columns] = passed.sr
    return lr if out is None else out


@attrs.frozen(eq=False)
class Passed:
    """A part of SR, [n, 3, h, w]; the rows and columns that it has in the whole; the size of that."""

    sr: Tensor
    rows: slice
    columns: slice
    size: Size


def each_tile(
    network: Network, cut: Cut, height: int, width: int, size: Size | None = None, grid: Grid | None = None
) -> Iterator[Passed]:
    """Yield the parts that `tiles` puts together, for LR of a size; `cut(rows, columns)` returns a window of LR.

    So neither LR nor SR need be anywhere as a whole. Its length is `count_tiles(height, width, grid)`.
    """
    size = size if takes_size(network) else None
    yield from _passed(network, cut, _pieces((grid or Grid()).spans, height, width, size), (height, width), size)


def count_tiles(height: int, width: int, grid: Grid | None = None) -> int:
    """Return how many tiles an image of a size has."""
    return len(_pieces((grid or Grid()).spans, height, width, None))


def _passed(
    network: Network,
    cut: Cut,
    pieces: Sequence[_Piece],
    lr_size: Size,
    size: Size | None,
) -> Iterator[Passed]:
    for piece in pieces:
        lr = cut(slice(*piece.rows), slice(*piece.columns))
        if size is None:
            sr = enlarge(network, lr, None)
            scale = sr.shape[-2] // lr.shape[-2]
            whole = lr_size[0] * scale, lr_size[1] * scale
        else:
            rows, columns = _in_sr((piece.rows, piece.columns), lr_size, size)
            sr = enlarge(network, lr, (rows.stop - rows.start, columns.stop - columns.start))
            whole = size
        rows, columns = _in_sr((piece.rows_kept, piece.columns_kept), lr_size, whole)
        top, left = (span.start for span in _in_sr((piece.rows, piece.columns), lr_size, whole))
        kept = sr[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        del sr, lr  # beside the next piece, this one would be room that nothing needs
        yield Passed(kept, rows, columns, whole)
        del kept


def _in_sr(spans: tuple[Span, Span], lr: Size, sr: Size) -> tuple[slice, slice]:
    """Return where rows and columns of LR lie in SR; the last of LR ends where SR does."""

    def place(at: int, scale: Fraction, side: int, large: int) -> int:
        return large if at == side else min(scaled(at, scale), large)

    rows, columns = (
        slice(*(place(at, scale, side, large) for at in span))
        for span, scale, side, large in zip(spans, _scales(lr, sr), lr, sr, strict=True)
    )
    return rows, columns


def _of_symmetries(way: Callable[[Tensor, Size | None], Tensor], lr: Tensor, size: Size | None) -> Iterator[Tensor]:
    """Yield the outputs for the eight turned and mirrored images, turned back."""
    for mirrored in (False, True):
        for turns in range(4):
            x = torch.rot90(lr.flip(-1) if mirrored else lr, turns, (-2, -1))
            turned = size if size is None or turns % 2 == 0 else (size[1], size[0])
            y = torch.rot90(way(x, turned), -turns, (-2, -1))
            yield y.flip(-1) if mirrored else y


def _mean(outputs: Iterator[Tensor]) -> Tensor:
    total = next(outputs)
    for output in outputs:
        total = total + output
    return total / 8


def _median(outputs: Iterator[Tensor]) -> Tensor:
    """Return the mean of the fourth and the fifth of eight values."""
    return torch.stack(list(outputs)).sort(0).values[3:5].mean(0)
