"""What image files hold around their pixels: chunks of PNG, segments of JPEG, tags of TIFF, boxes of AVIF..."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Literal, Protocol

import attrs

MOST_CHUNKS = 1_000_000
MOST_TEXT = 2**20  # Pillow's own limit for a text chunk, unpacked
MOST_PROFILE = 16 * 2**20  # the profiles of printing presses have two or three

# PNG, 3rd edition, 4.3: what says which colours the samples stand for, apart from a profile (iCCP).
COLOR_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_FOR_PILLOW = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", *_TEXTS)


class Source(Protocol):
    """A file of bytes, open."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


@attrs.frozen
class Png:
    """A PNG's `data` without what is no pixel, the first `chunks` of each name beside them, and what is odd there;
    `ends` says whether its end marker was seen, where all of it was read."""

    data: bytes
    chunks: dict[bytes, bytes]
    odd: tuple[str, ...]
    ends: bool

    @property
    def icc(self) -> bytes | None:
        """The colour profile. Raises ValueError where it is none, or too large."""
        packed = self.chunks.get(b"iCCP")
        if packed is None:
            return None
        name, _, rest = packed.partition(b"\0")
        if not 1 <= len(name) <= 79 or rest[:1] != b"\0":
            raise ValueError("damaged")
        return _unpacked(rest[1:], MOST_PROFILE)

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels an inch, across and down, or None (pHYs in metres; its other unit is a ratio alone)."""
        size = self.chunks.get(b"pHYs", b"")
        if len(size) != 9 or size[8] != 1:
            return None
        across, down = struct.unpack(">II", size[:8])
        return across * 0.0254, down * 0.0254


def read_png(file: Source, length: int, *, whole: bool) -> Png:
    """Read a PNG, or what stands before its pixels. Raises ValueError for one of too many chunks."""
    kept, odd = [file.read(8)], []
    chunks: dict[bytes, bytes] = {}
    seen_pixels = False
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        kind, claimed = head[4:], int.from_bytes(head[:4]) + 4
        seen_pixels |= kind == b"IDAT"
        if len(head) < 8 or (seen_pixels and not whole):
            kept.append(head)
            break
        here = file.tell()
        if kind[:1].isupper() or kind in _FOR_PILLOW[:4] or here + claimed > length:
            kept += [head, file.read(min(claimed, length - here))]
        else:
            trouble = None
            body = file.read(claimed) if claimed <= MOST_PROFILE else b""
            if not body:
                file.seek(here + claimed)
                trouble = f"has more than {MOST_PROFILE // 2**20} MiB"
            elif zlib.crc32(kind + body[:-4]).to_bytes(4) != body[-4:]:
                trouble = "is damaged"
            elif kind in _TEXTS and not _is_short(kind, body[:-4]):
                trouble = f"has more than {MOST_TEXT // 2**20} MiB of text"
            elif not seen_pixels:
                chunks.setdefault(kind, body[:-4])
            if trouble is None and kind in _FOR_PILLOW and not (kind == b"eXIf" and seen_pixels):
                kept += [head, body]
            elif trouble is not None:
                odd.append(f"its chunk {kind.decode('latin-1')} {trouble}, and is left out")
        if kind == b"IEND":
            break
    else:
        raise ValueError(f"more than {MOST_CHUNKS:,} chunks")
    return Png(b"".join(kept), chunks, tuple(dict.fromkeys(odd)), kind == b"IEND")


def _is_short(kind: bytes, text: bytes) -> bool:
    packed = b""
    if kind == b"zTXt":
        packed = text.partition(b"\0")[2][1:]
    elif kind == b"iTXt" and (rest := text.partition(b"\0")[2])[:1] == b"\1":
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if len(text) > MOST_TEXT:
        return False
    try:
        return not packed or len(_unpacked(packed, MOST_TEXT)) < MOST_TEXT
    except ValueError:
        return False


def _unpacked(data: bytes, most: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        found = engine.decompress(data, most + 1)
    except zlib.error:
        raise ValueError("damaged") from None
    if len(found) > most:
        raise ValueError(f"of more than {most // 2**20} MiB")
    if not engine.eof:
        raise ValueError("damaged")
    return found


def plain_size(head: bytes) -> tuple[int, int] | None:
    """Return (height, width) of a PNG or JPEG whose first bytes hold all that bears on it, and no more; else None.

    None is no verdict: Pillow is to look. A size is only given where it would find the same, and no other orientation.
    """
    if head.startswith(_PNG_HEAD):
        return _plain_png(head)
    return _plain_jpeg(head) if head.startswith(b"\xff\xd8") else None


_PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def _plain_png(head: bytes) -> tuple[int, int] | None:
    width, height, depth, color, *methods = struct.unpack_from(">IIBBBBB", head.ljust(33, b"\0"), 16)
    usual = depth in (8, 16) and color in (0, 2, 6) and methods in ([0, 0, 0], [0, 0, 1]) and width and height
    if not usual or zlib.crc32(head[12:29]) != int.from_bytes(head[29:33]):
        return None
    place = 33
    while (kind := head[place + 4 : place + 8]) != b"IDAT":
        # Names in small letters are of what Pillow is not shown.
        if not kind[:1].islower() or kind in _FOR_PILLOW:
            return None
        place += 12 + int.from_bytes(head[place : place + 4])
    return height, width


def _plain_jpeg(head: bytes) -> tuple[int, int] | None:
    place, size = 2, None
    while place + 4 <= len(head) and head[place] == 0xFF:
        marker, length = head[place + 1], int.from_bytes(head[place + 2 : place + 4])
        body = head[place + 4 : place + 2 + length]
        if marker == _SOS:
            return size
        if marker in (0xC0, 0xC1, 0xC2) and size is None and length in (11, 17) and body[0] == 8:
            height, width, count = struct.unpack(">HHB", body[1:6])
            if length != 8 + 3 * count or not height or not width:
                return None
            size = height, width
        elif not _is_plain(marker, body) or len(body) != length - 2:
            return None
        place += 2 + length
    return None


def _is_plain(marker: int, body: bytes) -> bool:
    """Say whether a segment of a JPEG is as all programs write it, and bears on nothing that concerns the size."""
    if marker == 0xDB:  # tables of 64 bytes, each behind its number
        return len(body) % 65 == 0 and all(number < 4 for number in body[::65])
    if marker == 0xE0:
        return body.startswith(b"JFIF\0") and len(body) == 14
    if marker == 0xE2:
        return body.startswith(b"ICC_PROFILE\0") and len(body) > 14
    if marker == 0xEE:
        return body.startswith(b"Adobe") and len(body) == 12
    return marker in (0xC4, 0xDD, 0xFE)


def tiff_pieces(file: Source) -> int:
    """Return in how many strips or tiles a TIFF says to lie; 0 where its first directory cannot be read."""
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    large = int.from_bytes(head[2:4], order) == 43  # BigTIFF
    wide, entry = (8, 20) if large else (4, 12)
    file.seek(int.from_bytes(head[8:16] if large else head[4:8], order))
    count = int.from_bytes(file.read(8 if large else 2), order)
    entries = file.read(min(count, 2**16) * entry)
    pieces = 0
    for place in range(0, len(entries), entry):
        if int.from_bytes(entries[place : place + 2], order) in (273, 324):  # StripOffsets, TileOffsets
            pieces = max(pieces, int.from_bytes(entries[place + 4 : place + 4 + wide], order))
    file.seek(0)
    return pieces


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker of a JPEG that has a segment, with the segment; what is entropy-coded is passed over."""
    place = 2
    while (found := _MARKER.search(data, place)) is not None:
        place = found.end()
        marker = data[place - 1]
        if marker == 0xD9:
            return
        if marker == 0x01:
            continue
        end = place + int.from_bytes(data[place : place + 2])
        yield marker, data[place + 2 : end]
        place = max(end, place)


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")  # not a stuffed byte, a fill byte, a restart or a start
_SOS = 0xDA


