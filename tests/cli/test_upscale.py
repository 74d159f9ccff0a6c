import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import srkit
from srkit.images.encoding import encode_png
from srkit.images.opening import KINDS, SUFFIXES
from srkit.images.reading import open_picture
from srkit.images.writing import WRITTEN
from tests.cli.conftest import save_nearest
from tests.conftest import HANGS, photograph

DATA = os.environ.get("SRKIT_TEST_DATA")


def read(path):
    """Return a file's samples as Pillow has them."""
    with Image.open(path) as image:
        return np.asarray(image)


def twice(array):
    return array.repeat(2, axis=0).repeat(2, axis=1)


def bicubic(alpha):
    return srkit.upscale(alpha[..., None].repeat(3, 2), srkit.create("architecture", "bicubic", scale=2))[..., 0]


@pytest.fixture
def upscale(call, nearest, model):
    """Run `srkit -p nearest.py upscale repeat.safetensors ...`; return (exit code, stderr)."""

    def run(*arguments, weights=model):
        code, out, err = call("-p", nearest, "upscale", weights, *arguments)
        assert out == ""
        return code, err

    return run


@pytest.fixture
def one(tmp_path):
    """A PNG of 20x24 pixels."""
    Image.fromarray(photograph(1, 20, 24)).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_a_folder_is_enlarged_under_the_names_of_its_images(upscale, photographs, tmp_path):
    Image.fromarray(photograph(5, 12, 12)).save(photographs / "q.bmp")
    (photographs / "notes.txt").write_text("no image")
    assert upscale("photos", "-o", "out") == (0, "5 of 5 images enlarged x2, in out\n")
    assert sorted(os.listdir("out")) == ["p0.png", "p1.png", "p2.png", "p3.png", "q.bmp"]
    for path in photographs.glob("*.[pb]*"):
        picture = open_picture(tmp_path / "out" / path.name)
        assert np.array_equal(picture.pixels, twice(open_picture(path).pixels))


def test_shards_enlarge_each_image_once_into_one_folder(upscale, photographs):
    """What another machine writes meanwhile looks like what a process left that lives no more here: it stays."""
    os.mkdir("out")
    Path("out/.aside-4194304-abc").touch()  # of a process that cannot be: Linux has at most 2**22
    assert upscale("photos", "-o", "out", "--shard", "1/3") == (0, "1 of 1 images of shard 1/3 enlarged x2, in out\n")
    assert sorted(os.listdir("out")) == [".aside-4194304-abc", "p0.png"]
    assert upscale("photos", "-o", "out", "--shard", "3/3") == (0, "2 of 2 images of shard 3/3 enlarged x2, in out\n")
    assert sorted(os.listdir("out")) == [".aside-4194304-abc", "p0.png", "p2.png", "p3.png"]
    assert upscale("photos", "-o", "out", "--shard", "2/3") == (0, "1 of 1 images of shard 2/3 enlarged x2, in out\n")
    assert {name for name in os.listdir("out") if name[0] != "."} == set(os.listdir("photos"))


def test_a_mistyped_recipe_is_told_the_nearest(call, one):
    assert call("upscale", "zsrs", "one.png", "-o", "out/") == (
        3,
        "",
        "srkit upscale: zsrs: there is no such file, run directory or recipe; did you mean 'zssr'?\n",
    )
    assert call("upscale", "runs/quickstart", "one.png", "-o", "out/") == (
        3,
        "",
        "srkit upscale: runs/quickstart: there is no such run; `srkit run quickstart` trains one in runs/quickstart\n",
    )


def test_a_single_image_may_be_given_its_own_name(upscale, one, tmp_path):
    assert upscale("one.png", "--out", "new/two.webp") == (0, "1 of 1 images enlarged x2, in new/two.webp\n")
    assert np.array_equal(open_picture("new/two.webp").pixels, twice(photograph(1, 20, 24)))


def test_a_jpeg_stays_a_jpeg(upscale):
    Image.fromarray(photograph(1, 20, 24)).save("a.jpg")
    Image.fromarray(photograph(2, 20, 24)).save("b.JPEG")
    assert upscale("a.jpg", "b.JPEG", "-o", "out")[0] == 0
    assert sorted(os.listdir("out")) == ["a.jpg", "b.JPEG"]
    for name in os.listdir("out"):
        with Image.open(f"out/{name}") as image:
            assert (image.format, image.size) == ("JPEG", (48, 40))


