"""Arrays to the bytes of image files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_png(array: NDArray[Any], *, icc: bytes | None = None, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a PNG file of [h, w] or [h, w, 1 to 4] (grey, grey and alpha, RGB, RGBA), uint8 or uint16.

    `chunks`, of (name, data), stand behind its header. Raises ValueError for any other shape or dtype.
    """
    samples: NDArray[Any] = array[..., None] if array.ndim == 2 else array
    if array.dtype not in (np.uint8, np.uint16) or samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"a PNG is [h, w] or [h, w, 1 to 4] of uint8 or uint16, not {array.shape} of {array.dtype}")
    data = (
        _encode_png16(samples, icc)
        if array.dtype == np.uint16
        else encode_with_pillow("PNG", samples, compress_level=4, **({} if icc is None else {"icc_profile": icc}))
    )
    return data[:_PNG_HEAD] + b"".join(_chunk(*chunk) for chunk in chunks) + data[_PNG_HEAD:] if chunks else data


_PNG_HEAD = 33  # bytes: the signature, and the chunk IHDR


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encode_with_pillow(name: str, samples: NDArray[np.uint8], **options: Any) -> bytes:
    """Return a file of a format of Pillow's, of [h, w, c] uint8; `options` are those of its `save`."""
    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    data = io.BytesIO()
    image.save(data, format=name, **options)
    return data.getvalue()


# 16-bit PNGs are encoded here: Pillow has no such colour, OpenCV no such grey with alpha and no profile. Both
# encoders store the difference to the sample on the left, which deflate compresses well.


def _encode_png16(samples: NDArray[np.uint16], icc: bytes | None) -> bytes:
    height, width, channels = samples.shape
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.ones((height, 1 + rows.shape[1]), np.uint8)  # each row begins with its filter: 1, "Sub"
    step = 2 * channels
    filtered[:, 1 : 1 + step] = rows[:, :step]
    np.subtract(rows[:, step:], rows[:, :-step], out=filtered[:, 1 + step :])
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))]
    if icc is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    packed = zlib.compress(filtered.data, 4)
    chunks += [(b"IDAT", packed[start : start + 2**30]) for start in range(0, len(packed), 2**30)]
    chunks.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def encode_tiff(
    samples: NDArray[Any], icc: bytes | None, exif: bytes | None = None, dpi: tuple[float, float] | None = None
) -> bytes:
    """Return a TIFF file of [h, w, 1 to 4] uint8 or uint16, one strip, deflated, with what stands beside.

    Channels are grey, grey and alpha, RGB, or RGBA. Pillow's own writer of deflated files takes no EXIF.

    `exif` is a TIFF header with its directory, `dpi` are pixels an inch, across and down.
    """
    height, width, channels = samples.shape
    differences = samples.astype(samples.dtype.newbyteorder("<"))
    differences[:, 1:] -= samples[:, :-1]
    data = zlib.compress(differences.data, 4)
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    if exif is not None:
        found = Image.Exif()
        found.load(exif)
        for tag, value in found.items():
            directory[tag] = found.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    # TIFF 6.0 and its first supplement
    directory[256], directory[257] = width, height
    directory[258] = (8 * samples.dtype.itemsize,) * channels
    directory[259] = 8  # deflate
    directory[262] = 2 if channels >= 3 else 1  # RGB, or black is zero
    directory[273], directory[279] = 0, len(data)  # the one strip follows the directory: Pillow counts from there
    directory[277], directory[278] = channels, height
    directory[317] = 2  # horizontal differences
    if dpi is not None:
        directory[282], directory[283], directory[296] = *dpi, 2
    if channels in (2, 4):
        directory[338] = 2  # the last channel is alpha, not premultiplied
    if icc is not None:
        directory.tagtype[34675] = 7
        directory[34675] = icc
    return struct.pack("<2sHI", b"II", 42, 8) + directory.tobytes(8) + data
