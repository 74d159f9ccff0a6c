"""Image files opened: which they are, and all that is refused before anything is decoded.

Anything wrong with a file is one error, InputRejected.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import stat
import threading
import time
import warnings
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import attrs
from PIL import Image, features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from srkit.errors import InputRejected, describe
from srkit.images import containers

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Pillow reads AVIF from 11.3 on, where its package was built with it.
_READS_AVIF = bool(features.check("avif")) if "avif" in features.modules else False
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp"),
    *([".avif"] if _READS_AVIF else []),
)

MAX_BYTES = 512 * 2**20
MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535
MAX_DECODED = 400_000_000  # bytes of pixels: as many as MAX_PIXELS of 8 bits with alpha
MAX_SCANS = 64  # each is a passage over the whole JPEG; usual progressive ones have ten
MAX_PIECES = 2**18  # strips or tiles of a TIFF: a strip for each row of each channel at most
MAX_SECONDS = 60.0  # of computing: what is read takes ten, on a slow machine
# Deflate gives at most 1,032 bytes for one; more than FREE_BYTES are made only by so many bytes of file.
MOST_RATIO = 5_000
FREE_BYTES = 64 * 2**20

_LOG = logging.getLogger("srkit")
KINDS = "PNG, JPEG, WebP, TIFF, BMP or AVIF" if _READS_AVIF else "PNG, JPEG, WebP, TIFF or BMP"
_SAVE_AS = "save it as RGB or grey of 8 or 16 bits"

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
MODES = {
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


class Timed:
    """A file that is read for MAX_SECONDS of a thread's computing at most, however busy the machine is.

    Pillow comes back to its file for each block, strip, tile or run. What it decodes at one go is bounded by the pixels
    and scans that are read: 0.2 s a megapixel were the most, for an AVIF of noise.
    """

    def __init__(self, path: str | os.PathLike[str], file: IO[bytes], until: float | None = None) -> None:
        self._path, self._file = path, file
        self._until = time.thread_time() + MAX_SECONDS if until is None else until
        # A clock on the wall costs less to look at, and no thread computes for longer than that says.
        self._not_before = time.monotonic() + self._until - time.thread_time()

    def of(self, data: bytes) -> Timed:
        """Return bytes as a file that has the time that is left of this one's."""
        return Timed(self._path, io.BytesIO(data), self._until)

    def read(self, size: int = -1, /) -> bytes:
        """Read as a file does. Raises InputRejected when the time is over, as `seek` does."""
        self._heed()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place as a file does."""
        self._heed()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._file.tell()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _heed(self) -> None:
        if time.monotonic() > self._not_before and time.thread_time() > self._until:
            seconds = f"{MAX_SECONDS:g} s of computing"
            raise InputRejected(self._path, f"takes more than {seconds} to decode, as no usual picture does")


@attrs.frozen
class Header:
    """What is known of an open image before it is decoded; `height` and `width` are the upright image's."""

    file: Timed
    image: ImageFile
    height: int
    width: int
    depth: int
    grey: bool
    orientation: int
    png: containers.Png | None

    @property
    def has_alpha(self) -> bool:
        return self.image.mode in ("LA", "PA", "RGBA") or "transparency" in self.image.info