def test_grey_stays_grey_though_the_network_tints(upscale, tmp_path):
    grey = photograph(1, 20, 24)[..., 0]
    Image.fromarray(grey).save("grey.png")
    weights = save_nearest(tmp_path / "blue.safetensors", blue=0.7)
    assert upscale("grey.png", "-o", "out", weights=weights)[0] == 0
    found = read("out/grey.png")
    assert found.shape == (40, 48)
    blue = np.floor(twice(grey) * 0.7 + 0.5)
    mean = np.floor((2.0 * twice(grey) + blue) / 3 + 0.5)
    assert np.abs(found - mean).max() <= 1  # float32 may fall on the other side of a half


def test_transparency_is_enlarged_by_itself(upscale):
    pixels = np.dstack([photograph(1, 20, 24), photograph(2, 20, 24)[..., 0]])
    Image.fromarray(pixels).save("alpha.png")
    assert upscale("alpha.png", "-o", "out")[0] == 0
    found = read("out/alpha.png")
    assert np.array_equal(found[..., :3], twice(pixels[..., :3]))
    assert np.array_equal(found[..., 3], bicubic(pixels[..., 3]))  # not by the network, which knows colours


@pytest.mark.parametrize("opacity", [0, 128, 255])
def test_what_is_evenly_transparent_stays_so(upscale, opacity):
    Image.fromarray(np.dstack([photograph(1, 20, 24), np.full((20, 24), opacity, np.uint8)])).save("alpha.png")
    assert upscale("alpha.png", "-o", "out")[0] == 0
    assert np.unique(read("out/alpha.png")[..., 3]).tolist() == [opacity]


def test_in_tiles_a_network_that_sees_little_gives_the_same(upscale):
    Image.fromarray(photograph(1, 150, 140)).save("a.png")
    assert upscale("a.png", "-o", "whole")[0] == upscale("a.png", "-o", "tiles", "--forward", "tiles")[0] == 0
    assert np.array_equal(read("whole/a.png"), read("tiles/a.png"))


@pytest.mark.parametrize("out", ["a.gif", "new/a.xyz"])
def test_a_file_of_a_kind_that_is_not_written_is_told_and_not_made_a_folder(upscale, one, tmp_path, out):
    assert upscale("one.png", "-o", out) == (
        2,
        f"srkit upscale: -o {out}: images are written as {', '.join(WRITTEN)}; a folder's name may end with /\n",
    )
    assert not (tmp_path / out).exists()
    assert upscale("one.png", "-o", f"{out}/")[0] == 0
    assert (tmp_path / out / "one.png").is_file()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_kept_in_every_kind_of_png(upscale, channels):
    pixels = np.random.default_rng(0).integers(0, 65_536, (9, 7, channels)).astype(np.uint16)
    with open("deep.png", "wb") as file:
        file.write(encode_png(pixels))
    assert upscale("deep.png", "-o", "out")[0] == 0
    before, after = open_picture("deep.png"), open_picture("out/deep.png")
    assert after.pixels.dtype == np.uint16
    assert np.array_equal(after.pixels, twice(before.pixels))
    assert after.grey == (channels < 3)
    assert (after.alpha is None) == (channels in (1, 3))
    assert after.alpha is None or np.array_equal(after.alpha, bicubic(before.alpha))


