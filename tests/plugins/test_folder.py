import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import srkit_datasets
from srkit_datasets.folder import Folder

from srkit import InputRejected, Window
from srkit.encoding import encode_png
from srkit.imaging import list_images

DATA = os.environ.get("SRKIT_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")


def put(path, height=24, width=32, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.write_bytes(encode_png(pixels))
    return pixels


def names(source):
    return [source.name(index) for index in range(len(source))]


def rejected(function, *args, **settings):
    with pytest.raises(InputRejected) as error:
        function(*args, **settings)
    return str(error.value)


# Settings


def test_path_or_hr_is_needed():
    with pytest.raises(ValueError, match="path") as error:
        Folder()
    assert str(error.value) == "give either path (a folder whose layout is found) or hr (the folder of HR images)"


def test_path_and_hr_exclude_each_other():
    with pytest.raises(ValueError, match="path") as error:
        Folder(path="a", hr="b")
    assert str(error.value) == "give either path (a folder whose layout is found) or hr (the folder of HR images)"


def test_lr_goes_with_hr():
    with pytest.raises(ValueError, match="lr") as error:
        Folder(path="a", lr="b")
    assert str(error.value) == "lr goes with hr: give hr (the folder of HR images) instead of path"


def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "hr" / "a.png")
    put(tmp_path / "lr" / "a.png", 12, 16)
    source = Folder(hr="~/hr", lr="~/lr")
    assert names(source) == names(source.lr(2)) == ["a"]


def test_the_components_name_their_targets():
    components = {component.name: component for component in srkit_datasets.srkit_components()}
    assert list(components) == ["folder", "leaves"]
    assert components["folder"].load() is Folder


# Layouts

