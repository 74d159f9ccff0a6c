"""Image files to arrays: depth, alpha, grey, orientation.

Pillow decodes, and what it finds wrong is believed. OpenCV stands in for the one thing that Pillow cannot do: 16-bit
colour, of which Pillow keeps the upper eight bits. Anything wrong with a file is one error, InputRejected.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from PIL import Image, ImageChops
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from srkit.errors import InputRejected, describe
from srkit.images import containers
from srkit.images.color import cmyk_to_srgb, is_srgb_code
from srkit.images.opening import FREE_BYTES, MAX_SCANS, MODES, MOST_RATIO, Header, Timed, opened, size_of_plain, warn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from srkit.plugin.contracts import Image as Pixels

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


@attrs.frozen
class Jpeg:
    """The quality of a JPEG: its tables of 64 steps, for luma and, of colour, for chroma, or else libjpeg's number for
    them; and Pillow's number for how chroma is subsampled, 0 for not at all."""

    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: int = 0
    quality: int = 95

    def options(self, *, grey: bool) -> dict[str, Any]:
        """Return the words of Pillow's `save` for it."""
        tables = self.tables[: 1 if grey else 2]
        if not tables:
            return {"quality": self.quality, "subsampling": self.subsampling}
        return {"qtables": [list(tables[0]), list(tables[-1])], "subsampling": 0 if grey else self.subsampling}


@attrs.frozen(eq=False)
class Picture:
    """A picture as its file holds it, upright.

    `pixels` is [h, w, 3], RGB, uint8 or uint16; `alpha` is [h, w] of the same dtype, not premultiplied, or None.
    `grey` says that the file has one channel, which stands three times in `pixels`. `icc` is the colour profile,
    `color` are the chunks of a PNG that say what colours mean. `dpi` are the pixels an inch, across and down;
    `exif` is what a camera wrote, without the orientation, which has been applied. `jpeg` is how a JPEG was encoded.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    icc: bytes | None = attrs.field(default=None, repr=False)
    color: tuple[tuple[bytes, bytes], ...] = attrs.field(default=(), repr=False)
    dpi: tuple[float, float] | None = None
    exif: bytes | None = attrs.field(default=None, repr=False)
    jpeg: Jpeg | None = attrs.field(default=None, repr=False)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return an upright image's (height, width) in pixels, from its header alone. Raises InputRejected."""
    if (size := size_of_plain(path)) is not None:
        return size
    with opened(path, whole=False) as header:
        return header.height, header.width


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """Return an image, [h, w, 3], RGB, uint8 or uint16 as its file has it, upright; grey stands in all three channels.

    The numbers are the file's, whichever colours its profile gives them; CMYK becomes sRGB. Raises InputRejected, also
    for an image that is transparent anywhere: what lies under it is nothing to learn from or to measure.
    """
    return _decode(path, alpha=False).pixels


