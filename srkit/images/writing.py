"""Arrays to image files: which format can hold a picture, and only whole files."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from srkit import files
from srkit.errors import InputRejected, describe
from srkit.images.color import is_grey_profile, say_more_than_srgb
from srkit.images.encoding import encode_png, encode_with_pillow, png_parts, tiff_parts
from srkit.images.reading import Jpeg, Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from srkit.plugin.contracts import Image as Pixels


def encode_image(image: Pixels) -> bytes:
    """Return the bytes of a PNG of an image, [h, w, 3], RGB, uint8 or uint16. Raises ValueError for another shape."""
    return encode_png(image)


def save_image(path: str | os.PathLike[str], image: Pixels) -> None:
    """Write an image, [h, w, 3], RGB, uint8 or uint16, in the format of the path's suffix. As `save_picture`."""
    save_picture(path, Picture(image))


def suffix_for(path: str | os.PathLike[str], picture: Picture) -> str:
    """Return the suffix of `path` where its format can hold the picture, ".png" otherwise."""
    suffix = Path(path).suffix
    return suffix if _obstacle(suffix, picture) is None else ".png"


def save_picture(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write a picture in the format of the path's suffix; only a whole file ever has that name.

    PNG, TIFF, WebP and BMP lose nothing; JPEG has the quality of the picture's `jpeg`, or else 95 and full colour
    resolution. Raises InputRejected where the format cannot hold the picture (see `suffix_for`) or the file cannot be
    written.
    """
    path = Path(path)
    obstacle = _obstacle(path.suffix, picture)
    if obstacle is not None:
        raise InputRejected(path, obstacle)
    try:
        files.write_file(path, encode_picture(path.suffix, picture))
    except OSError as error:
        raise InputRejected(path, f"cannot be written: {error.strerror or error}") from error
    except (ValueError, MemoryError, struct.error) as error:
        raise InputRejected(path, f"cannot be written: {describe(error)}") from error


@attrs.frozen
class _Format:
    """What a format can hold."""

    name: str
    side: int
    alpha: bool = True
    deep: bool = False
    icc: bool = True
    grey: bool = True
    options: dict[str, Any] = attrs.field(factory=dict)


_PNG = _Format("PNG", side=2**31 - 1, deep=True)
_JPEG = _Format("JPEG", side=65_500, alpha=False)
_TIFF = _Format("TIFF", side=2**31 - 1, deep=True)
_FORMATS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": _Format("WebP", side=16_383, grey=False, options={"lossless": True, "exact": True, "quality": 0}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": _Format("BMP", side=2**31 - 1, alpha=False, icc=False),
}


WRITTEN = tuple(_FORMATS)


def _obstacle(suffix: str, picture: Picture) -> str | None:
    """Return why a picture cannot be saved with a suffix, or None."""
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        return f"cannot be written: its suffix is none of {', '.join(WRITTEN)}"
    deep = picture.pixels.dtype == np.uint16
    lacking = None
    if deep and not kind.deep:
        lacking = "16 bits a channel"
    elif picture.alpha is not None and not kind.alpha and not _is_opaque(picture.alpha):
        lacking = "transparency"
    elif picture.icc is not None and not kind.icc:
        lacking = "a colour profile"
    elif picture.grey and not kind.grey and is_grey_profile(picture.icc):
        lacking = "the colour profile of a grey picture"
    elif kind is not _PNG and say_more_than_srgb(picture.color, picture.icc):
        lacking = "the colours that PNG's chunks name"
    elif max(picture.pixels.shape) > kind.side:
        lacking = f"a side of more than {kind.side:,} pixels"
    elif deep and picture.grey and picture.alpha is not None and kind is _TIFF:  # Pillow could not read it back
        lacking = "16-bit grey with transparency"
    return lacking and f"cannot be written: {kind.name} cannot hold {lacking}; .png can"


def _is_opaque(alpha: NDArray[Any]) -> bool:
    return bool(alpha.min() == np.iinfo(alpha.dtype).max)


def encode_picture(suffix: str, picture: Picture) -> Iterable[bytes]:
    """Return the file of a suffix that `save_picture` writes, in parts; large PNGs are made as they are asked for."""
    kind = _FORMATS[suffix.lower()]
    alpha = picture.alpha if kind.alpha else None

    def rows(first: int, end: int) -> NDArray[Any]:
        samples: NDArray[Any] = picture.pixels[first:end, :, :1] if picture.grey else picture.pixels[first:end]
        return samples if alpha is None else np.concatenate((samples, alpha[first:end, :, None]), axis=2)

    height, width = picture.pixels.shape[:2]
    shape = height, width, (1 if picture.grey else 3) + (alpha is not None)
    if kind is _PNG:
        chunks = [*picture.color, *_png_chunks(picture)]
        if height * width > _LARGE:
            return png_parts(rows, shape, 8 * picture.pixels.dtype.itemsize, icc=picture.icc, chunks=chunks)
        return [encode_png(rows(0, height), icc=picture.icc, chunks=chunks)]
    if kind is _TIFF:
        return tiff_parts(rows, shape, picture.pixels.dtype, picture.icc, picture.exif, picture.dpi)
    options = dict(kind.options)
    if kind is _JPEG:
        options = (picture.jpeg or Jpeg()).options(grey=picture.grey)
    if picture.icc is not None:
        options["icc_profile"] = picture.icc
    if picture.exif is not None and kind.name != "BMP":
        options["exif"] = b"Exif\0\0" + picture.exif
    if picture.dpi is not None and kind.name != "WebP":
        options["dpi"] = picture.dpi
    if kind is _JPEG and len(picture.exif or b"") > _MOST_JPEG_EXIF:
        del options["exif"]
        _LOG.warning("an EXIF of %d bytes does not fit into JPEG, and is left out", len(picture.exif or b""))
    return [encode_with_pillow(kind.name, rows(0, height), **options)]


_LARGE = 16_000_000  # pixels: Pillow takes five bytes for each, and as much again as the file
_LOG = logging.getLogger("srkit")
_MOST_JPEG_EXIF = 65_533 - 6  # a segment has a length of 16 bits, and "Exif" stands before


def _png_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    chunks = []
    if picture.dpi is not None:
        per_metre = [round(value / 0.0254) for value in picture.dpi]
        chunks.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if picture.exif is not None:
        chunks.append((b"eXIf", picture.exif))
    return chunks
