"""The tree of an LMDB, walked within its bounds: the library believes every page, and a damaged one kills the process.

Format 1 of LMDB 0.9 and py-lmdb, as `mdb.c` lays it out on machines of 64 bits, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import IO

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEADER = struct.Struct("<QHHHH")  # of a page: its number, padding, flags, lower and upper end of its free space
_BRANCH, _LEAF, _META = 1, 2, 8
_META_START = struct.Struct("<II")
_DATABASE = struct.Struct("<IHHQQQQQ")  # padding (the page size), flags, depth, pages (3), entries, root
_META_END = struct.Struct("<QQ")  # last page, transaction
_NODE = struct.Struct("<HHHH")  # length or page (low, high), flags, length of the key
_BIG, _SUB, _DUP = 1, 2, 4
_NONE = 2**64 - 1
_SIZES = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_DEEPEST = 32


def is_lmdb(head: bytes) -> bool:
    """Say whether a file that begins so, with 32 bytes, is an LMDB."""
    return len(head) >= 24 and _META_START.unpack_from(head, 16) == (_MAGIC, _VERSION)


def check_tree(file: IO[bytes]) -> None:
    """Look at each page of the tree, not at the values. Raises ValueError for the first that is not sound."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Tree(data).check()


class _Tree:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        first = self._meta(0)
        self._size = first[0]
        self._depth, self._root, self._last, _ = max(first[1:], self._meta(self._size)[1:], key=lambda meta: meta[3])
        self._seen: set[int] = set()

    def check(self) -> None:
        """Walk from the root, level by level."""
        if (self._last + 1) * self._size > len(self._data):
            return  # a truncated file, which whoever opens it has a word for
        if self._root == _NONE:
            return
        if not 0 < self._depth <= _DEEPEST:
            raise ValueError(f"its tree is {self._depth} levels deep")
        level = [self._root]
        for depth in range(1, self._depth + 1):
            below: list[int] = []
            for number in level:
                nodes = self._nodes(number, _LEAF if depth == self._depth else _BRANCH)
                if depth == self._depth:
                    self._leaf(number, nodes)
                else:
                    below += (low | high << 16 | flags << 32 for _, low, high, flags, _ in nodes)
            level = below

    def _meta(self, start: int) -> tuple[int, int, int, int, int]:
        """Return the page size, and of the tree its depth, root, last page and transaction."""
        if start + 152 > len(self._data) or not is_lmdb(self._data[start : start + 32]):
            raise ValueError("it is no LMDB")
        size = _DATABASE.unpack_from(self._data, start + 40)[0]
        if size not in _SIZES:
            raise ValueError(f"its pages have {size} bytes")
        _, _, depth, *_, root = _DATABASE.unpack_from(self._data, start + 88)
        last, transaction = _META_END.unpack_from(self._data, start + 136)
        return size, depth, root, last, transaction

    def _nodes(self, number: int, kind: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield of each node of a page where it begins, and its four numbers."""
        if not 2 <= number <= self._last or number in self._seen:
            raise ValueError(f"its tree leads to page {number}, which is no page of it")
        self._seen.add(number)
        start = number * self._size
        own, _, flags, lower, upper = _HEADER.unpack_from(self._data, start)
        if own != number or flags != kind or not 16 <= lower <= upper <= self._size or lower % 2:
            raise ValueError(f"page {number} is not a page of its tree")
        if kind == _BRANCH and lower < 20:
            raise ValueError(f"page {number} leads nowhere")
        for offset in struct.unpack_from(f"<{(lower - 16) // 2}H", self._data, start + 16):
            if not upper <= offset <= self._size - 8:
                raise ValueError(f"page {number} has a node beyond its end")
            node = _NODE.unpack_from(self._data, start + offset)
            if offset + 8 + node[3] > self._size:
                raise ValueError(f"page {number} has a key beyond its end")
            yield offset, *node

    def _leaf(self, number: int, nodes: Iterator[tuple[int, int, int, int, int]]) -> None:
        for offset, low, high, flags, key in nodes:
            length, begin = low | high << 16, offset + 8 + key
            if flags & (_SUB | _DUP) or flags & ~_BIG:
                raise ValueError(f"page {number} has a value of a kind that images are not kept in")
            if not flags & _BIG:
                if begin + length > self._size:
                    raise ValueError(f"page {number} has a value beyond its end")
                continue
            if begin + 8 > self._size:
                raise ValueError(f"page {number} has a value beyond its end")
            (first,) = struct.unpack_from("<Q", self._data, number * self._size + begin)
            if not 2 <= first <= self._last or first * self._size + 16 + length > (self._last + 1) * self._size:
                raise ValueError(f"page {number} has a value beyond the end of the file")
