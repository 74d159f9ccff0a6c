import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import srkit
from srkit.images.encoding import encode_png
from srkit.images.listing import list_images
from srkit.images.opening import SUFFIXES
from srkit.images.reading import open_picture, read_image
from tests.conftest import photograph

DATA = os.environ.get("SRKIT_TEST_DATA")


def test_lr_images_are_pngs_under_the_names_of_hr(call, photographs):
    Image.fromarray(photograph(7, 30, 30)).save(photographs / "q.jpg")
    assert call("degrade", "bicubic", "photos", "lr", "--scale", "2") == (
        0,
        "",
        "5 of 5 images downscaled by 2, in lr\n",
    )
    assert sorted(os.listdir("lr")) == ["p0.png", "p1.png", "p2.png", "p3.png", "q.png"]


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("mode", ["uint8", "double"])
def test_an_lr_image_is_the_degradation_of_the_whole_hr_image(call, photographs, scale, mode):
    assert call("degrade", "bicubic", "photos", "lr", "--scale", scale, "--set", f"mode={mode}")[0] == 0
    apply = srkit.create("degradation", "bicubic", scale=scale, mode=mode)
    for path in list_images(photographs):
        hr = read_image(path)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        assert np.array_equal(read_image(f"lr/{path.name}"), apply(np.ascontiguousarray(hr)))


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_lr_images_of_a_benchmark_are_made_bit_by_bit(call, scale):
    folder = Path(str(DATA)) / "data/Set5"
    assert call("degrade", "bicubic", folder / "HR", "lr", "--scale", scale)[0] == 0
    for path in list_images("lr"):
        published = read_image(folder / f"LR_bicubic/X{scale}/{path.stem}x{scale}.png")
        assert np.array_equal(read_image(path), published)
    assert len(list_images("lr")) == 5


def test_sixteen_bits_are_kept(call, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65_536, (12, 14, 3)).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(encode_png(pixels))
    assert call("degrade", "bicubic", "deep.png", "lr", "--scale", "2")[0] == 0
    assert read_image("lr/deep.png").dtype == np.uint16


@pytest.mark.parametrize("source", ["packed.h5", "h5:packed.h5", "packed.lmdb", "folder:photos", "srkit:folder:photos"])
def test_the_hr_images_can_be_any_dataset(call, photographs, source):
    target = source.rpartition(":")[2]
    if target.startswith("packed"):
        assert call("prepare", "photos", target)[0] == 0
    assert call("degrade", "bicubic", "photos", "expected", "--scale", "2")[0] == 0
    told = f"4 HR images in {target}, no LR beside them\n4 of 4 images downscaled by 2, in lr\n"
    assert call("degrade", "bicubic", source, "lr", "--scale", "2") == (0, "", told)
    found = {path.name: path.read_bytes() for path in Path("lr").iterdir()}
    assert found == {path.name: path.read_bytes() for path in Path("expected").iterdir()}


def test_a_dataset_without_a_path_is_named_alone(call):
    assert call("degrade", "bicubic", "leaves", "lr", "--scale", "4")[0] == 0
    images = list_images("lr")
    assert (len(images), images[0].name, read_image(images[0]).shape) == (24, "leaves_00000.png", (64, 64, 3))


NAMED = """\
import numpy as np
import srkit


class Named:
    def __init__(self, *, path: str = ""):
        self.names = path.split(",")

    def __len__(self):
        return len(self.names)

    def name(self, index):
        return self.names[index]

    def size(self, index):
        return 8, 8

    def read(self, index, window=None):
        if "bad" in self.names[index]:
            raise KeyError(self.names[index])
        return np.full((8, 8, 3), index, np.uint8)

    def lr(self, scale):
        return None

    def fingerprint(self):
        return "x"


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("dataset", "named", f"{__name__}:Named")
"""


