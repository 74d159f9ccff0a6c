"""What the numbers of a picture mean: profiles, inks, and whether PNG's chunks say anything but sRGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

from PIL import Image, features

# PNG, 3rd edition, 11.3.2: in steps of 1/100,000; sRGB's exponent, white and primaries. What differs by less is
# rounding, as libpng holds it, too.
_SRGB_GAMMA = 45_455
_SRGB_PLACES = (31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
_NEAR = 1_000
# ITU-T H.273: primaries of BT.709 (sRGB's) or none named, transfer of sRGB or none named.
_SRGB_CODES = {(1, 13), (2, 2), (1, 2), (2, 13)}


def is_grey_profile(icc: bytes | None) -> bool:
    """Return whether a profile is of grey (ICC.1, 7.2.6): its bytes mean nothing beside colour."""
    return icc is not None and icc[16:20] == b"GRAY"


def is_srgb_code(primaries: int, transfer: int) -> bool:
    """Return whether code points of ITU-T H.273 are sRGB's, or none."""
    return (primaries, transfer) in _SRGB_CODES


def say_more_than_srgb(chunks: Iterable[tuple[bytes, bytes]], icc: bytes | None) -> bool:
    """Return whether a PNG's colour chunks give its samples another meaning than sRGB, or than its profile.

    cICP goes before a profile, that before sRGB, that before gAMA and cHRM.
    """
    found = dict(chunks)
    if b"cICP" in found:
        return not is_srgb_code(*found[b"cICP"][:2]) if len(found[b"cICP"]) == 4 else False
    if icc is not None or b"sRGB" in found:
        return False
    gamma, places = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if len(gamma) == 4 and abs(int.from_bytes(gamma) - _SRGB_GAMMA) > _NEAR:
        return True
    return len(places) == 32 and any(
        abs(value - usual) > _NEAR for value, usual in zip(struct.unpack(">8I", places), _SRGB_PLACES, strict=True)
    )


def cmyk_to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Return a CMYK image as sRGB by its profile. Raises ValueError where that is no profile of CMYK.

    The intent is perceptual: it is the table that a profile's maker drew for pictures, and it keeps the differences
    between colours that a screen cannot show.
    """
    if not features.check("littlecms2"):
        raise ValueError("cannot be used: this Pillow was built without LittleCMS")
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        found = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        raise ValueError("is none of CMYK, or is damaged") from None
    assert found is not None  # only where it is made in place
    return found
