"""Arrays to the bytes of image files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

Rows = Callable[[int, int], NDArray[Any]]  # of (first, end): those rows of samples [h, w, c]
Chunks = Sequence[tuple[bytes, bytes]]  # of (name, data)


def encode_png(array: NDArray[Any], *, icc: bytes | None = None, chunks: Chunks = ()) -> bytes:
    """Return a PNG file of [h, w] or [h, w, 1 to 4] (grey, grey and alpha, RGB, RGBA), uint8 or uint16.

    `chunks` stand behind its header. Raises ValueError for any other shape or dtype.
    """
    samples: NDArray[Any] = array[..., None] if array.ndim == 2 else array
    if array.dtype not in (np.uint8, np.uint16) or samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"a PNG is [h, w] or [h, w, 1 to 4] of uint8 or uint16, not {array.shape} of {array.dtype}")
    if array.dtype == np.uint16:
        return b"".join(png_parts(lambda first, end: samples[first:end], samples.shape, 16, icc=icc, chunks=chunks))
    data = encode_with_pillow("PNG", samples, compress_level=4, **({} if icc is None else {"icc_profile": icc}))
    return data[:_PNG_HEAD] + b"".join(_chunk(*chunk) for chunk in chunks) + data[_PNG_HEAD:] if chunks else data


_PNG_HEAD = 33  # bytes: the signature, and the chunk IHDR
_BAND = 64  # rows that are encoded at a time


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encode_with_pillow(name: str, samples: NDArray[np.uint8], **options: Any) -> bytes:
    """Return a file of a format of Pillow's, of [h, w, c] uint8; `options` are those of its `save`."""
    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    data = io.BytesIO()
    image.save(data, format=name, **options)
    return data.getvalue()


# PNGs of 16 bits are encoded here: Pillow has no such colour, OpenCV no such grey with alpha and no profile. So are
# large ones of 8 bits, which Pillow would copy. PNG and TIFF store the difference to the sample on the left, which
# deflate compresses well.


def png_parts(
    rows: Rows, shape: tuple[int, ...], depth: int, *, icc: bytes | None = None, chunks: Chunks = ()
) -> Iterator[bytes]:
    """Yield a PNG file of samples [h, w, 1 to 4] of so many bits, in parts; nothing is held but some rows.

    `chunks` stand behind its header.
    """
    height, width, channels = shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    yield b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    yield from (_chunk(*chunk) for chunk in chunks)
    if icc is not None:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    step = channels * depth // 8
    deflate = zlib.compressobj(4)
    for first in range(0, height, _BAND):
        samples = rows(first, min(first + _BAND, height))
        plain = samples.astype(">u2" if depth == 16 else np.uint8).reshape(len(samples), -1).view(np.uint8)
        filtered = np.ones((len(samples), 1 + plain.shape[1]), np.uint8)  # each row begins with its filter: 1, "Sub"
        filtered[:, 1 : 1 + step] = plain[:, :step]
        np.subtract(plain[:, step:], plain[:, :-step], out=filtered[:, 1 + step :])
        if packed := deflate.compress(filtered.data):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", deflate.flush()) + _chunk(b"IEND", b"")


def tiff_parts(
    rows: Rows,
    shape: tuple[int, ...],
    dtype: Any,
    icc: bytes | None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> list[bytes]:
    """Return a TIFF file of samples [h, w, 1 to 4] in parts: one strip, deflated, with what stands beside.

    Channels are grey, grey and alpha, RGB, or RGBA. Pillow's own writer of deflated files takes no EXIF.

    `exif` is a TIFF header with its directory, `dpi` are pixels an inch, across and down.
    """
    height, width, channels = shape
    deflate, data = zlib.compressobj(4), []
    for first in range(0, height, _BAND):
        samples = rows(first, min(first + _BAND, height))
        differences = samples.astype(np.dtype(dtype).newbyteorder("<"))
        differences[:, 1:] -= samples[:, :-1]
        data.append(deflate.compress(differences.data))
    data.append(deflate.flush())
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    if exif is not None:
        found = Image.Exif()
        found.load(exif)
        for tag, value in found.items():
            directory[tag] = found.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    # TIFF 6.0 and its first supplement
    directory[256], directory[257] = width, height
    directory[258] = (8 * np.dtype(dtype).itemsize,) * channels
    directory[259] = 8  # deflate
    directory[262] = 2 if channels >= 3 else 1  # RGB, or black is zero
    directory[273], directory[279] = (
        0,
        sum(map(len, data)),
    )  # the one strip follows the directory: Pillow counts from there
    directory[277], directory[278] = channels, height
    directory[317] = 2  # horizontal differences
    if dpi is not None:
        directory[282], directory[283], directory[296] = *dpi, 2
    if channels in (2, 4):
        directory[338] = 2  # the last channel is alpha, not premultiplied
    if icc is not None:
        directory.tagtype[34675] = 7
        directory[34675] = icc
    return [struct.pack("<2sHI", b"II", 42, 8) + directory.tobytes(8), *data]
