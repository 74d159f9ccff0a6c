"""Ways to take a whole image through a network: at once, in quarters, in tiles, and as the mean of its symmetries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import torch
from torch import Tensor

from srkit.protocol import Ensemble, Forward

Network = Callable[[Tensor], Tensor]
Span = tuple[int, int]

# EDSR's --chop, which the A2N authors' numbers were measured with: how many LR pixels the quarters share, and how many
# one may have before it is divided again.
SHAVE = 10
LARGEST = 160_000
# Tiles of so many LR pixels a side, of which so many at each inner side are thrown away.
TILE, OVERLAP = 128, 16
# LR pixels from which a network that states `tileable` takes an image in tiles where nothing is said. An image of 64
# features in float32 takes 256 bytes an LR pixel, and a network holds several at once, four times as large behind an
# enlargement: that is more than a gigabyte here.
LARGE = 1_000_000


def forward_for(height: int, width: int, tileable: object) -> Forward:
    """Return how an image is taken where nothing is said: whole, or in tiles where it is LARGE and may be."""
    return "tiles" if tileable is True and height * width > LARGE else "whole"


def forward(network: Network, lr: Tensor, how: Forward, ensemble: Ensemble) -> Tensor:
    """Return a network's output for LR [n, 3, h, w]: [n, 3, h * scale, w * scale]."""
    ways: dict[Forward, Callable[[Tensor], Tensor]] = {
        "whole": network,
        "chop": lambda x: chop(network, x),
        "tiles": lambda x: tiles(network, x),
    }
    return _mean_of_symmetries(ways[how], lr) if ensemble == "x8" else ways[how](lr)


def chop(network: Network, lr: Tensor) -> Tensor:
    """Return the output put together of four quarters, each with SHAVE pixels more on its inner sides.

    A quarter of LARGEST pixels or more is divided in turn. Where a network pools over the image, this is another
    function than the whole image's: the published A2N numbers are this one's.
    """
    height, width = lr.shape[-2:]
    pieces = [
        _Piece(rows, columns, rows_kept, columns_kept)
        for rows, rows_kept in _halves(height)
        for columns, columns_kept in _halves(width)
    ]
    if len(pieces) == 4 and pieces[0].pixels >= LARGEST:
        return _stitched(lambda x: chop(network, x), lr, pieces)
    return _stitched(network, lr, pieces)


def _halves(length: int) -> list[tuple[Span, Span]]:
    """Return the two halves of a side, each as (what goes in, what is kept of it)."""
    half = length // 2
    size = half + SHAVE
    if size >= length:  # nothing would be saved
        return [((0, length), (0, length))]
    return [((0, size), (0, half)), ((length - size, length), (half, length))]


def tiles(network: Network, lr: Tensor) -> Tensor:
    """Return the output put together of overlapping tiles.

    It is the whole image's where no output depends on LR further away than OVERLAP; a network that pools over the image
    has another one.
    """
    return _stitched(network, lr, _tiling(*lr.shape[-2:]))


def _tiles(length: int) -> list[tuple[Span, Span]]:
    inner = TILE - 2 * OVERLAP
    kept = [(start, min(start + inner, length)) for start in range(0, length, inner)]
    return [((max(0, first - OVERLAP), min(end + OVERLAP, length)), (first, end)) for first, end in kept]


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


def _stitched(network: Network, lr: Tensor, pieces: Sequence[_Piece]) -> Tensor:
    out: Tensor | None = None
    for passed in _passed(network, lambda rows, columns: lr[..., rows, columns], pieces):
        if out is None:
            height, width = (side * passed.scale for side in lr.shape[-2:])
            out = passed.sr.new_empty((*passed.sr.shape[:-2], height, width))
        out[..., passed.rows, passed.columns] = passed.sr
    return lr if out is None else out


@attrs.frozen(eq=False)
class Passed:
    """A part of SR, [n, 3, h, w]; the rows and columns that it has in the whole; how much larger SR is."""

    sr: Tensor
    rows: slice
    columns: slice
    scale: int


def each_tile(network: Network, cut: Callable[[slice, slice], Tensor], height: int, width: int) -> Iterator[Passed]:
    """Yield the parts that `tiles` puts together, for LR of a size; `cut(rows, columns)` returns a window of LR.

    So neither LR nor SR need be anywhere as a whole. Its length is `count_tiles(height, width)`.
    """
    yield from _passed(network, cut, _tiling(height, width))


def count_tiles(height: int, width: int) -> int:
    """Return how many tiles an image of a size has."""
    return len(_tiling(height, width))


def _tiling(height: int, width: int) -> list[_Piece]:
    return [_Piece(r, c, r_kept, c_kept) for r, r_kept in _tiles(height) for c, c_kept in _tiles(width)]


def _passed(network: Network, cut: Callable[[slice, slice], Tensor], pieces: Sequence[_Piece]) -> Iterator[Passed]:
    for piece in pieces:
        sr = network(cut(slice(*piece.rows), slice(*piece.columns)))
        scale = sr.shape[-2] // (piece.rows[1] - piece.rows[0])
        top, left = piece.rows[0], piece.columns[0]
        kept = sr[..., _scaled(piece.rows_kept, scale, top), _scaled(piece.columns_kept, scale, left)]
        yield Passed(kept, _scaled(piece.rows_kept, scale), _scaled(piece.columns_kept, scale), scale)


def _scaled(span: Span, scale: int, start: int = 0) -> slice:
    return slice((span[0] - start) * scale, (span[1] - start) * scale)


def _mean_of_symmetries(network: Network, lr: Tensor) -> Tensor:
    """Return the mean of the outputs for the eight turned and mirrored images, turned back."""
    total: Tensor | None = None
    for mirrored in (False, True):
        for turns in range(4):
            x = torch.rot90(lr.flip(-1) if mirrored else lr, turns, (-2, -1))
            y = torch.rot90(network(x), -turns, (-2, -1))
            y = y.flip(-1) if mirrored else y
            total = y if total is None else total + y
    assert total is not None
    return total / 8