def size_of_plain(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return (height, width) of a file that is as most are, from its first bytes; None where `opened` must look.

    It takes a tenth of the time: folders have tens of thousands of images.
    """
    try:
        descriptor = os.open(path, _READ)
        try:
            status = os.fstat(descriptor)
            head = os.read(descriptor, _HEAD)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # a name with NUL
        return None
    size = containers.plain_size(head)
    if size is None or not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES or max(size) > MAX_SIDE:
        return None
    return size if size[0] * size[1] <= MAX_DECODED // 8 else None  # of four channels of 16 bits


_HEAD = 4_096  # bytes
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would be waited for


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], data: bytes | None = None, *, whole: bool = True) -> Iterator[Header]:
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
        with _QUIET, open(path, "rb") if data is None else io.BytesIO(data) as file:
            yield _read_header(path, Timed(path, file), length, whole=whole)
    except InputRejected:
        raise
    except MemoryError as error:
        raise InputRejected(path, "does not fit in memory") from error
    except Exception as error:  # of bytes that anyone may have written, decoders raise anything
        if isinstance(error, OSError) and error.errno is not None:
            loop = error.errno == errno.ELOOP
            reason = "is a link that leads back to itself" if loop else f"cannot be read: {error.strerror}"
            raise InputRejected(path, reason) from error
        raise InputRejected(path, f"cannot be decoded: {describe(error)}") from error


class _Quiet:
    """Keeps Pillow's warnings from people: what matters of them is an error or a line of ours.

    The filters of warnings belong to the process, and several threads decode: the first one in sets them, and the last
    one out puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


_QUIET = _Quiet()


def _read_header(path: str | os.PathLike[str], file: Timed, length: int, *, whole: bool) -> Header:
    head = file.read(32)
    file.seek(0)
    reader = next((reader for signature, reader in _READERS if head.startswith(signature)), None)
    if _READS_AVIF and head[4:12] in (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1"):
        reader = _avif_reader()
    if reader is None or (reader is WebPImageFile and head[8:12] != b"WEBP"):
        raise InputRejected(path, f"is not {KINDS}: it begins with {head[:12]!r}")
    png = containers.read_png(file, length, whole=whole) if reader is PngImageFile else None
    source = file.of(png.data) if png is not None else file
    if reader is TiffImageFile and (pieces := containers.tiff_pieces(file)) > MAX_PIECES:
        raise InputRejected(path, f"is in {pieces:,} strips or tiles; at most {MAX_PIECES:,} are read")
    try:
        image = reader(source)  # without its name: a TIFF would be mapped into memory, and could not be turned
    except SyntaxError as error:
        if "unknown" not in str(error):
            raise
        raise InputRejected(path, f"has samples that are not read ({error}): {_SAVE_AS}") from None
    width, height = image.size
    depth, grey = 8, image.mode in _GREY_MODES
    odd = ""
    if isinstance(image, PngImageFile):
        depth, grey = head[24], grey or head[25] == 4  # Pillow has no grey with alpha of 16 bits: it says RGBA
    elif isinstance(image, TiffImageFile):
        width, height = image.tag_v2[256], image.tag_v2[257]  # as stored: some of Pillow's versions turn `size`
        depth = max(image.tag_v2.get(258, (1,)))
        odd = _odd_tiff(image, depth)
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
    if image.mode not in MODES or depth not in (1, 2, 4, 8, 16) or odd or (depth == 16 and image.mode == "CMYK"):
        kind = f"{odd} {image.mode}".strip()
        raise InputRejected(path, f"has samples that are not read ({kind}, {depth} bits): {_SAVE_AS}")
    header = Header(source, image, height, width, depth, grey, orientation, png)
    decoded = width * height * (4 if header.has_alpha else 3) * (2 if depth == 16 else 1)
    if decoded > MAX_DECODED:
        size = f"is {width}x{height}, {decoded / 1e6:,.0f} MB of pixels"
        raise InputRejected(path, f"{size}; at most {MAX_DECODED // 10**6} are read")
    return header


def _avif_reader() -> type[ImageFile]:
    from PIL.AvifImagePlugin import AvifImageFile

    return AvifImageFile


def _odd_tiff(image: TiffImageFile, depth: int) -> str:
    """Return what a TIFF says of its samples that Pillow would pass over, or ""."""
    tags = image.tag_v2
    photometric = tags.get(262, 0)
    if any(kind in (2, 3) for kind in tags.get(339, (1,))) and image.mode not in ("I", "F"):
        return "signed"
    if depth == 16 and photometric == 0:
        return "inverted"
    if photometric == 5 and tags.get(332, 1) != 1:
        return "other inks than"
    jpeg = tags.get(259) == 7  # whose decoder knows its own colours
    if photometric == 6 and not jpeg and (tags.get(530, (2, 2)) != (1, 1) or 529 in tags or 532 in tags):
        return "subsampled or scaled"
    return ""


def _orientation(image: ImageFile) -> int:
    value: object = 1
    with contextlib.suppress(Exception):  # EXIF that cannot be read says nothing of the picture
        # The base class's own: PNG's would decode the whole image to look for EXIF behind it.
        value = Image.Image.getexif(image).get(0x0112)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def warn(path: str | os.PathLike[str], text: str) -> None:
    name = "".join(c if c.isprintable() else " " for c in os.fspath(path))
    _LOG.warning("%s: %s", name, text)
