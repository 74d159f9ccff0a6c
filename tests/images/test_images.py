import io
import os
import struct
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from srkit.errors import InputRejected
from srkit.images import writing
from srkit.images.encoding import encode_png
from srkit.images.listing import list_folder, list_images
from srkit.images.opening import KINDS, SUFFIXES
from srkit.images.reading import Picture, decode_image, image_size, open_picture, read_image
from srkit.images.writing import encode_image, save_image, save_picture, suffix_for

DATA = os.environ.get("SRKIT_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")

LOSSLESS = (".png", ".tif", ".webp", ".bmp")
NO_ALPHA = "has transparency, and what lies under it is not defined: save it without alpha"


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(data, *chunks):
    """Return a PNG with further chunks behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def reason(path, function=read_image):
    with pytest.raises(InputRejected) as error:
        function(path)
    assert error.value.path == str(path)
    return error.value.reason


# Reading


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colour_is_read_as_rgb(tmp_path, suffix):
    pixels = noise(5, 7, 3)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}", lossless=True)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), pixels)


def test_a_jpeg_is_read_as_pillow_decodes_it(tmp_path):
    Image.fromarray(noise(16, 24, 3)).save(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), np.asarray(Image.open(tmp_path / "a.jpg")))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_stands_in_three_channels_at_its_own_depth(tmp_path, suffix, dtype):
    grey = noise(5, 7, dtype=dtype)
    Image.fromarray(grey).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert image.dtype == dtype
    assert np.array_equal(image, np.dstack([grey] * 3))


def test_big_endian_16_bit_grey_comes_in_native_order(tmp_path):
    grey = noise(5, 7, dtype=np.uint16)
    Image.frombytes("I;16B", (7, 5), grey.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert image.dtype.isnative
    assert np.array_equal(image[..., 0], grey)


def test_one_bit_becomes_black_and_white(tmp_path):
    Image.fromarray(noise(5, 7) > 127).save(tmp_path / "a.png")
    assert set(np.unique(read_image(tmp_path / "a.png"))) == {0, 255}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colour_keeps_every_bit(tmp_path, suffix):
    cv2 = pytest.importorskip("cv2")
    pixels = noise(5, 7, 3, dtype=np.uint16)
    (tmp_path / f"a{suffix}").write_bytes(cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes())
    image = read_image(tmp_path / f"a{suffix}")
    assert image.dtype == np.uint16
    assert np.array_equal(image, pixels)


def test_a_palette_becomes_its_colours(tmp_path):
    palette = Image.fromarray(noise(5, 7, 3)).quantize(16)
    palette.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(palette.convert("RGB")))


def test_cmyk_without_a_profile_becomes_rgb_as_pillow_has_it(tmp_path):
    image = Image.frombytes("CMYK", (8, 8), noise(8, 8, 4).tobytes())
    image.save(tmp_path / "a.tif")
    picture = open_picture(tmp_path / "a.tif")
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    assert picture.icc is None


def test_an_image_may_be_written_to(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(noise(5, 7, 3)))
    image = read_image(tmp_path / "a.png")
    assert image.flags.writeable
    assert image.flags.c_contiguous


def test_the_content_counts_and_not_the_suffix(tmp_path):
    Image.fromarray(noise(16, 24, 3)).save(tmp_path / "a.png", "JPEG")
    assert read_image(tmp_path / "a.png").shape == (16, 24, 3)


def test_a_telephones_jpeg_with_a_second_picture_is_its_first(tmp_path):
    first, second = Image.new("RGB", (16, 8), "red"), Image.new("RGB", (8, 4), "blue")
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert image_size(tmp_path / "a.jpg") == read_image(tmp_path / "a.jpg").shape[:2] == (8, 16)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_an_image_is_turned_upright(tmp_path, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(16, 24, 3)).save(path, exif=exif(orientation), lossless=True)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(read_image(path), upright)
    assert image_size(path) == upright.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colour_is_turned_upright(tmp_path, orientation):
    pixels = noise(3, 5, 3, dtype=np.uint16)
    tag = chunk(b"eXIf", exif(orientation).tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(png_with(encode_png(pixels), tag))
    upper = Image.fromarray((pixels >> 8).astype(np.uint8))
    upper.getexif()[0x0112] = orientation
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(image >> 8, np.asarray(ImageOps.exif_transpose(upper)))
    assert image_size(tmp_path / "a.png") == image.shape[:2]


def test_alpha_is_turned_with_the_pixels(tmp_path):
    samples = noise(3, 5, 4)
    Image.fromarray(samples).save(tmp_path / "a.png", exif=exif(6))
    assert np.array_equal(open_picture(tmp_path / "a.png").alpha, np.rot90(samples[..., 3], -1))


def test_exif_that_cannot_be_read_turns_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(png_with(encode_png(noise(3, 5, 3)), chunk(b"eXIf", b"MM\0*\xff\xff")))
    assert read_image(tmp_path / "a.png").shape == (3, 5, 3)


# Alpha


def test_rgba_is_refused_for_training(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(noise(5, 7, 4)))
    assert reason(tmp_path / "a.png") == NO_ALPHA


def test_grey_with_alpha_is_refused_for_training(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(noise(5, 7, 2)))
    assert reason(tmp_path / "a.png") == NO_ALPHA


def test_a_transparent_palette_is_refused_for_training(tmp_path):
    Image.fromarray(noise(5, 7, 3)).quantize(16).save(tmp_path / "a.png", transparency=3)
    assert reason(tmp_path / "a.png") == NO_ALPHA


def test_a_transparent_palette_opens_with_its_alpha(tmp_path):
    palette = Image.fromarray(noise(5, 7, 3)).quantize(16)
    palette.save(tmp_path / "a.png", transparency=3)
    alpha = np.where(np.asarray(palette) == 3, 0, 255)
    assert np.array_equal(open_picture(tmp_path / "a.png").alpha, alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_becomes_alpha(tmp_path, channels, dtype):
    pixels = noise(5, 7, channels, dtype=dtype)
    key = struct.pack(f">{channels}H", *pixels[2, 3])
    (tmp_path / "a.png").write_bytes(png_with(encode_png(pixels), chunk(b"tRNS", key)))
    expected = np.where((pixels == pixels[2, 3]).all(axis=-1), 0, np.iinfo(dtype).max)
    picture = open_picture(tmp_path / "a.png")
    assert np.array_equal(picture.alpha, expected)
    assert picture.alpha.dtype == dtype


def test_a_transparent_colour_of_two_bits_is_found(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0))
    body = chunk(b"tRNS", b"\0\2") + chunk(b"IDAT", zlib.compress(b"\0\x1b")) + chunk(b"IEND", b"")  # 0, 1, 2, 3
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    picture = open_picture(tmp_path / "a.png")
    assert picture.pixels[0, :, 0].tolist() == [0, 85, 170, 255]
    assert picture.alpha.tolist() == [[255, 255, 0, 255]]


# What is refused


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputRejected) as error:
        read_image(tmp_path / "a.png")
    assert str(error.value) == f"{tmp_path / 'a.png'}: cannot be read: No such file or directory"


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    assert reason(tmp_path / "a.png") == "is empty"


def test_a_directory_is_refused(tmp_path):
    assert reason(tmp_path) == "is not a file"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert reason(tmp_path / "a.png") == "is not a file"


def test_a_web_page_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("<!DOCTYPE html><title>404</title>")
    assert reason(tmp_path / "a.png") == f"is not {KINDS}: it begins with b'<!DOCTYPE ht'"


def test_a_gif_is_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png", "GIF")
    assert reason(tmp_path / "a.png").startswith(f"is not {KINDS}: it begins with b'GIF8")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert reason(path).startswith("cannot be decoded: ")  # and Pillow's warning of a truncated TIFF reaches nobody


def test_a_truncated_jpeg_says_so(tmp_path):
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-100])
    assert reason(tmp_path / "a.jpg").startswith("cannot be decoded: OSError: image file is truncated")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_truncated_16_bit_colour_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_picture(path, Picture(noise(32, 32, 3, dtype=np.uint16)))
    data = path.read_bytes()
    path.write_bytes(data[:2000] + data[-300:])
    assert reason(path).startswith("cannot be decoded: ")


def test_a_chunk_that_claims_gigabytes_is_refused(tmp_path):
    data = encode_png(noise(5, 7, 3, dtype=np.uint16))
    (tmp_path / "a.png").write_bytes(data[:-12] + b"\xff\xff\xff\x00" + data[-8:])
    assert reason(tmp_path / "a.png") == "cannot be decoded: ValueError: a chunk reaches beyond the end of the file"


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_several_pictures_in_one_file_are_refused(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    expected = "holds several pictures: save the one that is meant as a file of its own"
    assert reason(tmp_path / f"a{suffix}") == expected
    assert reason(tmp_path / f"a{suffix}", image_size) == expected


def test_float_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    expected = "has samples that are not read (F, 32 bits): save it as RGB or grey of 8 or 16 bits"
    assert reason(tmp_path / "a.tif") == expected


def test_32_bit_integers_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "a.tif")
    expected = "has samples that are not read (I, 32 bits): save it as RGB or grey of 8 or 16 bits"
    assert reason(tmp_path / "a.tif") == expected


def test_lab_is_refused(tmp_path):
    Image.new("LAB", (4, 4)).save(tmp_path / "a.tif")
    expected = "has samples that are not read (LAB, 8 bits): save it as RGB or grey of 8 or 16 bits"
    assert reason(tmp_path / "a.tif") == expected


def test_16_bits_with_white_at_zero_are_refused(tmp_path):
    Image.fromarray(noise(4, 4, dtype=np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0})
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.index(struct.pack("<HHI", 262, 3, 1))  # Pillow writes its own value
    data[place + 8] = 0
    (tmp_path / "a.tif").write_bytes(data)
    expected = "has samples that are not read (inverted I;16, 16 bits): save it as RGB or grey of 8 or 16 bits"
    assert reason(tmp_path / "a.tif") == expected


def png_of_size(width, height):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header(tmp_path):
    (tmp_path / "a.png").write_bytes(png_of_size(20_000, 20_000))
    assert reason(tmp_path / "a.png") == "is 20000x20000, 400.0 megapixels; at most 100 are read"


def test_a_side_has_a_limit(tmp_path):
    (tmp_path / "a.png").write_bytes(png_of_size(65_536, 1))
    assert reason(tmp_path / "a.png") == "is 65536x1; a side may have at most 65,535 pixels"


def test_a_file_has_a_limit(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(600 * 2**20)  # a hole: it takes no room
    assert reason(tmp_path / "a.png") == "has 600 MiB; at most 512 are read"


def test_95_megapixels_are_no_bomb_and_no_warning(tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(png_of_size(10_000, 9_500))
    assert image_size(tmp_path / "a.png") == (9_500, 10_000)
    assert limit == Image.MAX_IMAGE_PIXELS


def opens_or_is_rejected(path):
    try:
        return open_picture(path).pixels.ndim == 3
    except InputRejected as error:
        return error.path == str(path)


def test_damage_is_an_input_rejected_whatever_it_is(tmp_path):
    random = np.random.default_rng(int(os.environ.get("SRKIT_CHAOS_SEED", "1")))
    seeds = []
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp"):
        save_picture(tmp_path / f"a{suffix}", Picture(noise(16, 16, 3)))
        seeds.append((tmp_path / f"a{suffix}").read_bytes())
    seeds.append(encode_png(noise(16, 16, 3, dtype=np.uint16)))
    for turn in range(600):
        data = bytearray(seeds[turn % len(seeds)])
        for _ in range(3):
            data[random.integers(len(data))] = random.integers(256)
        (tmp_path / "damaged").write_bytes(data)
        assert opens_or_is_rejected(tmp_path / "damaged")


# Without OpenCV


def test_16_bit_colour_without_opencv_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encode_png(noise(5, 7, 3, dtype=np.uint16)))
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert reason(tmp_path / "a.png") == (
        "16-bit colour needs OpenCV, which cannot be imported here (ModuleNotFoundError: import of cv2 halted; None in "
        "sys.modules); install the system's libGL (Debian: apt install libgl1) or replace the package: "
        "pip uninstall opencv-python && pip install opencv-python-headless"
    )


def test_everything_else_works_without_opencv(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for number, pixels in enumerate((noise(5, 7, 3), noise(5, 7), noise(5, 7, dtype=np.uint16))):
        (tmp_path / f"{number}.png").write_bytes(encode_png(pixels))
        assert read_image(tmp_path / f"{number}.png").dtype == pixels.dtype
    save_picture(tmp_path / "a.tif", Picture(noise(5, 7, 3, dtype=np.uint16)))


# Saving


HOLDS = {  # formats: dtypes, and whether there may be alpha
    ".png": ([np.uint8, np.uint16], [False, True]),
    ".tif": ([np.uint8, np.uint16], [False, True]),
    ".webp": ([np.uint8], [False, True]),
    ".bmp": ([np.uint8], [False]),
}


@pytest.mark.parametrize(
    ("suffix", "dtype", "grey", "alpha"),
    [
        (suffix, dtype, grey, alpha)
        for suffix, (dtypes, alphas) in HOLDS.items()
        for dtype in dtypes
        for grey in (False, True)
        for alpha in alphas
        if (suffix, dtype, grey, alpha) != (".tif", np.uint16, True, True)
    ],
)
def test_what_is_saved_is_what_opens(tmp_path, suffix, dtype, grey, alpha):
    pixels = np.repeat(noise(5, 7, 1, dtype=dtype), 3, axis=2) if grey else noise(5, 7, 3, dtype=dtype)
    icc = None if suffix == ".bmp" else b"a profile of more than four bytes"
    picture = Picture(pixels, noise(5, 7, dtype=dtype) if alpha else None, grey, icc)
    path = tmp_path / f"a{suffix}"
    assert suffix_for(path, picture) == suffix
    save_picture(path, picture)
    again = open_picture(path)
    assert np.array_equal(again.pixels, pixels)
    assert again.pixels.dtype == dtype
    assert (again.alpha is not None) == alpha
    assert not alpha or np.array_equal(again.alpha, picture.alpha)
    assert again.grey == (grey and suffix != ".webp")  # which has no grey
    assert again.icc == icc
    assert os.listdir(tmp_path) == [f"a{suffix}"]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_opencv_reads_our_16_bits_alike(tmp_path, suffix, channels):
    cv2 = pytest.importorskip("cv2")
    samples = noise(5, 7, channels, dtype=np.uint16)
    pixels = np.repeat(samples, 3, axis=2) if channels == 1 else samples[..., :3]
    picture = Picture(pixels, samples[..., 3] if channels == 4 else None, channels == 1, b"a profile")
    (tmp_path / "a").write_bytes(b"".join(writing.encode_picture(suffix, picture)))
    found = cv2.imdecode(np.fromfile(tmp_path / "a", np.uint8), cv2.IMREAD_UNCHANGED).reshape(samples.shape)
    assert np.array_equal(found[..., [0] if channels == 1 else [2, 1, 0, 3][:channels]], samples)


def test_scikit_image_reads_our_16_bit_tiff_alike(tmp_path):
    io_ = pytest.importorskip("skimage.io")
    pixels = noise(5, 7, 3, dtype=np.uint16)
    save_picture(tmp_path / "a.tif", Picture(pixels))
    assert np.array_equal(io_.imread(tmp_path / "a.tif"), pixels)


def test_grey_is_saved_as_one_channel(tmp_path):
    grey = noise(5, 7)
    for suffix in (".png", ".tif", ".bmp", ".jpg"):
        save_picture(tmp_path / f"a{suffix}", Picture(np.dstack([grey] * 3), grey=True))
        with Image.open(tmp_path / f"a{suffix}") as image:
            assert image.mode == "L"


def test_an_orientation_is_applied_and_not_saved_again(tmp_path):
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "a.png", exif=exif(6))
    save_picture(tmp_path / "b.png", open_picture(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as image:
        assert 0x0112 not in image.getexif()
    assert np.array_equal(read_image(tmp_path / "b.png"), read_image(tmp_path / "a.png"))


def test_jpeg_is_saved_with_quality_95_and_full_colour(tmp_path):
    pixels = noise(16, 16, 3)
    save_picture(tmp_path / "a.JPG", Picture(pixels))
    expected = io.BytesIO()
    Image.fromarray(pixels).save(expected, "JPEG", quality=95, subsampling="4:4:4")
    assert (tmp_path / "a.JPG").read_bytes() == expected.getvalue()


@pytest.mark.parametrize(
    ("suffix", "picture", "lacking"),
    [
        (".jpg", Picture(noise(2, 2, 3), noise(2, 2)), "JPEG cannot hold transparency"),
        (".jpeg", Picture(noise(2, 2, 3, dtype=np.uint16)), "JPEG cannot hold 16 bits a channel"),
        (".webp", Picture(noise(2, 2, 3, dtype=np.uint16)), "WebP cannot hold 16 bits a channel"),
        (".webp", Picture(noise(1, 16_384, 3)), "WebP cannot hold a side of more than 16,383 pixels"),
        (".bmp", Picture(noise(2, 2, 3), noise(2, 2)), "BMP cannot hold transparency"),
        (".bmp", Picture(noise(2, 2, 3), icc=b"profile"), "BMP cannot hold a colour profile"),
        (
            ".tif",
            Picture(noise(2, 2, 3, dtype=np.uint16), noise(2, 2, dtype=np.uint16), grey=True),
            "TIFF cannot hold 16-bit grey with transparency",
        ),
    ],
)
def test_a_format_that_cannot_hold_a_picture_is_refused_for_png(tmp_path, suffix, picture, lacking):
    assert suffix_for(f"a{suffix}", picture) == ".png"
    save = lambda path: save_picture(path, picture)  # noqa: E731
    assert reason(tmp_path / f"a{suffix}", save) == f"cannot be written: {lacking}; .png can"
    assert os.listdir(tmp_path) == []


def test_a_suffix_is_kept_in_its_own_case():
    assert suffix_for("a.JPG", Picture(noise(2, 2, 3))) == ".JPG"


def test_an_unknown_suffix_is_refused(tmp_path):
    save = lambda path: save_picture(path, Picture(noise(2, 2, 3)))  # noqa: E731
    assert reason(tmp_path / "a.gif", save) == (
        "cannot be written: its suffix is none of .png, .jpg, .jpeg, .jpe, .jfif, .webp, .tif, .tiff, .bmp"
    )


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.png").mkdir()  # cannot be replaced by a file
    save = lambda path: save_picture(path, Picture(noise(2, 2, 3)))  # noqa: E731
    assert reason(tmp_path / "a.png", save) == "cannot be written: Is a directory"
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_missing_folder_is_no_place_to_save(tmp_path):
    save = lambda path: save_picture(path, Picture(noise(2, 2, 3)))  # noqa: E731
    assert reason(tmp_path / "none" / "a.png", save) == "cannot be written: No such file or directory"


def test_a_save_replaces_what_was_there_with_the_usual_rights(tmp_path):
    (tmp_path / "plain").touch()
    (tmp_path / "a.png").write_text("old")
    pixels = noise(2, 2, 3)
    save_picture(tmp_path / "a.png", Picture(pixels))
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_threads_may_save_to_one_name(tmp_path):
    pictures = [Picture(np.full((32, 32, 3), value, np.uint8)) for value in range(8)]
    threads = [threading.Thread(target=save_picture, args=(tmp_path / "a.png", picture)) for picture in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(np.unique(read_image(tmp_path / "a.png"))) == 1
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_holds_one_to_four_channels(tmp_path, shape, dtype):
    samples = noise(*shape, dtype=dtype)
    (tmp_path / "a.png").write_bytes(encode_png(samples))
    picture = open_picture(tmp_path / "a.png")
    samples = samples.reshape(5, 7, -1)
    assert np.array_equal(
        picture.pixels[..., :1] if picture.grey else picture.pixels, samples[..., : 1 if picture.grey else 3]
    )
    assert picture.alpha is None or np.array_equal(picture.alpha, samples[..., -1])
    assert (picture.alpha is not None) == (samples.shape[2] in (2, 4))


def test_a_png_of_floats_is_refused():
    with pytest.raises(ValueError, match="PNG") as error:
        encode_png(np.zeros((2, 3)))
    assert str(error.value) == "a PNG is [h, w] or [h, w, 1 to 4] of uint8 or uint16, not (2, 3) of float64"


# Folders


def test_images_are_listed_in_natural_order(tmp_path):
    for name in ("img10.png", "img2.PNG", "B.jpg", "a.webp", ".hidden.png", "notes.txt", "c.tif"):
        (tmp_path / name).touch()
    (tmp_path / "more.png").mkdir()
    (tmp_path / "more.png" / "d.bmp").touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.webp", "B.jpg", "c.tif", "img2.PNG", "img10.png"]


def test_a_missing_folder_is_named(tmp_path):
    assert reason(tmp_path / "none", list_images) == "is not there"


@pytest.fixture
def mixed(tmp_path):
    """A folder with two JPEGs of rare suffixes, other kinds of pictures, folders, notes and links that lead nowhere."""
    for name in ("b.jfif", "a.JPE", "still.gif", "more.GIF", "raw.heic", "notes.txt", "more/x.png", "more/deep/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "texts").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "z.png").touch()
    (tmp_path / "loop.png").symlink_to("loop.png")
    return tmp_path


def test_what_a_folder_holds_beside_its_images_is_counted_by_kind(mixed):
    found = list_folder(mixed)
    assert [path.name for path in found.images] == ["a.JPE", "b.jfif"]
    others = "2 .gif (more.GIF, still.gif: not read), 1 .heic (raw.heic: not read)"
    links = "1 link that leads nowhere (loop.png)"
    assert found.left_out == f"{others}, {links}, 1 folder with images (more: --recursive takes it)"
    assert found.folders == (mixed / "more",)


def test_the_folders_below_are_taken_with_recursive(mixed):
    (mixed / "more" / "back").symlink_to(mixed)  # a circle is followed once
    (mixed / "z").symlink_to(mixed / "more" / "deep")
    names = [str(path.relative_to(mixed)) for path in list_images(mixed, recursive=True)]
    assert names == ["a.JPE", "b.jfif", "more/x.png", "more/deep/y.png"]
    assert list_folder(mixed, recursive=True).left_out == (
        "2 .gif (more.GIF, still.gif: not read), 1 .heic (raw.heic: not read), 1 link that leads nowhere (loop.png)"
    )


def test_a_folder_without_images_lists_what_it_has_instead(tmp_path):
    (tmp_path / "a.gif").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.png").touch()
    assert reason(tmp_path, list_images) == f"has no images: looked for {', '.join(SUFFIXES)}"
    assert list_folder(tmp_path).images == ()
    assert list_folder(tmp_path).left_out == (
        "1 .gif (a.gif: not read), 1 folder with images (b: --recursive takes it)"
    )


def test_of_many_files_that_are_left_out_the_first_are_named(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.gif").touch()
        (tmp_path / f"folder{i}").mkdir()
        (tmp_path / f"folder{i}" / "a.png").touch()
        (tmp_path / f"{i}.png").symlink_to("nowhere")
    gifs, links = "5 .gif (0.gif, 1.gif, 2.gif, ...: not read)", "5 links that lead nowhere (0.png, 1.png, 2.png, ...)"
    folders = "5 folders with images (folder0, folder1, folder2, ...: --recursive takes them)"
    assert list_folder(tmp_path).left_out == f"{gifs}, {links}, {folders}"


def test_avif_counts_where_pillow_reads_it(tmp_path):
    pytest.importorskip("PIL.AvifImagePlugin")
    assert (".avif" in SUFFIXES) == bool(features.check("avif"))


# Files as people have them


@needs_data
def test_real_png_and_jpeg_files_are_read_as_pillow_decodes_them():
    for path in [*list_images(Path(DATA) / "data/Set5/HR"), *list_images(Path(DATA) / "data/BSDS200")[:5]]:
        image = read_image(path)
        assert np.array_equal(image, np.asarray(Image.open(path).convert("RGB")))
        assert image_size(path) == image.shape[:2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_is_saved_and_its_bytes_are_decoded(tmp_path, dtype):
    image = noise(20, 30, 3, dtype=dtype)
    save_image(tmp_path / "a.png", image)
    data = (tmp_path / "a.png").read_bytes()
    for found in (read_image(tmp_path / "a.png"), decode_image(data, "b.png"), decode_image(encode_image(image), "c")):
        assert found.dtype == dtype
        assert np.array_equal(found, image)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "is empty"), (b"GIF89a", f"is not {KINDS}: it begins with b'GIF89a'")],
)
def test_bytes_that_are_no_image_are_named_as_they_were_called(data, reason):
    with pytest.raises(InputRejected) as error:
        decode_image(data, "set.lmdb: baboon")
    assert str(error.value) == f"set.lmdb: baboon: {reason}"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_without_its_end_marker_is_read_with_a_warning(tmp_path, caplog, dtype):
    pixels = noise(9, 7, 3, dtype=dtype)
    save_image(tmp_path / "a.png", pixels)
    data = (tmp_path / "a.png").read_bytes()
    for cut in (4, 8, 12):  # some or all of the marker
        (tmp_path / "a.png").write_bytes(data[:-cut])
        assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
    told = f"{tmp_path / 'a.png'}: lacks its end marker; no pixel is missing"
    assert set(caplog.messages) == {told}
    (tmp_path / "a.png").write_bytes(data[:-60])
    assert reason(tmp_path / "a.png").startswith("cannot be decoded: ")
