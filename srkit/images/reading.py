"""Image files to arrays: depth, alpha, grey, orientation.

Pillow decodes, and what it finds wrong is believed. OpenCV stands in for the one thing that Pillow cannot do: 16-bit
colour, of which Pillow keeps the upper eight bits. Anything wrong with a file is one error, InputRejected.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

import attrs
import numpy as np
from PIL import Image, features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from srkit.errors import InputRejected, describe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from srkit.plugin.contracts import Image as Pixels

# Pillow reads AVIF from 11.3 on, where its package was built with it.
_READS_AVIF = bool(features.check("avif")) if "avif" in features.modules else False
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp"),
    *([".avif"] if _READS_AVIF else []),
)

MAX_BYTES = 512 * 2**20
MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535

# The readers themselves rather than `Image.open`, whose bomb check is a global limit that warns below ours. So a
# JPEG with further pictures behind it (the MPO files of telephones) is a JPEG, too.
_READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
    (b"BM", BmpImageFile),
)

# Pillow's modes that are read, and what each becomes.
_MODES = {
    "1": "L",
    "L": "L",
    "I;16": "I;16",
    "I;16B": "I;16B",
    "P": "RGB",
    "RGB": "RGB",
    "YCbCr": "RGB",
    "CMYK": "RGB",
    "LA": "LA",
    "PA": "RGBA",
    "RGBA": "RGBA",
}
_GREY_MODES = ("1", "L", "LA", "I;16", "I;16B")

# EXIF 2.32, 4.6.4, tag 0x0112: what turns the stored picture upright.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@attrs.frozen(eq=False)
class Picture:
    """A picture as its file holds it, upright.

    `pixels` is [h, w, 3], RGB, uint8 or uint16; `alpha` is [h, w] of the same dtype, not premultiplied, or None.
    `grey` says that the file has one channel, which stands three times in `pixels`. `icc` is the colour profile.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    icc: bytes | None = attrs.field(default=None, repr=False)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return an upright image's (height, width) in pixels, from its header alone. Raises InputRejected."""
    with _opened(path) as header:
        return header.height, header.width


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Return an image, [h, w, 3], RGB, uint8 or uint16 as its file has it, upright; grey stands in all three channels.

    Raises InputRejected, also for an image with alpha: what lies under it is nothing to learn from or to measure.
    """
    return _decode(path, alpha=False).pixels


def decode_image(data: bytes, path: str | os.PathLike[str]) -> Pixels:
    """Return the image that a file's bytes hold, as `read_image`; `path` is what errors name. Raises InputRejected."""
    return _decode(path, alpha=False, data=data).pixels


def open_picture(path: str | os.PathLike[str]) -> Picture:
    """Return a picture with all that `save_picture` keeps. Raises InputRejected."""
    return _decode(path, alpha=True)


@attrs.frozen
class _Header:
    """What is known of an open image before it is decoded; `height` and `width` are the upright image's."""

    file: IO[bytes]
    image: ImageFile
    height: int
    width: int
    depth: int
    grey: bool
    orientation: int

    @property
    def has_alpha(self) -> bool:
        return self.image.mode in ("LA", "PA", "RGBA") or "transparency" in self.image.info


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], data: bytes | None = None) -> Iterator[_Header]:
    """Open an image, a file or its bytes, and check all that its header tells; inside, too, any error is the file's."""
    try:
        if data is None:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise InputRejected(path, "is not a file")
        length = status.st_size if data is None else len(data)
        if length == 0:
            raise InputRejected(path, "is empty")
        if length > MAX_BYTES:
            raise InputRejected(path, f"has {length / 2**20:,.0f} MiB; at most {MAX_BYTES // 2**20} are read")
        with open(path, "rb") if data is None else io.BytesIO(data) as file:
            yield _read_header(path, file)
    except InputRejected:
        raise
    except MemoryError as error:
        raise InputRejected(path, "does not fit in memory") from error
    except Exception as error:  # of bytes that anyone may have written, decoders raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise InputRejected(path, f"cannot be read: {error.strerror}") from error
        raise InputRejected(path, f"cannot be decoded: {describe(error)}") from error


