"""Arrays to the bytes of image files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode_png(array: NDArray[Any], *, icc: bytes | None = None) -> bytes:
    """Return a PNG file of [h, w] or [h, w, 1 to 4] (grey, grey and alpha, RGB, RGBA), uint8 or uint16.

    Raises ValueError for any other shape or dtype.
    """
    samples: NDArray[Any] = array[..., None] if array.ndim == 2 else array
    if array.dtype not in (np.uint8, np.uint16) or samples.ndim != 3 or samples.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"a PNG is [h, w] or [h, w, 1 to 4] of uint8 or uint16, not {array.shape} of {array.dtype}")
    return (
        _encode_png16(samples, icc)
        if array.dtype == np.uint16
        else encode_with_pillow("PNG", samples, icc, compress_level=4)
    )


def encode_with_pillow(name: str, samples: NDArray[np.uint8], icc: bytes | None, **options: Any) -> bytes:
    """Return a file of a format of Pillow's, of [h, w, c] uint8; `options` are those of its `save`."""
    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    data = io.BytesIO()
    image.save(data, format=name, **options, **({} if icc is None else {"icc_profile": icc}))
    return data.getvalue()


# 16-bit samples are encoded here: Pillow has no such colour, OpenCV no such grey with alpha and no profile. Both
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
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def encode_tiff16(samples: NDArray[np.uint16], icc: bytes | None) -> bytes:
    """Return a TIFF file of [h, w, 1, 3 or 4] uint16 (grey, RGB, RGBA), one strip, deflated."""
    height, width, channels = samples.shape
    differences = samples.astype("<u2")
    differences[:, 1:] -= samples[:, :-1]
    data = zlib.compress(differences.data, 4)
    data += b"\0" * (len(data) % 2)
    tags: list[tuple[int, str, list[int] | bytes]] = [  # TIFF 6.0 and its first supplement: tag, type, values
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [16] * channels),
        (259, "H", [8]),  # deflate
        (262, "H", [2 if channels >= 3 else 1]),  # RGB, or black is zero
        (273, "I", [8]),  # the one strip follows the header
        (277, "H", [channels]),
        (278, "I", [height]),
        (279, "I", [len(data)]),
        (317, "H", [2]),  # horizontal differences
    ]
    if channels == 4:
        tags.append((338, "H", [2]))  # the fourth channel is alpha, not premultiplied
    if icc is not None:
        tags.append((34675, "B", icc))
    directory = struct.pack("<H", len(tags))
    beyond = b""  # values of more than four bytes stand behind the directory
    start = 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        value = struct.pack(f"<{len(values)}{kind}", *values)
        if len(value) > 4:
            value, beyond = struct.pack("<I", start + len(beyond)), beyond + value + b"\0" * (len(value) % 2)
        directory += struct.pack("<HHI4s", tag, {"B": 1, "H": 3, "I": 4}[kind], len(values), value)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4) + beyond