def decode_image(data: bytes, path: str | os.PathLike[str]) -> Pixels:
    """Return the image that a file's bytes hold, as `read_image`; `path` is what errors name. Raises InputRejected."""
    return _decode(path, alpha=False, data=data).pixels


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Return a picture with all that `save_picture` keeps, but without alpha, as `read_image`. Raises InputRejected."""
    return attrs.evolve(_decode(path, alpha=False, everything=True), alpha=None)


def open_picture(path: str | os.PathLike[str], data: bytes | None = None) -> Picture:
    """Return a picture with all that `save_picture` keeps, of a file, or of its bytes: then `path` is what errors name.

    Raises InputRejected.
    """
    return _decode(path, alpha=True, everything=True, data=data)


def _decode(
    path: str | os.PathLike[str], *, alpha: bool, everything: bool = False, data: bytes | None = None
) -> Picture:
    with opened(path, data) as header:
        image = header.image
        mode, info = image.mode, image.info
        key = info.get("transparency") if mode in ("1", "L", "RGB", "I;16") else None
        for odd in header.png.odd if header.png is not None else ():
            warn(path, odd)
        beside = _beside(path, header) if everything else {}
        if alpha and isinstance(image, JpegImageFile):
            beside["jpeg"] = _jpeg(image)
        icc = beside["icc"] if everything else (_icc(path, header) if mode == "CMYK" else None)
        if mode == "CMYK":
            beside["icc"] = None  # what it means becomes the pixels
        if everything and isinstance(image, TiffImageFile) and icc is None:
            _warn_of_tiff_colors(path, image)
        image = _loaded(path, header)
        if header.depth == 16 and mode in ("RGB", "RGBA"):
            samples = _decode_deep(path, header)
        elif mode == "CMYK":
            samples = _decode_inks(path, image, icc)
        else:
            target = "RGBA" if mode == "P" and header.has_alpha else MODES[mode]
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
        if mask is not None and not alpha:
            if mask.min() < np.iinfo(mask.dtype).max:
                raise InputRejected(
                    path, "has transparency, and what lies under it is not defined: save it without alpha"
                )
            mask = None
        pixels = np.array(np.broadcast_to(samples, (header.height, header.width, 3)), order="C")
        return Picture(pixels, mask, header.grey, **beside)


_NO_END = "lacks its end marker; no pixel is missing"


def _loaded(path: str | os.PathLike[str], header: Header) -> ImageFile:
    """Decode a picture and return it. Raises InputRejected for one that would cost more than it shows."""
    image, file = header.image, header.file
    compressed = file.seek(0, os.SEEK_END)
    decoded = header.height * header.width * 3
    if decoded > FREE_BYTES + compressed * MOST_RATIO:
        size = f"is {header.width}x{header.height} in {compressed:,} bytes"
        raise InputRejected(path, f"{size}: no picture is so small; save it as PNG if it is one colour")
    if not isinstance(image, JpegImageFile):
        image.load()
        if header.png is not None and not header.png.ends:
            warn(path, _NO_END)
        return image
    file.seek(0)
    data = file.read()
    if data.count(b"\xff\xda") > MAX_SCANS and (scans := containers.count_scans(data)) > MAX_SCANS:
        raise InputRejected(path, f"has {scans:,} scans; at most {MAX_SCANS} are read")
    try:
        image.load()
    except OSError as error:
        whole = _without_end(data, file) if error.errno is None else None
        if whole is None:
            raise
        warn(path, _NO_END)
        return whole
    return image


def _without_end(data: bytes, file: Timed) -> JpegImageFile | None:
    """Return a JPEG that lacks nothing but its end marker, or None where pixels are missing.

    Where a bit of the picture is missing, what stands in its place is decoded: then one end gives other pixels than
    another.
    """
    data = data.removesuffix(b"\xff")
    found: list[JpegImageFile] = []
    if containers.has_every_scan(data):
        for end in (b"", b"\x00", b"\x55", b"\xaa", b"\xfe"):
            image = JpegImageFile(file.of(data + end * 64 + b"\xff\xd9"))
            try:
                image.load()
            except OSError:
                return None
            if found and image.tobytes() != found[0].tobytes():
                return None
            found = found or [image]
    return found[0] if found else None


def _decode_inks(path: str | os.PathLike[str], image: Image.Image, icc: bytes | None) -> NDArray[Any]:
    """Return CMYK as sRGB: by its profile, or else as if inks were perfect."""
    if isinstance(image, JpegImageFile) and "adobe" not in image.info:
        # Adobe's programs store inks inverted and say so; Pillow takes every JPEG for one of theirs.
        image = ImageChops.invert(image)
    if icc is not None:
        try:
            return np.asarray(cmyk_to_srgb(image, icc))
        except ValueError as error:
            warn(path, f"its colour profile {error}; its inks are taken for perfect ones")
    return np.asarray(image.convert("RGB"))


def _beside(path: str | os.PathLike[str], header: Header) -> dict[str, Any]:
    """Return what a picture keeps beside its pixels, by its fields' names."""
    image, png = header.image, header.png
    color: tuple[tuple[bytes, bytes], ...] = ()
    dpi = png.dpi if png is not None else image.info.get("dpi")
    if isinstance(image, TiffImageFile | JpegImageFile) and not _names_resolution(image):
        dpi = None  # Pillow has a number for those, too
    icc = _icc(path, header)
    if png is not None:
        color = tuple((name, png.chunks[name]) for name in containers.COLOR_CHUNKS if name in png.chunks)
    elif image.format == "AVIF":
        header.file.seek(0)
        code, depth = containers.avif_color(header.file.read(2**16))
        if icc is None and code is not None and not is_srgb_code(*code):
            color = ((b"cICP", bytes([*code, 0, 1])),)
        if depth > 8:
            warn(path, f"has {depth} bits a channel, of which the upper 8 are read")
    try:
        dpi = None if dpi is None else (float(dpi[0]), float(dpi[1]))
        if dpi is not None and not all(0 < value < 1e6 for value in dpi):
            dpi = None
    except (TypeError, ValueError, ZeroDivisionError):
        dpi = None
    if dpi is not None and header.orientation >= 5:
        dpi = dpi[::-1]
    return {"icc": icc, "color": color, "dpi": dpi, "exif": _exif(path, image)}


