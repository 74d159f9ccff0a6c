"""What the numbers of a picture mean is converted, kept or refused, and never dropped in silence."""

import io
import logging
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

import srkit
from srkit.errors import InputRejected
from srkit.images.encoding import encode_png
from srkit.images.reading import Picture, open_picture, read_image, read_picture
from srkit.images.writing import save_picture, suffix_for
from tests.conftest import photograph

DATA = os.environ.get("SRKIT_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CICP = bytes([9, 16, 0, 1])  # BT.2020 with PQ


def cmyk_profile():
    """A profile in which the inks of paper (L* 100), of cyan (L* 50) and of all else (L* 0) are greys."""
    lightness = [255] + [0] * 15
    lightness[8] = 128  # cyan is the slowest of the four axes of two nodes each
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    colors = b"".join(bytes([value, 128, 128]) for value in lightness)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + bytes(range(256)) * 4 + colors + bytes(range(256)) * 3
    tag = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    length = 144 + len(table) + -len(table) % 4
    head = struct.pack(">I4sI4s4s4s", length, b"test", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return (head.ljust(128, b"\0") + tag + table).ljust(length, b"\0")


def test_cmyk_becomes_srgb_by_its_profile(tmp_path):
    image = Image.new("CMYK", (16, 8), (255, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        image.save(tmp_path / name, icc_profile=cmyk_profile(), quality=100)
        for picture in (open_picture(tmp_path / name), Picture(read_image(tmp_path / name))):
            assert np.abs(picture.pixels.astype(int) - 119).max() <= 1  # L* 50 is 118.9 in sRGB (IEC 61966-2-1)
            assert picture.icc is None


@needs_data
@pytest.mark.parametrize("name", ["in.jpg", "in.tif"])
def test_the_inks_of_a_press_become_their_colours(name):
    image = read_image(Path(DATA) / "cases/cmyk-profile-dropped" / name).astype(int)
    for ink in ((0, 150, 218), (216, 0, 121), (247, 224, 0)):
        assert np.abs(image - ink).max(axis=2).min() <= 2


def test_a_profile_that_is_none_of_cmyk_is_left_out_with_a_warning(tmp_path, caplog):
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.tif", icc_profile=b"CMYK profile")
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [0, 255, 255]
    assert caplog.messages == [
        f"{tmp_path / 'a.tif'}: its colour profile is none of CMYK, or is damaged; its inks are taken for perfect ones"
    ]


def test_a_jpeg_of_inks_without_adobes_marker_is_not_inverted(tmp_path):
    data = io.BytesIO()
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(data, "JPEG", quality=100)
    marked = data.getvalue()
    place = marked.index(b"\xff\xee")
    length = 2 + int.from_bytes(marked[place + 2 : place + 4])
    (tmp_path / "marked.jpg").write_bytes(marked)
    (tmp_path / "plain.jpg").write_bytes(marked[:place] + marked[place + length :])
    assert read_image(tmp_path / "marked.jpg")[0, 0].tolist() == [0, 255, 255]
    assert read_image(tmp_path / "plain.jpg")[0, 0].tolist() == [0, 0, 0]  # (0, 255, 255, 255) of the inks


def test_a_jpeg_of_plain_rgb_is_read_as_rgb(tmp_path):
    Image.new("RGB", (16, 16), (200, 30, 60)).save(tmp_path / "a.jpg", quality=100, keep_rgb=True)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 30, 60)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 100_000))],
        [(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))],
        [(b"cICP", CICP), (b"mDCV", bytes(24))],
    ],
)
def test_what_a_png_says_of_its_colours_is_kept_and_only_png_can_hold_it(tmp_path, chunks, dtype):
    (tmp_path / "a.png").write_bytes(encode_png(photograph(0, 8, 9).astype(dtype), chunks=chunks))
    picture = open_picture(tmp_path / "a.png")
    assert list(picture.color) == chunks
    save_picture(tmp_path / "b.png", picture)
    assert open_picture(tmp_path / "b.png").color == picture.color
    assert suffix_for("a.tif", picture) == ".png"
    with pytest.raises(InputRejected) as error:
        save_picture(tmp_path / "b.tif", picture)
    assert error.value.reason == "cannot be written: TIFF cannot hold the colours that PNG's chunks name; .png can"


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))],  # sRGB goes before
        [(b"gAMA", struct.pack(">I", 45_455))],
        [(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))],
        [(b"cICP", bytes([1, 13, 0, 1]))],
    ],
)
def test_what_says_srgb_may_become_any_format(tmp_path, chunks):
    (tmp_path / "a.png").write_bytes(encode_png(photograph(0, 8, 9), chunks=chunks))
    assert suffix_for("a.bmp", open_picture(tmp_path / "a.png")) == ".bmp"


