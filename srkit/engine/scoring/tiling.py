"""Ways to take a whole image through a network: at once, in quarters, in tiles, and as the mean of its symmetries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    rows, columns = (_tiles(length) for length in lr.shape[-2:])
    pieces = [_Piece(r, c, r_kept, c_kept) for r, r_kept in rows for c, c_kept in columns]
    return _stitched(network, lr, pieces)


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
    out, scale = lr, 1
    for i, piece in enumerate(pieces):
        sr = network(lr[..., slice(*piece.rows), slice(*piece.columns)])
        if i == 0:
            scale = sr.shape[-2] // (piece.rows[1] - piece.rows[0])
            out = sr.new_empty((*sr.shape[:-2], lr.shape[-2] * scale, lr.shape[-1] * scale))
        top, left = piece.rows[0], piece.columns[0]
        out[..., _scaled(piece.rows_kept, scale), _scaled(piece.columns_kept, scale)] = sr[
            ..., _scaled(piece.rows_kept, scale, top), _scaled(piece.columns_kept, scale, left)
        ]
    return out


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
