import io
import itertools
import struct
import zlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image, ImageCms

from srkit.errors import InputRejected
from srkit.images import containers, opening
from srkit.images.opening import opened
from srkit.images.reading import image_size, open_picture, read_image
from tests.conftest import calls, photograph


def encoded(mode, kind, **options):
    data = io.BytesIO()
    picture = Image.fromarray(photograph(1, 24, 40)).convert(mode)
    picture.save(data, kind, **options)
    return data.getvalue()


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PLAIN = {
    "png": encoded("RGB", "PNG"),
    "png of grey": encoded("L", "PNG"),
    "png with alpha": encoded("RGBA", "PNG"),
    "png with a profile and a resolution": encoded("RGB", "PNG", icc_profile=SRGB, dpi=(72, 72)),
    "jpeg": encoded("RGB", "JPEG"),
    "jpeg of grey": encoded("L", "JPEG"),
    "jpeg with a profile": encoded("RGB", "JPEG", icc_profile=SRGB, dpi=(72, 72), comment=b"of a cat"),
    "progressive jpeg": encoded("RGB", "JPEG", progressive=True),
}
TURNED = Image.Exif()
TURNED[0x0112] = 6
OTHER = {
    "turned jpeg": encoded("RGB", "JPEG", exif=TURNED),
    "turned png": encoded("RGB", "PNG", exif=TURNED),
    "palette": encoded("P", "PNG"),
    "one bit": encoded("1", "PNG"),
    "grey with alpha": encoded("LA", "PNG"),
    "keyed": encoded("RGB", "PNG", transparency=(1, 2, 3)),
    "cmyk": encoded("CMYK", "JPEG"),
    "webp": encoded("RGB", "WEBP"),
    "tiff": encoded("RGB", "TIFF"),
    "bmp": encoded("RGB", "BMP"),
}


def of_pillow(data):
    """Return the size that is found by the whole way, or None where that refuses."""
    try:
        with opened("a", data, whole=False) as header:
            return header.height, header.width
    except InputRejected:
        return None


@pytest.mark.parametrize("name", PLAIN)
def test_the_first_bytes_of_a_usual_file_tell_its_size(name, tmp_path):
    assert containers.plain_size(PLAIN[name][:4_096]) == (24, 40) == of_pillow(PLAIN[name])
    (tmp_path / name).write_bytes(PLAIN[name])
    assert image_size(tmp_path / name) == (24, 40)


@pytest.mark.parametrize("name", OTHER)
def test_of_other_files_the_first_bytes_tell_nothing(name, tmp_path):
    assert containers.plain_size(OTHER[name]) is None
    (tmp_path / name).write_bytes(OTHER[name])
    assert image_size(tmp_path / name) == of_pillow(OTHER[name]) == read_image(tmp_path / name).shape[:2]


@hypothesis.given(
    st.sampled_from([*PLAIN.values(), *OTHER.values()]),
    st.lists(st.tuples(st.integers(0, 1_200), st.integers(0, 255)), max_size=3),
    st.integers(0, 4_000),
)
def test_what_the_first_bytes_tell_is_what_the_whole_way_finds(data, edits, length):
    damaged = bytearray(data)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    cut = bytes(damaged[: max(length, 1)])
    for found in (bytes(damaged), cut):
        size = containers.plain_size(found[:4_096])
        assert size is None or size == of_pillow(found)


def test_the_header_of_a_png_counts_bit_by_bit():
    for place, bit in itertools.product(range(33), range(8)):
        damaged = bytearray(PLAIN["png"])
        damaged[place] ^= 1 << bit
        assert containers.plain_size(bytes(damaged)) is None


def test_limits_hold_for_what_the_first_bytes_tell(tmp_path):
    for width, height, told in [(70_000, 10, "a side may have"), (12_000, 9_000, "108.0 megapixels")]:
        body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        head = b"\0\0\0\rIHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
        path = tmp_path / "a.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + PLAIN["png"][33:])
        with pytest.raises(InputRejected) as error:
            image_size(path)
        assert told in error.value.reason


@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_the_size_of_a_usual_file_costs_a_fraction_of_the_whole_way(tmp_path, name):
    (tmp_path / name).write_bytes(PLAIN[name])
    assert image_size(tmp_path / name) == of_pillow(PLAIN[name])
    assert 3 * calls(lambda: image_size(tmp_path / name)) < calls(lambda: of_pillow(PLAIN[name]))


def test_a_name_with_nul_is_no_file():
    for function in (image_size, read_image):
        with pytest.raises(InputRejected):
            function("a\0b.png")


# What takes long


def run_lengths(side):
    """Return a BMP, [side, side], in which each pixel is a run: Pillow decodes those in Python."""
    rows = (b"\1\5" * side + b"\0\0") * side + b"\0\1"
    place = 14 + 40 + 1_024
    head = struct.pack("<2sIHHI", b"BM", place + len(rows), 0, 0, place)
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return head + info + bytes(1_024) + rows


def test_what_decodes_for_too_long_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.bmp"
    path.write_bytes(run_lengths(20))
    assert read_image(path).shape == (20, 20, 3)
    monkeypatch.setattr(opening, "MAX_SECONDS", 0.05)
    path.write_bytes(run_lengths(2_000))
    with pytest.raises(InputRejected) as error:
        open_picture(path)
    assert str(error.value) == f"{path}: takes more than 0.05 s of computing to decode, as no usual picture does"


def test_the_time_that_a_file_may_take_is_sixty_seconds_of_computing():
    assert opening.MAX_SECONDS == 60


def of_tiles(side, order="<", large=False):
    """Return a TIFF of [side, side] in tiles of one pixel each, all of them the same byte."""
    number, wide, magic = ("Q", 8, 43) if large else ("I", 4, 42)
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1, 323: 1}
    start = 16 if large else 8
    count, length = side**2, (8 if large else 2) + 10 * (4 + 2 * wide) + wide
    behind = start + length
    entries = [(tag, 1, value) for tag, value in tags.items()]
    entries += [(324, count, behind), (325, count, behind + wide * count)]
    kind = 16 if large else 4
    head = struct.pack(f"{order}2sH", b"II" if order == "<" else b"MM", magic)
    head += struct.pack(f"{order}HHQ", 8, 0, start) if large else struct.pack(f"{order}I", start)
    body = struct.pack(f"{order}{'Q' if large else 'H'}", 10)
    body += b"".join(struct.pack(f"{order}HH{number}{number}", tag, kind, many, value) for tag, many, value in entries)
    body += struct.pack(f"{order}{number}", 0)
    pixel = behind + 2 * wide * count
    numbers = f"{order}u{wide}"
    return head + body + np.full(count, pixel, numbers).tobytes() + np.full(count, 1, numbers).tobytes() + b"\x07"


@pytest.mark.parametrize(("order", "large"), [("<", False), (">", False), ("<", True)])
def test_a_tiff_in_very_many_pieces_is_refused_before_they_are_listed(tmp_path, order, large):
    path = tmp_path / "a.tif"
    path.write_bytes(of_tiles(8, order, large))
    assert (read_image(path) == 7).all()
    path.write_bytes(of_tiles(513, order, large))
    for function in (image_size, read_image):
        with pytest.raises(InputRejected) as error:
            function(path)
        assert error.value.reason == "is in 263,169 strips or tiles; at most 262,144 are read"