def _jpeg(image: JpegImageFile) -> Jpeg | None:
    """Return how a grey or a colour JPEG was encoded; None for other channels, of inks say."""
    if image.mode not in ("L", "RGB"):
        return None
    try:
        chosen = [image.quantization[layer[3]] for layer in image.layer[:2]]
        subsampling = get_sampling(image)
    except (IndexError, KeyError, TypeError):  # tables may stand between scans
        return None
    return Jpeg(tuple(map(tuple, chosen)), max(subsampling, 0))


def _names_resolution(image: ImageFile) -> bool:
    if image.info.get("jfif_unit") in (1, 2):
        return True
    with contextlib.suppress(Exception):
        return 282 in Image.Image.getexif(image)
    return False


def _icc(path: str | os.PathLike[str], header: Header) -> bytes | None:
    image, trouble = header.image, ""
    icc: bytes | None = None
    if header.png is not None:
        try:
            return header.png.icc
        except ValueError as error:
            trouble = f"its colour profile is {error}, and is left out"
    elif isinstance(image, BmpImageFile):
        header.file.seek(0)
        icc, trouble = containers.bmp_profile(header.file.read())
        header.file.seek(0)
    else:
        icc = image.info.get("icc_profile") or None
    if trouble:
        warn(path, trouble)
    return icc


# Baseline TIFF's and EXIF's texts, and where EXIF's and GPS's own tags lie: the rest of a TIFF's is of its pixels.
_TIFF_TEXTS = (270, 271, 272, 305, 306, 315, 33432, 0x8769, 0x8825)
# Of an EXIF, the resolution goes by itself, and the orientation has been applied.
_NOT_KEPT = (0x0112, 282, 283, 296)


def _exif(path: str | os.PathLike[str], image: ImageFile) -> bytes | None:
    """Return a picture's EXIF, from its TIFF header on, without the orientation; None where there is nothing in it."""
    try:
        found = Image.Image.getexif(image)
        kept = Image.Exif()
        kept.endian = "<"
        for tag in list(found):
            if (tag in _TIFF_TEXTS) if isinstance(image, TiffImageFile) else (tag not in _NOT_KEPT):
                kept[tag] = found.get_ifd(tag) if tag in (0x8769, 0x8825) else found[tag]
        return kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) else None
    except Exception as error:  # of bytes that anyone may have written
        warn(path, f"its EXIF cannot be read, and is left out: {describe(error)}")
        return None


def _warn_of_tiff_colors(path: str | os.PathLike[str], image: TiffImageFile) -> None:
    names = {301: "TransferFunction", 318: "WhitePoint", 319: "PrimaryChromaticities"}
    found = [name for tag, name in names.items() if tag in image.tag_v2]
    if found:
        warn(path, f"its colours are read as they lie: {', '.join(found)} of TIFF cannot be kept")


def _decode_deep(path: str | os.PathLike[str], header: Header) -> NDArray[Any]:
    """Return 16-bit colour, [h, w, 3 or 4]; Pillow has decoded the same file and vouches for the upper eight bits."""
    cv2 = _cv2(path)
    upper = np.asarray(header.image)
    header.file.seek(0)
    data = header.file.read()
    if isinstance(header.image, PngImageFile):
        data = _critical_chunks(data)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is not None and decoded.dtype == np.uint16 and decoded.ndim == 3 and decoded.shape[2] >= upper.shape[2]:
        samples = decoded[..., 2::-1] if upper.shape[2] == 3 else cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA)
        turns: list[Callable[[NDArray[Any]], NDArray[Any]]] = [np.asarray]
        if isinstance(header.image, TiffImageFile) and header.orientation != 1:  # which Pillow has turned
            turns.append(_UPRIGHT[header.orientation])
        for turn in turns:
            upright = turn(samples)
            if upright.shape == upper.shape and _has_upper_bits(upright, upper):
                return upright
    raise InputRejected(
        path, "is 16-bit colour of a kind that Pillow and OpenCV read differently: save it as 16-bit PNG"
    )


def _has_upper_bits(samples: NDArray[np.uint16], upper: NDArray[np.uint8]) -> bool:
    """Compare in bands of rows: as a whole it would take the room of the picture once more."""
    band = 64
    return all(
        np.array_equal(samples[start : start + band] >> 8, upper[start : start + band])
        for start in range(0, len(upper), band)
    )


_END = b"\0\0\0\0IEND\xaeB`\x82"


def _critical_chunks(data: bytes) -> bytes:
    """Return a PNG's header and pixels alone: OpenCV makes room for any length that any chunk claims to have."""
    kept, place, kind = [data[:8]], 8, b""
    while kind != b"IEND" and place + 12 <= len(data):  # its end may be missing, which is a warning
        kind = data[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(data[place : place + 4])
        if end > len(data):
            raise ValueError("a chunk reaches beyond the end of the file")
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(data[place:end])
        place = end
    return b"".join(kept if kind == b"IEND" else [*kept, _END])


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
