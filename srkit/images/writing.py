"""Arrays to image files: which format can hold a picture, and only whole files."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from srkit import files
from srkit.errors import InputRejected, describe
from srkit.images.encoding import encode_png, encode_tiff16, encode_with_pillow
from srkit.images.reading import Picture

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

    PNG, TIFF, WebP and BMP lose nothing; JPEG has quality 95 and full colour resolution. Raises InputRejected where
    the format cannot hold the picture (see `suffix_for`) or the file cannot be written.
    """
    path = Path(path)
    obstacle = _obstacle(path.suffix, picture)
    if obstacle is not None:
        raise InputRejected(path, obstacle)
    try:
        files.write_file(path, _encode(path.suffix.lower(), picture))
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
    options: dict[str, Any] = attrs.field(factory=dict)


_JPEG = _Format("JPEG", side=65_500, alpha=False, options={"quality": 95, "subsampling": 0})
_TIFF = _Format("TIFF", side=2**31 - 1, deep=True, options={"compression": "tiff_adobe_deflate", "tiffinfo": {317: 2}})
_FORMATS = {
    ".png": _Format("PNG", side=2**31 - 1, deep=True),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": _Format("WebP", side=16_383, options={"lossless": True, "exact": True, "quality": 0}),
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
    elif picture.alpha is not None and not kind.alpha:
        lacking = "transparency"
    elif picture.icc is not None and not kind.icc:
        lacking = "a colour profile"
    elif max(picture.pixels.shape) > kind.side:
        lacking = f"a side of more than {kind.side:,} pixels"
    elif deep and picture.grey and picture.alpha is not None and kind is _TIFF:  # Pillow could not read it back
        lacking = "16-bit grey with transparency"
    return lacking and f"cannot be written: {kind.name} cannot hold {lacking}; .png can"


def _encode(suffix: str, picture: Picture) -> bytes:
    kind = _FORMATS[suffix]
    samples: NDArray[Any] = picture.pixels[..., :1] if picture.grey else picture.pixels
    if picture.alpha is not None:
        samples = np.concatenate((samples, picture.alpha[..., None]), axis=2)
    if kind.name == "PNG":
        return encode_png(samples, icc=picture.icc)
    if samples.dtype == np.uint16:
        return encode_tiff16(samples, picture.icc)
    return encode_with_pillow(kind.name, samples, picture.icc, **kind.options)