def test_images_of_a_dataset_keep_their_names_and_are_written_nowhere_else(call, tmp_path):
    (tmp_path / "named.py").write_text(NAMED)
    words = ["-p", "named.py", "degrade", "bicubic"]
    code, _, err = call(*words, "named:cats/1.5,cats/bad,x", "lr", "--scale", "2")
    reason = "cannot be read: KeyError: 'cats/bad' (named.py:20)"
    assert (code, err) == (3, f"cats/bad: {reason}\n3 images\n2 of 3 images downscaled by 2, in lr\n")
    assert sorted(str(path) for path in Path("lr").rglob("*.png")) == ["lr/cats/1.5.png", "lr/x.png"]
    for name in ("../x", "/tmp/x", "a//b", ""):
        told = f"srkit degrade: {name!r}: cannot be the name of a file\n"
        assert call(*words, f"named:a,{name}", "out", "--scale", "2") == (3, "", told)
    told = "srkit degrade: two images of named:a,a are called a\n"
    assert call(*words, "named:a,a", "out", "--scale", "2") == (2, "", told)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("folder:photos", "photos", "DST lies in SRC: LR images would stand among the files of photos"),
        ("folder:photos", "photos/lr", "DST lies in SRC: LR images would stand among the files of photos"),
        ("foldr:photos", "lr", "foldr:photos: unknown dataset 'foldr'; did you mean 'folder'?"),
        ("leaves:x", "lr", "leaves:x: unknown setting 'path' of dataset 'leaves'"),
        ("h5:none.h5", "lr", "none.h5: is not there; looked for in {cwd}"),
        ("a:b.png", "lr", "a:b.png: there is no such file or folder"),
    ],
)
def test_a_dataset_that_cannot_be_meant_is_one_line(call, photographs, source, target, message):
    code, _, err = call("degrade", "bicubic", source, target, "--scale", "2")
    assert code in (2, 3)
    assert err.startswith(f"srkit degrade: {message.format(cwd=os.getcwd())}")
    assert not Path(target, "p0.png").exists() or target == "photos"


def test_a_file_named_like_a_dataset_is_the_file(call, photographs):
    photographs.rename(photographs.with_name("h5:photos"))
    assert call("degrade", "bicubic", "h5:photos", "lr", "--scale", "2")[2] == "4 of 4 images downscaled by 2, in lr\n"


def test_a_random_degradation_makes_the_same_images_again(call, photographs, tmp_path):
    (tmp_path / "noisy.py").write_text(
        "import srkit\n\n"
        "def make(*, scale: int):\n"
        "    return lambda hr, draws: hr[..., ::scale, ::scale] * draws[:, 0, None, None, None]\n\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    facts = {'deterministic': False, 'draws': 1, 'scales': (2,)}\n"
        "    yield srkit.Component('degradation', 'noisy', f'{__name__}:make', facts=facts)\n"
    )
    for folder in ("a", "b"):
        assert call("degrade", "-p", "noisy.py", "noisy", "photos", folder, "--scale", "2")[0] == 0
    images = [(read_image(a), read_image(b)) for a, b in zip(list_images("a"), list_images("b"), strict=True)]
    assert all(np.array_equal(a, b) for a, b in images)
    factors = [a[0, 0] / read_image(hr)[0, 0].clip(1) for (a, _), hr in zip(images, list_images("photos"), strict=True)]
    assert len({round(float(f.max()), 2) for f in factors}) > 1
    code, _, err = call("degrade", "-p", "noisy.py", "noisy", "photos", "c", "--scale", "3")
    assert (code, err) == (2, "srkit degrade: degradation 'noisy' has scales 2, not 3\n")