def test_a_profile_of_grey_stays_with_grey(tmp_path):
    profile = bytes(16) + b"GRAY" + bytes(108)
    picture = Picture(np.full((4, 4, 3), 7, np.uint8), grey=True, icc=profile)
    save_picture(tmp_path / "a.jpg", picture)
    found = open_picture(tmp_path / "a.jpg")
    assert (found.grey, found.icc) == (True, profile)
    with pytest.raises(InputRejected) as error:
        save_picture(tmp_path / "a.webp", picture)
    assert error.value.reason == ("cannot be written: WebP cannot hold the colour profile of a grey picture; .png can")


def test_the_profile_that_lies_in_a_bmp_is_read(tmp_path):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "a.bmp")
    data = (tmp_path / "a.bmp").read_bytes()
    head = struct.pack("<I", 124) + data[18:54] + bytes(16) + b"DEBM" + bytes(48)
    head += struct.pack("<4I", 0, 124 + 16, len(SRGB), 0)
    assert len(head) == 124
    start = 14 + 124
    body = data[54:]
    (tmp_path / "a.bmp").write_bytes(data[:10] + struct.pack("<I", start) + head + body + SRGB)
    picture = open_picture(tmp_path / "a.bmp")
    assert picture.pixels[0, 0].tolist() == [1, 2, 3]
    assert picture.icc == SRGB
    assert suffix_for("a.bmp", picture) == ".png"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_the_colours_that_an_avif_names_are_kept(tmp_path):
    Image.fromarray(photograph(0, 16, 16)).save(tmp_path / "a.avif", quality=100)
    assert open_picture(tmp_path / "a.avif").color == ()
    data = bytearray((tmp_path / "a.avif").read_bytes())
    place = data.index(b"colrnclx") + 8
    data[place : place + 4] = struct.pack(">HH", 9, 16)
    (tmp_path / "a.avif").write_bytes(data)
    assert open_picture(tmp_path / "a.avif").color == ((b"cICP", CICP),)