LAYOUTS = {
    "DIV2K train": ("DIV2K_train_HR/{}.png", "DIV2K_train_LR_bicubic/X{scale}/{}x{scale}.png"),
    "DIV2K valid": ("DIV2K_valid_HR/{}.png", "DIV2K_valid_LR_bicubic/X{scale}/{}x{scale}.png"),
    "DF2K": ("HR/{}.png", "LR_bicubic/X{scale}/{}.png"),
    "EDSR benchmark": ("HR/{}.png", "LR_bicubic/X{scale}/{}x{scale}.png"),
    "BasicSR": ("GTmod12/{}.png", "LRbicx{scale}/{}.png"),
    "SelfExSR": ("image_SRF_4/{}_SRF_4_HR.png", "image_SRF_{scale}/{}_SRF_{scale}_LR.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found_from_its_root(tmp_path, layout):
    hr, lr = LAYOUTS[layout]
    pairs = {}
    for seed, name in enumerate(("img_001", "img_002", "img_010")):
        put(tmp_path / hr.format(name), seed=seed)
        pairs[name] = put(tmp_path / lr.format(name, scale=4), 6, 8, seed=seed)
    source = Folder(path=str(tmp_path))
    beside = source.lr(4)
    assert names(source) == names(beside) == list(pairs)
    assert all(np.array_equal(beside.read(index), pixels) for index, pixels in enumerate(pairs.values()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_scale_that_a_layout_has_not_is_none(tmp_path, layout):
    hr, lr = LAYOUTS[layout]
    put(tmp_path / hr.format("a"))
    put(tmp_path / lr.format("a", scale=4), 6, 8)
    assert Folder(path=str(tmp_path)).lr(3) is None


def test_a_plain_folder_is_hr_alone(tmp_path):
    put(tmp_path / "DIV2K_train_HR" / "0001.png")
    put(tmp_path / "DIV2K_train_LR_bicubic" / "X4" / "0001x4.png", 6, 8)
    source = Folder(path=str(tmp_path / "DIV2K_train_HR"))
    assert names(source) == ["0001"]
    assert source.lr(4) is None


def test_two_sets_under_one_root_are_a_question(tmp_path):
    put(tmp_path / "DIV2K_train_HR" / "0001.png")
    put(tmp_path / "DIV2K_valid_HR" / "0801.png")
    assert rejected(Folder, path=str(tmp_path)) == (
        f"{tmp_path}: holds DIV2K_train_HR and DIV2K_valid_HR: give "
        f'hr = "{tmp_path}/DIV2K_train_HR" with lr = "{tmp_path}/DIV2K_train_LR_bicubic/X{{scale}}" or '
        f'hr = "{tmp_path}/DIV2K_valid_HR" with lr = "{tmp_path}/DIV2K_valid_LR_bicubic/X{{scale}}", not path'
    )


def test_selfexsr_gives_the_hr_that_has_lost_least(tmp_path):
    for scale, side in ((2, 26), (3, 24), (4, 24)):
        put(tmp_path / f"image_SRF_{scale}" / f"img_001_SRF_{scale}_HR.png", side, side)
        put(tmp_path / f"image_SRF_{scale}" / f"img_001_SRF_{scale}_LR.png", side // scale, side // scale)
    source = Folder(path=str(tmp_path))
    assert source.size(0) == (26, 26)
    assert [source.lr(scale).size(0) for scale in (2, 3, 4)] == [(13, 13), (8, 8), (6, 6)]


def test_one_scale_of_selfexsr_is_a_root_too(tmp_path):
    put(tmp_path / "image_SRF_3" / "img_001_SRF_3_HR.png")
    put(tmp_path / "image_SRF_3" / "img_001_SRF_3_LR.png", 8, 10)
    source = Folder(path=str(tmp_path / "image_SRF_3"))
    assert names(source) == ["img_001"]
    assert source.lr(3).size(0) == (8, 10)


def test_hr_and_lr_may_be_given(tmp_path):
    put(tmp_path / "gt" / "a.png")
    put(tmp_path / "low" / "x4" / "a.png", 6, 8)
    source = Folder(hr=str(tmp_path / "gt"), lr=str(tmp_path / "low" / "x{scale}"))
    assert source.lr(4).size(0) == (6, 8)


def test_an_lr_folder_that_was_given_must_be_there(tmp_path):
    put(tmp_path / "gt" / "a.png")
    source = Folder(hr=str(tmp_path / "gt"), lr=str(tmp_path / "x{scale}"))
    assert rejected(source.lr, 4) == f"{tmp_path / 'x4'}: is not there"


def test_names_that_look_like_lr_are_paired_by_name(tmp_path):
    for name in ("a", "ax2"):
        put(tmp_path / "HR" / f"{name}.png")
        put(tmp_path / "LR_bicubic" / "X2" / f"{name}.png", 12, 16)
    beside = Folder(path=str(tmp_path)).lr(2)
    assert [path.stem for path in beside.paths] == ["a", "ax2"]


# Pairs that are none


def test_hr_without_lr_is_named(tmp_path):
    for number in range(6):
        put(tmp_path / "HR" / f"{number}.png")
    put(tmp_path / "LR_bicubic" / "X2" / "3x2.png", 12, 16)
    assert rejected(Folder(path=str(tmp_path)).lr, 2) == (
        f"{tmp_path / 'LR_bicubic' / 'X2'}: has no LR image for 5 of 6 HR images: 0.png, 1.png, 2.png, ..."
    )


def test_an_lr_image_of_another_size_is_named(tmp_path):
    put(tmp_path / "HR" / "a.png", 24, 32)
    put(tmp_path / "LR_bicubic" / "X4" / "ax4.png", 12, 16)
    assert rejected(Folder(path=str(tmp_path)).lr, 4) == (
        f"{tmp_path / 'LR_bicubic' / 'X4' / 'ax4.png'}: is 16x12, but a.png is 32x24, which needs 8x6 at scale 4"
    )


def test_hr_need_not_be_a_multiple_of_the_scale(tmp_path):
    put(tmp_path / "HR" / "a.png", 27, 33)
    put(tmp_path / "LR_bicubic" / "X4" / "ax4.png", 6, 8)
    assert Folder(path=str(tmp_path)).lr(4).size(0) == (6, 8)


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert rejected(Folder, path=str(tmp_path)) == (
        f"{tmp_path}: has no images: looked for .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp"
    )


def test_a_missing_folder_is_named(tmp_path):
    assert rejected(Folder, hr=str(tmp_path / "none")) == f"{tmp_path / 'none'}: is not there"


def test_a_file_is_no_folder(tmp_path):
    put(tmp_path / "a.png")
    assert (
        rejected(Folder, path=str(tmp_path / "a.png"))
        == f"{tmp_path / 'a.png'}: is a file; give the folder that holds it"
    )


def test_two_images_of_one_name_are_refused(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "a.jpg")
    assert rejected(Folder, path=str(tmp_path)) == f"{tmp_path}: has two images of one name: a.jpg and a.png"


def test_a_broken_image_is_named_when_it_is_read(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    source = Folder(path=str(tmp_path))
    assert rejected(source.read, 1) == rejected(source.size, 1) == f"{tmp_path / 'b.png'}: is empty"


# Reading


def test_a_window_is_cut_from_the_image(tmp_path):
    pixels = put(tmp_path / "a.png", 24, 32)
    assert np.array_equal(Folder(path=str(tmp_path)).read(0, Window(3, 5, 7, 11)), pixels[3:10, 5:16])


def test_the_order_is_natural_and_the_core_agrees(tmp_path):
    for name in ("img10.png", "img2.PNG", "B.webp", "a.jpg", ".hidden.png"):
        put(tmp_path / name)
    source = Folder(path=str(tmp_path))
    assert names(source) == ["a", "B", "img2", "img10"]
    assert list(source.paths) == list_images(tmp_path)


def test_threads_read_alike(tmp_path):
    pixels = [put(tmp_path / f"{number}.png", seed=number) for number in range(8)]
    source = Folder(path=str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda turn: (source.size(turn % 8), source.read(turn % 8)), range(64)))
    assert all(size == (24, 32) for size, _ in found)
    assert all(np.array_equal(image, pixels[turn % 8]) for turn, (_, image) in enumerate(found))


# What was found


def test_what_was_found_is_told(tmp_path):
    for name in ("baby", "bird"):
        put(tmp_path / "Set2" / "HR" / f"{name}.png")
        for scale in (2, 4):
            put(tmp_path / "Set2" / "LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png")
    assert Folder(path=str(tmp_path / "Set2")).describe() == "2 HR images in Set2/HR, LR x2, x4 beside them"


def test_hr_alone_is_told(tmp_path):
    put(tmp_path / "set" / "hr" / "a.png")
    assert Folder(hr=str(tmp_path / "set" / "hr")).describe() == "1 HR image in set/hr, no LR beside it"


def test_a_given_lr_folder_is_told(tmp_path):
    put(tmp_path / "set" / "gt" / "a.png")
    source = Folder(hr=str(tmp_path / "set" / "gt"), lr=str(tmp_path / "set" / "lq"))
    assert source.describe() == "1 HR image in set/gt, LR in set/lq"


# Fingerprint


@pytest.fixture
def three(tmp_path):
    for number in range(3):
        put(tmp_path / "here" / f"{number}.png", seed=number)
    return tmp_path / "here"


def fingerprint(path):
    return Folder(path=str(path)).fingerprint()


def test_a_fingerprint_is_sixteen_digits(three):
    assert len(fingerprint(three)) == 16
    assert int(fingerprint(three), 16) >= 0


def test_a_moved_and_touched_copy_has_the_same_fingerprint(three, tmp_path):
    shutil.copytree(three, tmp_path / "there")
    os.utime(tmp_path / "there" / "0.png", (0, 0))
    assert fingerprint(tmp_path / "there") == fingerprint(three)


def test_one_byte_changes_the_fingerprint(three):
    before = fingerprint(three)
    data = bytearray((three / "1.png").read_bytes())
    data[-20] ^= 1
    (three / "1.png").write_bytes(data)
    assert fingerprint(three) != before


def test_a_name_changes_the_fingerprint(three):
    before = fingerprint(three)
    (three / "1.png").rename(three / "7.png")
    assert fingerprint(three) != before


def test_a_missing_image_changes_the_fingerprint(three):
    before = fingerprint(three)
    (three / "1.png").unlink()
    assert fingerprint(three) != before


@pytest.mark.parametrize("place", [0, 600_000, 2_999_999])
def test_of_a_long_file_both_ends_and_the_size_count(tmp_path, place):
    content = bytearray(3_000_000)
    (tmp_path / "a.png").write_bytes(content)
    before = fingerprint(tmp_path)
    content[place] = 1
    (tmp_path / "a.png").write_bytes(content)
    assert (fingerprint(tmp_path) == before) == (place == 600_000)
    (tmp_path / "a.png").write_bytes(content + b"\0")
    assert fingerprint(tmp_path) != before


def test_lr_has_a_fingerprint_of_its_own(tmp_path):
    put(tmp_path / "HR" / "a.png")
    put(tmp_path / "LR_bicubic" / "X2" / "ax2.png", 12, 16)
    source = Folder(path=str(tmp_path))
    before = source.fingerprint(), source.lr(2).fingerprint()
    put(tmp_path / "LR_bicubic" / "X2" / "ax2.png", 12, 16, seed=1)
    assert source.fingerprint() == before[0]
    assert source.lr(2).fingerprint() != before[1]


# Files as people have them


@needs_data
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_is_found_with_its_lr(scale):
    source = Folder(path=str(Path(DATA) / "data/Set5"))
    beside = source.lr(scale)
    assert names(source) == names(beside) == ["baby", "bird", "butterfly", "head", "woman"]
    assert beside.read(0).shape[:2] == tuple(side // scale for side in source.size(0))


@needs_data
def test_set5_is_told():
    source = Folder(path=str(Path(DATA) / "data/Set5"))
    assert source.describe() == "5 HR images in Set5/HR, LR x2, x3, x4 beside them"


@needs_data
def test_basicsrs_pairs_are_found_when_given():
    root = Path(DATA) / "data/basicsr"
    source = Folder(hr=str(root / "gt"), lr=str(root / "lq"))
    assert names(source.lr(4)) == ["baboon", "comic"]
    assert source.describe() == "2 HR images in basicsr/gt, LR in basicsr/lq"


@needs_data
def test_a_given_lr_folder_of_another_scale_is_refused():
    root = Path(DATA) / "data/basicsr"
    source = Folder(hr=str(root / "gt"), lr=str(root / "lq"))
    assert rejected(source.lr, 2) == (
        f"{root / 'lq' / 'baboon.png'}: is 123x120, but baboon.png is 492x480, which needs 246x240 at scale 2"
    )