def test_a_bad_image_is_named_and_the_rest_goes_on(call, photographs):
    (photographs / "p1.png").write_bytes(b"")
    Image.fromarray(np.zeros((9, 9, 4), np.uint8)).save(photographs / "p2.png")
    Image.fromarray(np.zeros((1, 9, 3), np.uint8)).save(photographs / "p3.png")
    assert call("degrade", "bicubic", "photos", "lr", "--scale", "2") == (
        3,
        "",
        "photos/p1.png: is empty\n"
        "photos/p2.png: has transparency, and what lies under it is not defined: save it without alpha\n"
        "photos/p3.png: is 9x1, smaller than the scale\n"
        "1 of 4 images downscaled by 2, in lr\n",
    )
    assert os.listdir("lr") == ["p0.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["bicubic", "photos", "lr", "--scale", "2", "--set", "mod=double"],
            "--set mod=double: unknown setting 'mod' of degradation 'bicubic'; did you mean 'mode'?",
        ),
        (
            ["bicubic", "photos", "lr", "--scale", "2", "--set", "mode=float"],
            '--set mode=float: \'mode\' must be "uint8" or "double", not "float"',
        ),
        (
            ["bicubc", "photos", "lr", "--scale", "2"],
            "unknown degradation 'bicubc'; did you mean 'bicubic'? (installed: bicubic, chain, kernel, pillow_bicubic)",
        ),
        (
            ["bicubic", "photos", "lr", "--scale", "0"],
            "argument --scale: a scale is at least 1, not 0; see srkit degrade --help",
        ),
        (
            ["bicubic", "photos", "photos", "--scale", "2"],
            "DST is SRC: LR images would stand among the HR images of photos",
        ),
        (["bicubic", "photos", "file", "--scale", "2"], "DST is a folder to make LR images in, but file is a file"),
        (["bicubic", "twins", "lr", "--scale", "2"], "twins/a.jpg and twins/a.png would both become lr/a.png"),
    ],
)
def test_a_command_that_cannot_be_meant_writes_nothing(call, photographs, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "twins").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.fromarray(photograph(0, 16, 16)).save(tmp_path / "twins" / name)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert call("degrade", *arguments) == (2, "", f"srkit degrade: {message}\n")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}


def test_a_folder_that_is_not_there_is_one_line(call):
    message = "srkit degrade: photos: there is no such file or folder\n"
    assert call("degrade", "bicubic", "photos", "lr", "--scale", "2") == (3, "", message)


def test_a_constructor_that_refuses_is_one_line(call, photographs, tmp_path):
    (tmp_path / "picky.py").write_text(
        "import srkit\n\ndef make(*, scale: int):\n    raise ValueError('not today')\n\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('degradation', 'picky', f'{__name__}:make')\n"
    )
    code, _, err = call("degrade", "-p", "picky.py", "picky", "photos", "lr", "--scale", "2")
    assert (code, err) == (2, "srkit degrade: degradation 'picky': not today\n")


def test_what_says_the_colours_of_hr_stays_with_lr(call, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photograph(1, 20, 24)).save("a.png", icc_profile=profile)
    (tmp_path / "b.png").write_bytes(encode_png(photograph(1, 20, 24), chunks=[(b"gAMA", b"\0\1\x86\xa0")]))
    (tmp_path / "c.png").write_bytes(encode_png(photograph(1, 20, 24)[..., 0], icc=bytes(16) + b"GRAY" + bytes(108)))
    for name in "abc":
        assert call("degrade", "bicubic", f"{name}.png", "lr", "--scale", "2")[0] == 0
    assert open_picture("lr/a.png").icc == profile
    assert open_picture("lr/b.png").color == ((b"gAMA", b"\0\1\x86\xa0"),)
    assert open_picture("lr/c.png").grey


def test_folders_below_are_taken_where_asked_and_counted_where_not(call, photographs):
    (photographs / "more").mkdir()
    Image.fromarray(photograph(6, 12, 14)).save(photographs / "more" / "p0.png")
    words = ["degrade", "bicubic", "photos", "lr", "--scale", "2"]
    assert call(*words)[2] == (
        "photos: left out: 1 folder with images (more: --recursive takes it)\n4 of 4 images downscaled by 2, in lr\n"
    )
    assert call(*words, "--recursive")[2] == "5 of 5 images downscaled by 2, in lr\n"
    assert read_image("lr/more/p0.png").shape == (6, 7, 3)


@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_what_was_left_out_in_silence_is_taken_or_said(call):
    left_out = "1 .gif (still.gif: not read)"
    if ".avif" not in SUFFIXES:
        left_out = f"1 .avif (avif.avif: not read by this Pillow), {left_out}"
    folder = f"{DATA}/cases/silently-left-out-files/mix"
    err = call("degrade", "bicubic", folder, "lr", "--scale", "2")[2]
    count = 4 if ".avif" in SUFFIXES else 3
    assert err == (
        f"{folder}: left out: {left_out}, 1 folder with images (more: --recursive takes it)\n"
        f"{count} of {count} images downscaled by 2, in lr\n"
    )