def _read_header(path: str | os.PathLike[str], file: IO[bytes]) -> _Header:
    head = file.read(32)
    file.seek(0)
    reader = next((reader for signature, reader in _READERS if head.startswith(signature)), None)
    if reader is None or (reader is WebPImageFile and head[8:12] != b"WEBP"):
        raise InputRejected(path, f"is not PNG, JPEG, WebP, TIFF or BMP: it begins with {head[:12]!r}")
    image = reader(file, os.fspath(path))
    width, height = image.size
    depth, grey, is_tiff = 8, image.mode in _GREY_MODES, isinstance(image, TiffImageFile)
    if isinstance(image, PngImageFile):
        depth, grey = head[24], grey or head[25] == 4  # Pillow has no grey with alpha of 16 bits: it says RGBA
    elif isinstance(image, TiffImageFile):
        width, height = image.tag_v2[256], image.tag_v2[257]  # as stored: some of Pillow's versions turn `size`
        depth = max(image.tag_v2.get(258, (1,)))
    orientation = _orientation(image)
    if orientation >= 5:
        width, height = height, width
    if max(width, height) > MAX_SIDE:
        raise InputRejected(path, f"is {width}x{height}; a side may have at most {MAX_SIDE:,} pixels")
    if width * height > MAX_PIXELS:
        megapixels = f"{width * height / 1e6:,.1f} megapixels"
        raise InputRejected(path, f"is {width}x{height}, {megapixels}; at most {MAX_PIXELS // 10**6} are read")
    if getattr(image, "is_animated", False):
        raise InputRejected(path, "holds several pictures: save the one that is meant as a file of its own")
    inverted = is_tiff and depth == 16 and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]
    if image.mode not in _MODES or depth not in (1, 2, 4, 8, 16) or inverted or (depth == 16 and image.mode == "CMYK"):
        kind = f"{'inverted ' if inverted else ''}{image.mode}, {depth} bits"
        raise InputRejected(path, f"has samples that are not read ({kind}): save it as RGB or grey of 8 or 16 bits")
    return _Header(file, image, height, width, depth, grey, orientation)


def _orientation(image: ImageFile) -> int:
    value: object = 1
    with contextlib.suppress(Exception):  # EXIF that cannot be read says nothing of the picture
        # The base class's own: PNG's would decode the whole image to look for EXIF behind it.
        value = Image.Image.getexif(image).get(0x0112)
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _decode(path: str | os.PathLike[str], *, alpha: bool, data: bytes | None = None) -> Picture:
    with _opened(path, data) as header:
        image = header.image
        if header.has_alpha and not alpha:
            raise InputRejected(path, "has transparency, and what lies under it is not defined: save it without alpha")
        mode = image.mode
        icc = image.info.get("icc_profile") if mode != "CMYK" else None
        key = image.info.get("transparency") if mode in ("1", "L", "RGB", "I;16") else None
        quiet: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if header.height * header.width > (Image.MAX_IMAGE_PIXELS or MAX_PIXELS):
            quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
        with quiet:
            image.load()
        if header.depth == 16 and mode in ("RGB", "RGBA"):
            samples = _decode_deep(path, header)
        else:
            target = "RGBA" if mode == "P" and header.has_alpha else _MODES[mode]
            samples = np.asarray(image if mode == target else image.convert(target))
            samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
        if not isinstance(image, TiffImageFile):  # Pillow turns those itself, when it loads them
            samples = _UPRIGHT.get(header.orientation, np.asarray)(samples)
        if samples.ndim == 2:
            samples = samples[..., None]
        mask = None
        if key is not None:
            mask = _mask_of_key(samples, key, header.depth)
        elif samples.shape[2] in (2, 4):
            mask, samples = np.ascontiguousarray(samples[..., -1]), samples[..., :-1]
        pixels = np.array(np.broadcast_to(samples, (header.height, header.width, 3)), order="C")
        return Picture(pixels, mask, header.grey, icc)


def _decode_deep(path: str | os.PathLike[str], header: _Header) -> NDArray[Any]:
    """Return 16-bit colour, [h, w, 3 or 4]; Pillow has decoded the same file and vouches for the upper eight bits."""
    cv2 = _cv2(path)
    upper = np.asarray(header.image)
    header.file.seek(0)
    data = header.file.read()
    if isinstance(header.image, PngImageFile):
        data = _critical_chunks(data)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is not None and decoded.dtype == np.uint16 and decoded.ndim == 3 and decoded.shape[2] >= upper.shape[2]:
        samples: NDArray[np.uint16] = decoded[..., [2, 1, 0, 3][: upper.shape[2]]]
        if samples.shape == upper.shape and np.array_equal(samples >> 8, upper):
            return samples
    raise InputRejected(
        path, "is 16-bit colour of a kind that Pillow and OpenCV read differently: save it as 16-bit PNG"
    )


def _critical_chunks(data: bytes) -> bytes:
    """Return a PNG's header and pixels alone: OpenCV makes room for any length that any chunk claims to have."""
    kept, place, kind = [data[:8]], 8, b""
    while kind != b"IEND":
        kind = data[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(data[place : place + 4])
        if end > len(data):
            raise ValueError("a chunk reaches beyond the end of the file")
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _cv2(path: str | os.PathLike[str]) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise InputRejected(
            path,
            f"16-bit colour needs OpenCV, which cannot be imported here ({describe(error)}); install the system's "
            "libGL (Debian: apt install libgl1) or replace the package: pip uninstall opencv-python && "
            "pip install opencv-python-headless",
        ) from error
    return cv2


def _mask_of_key(samples: NDArray[Any], key: Any, depth: int) -> NDArray[Any]:
    """Return the alpha of a PNG in which one colour, `key`, stands for nothing (PNG 3rd edition, 11.3.1.1, tRNS)."""
    if depth < 8:  # the key is in the file's own steps, the samples have been spread over 0..255
        key = min(key * 255 // (2**depth - 1), 255)
    full = np.iinfo(samples.dtype).max
    return np.where((samples == np.asarray(key)).all(axis=-1), 0, full).astype(samples.dtype)