def tiff(photometric, *, tags=(), compression=1, bits=8, channels=3, width=4, height=4):
    """A TIFF of zeros with any tags: (number, type, value of at most two shorts)."""
    entries = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, compression), (262, 3, photometric)]
    entries += [(277, 3, channels), (278, 3, height), (279, 4, width * height * channels * bits // 8), *tags]
    if channels == 3:
        entries[2] = (258, 3, None)
    size = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries.append((273, 4, size + 6))
    directory = b""
    for tag, kind, value in sorted(entries):
        count, data = (
            1,
            struct.pack(
                "<HH" if kind == 3 else "<I",
                *((value, 0) if kind == 3 and value is not None else (value,) if kind == 4 else (0, 0)),
            ),
        )
        if value is None:
            count, data = 3, struct.pack("<I", size)
        directory += struct.pack("<HHI", tag, kind, count) + data
    return (
        struct.pack("<2sHIH", b"II", 42, 8, len(entries))
        + directory
        + bytes(4)
        + struct.pack("<3H", *[bits] * 3)
        + bytes(width * height * channels * bits // 8)
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (tiff(1, channels=1, tags=[(339, 3, 2)]), "signed L, 8 bits"),
        (tiff(6), "subsampled or scaled YCbCr, 8 bits"),
        (tiff(8), "LAB, 8 bits"),
        (tiff(2, tags=[(339, 3, 2)]), "unknown pixel mode"),
    ],
)
def test_a_tiff_that_would_be_misread_is_refused(tmp_path, data, kind):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputRejected) as error:
        read_image(tmp_path / "a.tif")
    assert error.value.reason == (f"has samples that are not read ({kind}): save it as RGB or grey of 8 or 16 bits")


def test_eight_bits_with_white_at_zero_are_turned_round(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(0, channels=1))
    assert read_image(tmp_path / "a.tif").tolist() == np.full((4, 4, 3), 255).tolist()


# Resolution and EXIF


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".bmp"])
def test_resolution_and_exif_are_kept_where_the_format_can_hold_them(tmp_path, suffix, deep):
    if deep and suffix not in (".png", ".tif"):
        return
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[271] = "Maker"
    exif[33432] = "of mine"
    exif.get_ifd(0x8769)[0x829A] = 0.5  # exposure time
    Image.fromarray(photograph(0, 16, 24)).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 150))
    picture = open_picture(tmp_path / "a.jpg")
    assert picture.dpi == (150, 300)  # turned with the picture
    if deep:
        picture = Picture(picture.pixels.astype(np.uint16) * 257, dpi=picture.dpi, exif=picture.exif)
    save_picture(tmp_path / f"b{suffix}", picture)
    again = open_picture(tmp_path / f"b{suffix}")
    assert suffix == ".webp" or again.dpi == pytest.approx((150, 300), rel=1e-3)
    if suffix != ".bmp":
        found = Image.Exif()
        found.load(again.exif)
        assert (found.get(0x0112), found[271], found[33432]) == (None, "Maker", "of mine")
        assert found.get_ifd(0x8769)[0x829A] == 0.5


def test_exif_that_is_damaged_is_left_out(tmp_path):
    data = encode_png(photograph(0, 8, 8), chunks=[(b"eXIf", b"MM\0*\xff\xff")])
    (tmp_path / "a.png").write_bytes(data)
    assert open_picture(tmp_path / "a.png").exif is None


def test_an_exif_too_long_for_jpeg_is_left_out_with_a_warning(tmp_path, caplog):
    exif = Image.Exif()
    exif[270] = "x" * 70_000
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    save_picture(tmp_path / "a.jpg", Picture(photograph(0, 8, 8), exif=data))
    assert open_picture(tmp_path / "a.jpg").exif is None
    assert caplog.messages == [f"an EXIF of {len(data)} bytes does not fit into JPEG, and is left out"]


def test_a_picture_without_alpha_has_all_else(tmp_path):
    Image.fromarray(photograph(0, 8, 8)).save(tmp_path / "a.png", icc_profile=SRGB, dpi=(300, 300))
    assert read_picture(tmp_path / "a.png").icc == SRGB


# Beside the pixels


def odd_png(*chunks):
    return encode_png(photograph(0, 8, 9), chunks=chunks)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"tEXt", b"Comment\0" + b"x" * 2**21),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**21))),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(2**21))),
    ],
)
def test_a_png_with_too_much_text_is_read_with_a_warning(tmp_path, caplog, name, text):
    (tmp_path / "a.png").write_bytes(odd_png((name, text)))
    assert np.array_equal(read_image(tmp_path / "a.png"), photograph(0, 8, 9))
    message = f"{tmp_path / 'a.png'}: its chunk {name.decode()} has more than 1 MiB of text, and is left out"
    assert caplog.messages == [message]


def test_a_profile_of_megabytes_is_kept(tmp_path):
    profile = b"profile " * 2**18
    (tmp_path / "a.png").write_bytes(odd_png((b"iCCP", b"name\0\0" + zlib.compress(profile))))
    save_picture(tmp_path / "b.png", open_picture(tmp_path / "a.png"))
    assert open_picture(tmp_path / "b.png").icc == profile