def count_scans(data: bytes) -> int:
    """Return how many scans a JPEG has: each is a passage over the whole picture."""
    return sum(marker == _SOS for marker, _ in jpeg_segments(data))


def has_every_scan(data: bytes) -> bool:
    """Return whether the scans of a JPEG give every coefficient of every component to its last bit."""
    missing: dict[int, set[int]] = {}
    for marker, segment in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            missing = {segment[6 + 3 * i]: set(range(64)) for i in range((len(segment) - 6) // 3)}
        elif marker == _SOS and segment:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:
                for i in range(count):
                    missing[segment[1 + 2 * i]] -= set(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def avif_color(data: bytes) -> tuple[tuple[int, int] | None, int]:
    """Return an AVIF's (primaries, transfer) by ITU-T H.273, or None where it names none, and its bits a channel."""
    named = data.find(b"colrnclx")
    code = struct.unpack_from(">HH", data, named + 8) if 0 <= named <= len(data) - 12 else None
    settings = data.find(b"av1C")
    flags = data[settings + 6] if 0 <= settings < len(data) - 6 else 0
    return code, (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def bmp_profile(data: bytes) -> tuple[bytes | None, str]:
    """Return the profile that lies in a BMP, and what its header says of colours that no profile holds, or ""."""
    size = int.from_bytes(data[14:18], "little")
    if size < 108 or len(data) < 14 + size:
        return None, ""
    space = data[70:74]
    if size >= 124 and space == b"DEBM":
        start, length = struct.unpack_from("<II", data, 14 + 112)
        profile = data[14 + start : 14 + start + length]
        return (profile, "") if len(profile) == length > 0 else (None, "its colour profile is cut short")
    if space == b"KNIL":
        return None, "its colour profile is another file, which is not read"
    # What is calibrated names its primaries and exponents; most programs write zeros there.
    return None, "its header gives primaries and exponents, which are not read" if space == bytes(4) and any(
        data[74:122]
    ) else ""