def test_the_orientation_is_applied_and_not_written_again(upscale):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(1, 20, 24)).save("turned.png", exif=exif)
    assert upscale("turned.png", "-o", "out")[0] == 0
    with Image.open("out/turned.png") as found:
        assert 0x0112 not in found.getexif()
    assert np.array_equal(read("out/turned.png"), twice(np.rot90(photograph(1, 20, 24), -1)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_colour_profile_is_kept(upscale, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photograph(1, 20, 24)).save(f"p{suffix}", icc_profile=profile)
    assert upscale(f"p{suffix}", "-o", "out")[0] == 0
    assert open_picture(f"out/p{suffix}").icc == profile


def test_a_file_without_an_image_suffix_becomes_a_png(upscale, one):
    one.rename("photo.v2")
    assert upscale("photo.v2", "-o", "out")[0] == 0
    assert os.listdir("out") == ["photo.v2.png"]


def test_what_its_format_cannot_hold_becomes_a_png_unless_that_is_another_image(upscale, one):
    # A PNG with alpha that calls itself .bmp: BMP has none.
    rgba = np.dstack([photograph(1, 20, 24), photograph(2, 20, 24)[..., 0]])
    Image.fromarray(rgba).save("two.png")
    os.rename("two.png", "two.bmp")
    assert upscale("two.bmp", "-o", "out")[0] == 0
    assert os.listdir("out") == ["two.png"]
    os.rename("two.bmp", "one.bmp")
    code, err = upscale("one.bmp", "one.png", "-o", "both")
    assert code == 3
    assert err == (
        "one.bmp: must become a PNG, but both/one.png is another image's; give it another folder\n"
        "1 of 2 images enlarged x2, in both\n"
    )


def test_a_format_asked_for_by_name_that_cannot_hold_the_image_is_refused(upscale):
    Image.fromarray(np.dstack([photograph(1, 20, 24), photograph(2, 20, 24)[..., 0]])).save("alpha.png")
    message = "srkit upscale: out.jpg: cannot be written: JPEG cannot hold transparency; .png can\n"
    assert upscale("alpha.png", "-o", "out.jpg") == (3, message)


def test_a_bad_image_is_named_and_the_rest_goes_on(upscale, photographs):
    whole = (photographs / "p1.png").read_bytes()
    (photographs / "p1.png").write_bytes(whole[: len(whole) // 2])
    (photographs / "p2.png").write_bytes(b"")
    code, err = upscale("nowhere.png", "photos", "-o", "out")
    assert code == 3
    lines = err.splitlines()
    assert lines[0] == "nowhere.png: there is no such file or folder"
    assert lines[1].startswith("photos/p1.png: cannot be decoded: ")
    assert lines[2:] == ["photos/p2.png: is empty", "2 of 5 images enlarged x2, in out"]
    assert sorted(os.listdir("out")) == ["p0.png", "p3.png"]


def test_a_folder_without_images_is_named(upscale, tmp_path):
    (tmp_path / "empty").mkdir()
    code, err = upscale("empty", "-o", "out")
    assert code == 3
    assert err == ("empty: has no images: looked for " + ", ".join(SUFFIXES) + "\n0 of 1 images enlarged x2, in out\n")
    assert not os.path.exists("out")


def test_what_the_network_fails_on_is_named_and_the_rest_goes_on(call, one, tmp_path):
    (tmp_path / "picky.py").write_text(
        "import srkit, torch\n\nclass Picky(torch.nn.Module):\n"
        "    def __init__(self, *, scale: int):\n        super().__init__()\n"
        "        self.one = torch.nn.Parameter(torch.ones(1))\n\n"
        "    def forward(self, x):\n"
        "        x = torch.nn.functional.pad(x, (9, 9, 9, 9), 'reflect')[..., 9:-9, 9:-9]\n"
        "        return torch.nn.functional.interpolate(x * self.one, scale_factor=2)\n\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('architecture', 'picky', f'{__name__}:Picky')\n"
    )
    torch.save({"one": torch.ones(1)}, "w.pt")
    Image.fromarray(photograph(1, 8, 30)).save("flat.png")
    words = ["--architecture", "picky", "--scale", "2"]
    code, _, err = call("-p", "picky.py", "upscale", "w.pt", "flat.png", "one.png", "-o", "out", *words)
    assert code == 3
    assert err.startswith("flat.png: is 30x8, which the network fails on: RuntimeError: ")
    assert err.endswith("\n1 of 2 images enlarged x2, in out\n")
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one.png", "-o", "."], "one.png would be written over itself; give another -o"),
        (["one.png", "-o", "one.png"], "one.png would be written over itself; give another -o"),
        (["one.png", "-o", "link.png"], "one.png would be written over itself; give another -o"),
        (
            ["a/one.png", "one.png", "-o", "."],
            "a/one.png and one.png would both become one.png; enlarge them into two folders",
        ),
        (
            ["a/one.png", "one.png", "-o", "b"],
            "a/one.png and one.png would both become b/one.png; enlarge them into two folders",
        ),
        (["one.png", "a/link.png", "-o", "a"], "a/link.png would be written over itself; give another -o"),
        (["one.png", "a", "-o", "out.png"], "-o out.png names one image, but there may be several; give a folder"),
        (["a", "-o", "out.png"], "-o out.png names one image, but there may be several; give a folder"),
        (["one.png", "-o", "notes.txt"], "-o notes.txt is a file, but neither a folder nor an image"),
    ],
)
def test_nothing_is_written_where_an_input_would_be_lost(upscale, one, tmp_path, arguments, message):
    (tmp_path / "a").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "a/one.png").write_bytes(one.read_bytes())
    (tmp_path / "link.png").symlink_to(one)
    (tmp_path / "a/link.png").symlink_to(one)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert upscale(*arguments) == (2, f"srkit upscale: {message}\n")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_one_image_may_replace_no_other_input(upscale, one, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one.png").symlink_to(tmp_path / "two.png")
    (tmp_path / "two.png").write_bytes(one.read_bytes())
    message = "one.png would be written over out/one.png, which is an input, too; give another -o"
    assert upscale("one.png", "two.png", "-o", "out") == (2, f"srkit upscale: {message}\n")


def test_an_image_given_twice_is_enlarged_once(upscale, one):
    assert upscale("one.png", "./one.png", "-o", "out") == (0, "1 of 1 images enlarged x2, in out\n")


def test_an_old_output_is_replaced_whole_where_that_is_asked_for_and_nothing_else_is_left(upscale, one, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/one.png").write_bytes(b"old")
    assert upscale("one.png", "-o", "out", "--overwrite") == (0, "1 of 1 images enlarged x2, in out\n")
    assert os.listdir("out") == ["one.png"]
    assert np.array_equal(open_picture("out/one.png").pixels, twice(photograph(1, 20, 24)))


def test_a_folder_that_cannot_be_made_ends_the_command(upscale, one, tmp_path):
    (tmp_path / "file").write_text("")
    code, err = upscale("one.png", "-o", "file/out")
    assert (code, err) == (1, "srkit upscale: file/out/one.png: cannot be written: Not a directory\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.safetensors", "nothing.safetensors: there is no such file or run directory"),
        ("a", "a: is a folder without best.safetensors"),
        ("runs", "runs: holds runs: runs/espcn, runs/quickstart; give one of them"),
        ("quikstart", "quikstart: there is no such file or run directory; did you mean runs/quickstart?"),
        ("runs/quikstart", "runs/quikstart: there is no such file or run directory; did you mean runs/quickstart?"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(upscale, one, tmp_path, name, message):
    (tmp_path / "a").mkdir()
    for run in ("quickstart", "espcn"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "recipe.toml").touch()
    assert upscale("one.png", "-o", "out", weights=name) == (3, f"srkit upscale: {message}\n")


def test_progress_is_shown_on_a_terminal_and_nowhere_else(upscale, one, nearest, model, tmp_path):
    assert upscale("one.png", "-o", "out") == (0, "1 of 1 images enlarged x2, in out\n")
    ours, theirs = os.openpty()
    command = ["-p", nearest, "upscale", model, "one.png", "-o", "out", "--overwrite"]
    run = subprocess.run(
        [sys.executable, "-m", "srkit", *command], stdout=subprocess.PIPE, stderr=theirs, timeout=HANGS
    )
    os.close(theirs)
    seen = os.read(ours, 100_000).decode()
    os.close(ours)
    assert (run.returncode, run.stdout) == (0, b"")
    assert "one.png" in seen
    assert "1/1" in seen


# What is there, names and formats


def test_what_is_there_already_is_not_done_again(upscale, photographs, tmp_path):
    Image.fromarray(np.dstack([photograph(1, 20, 24), photograph(2, 20, 24)[..., 0]])).save("a.png")
    os.rename("a.png", photographs / "alpha.bmp")  # which becomes a PNG
    assert upscale("photos", "-o", "out") == (0, "5 of 5 images enlarged x2, in out\n")
    (tmp_path / "out" / "p2.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    message = "1 of 5 images enlarged x2, in out; 4 there already (--overwrite replaces them)\n"
    assert upscale("photos", "-o", "out") == (0, message)
    assert len(os.listdir("out")) == 5
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_file_that_is_named_is_written_anew(upscale, one, tmp_path):
    (tmp_path / "out.png").write_bytes(b"old")
    assert upscale("one.png", "-o", "out.png") == (0, "1 of 1 images enlarged x2, in out.png\n")
    assert np.array_equal(read("out.png"), twice(photograph(1, 20, 24)))


def test_a_pattern_takes_the_files_that_it_names_and_keeps_their_folders(upscale, mixed):
    assert upscale("photos/**/*.[pj]*", "-o", "out") == (0, "5 of 5 images enlarged x2, in out\n")
    assert sorted(os.listdir("out")) == ["more", "p0.png", "p1.png", "p2.png", "p3.png"]
    assert os.listdir("out/more") == ["p0.jfif"]
    assert upscale("photos/*.xyz", "-o", "out")[1].splitlines()[0] == (
        "photos/*.xyz: no file has a name of this pattern"
    )


def test_a_file_whose_name_is_a_pattern_is_that_file(upscale, one):
    one.rename("a[1].png")
    assert upscale("a[1].png", "-o", "out") == (0, "1 of 1 images enlarged x2, in out\n")
    assert os.listdir("out") == ["a[1].png"]


def test_names_have_a_suffix_and_a_format_where_these_are_given(upscale, photographs):
    Image.fromarray(photograph(5, 12, 12)).save(photographs / "q.v2.JPG")
    os.rename(photographs / "p3.png", photographs / "p3")
    assert upscale("photos", "photos/p3", "-o", "out", "--suffix", "_x2", "--format", "webp")[0] == 0
    assert sorted(os.listdir("out")) == ["p0_x2.webp", "p1_x2.webp", "p2_x2.webp", "p3_x2.webp", "q.v2_x2.webp"]
    assert np.array_equal(open_picture("out/p0_x2.webp").pixels, twice(open_picture("photos/p0.png").pixels))
    message = "srkit upscale: --suffix a/b: stands behind names, and has no slash\n"
    assert upscale("photos", "-o", "out", "--suffix", "a/b") == (2, message)


@pytest.mark.parametrize(("subsampling", "quality"), [(0, 97), (2, 60), (1, 30)])
def test_the_quality_of_a_jpeg_is_kept(upscale, subsampling, quality):
    Image.fromarray(photograph(1, 40, 48)).save("a.jpg", quality=quality, subsampling=subsampling)
    Image.fromarray(photograph(1, 40, 48)[..., 0]).save("grey.jpg", quality=quality)
    assert upscale("a.jpg", "grey.jpg", "-o", "out")[0] == 0
    for name in ("a.jpg", "grey.jpg"):
        with Image.open(name) as before, Image.open(f"out/{name}") as after:
            assert after.mode == before.mode
            assert after.quantization == before.quantization
            assert [layer[1:] for layer in after.layer] == [layer[1:] for layer in before.layer]
    assert upscale("a.jpg", "-o", "b.jpg", "--quality", "90")[0] == 0
    Image.fromarray(photograph(1, 40, 48)).save("c.jpg", quality=90)
    with Image.open("b.jpg") as found, Image.open("c.jpg") as must:
        assert found.quantization == must.quantization


# The standard streams


def streamed(nearest, model, data, *arguments):
    """Run `srkit upscale` as a process that is given bytes; return (exit code, what it writes, stderr)."""
    command = [sys.executable, "-m", "srkit", "-p", nearest, "upscale", model, *arguments]
    run = subprocess.run(command, input=data, capture_output=True, timeout=HANGS, check=False)
    return run.returncode, run.stdout, run.stderr.decode()


def test_an_image_goes_from_the_standard_input_to_the_standard_output(nearest, model, one, tmp_path):
    out = streamed(nearest, model, one.read_bytes(), "-", "-o", "-")
    assert (out[0], out[2]) == (0, "1 of 1 images enlarged x2, to the standard output\n")
    assert np.array_equal(open_picture("out", out[1]).pixels, twice(photograph(1, 20, 24)))


def test_a_jpeg_from_the_standard_input_stays_one(nearest, model, tmp_path):
    Image.fromarray(photograph(1, 20, 24)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    assert streamed(nearest, model, data, "-", "-o", "-")[1].startswith(b"\xff\xd8\xff")
    assert streamed(nearest, model, data, "-", "-o", "-", "--format", "bmp")[1].startswith(b"BM")


def test_what_the_standard_input_holds_is_named_where_it_is_no_image(nearest, model, tmp_path):
    code, out, err = streamed(nearest, model, b"no image at all", "-", "-o", str(tmp_path / "out"))
    assert (code, out) == (3, b"")
    assert err.splitlines()[0] == f"stdin: is not {KINDS}: it begins with b'no image at '"


def test_the_standard_output_takes_one_image_and_no_terminal(upscale, one, photographs, nearest, model):
    message = "srkit upscale: -o - writes one image, but there may be several; give a folder\n"
    for several in (["one.png", "one.png"], ["photos"], ["*.png"]):
        assert upscale(*several, "-o", "-") == (2, message)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "srkit", "-p", nearest, "upscale", model, "one.png", "-o", "-"]
    run = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, timeout=HANGS, check=False)
    os.close(theirs)
    os.close(ours)
    message = "srkit upscale: -o - would write an image to the terminal: send it to a file or a program\n"
    assert (run.returncode, run.stderr.decode()) == (2, message)


def test_a_recipe_takes_no_standard_input(upscale):
    message = "srkit upscale: zssr is a recipe, which trains on a file: save the standard input as one\n"
    assert upscale("-", "-o", "out", weights="zssr") == (2, message)


# Folders


@pytest.fixture
def mixed(photographs):
    """The photographs with a .gif, a folder of an image and one of a text beside them."""
    Image.new("L", (4, 4)).save(photographs / "still.gif")
    (photographs / "more").mkdir()
    (photographs / "texts").mkdir()
    Image.fromarray(photograph(6, 12, 14)).save(photographs / "more" / "p0.jfif", "JPEG")
    return photographs


def test_what_is_left_out_of_a_folder_is_said(upscale, mixed):
    assert upscale("photos", "-o", "out") == (
        0,
        "photos: left out: 1 .gif (still.gif: not read), 1 folder with images (more: --recursive takes it)\n"
        "4 of 4 images enlarged x2, in out\n",
    )


def test_the_folders_below_are_enlarged_into_the_same_folders(upscale, mixed, tmp_path):
    for _ in range(2):  # the second time, what the first wrote is no input
        assert upscale("photos", "-o", "photos/out", "--recursive", "--overwrite") == (
            0,
            "photos: left out: 1 .gif (still.gif: not read)\n5 of 5 images enlarged x2, in photos/out\n",
        )
    found = sorted(str(path.relative_to(mixed / "out")) for path in (mixed / "out").rglob("*.*"))
    assert found == ["more/p0.jfif", "p0.png", "p1.png", "p2.png", "p3.png"]


def test_a_folder_without_images_says_what_is_left_out(upscale, tmp_path):
    (tmp_path / "gifs").mkdir()
    Image.new("L", (4, 4)).save("gifs/still.gif")
    assert upscale("gifs", "-o", "out")[1].splitlines()[0] == (
        f"gifs: has no images: looked for {', '.join(SUFFIXES)}; left out: 1 .gif (still.gif: not read)"
    )


def test_a_link_that_leads_back_to_itself_is_named(upscale, one, tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert upscale("loop.png", "one.png", "-o", "out") == (
        3,
        "loop.png: is a link that leads back to itself\n1 of 2 images enlarged x2, in out\n",
    )


def test_what_dead_processes_left_is_removed_and_nothing_of_living_ones(upscale, one, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(HANGS)
    (tmp_path / "out").mkdir()
    ours, theirs = f".aside-{os.getpid()}-0123456789ab", f".aside-{dead.pid}-0123456789ab"
    for name in (ours, theirs, ".aside-notes"):
        (tmp_path / "out" / name).touch()
    assert upscale("one.png", "-o", "out")[0] == 0
    assert sorted(os.listdir("out")) == sorted([ours, ".aside-notes", "one.png"])


# Names


def test_a_file_name_with_a_line_end_stays_on_one_line(upscale, one, tmp_path):
    (tmp_path / "a\nb.png").write_bytes(b"no image at all")
    code, err = upscale("a\nb.png", "gone\n.png", "one.png", "-o", "out")
    assert code == 3
    assert err.splitlines() == [
        "gone\\n.png: there is no such file or folder",
        f"a\\nb.png: is not {KINDS}: it begins with b'no image at '",
        "1 of 3 images enlarged x2, in out",
    ]


def test_a_file_that_begins_like_an_option_is_explained(upscale, one):
    one.rename("-dash.png")
    message = "'-dash.png' is a file, but begins like an option: write ./-dash.png, or -- before the files"
    assert upscale("-dash.png", "-o", "out") == (2, f"srkit upscale: {message}\n")
    assert upscale("./-dash.png", "-o", "out")[0] == 0


# Transparency


def disc():
    """A red disc on nothing: colours under alpha 0 are black, and its edge is half transparent."""
    y, x = np.mgrid[:48, :48]
    alpha = np.clip((18 - np.hypot(x - 23.5, y - 23.5)) * 255, 0, 255).astype(np.uint8)
    pixels = np.where(alpha[..., None] > 0, np.array([220, 40, 40], np.uint8), np.uint8(0))
    return np.dstack([pixels, alpha])


def edge(path):
    """Return the mean colour of the partly transparent pixels of a file."""
    samples = read(path)
    return samples[(samples[..., 3] > 10) & (samples[..., 3] < 245)][:, :3].mean(axis=0)


BLUR = """\
import srkit
import torch

class Blur(torch.nn.Module):
    def __init__(self, *, scale: int, img_range: float = 1.0):
        super().__init__()
        self.scale, self.img_range = scale, img_range
        self.one = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = torch.nn.functional.avg_pool2d(x * self.img_range, 3, 1, 1, count_include_pad=False)
        return torch.nn.functional.interpolate(x * self.one, scale_factor=self.scale, mode="bilinear") / self.img_range

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "blur", f"{__name__}:Blur", facts={"tileable": False})
"""


@pytest.fixture
def blur(tmp_path):
    """A one-file plugin with a network that mixes neighbours, beside the weights for it."""
    (tmp_path / "blur.py").write_text(BLUR)
    torch.save({"one": torch.ones(1)}, "blur.pt")
    return ["-p", "blur.py", "upscale", "blur.pt", "--architecture", "blur", "--scale", "2"]


@pytest.mark.parametrize("img_range", [1, 255])
def test_what_lies_under_transparency_does_not_bleed(call, blur, img_range):
    Image.fromarray(disc()).save("disc.png")
    assert call(*blur, "--set", f"img_range={img_range}", "disc.png", "-o", "out")[0] == 0
    assert np.abs(edge("out/disc.png") - (220, 40, 40)).max() <= 3


def test_a_network_that_is_not_tileable_is_warned_of(call, blur, one):
    assert call(*blur, "one.png", "-o", "out", "--forward", "tiles")[2] == (
        "architecture 'blur' states that tiles do not make up its output: seams may be seen\n"
        "1 of 1 images enlarged x2, in out\n"
    )


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_the_edge_of_a_disc_keeps_its_colour_with_published_weights(call):
    weights, source = f"{DATA}/golden/weights/aan_x2.pt", f"{DATA}/cases/alpha-fringe/disc.png"
    words = ["--architecture", "a2n", "--scale", "2", "--set", "img_range=255"]
    assert call("upscale", weights, source, "-o", "out", *words)[0] == 0
    with Image.open(source) as image:
        image.resize((96, 96), Image.Resampling.BICUBIC).save("premultiplied.png")
    assert np.abs(edge("out/disc.png") - edge("premultiplied.png")).max() <= 3