def test_a_profile_that_unpacks_without_end_is_left_out(tmp_path, caplog):
    (tmp_path / "a.png").write_bytes(odd_png((b"iCCP", b"name\0\0" + zlib.compress(bytes(2**25)))))
    assert open_picture(tmp_path / "a.png").icc is None
    assert caplog.messages == [f"{tmp_path / 'a.png'}: its colour profile is of more than 16 MiB, and is left out"]


def test_a_damaged_chunk_beside_the_pixels_is_left_out(tmp_path, caplog):
    data = bytearray(odd_png((b"tIME", bytes(7))))
    data[45] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(read_image(tmp_path / "a.png"), photograph(0, 8, 9))
    assert caplog.messages == [f"{tmp_path / 'a.png'}: its chunk tIME is damaged, and is left out"]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_end_alone_is_read_with_a_warning(tmp_path, caplog, progressive):
    Image.fromarray(photograph(0, 60, 90)).save(tmp_path / "a.jpg", progressive=progressive)
    whole = (tmp_path / "a.jpg").read_bytes()
    for cut in (whole[:-2], whole[:-1]):
        caplog.clear()
        (tmp_path / "b.jpg").write_bytes(cut)
        assert np.array_equal(read_image(tmp_path / "b.jpg"), read_image(tmp_path / "a.jpg"))
        assert caplog.messages == [f"{tmp_path / 'b.jpg'}: lacks its end marker; no pixel is missing"]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_pixels_is_refused(tmp_path, progressive):
    Image.fromarray(photograph(0, 60, 90)).save(tmp_path / "a.jpg", progressive=progressive)
    whole = (tmp_path / "a.jpg").read_bytes()
    for missing in (5, 8, 20, 100, len(whole) // 2):
        (tmp_path / "b.jpg").write_bytes(whole[:-missing])
        with pytest.raises(InputRejected, match="image file is truncated"):
            read_image(tmp_path / "b.jpg")
    if progressive:
        (tmp_path / "b.jpg").write_bytes(whole[: whole.rindex(b"\xff\xda")])  # a whole scan is missing
        with pytest.raises(InputRejected, match="image file is truncated"):
            read_image(tmp_path / "b.jpg")


@needs_data
@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("png-large-metadata-refused", ["iccp2M.png", "itxt2M.png", "ztxt2M.png"]),
        ("jpeg-without-eoi-refused", ["noeoi.jpg"]),
        ("tiff-orientation-uncompressed", ["pil_o6_l.tif", "o6_g16.tif"]),
        ("opaque-alpha/opq", ["rgba_opaque.png"]),
    ],
)
def test_what_was_refused_is_read(case, names):
    for name in names:
        assert read_image(Path(DATA) / "cases" / case / name).ndim == 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGB", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_turned_tiff_is_turned_upright_packed_or_not(tmp_path, mode, orientation, compression):
    image = Image.fromarray(photograph(1, 20, 30))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    for name, value in (("plain", 1), ("turned", orientation)):
        image.save(tmp_path / f"{name}.tif", compression=compression, tiffinfo={0x0112: value})
    plain, turned = (open_picture(tmp_path / f"{name}.tif") for name in ("plain", "turned"))
    turn = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
    }[orientation]  # fmt: skip
    assert np.array_equal(turned.pixels, turn(plain.pixels))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_tiff_of_16_bit_colour_is_turned_upright(tmp_path, orientation):
    pixels = np.random.default_rng(1).integers(0, 65_536, (5, 7, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    save_picture(tmp_path / "a.tif", Picture(pixels, exif=exif.tobytes().removeprefix(b"Exif\0\0")))
    (tmp_path / "a.png").write_bytes(encode_png(pixels, chunks=[(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))]))
    assert np.array_equal(read_image(tmp_path / "a.tif"), read_image(tmp_path / "a.png"))


def test_a_link_that_leads_back_to_itself_is_named_so(tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(InputRejected) as error:
        read_image(tmp_path / "a.png")
    assert error.value.reason == "is a link that leads back to itself"


# What few bytes may cost


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    data = io.BytesIO()
    Image.fromarray(photograph(0, 16, 16)).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(whole[:-2] + last * 90 + b"\xff\xd9")
    scans = whole.count(b"\xff\xda") + 90
    with pytest.raises(InputRejected) as error:
        read_image(tmp_path / "a.jpg")
    assert error.value.reason == f"has {scans} scans; at most 64 are read"


def test_a_few_bytes_that_claim_a_large_picture_are_refused(tmp_path):
    Image.new("RGB", (8_000, 8_000)).save(tmp_path / "a.webp", lossless=True)
    size = (tmp_path / "a.webp").stat().st_size
    with pytest.raises(InputRejected) as error:
        read_image(tmp_path / "a.webp")
    assert error.value.reason == (
        f"is 8000x8000 in {size:,} bytes: no picture is so small; save it as PNG if it is one colour"
    )


def test_decoded_bytes_have_a_limit(tmp_path):
    header = b"\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 9_000, 9_000, 16, 2, 0, 0, 0)
    header += struct.pack(">I", zlib.crc32(header[4:]))
    body = encode_png(photograph(0, 8, 8))[33:]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    with pytest.raises(InputRejected) as error:
        read_image(tmp_path / "a.png")
    assert error.value.reason == "is 9000x9000, 486 MB of pixels; at most 400 are read"


# Alpha that hides nothing


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_that_is_opaque_everywhere_is_no_transparency(tmp_path, dtype, channels):
    samples = np.random.default_rng(1).integers(0, 250, (5, 7, channels)).astype(dtype)
    samples[..., -1] = np.iinfo(dtype).max
    (tmp_path / "a.png").write_bytes(encode_png(samples))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.broadcast_to(samples[..., :-1], (5, 7, 3)))
    assert open_picture(tmp_path / "a.png").alpha is not None
    if dtype == np.uint8:
        assert suffix_for("a.jpg", open_picture(tmp_path / "a.png")) == ".jpg"
    samples[2, 3, -1] -= 1
    (tmp_path / "a.png").write_bytes(encode_png(samples))
    with pytest.raises(InputRejected, match="has transparency"):
        read_image(tmp_path / "a.png")


def test_warnings_go_to_the_log_of_srkit(tmp_path, caplog):
    (tmp_path / "a\nb.png").write_bytes(odd_png((b"tEXt", b"Comment\0" + b"x" * 2**21)))
    read_image(tmp_path / "a\nb.png")
    (record,) = caplog.records
    assert (record.name, record.levelno, "\n" in record.getMessage()) == ("srkit", logging.WARNING, False)


def test_no_warning_of_pillows_reaches_anybody_and_the_filters_stay(tmp_path, monkeypatch):
    Image.fromarray(photograph(0, 10, 15)).save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # which Pillow warns of, and a warning is an error here
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as executor:
        assert all(image.shape == (10, 15, 3) for image in executor.map(read_image, [tmp_path / "a.tif"] * 40))
    assert warnings.filters == before


def test_tags_of_tiff_that_say_colours_are_named(tmp_path, caplog):
    Image.fromarray(photograph(0, 8, 8)).save(tmp_path / "a.tif", tiffinfo={318: (0.3457, 0.3585)})
    open_picture(tmp_path / "a.tif")
    assert caplog.messages == [
        f"{tmp_path / 'a.tif'}: its colours are read as they lie: WhitePoint of TIFF cannot be kept"
    ]


@needs_data
def test_an_array_of_pillows_is_enlarged_without_a_warning():
    with Image.open(f"{DATA}/cases/read-only-array-warning/ref.png") as image:
        pixels = np.asarray(image.convert("RGB"))
        larger = srkit.upscale(np.asarray(image), srkit.create("architecture", "bicubic", scale=2))
    assert np.array_equal(larger, srkit.upscale(pixels.copy(), srkit.create("architecture", "bicubic", scale=2)))
