import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import srkit_datasets
from srkit_datasets.folder import Folder
from srkit_datasets.known import hint
from srkit_datasets.pairing import pair, split_pairs

from srkit import ImageRecord, InputRejected, Manifest, Window
from srkit.errors import RecipeError
from srkit.images.encoding import encode_png
from srkit.images.listing import list_images
from srkit.images.opening import SUFFIXES
from srkit.plugin.discovery import installed
from srkit.plugin.settings import read_settings, type_name
from srkit.recipe.reading import read_part
from tests.conftest import calls

DATA = os.environ.get("SRKIT_TEST_DATA")
LOOKED = ", ".join(SUFFIXES)
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")


RENAME = "an image's name has no suffix: rename one of the two"


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


def test_the_component_names_its_target():
    (component,) = (
        component
        for component in srkit_datasets.srkit_components()
        if (component.kind, component.name) == ("dataset", "folder")
    )
    assert component.load() is Folder


def test_a_recipe_reads_every_setting():
    settings = {name: type_name(setting.type) for name, setting in read_settings(Folder).items()}
    assert settings == {
        "path": "string",
        "hr": "string",
        "lr": "string",
        "split": '"train" or "valid"',
        "names": "list of strings",
        "lr_name": "string",
        "recursive": "boolean",
    }
    assert all(setting.doc for setting in read_settings(Folder).values())
    overrides = ['path="x"', 'split="valid"', 'names=["0801", "080[2-5]"]']
    part = read_part(installed(), "dataset", "folder", overrides)
    assert part.settings == {
        "path": "x",
        "split": "valid",
        "names": ("0801", "080[2-5]"),
        "lr_name": "",
        "recursive": False,
    }


def test_a_recipe_refuses_settings_of_another_type():
    with pytest.raises(RecipeError) as error:
        read_part(installed(), "dataset", "folder", ['split="test"', 'names="0801"'])
    assert list(error.value.problems) == [
        '--set names="0801": \'names\' must be a list of strings, not "0801"',
        '--set split="test": \'split\' must be "train" or "valid", not "test"',
    ]


# Names of LR


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("001", "001_x2"),
        ("001", "001X2"),
        ("001", "001_X2"),
        ("001", "001x2m"),
        ("001", "001_bicLRx2"),
        ("001", "001_LR2"),
        ("001_HR", "001_LR2"),
        ("001_HR", "001_LR"),
        ("caf\u00e9", "cafe\u0301x2"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
@pytest.mark.parametrize("place", ["H", "one"])
def test_lr_is_found_by_the_names_that_people_use(tmp_path, hr, lr, place):
    if place == "one" and not lr.endswith(("2", "2m", "LR")):
        pytest.skip("names that differ in their Unicode form alone say nothing of which is LR")
    put(tmp_path / place / f"{hr}.png")
    small = put(tmp_path / ("L" if place == "H" else place) / f"{lr}.png", 12, 16)
    source = Folder(hr=str(tmp_path / "H"), lr=str(tmp_path / "L"), names=(hr,)) if place == "H" else None
    source = source or Folder(path=str(tmp_path / place), names=(hr,))
    assert np.array_equal(source.lr(2).read(0), small)
    assert names(source.lr(2)) == [hr]


def test_of_names_that_fit_equally_well_the_exact_one_goes_first(tmp_path):
    put(tmp_path / "H" / "a.png")
    exact = put(tmp_path / "L" / "a.png", 12, 16, seed=1)
    put(tmp_path / "L" / "a_x2.png", 12, 16, seed=2)
    assert np.array_equal(Folder(hr=str(tmp_path / "H"), lr=str(tmp_path / "L")).lr(2).read(0), exact)


def test_two_kinds_of_lr_are_a_question_that_lr_name_answers(tmp_path):
    put(tmp_path / "H" / "a.png")
    put(tmp_path / "L" / "a_x2.png", 12, 16, seed=1)
    mild = put(tmp_path / "L" / "ax2m.png", 12, 16, seed=2)
    both = {"hr": str(tmp_path / "H"), "lr": str(tmp_path / "L")}
    assert rejected(Folder(**both).lr, 2) == (
        f"{tmp_path / 'L'}: has two kinds of LR images, as a_x2 and ax2m: give lr_name, "
        'as in lr_name = "{name}_x{scale}"'
    )
    assert np.array_equal(Folder(**both, lr_name="{name}x{scale}m").lr(2).read(0), mild)


def test_the_name_of_lr_contains_that_of_hr():
    with pytest.raises(ValueError, match="lr_name") as error:
        Folder(path="a", lr_name="x2")
    assert str(error.value) == ('lr_name must contain {name}, HR\'s name, as "{name}_x{scale}" does, not "x2"')


def test_lr_of_names_that_are_not_known_says_what_was_looked_for_and_what_is_there(tmp_path):
    put(tmp_path / "H" / "a.png")
    put(tmp_path / "L" / "small-a.png", 12, 16)
    assert rejected(Folder(hr=str(tmp_path / "H"), lr=str(tmp_path / "L")).lr, 2) == (
        f"{tmp_path / 'L'}: has no LR image for 1 of 1 HR images: a.png; "
        "looked for a or ax2 or a_x2 or the like; left over there: small-a"
    )


def test_pairs_in_one_folder_are_pairs(tmp_path):
    for number in range(3):
        put(tmp_path / "one" / f"0{number}.png", seed=number)
        put(tmp_path / "one" / f"0{number}x4.png", 6, 8, seed=number)
    for settings in ({"path": str(tmp_path / "one")}, {"hr": str(tmp_path / "one"), "lr": str(tmp_path / "one")}):
        source = Folder(**settings)
        assert (names(source), names(source.lr(4))) == (["00", "01", "02"], ["00", "01", "02"])
        assert source.lr(4).size(0) == (6, 8)
    assert Folder(path=str(tmp_path / "one")).lr(2) is None
    assert Folder(path=str(tmp_path / "one")).describe() == (
        f"3 HR images in {tmp_path.name}/one, LR x4 in the same folder"
    )


def test_an_hr_file_is_never_its_own_lr(tmp_path):
    put(tmp_path / "one" / "a.png")
    one = str(tmp_path / "one")
    assert rejected(Folder(hr=one, lr=one).lr, 4) == (
        f"{one}: has no LR image for 1 of 1 HR images: a.png; "
        "looked for a or ax4 or a_x4 or the like; nothing is left over there"
    )


def test_what_was_enlarged_of_an_image_beside_it_is_no_lr(tmp_path):
    put(tmp_path / "one" / "a.png")
    put(tmp_path / "one" / "ax2.png", 48, 64)
    assert names(Folder(path=str(tmp_path / "one"))) == ["a", "ax2"]


def test_pairing_is_linear_in_the_number_of_images(tmp_path):
    def work(count):
        hr, lr = [f"{number:05d}" for number in range(count)], [f"{number:05d}_x4" for number in range(count)]
        return calls(lambda: (pair(hr, lr, 4), split_pairs(hr + lr, lambda stem: (8 * 4 // (len(stem) - 4), 8), [4])))

    assert work(400) - work(200) < 1.2 * (work(200) - work(1))


@pytest.mark.parametrize("form", ["LR/{}", "LR/{}x2", "LR/X2/{}", "LR_x2/{}x2", "LRx2/{}"])
def test_lr_that_people_put_beside_a_folder_hr_is_found(tmp_path, form):
    put(tmp_path / "HR" / "a.png")
    small = put(tmp_path / f"{form.format('a')}.png", 12, 16)
    source = Folder(path=str(tmp_path))
    assert np.array_equal(source.lr(2).read(0), small)
    assert source.lr(4) is None


def test_lr_beside_a_folder_hr_that_fits_no_scale_is_named(tmp_path):
    put(tmp_path / "HR" / "a.png")
    put(tmp_path / "LR" / "a.png", 11, 16)
    assert rejected(Folder(path=str(tmp_path)).lr, 2) == (
        f"{tmp_path}/LR/a.png: is 16x11, but a.png is 32x24, which needs 16x12 at scale 2"
    )


# What is left out


def test_one_image_is_a_dataset_of_one(tmp_path):
    pixels = put(tmp_path / "photo.png")
    put(tmp_path / "photox2.png", 12, 16)  # in a folder it would be its LR
    put(tmp_path / "other.png")
    source = Folder(path=str(tmp_path / "photo.png"))
    assert names(source) == ["photo"]
    assert np.array_equal(source.read(0), pixels)
    assert source.lr(2) is None
    assert source.manifest() is None
    assert source.describe() == f"1 HR image, {tmp_path.name}/photo.png, no LR beside it"
    assert source.fingerprint() == Folder(path=str(tmp_path), names=("photo",)).fingerprint()


def test_what_is_left_out_of_a_folder_is_named(tmp_path):
    put(tmp_path / "mix" / "a.png")
    put(tmp_path / "mix" / "more" / "b.png")
    (tmp_path / "mix" / "still.gif").write_bytes(b"GIF89a")
    text = Folder(path=str(tmp_path / "mix")).describe()
    assert text == (
        f"1 HR image in {tmp_path.name}/mix, no LR beside it; "
        "left out: 1 .gif (still.gif: not read), 1 folder with images (more: recursive = true takes it)"
    )


def test_a_folder_is_taken_with_those_below_it(tmp_path):
    for name in ("a", "more/a", "more/deep/b"):
        put(tmp_path / "H" / f"{name}.png")
        put(tmp_path / "L" / f"{name}x2.png", 12, 16)
    source = Folder(hr=str(tmp_path / "H"), lr=str(tmp_path / "L"), recursive=True)
    assert names(source) == names(source.lr(2)) == ["a", "more/a", "more/deep/b"]
    assert "left out" not in source.describe()
    before = source.fingerprint()
    (tmp_path / "H" / "more").rename(tmp_path / "H" / "other")
    assert Folder(hr=str(tmp_path / "H"), recursive=True).fingerprint() != before


@needs_data
def test_the_names_of_lr_of_public_reports_are_paired():
    root = Path(DATA, "cases", "pair-names")
    for name in ("p_bic", "p_mild", "p_real", "p_upX", "p_us"):
        source = Folder(hr=str(root / name / "H"), lr=str(root / name / "L"))
        assert names(source.lr(2)) == names(source)
    one = str(Path(DATA, "cases", "lr-beside-hr-in-one-folder", "one"))
    assert names(Folder(path=one)) == names(Folder(hr=one, lr=one, names=("??",)).lr(4)) == ["00", "01", "02"]


@needs_data
def test_files_of_an_archive_in_another_form_of_unicode_are_paired(tmp_path):
    shutil.unpack_archive(Path(DATA, "cases", "nfc-nfd-pairs", "nf.tar"), tmp_path, filter="data")
    source = Folder(path=str(tmp_path / "nf"))
    assert names(source.lr(2)) == names(source)


# Layouts

LAYOUTS = {
    "DIV2K": ("DIV2K_train_HR/{}.png", "DIV2K_train_LR_bicubic/X{scale}/{}x{scale}.png"),
    "Flickr2K": ("Flickr2K_HR/{}.png", "Flickr2K_LR_bicubic/X{scale}/{}x{scale}.png"),
    "DF2K": ("HR/{}.png", "LR_bicubic/X{scale}/{}.png"),
    "DF2K as EDSR calls LR": ("HR/{}.png", "LR_bicubic/X{scale}/{}x{scale}.png"),
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
    put(tmp_path / "Flickr2K_HR" / "000001.png")
    assert rejected(Folder, path=str(tmp_path)) == (
        f"{tmp_path}: holds DIV2K_train_HR and Flickr2K_HR: give "
        f'hr = "{tmp_path}/DIV2K_train_HR" with lr = "{tmp_path}/DIV2K_train_LR_bicubic/X{{scale}}" or '
        f'hr = "{tmp_path}/Flickr2K_HR" with lr = "{tmp_path}/Flickr2K_LR_bicubic/X{{scale}}", not path'
    )


# The files of each row as people have them: what is given as path, relative to a folder, then HR and LR.
AS_PEOPLE_HAVE_THEM = {
    "DIV2K": ("DIV2K", "DIV2K_train_HR/0001.png", "DIV2K_train_LR_bicubic/X4/0001x4.png"),
    "Flickr2K": ("Flickr2K", "Flickr2K_HR/000001.png", "Flickr2K_LR_bicubic/X4/000001x4.png"),
    "DF2K": ("DF2K", "HR/0001.png", "LR_bicubic/X4/0001x4.png"),
    "EDSR benchmark": ("benchmark/Set5", "HR/baby.png", "LR_bicubic/X4/babyx4.png"),
    "BasicSR": ("Set5", "GTmod12/baby.png", "LRbicx4/baby.png"),
    "SelfExSR": ("Urban100", "image_SRF_4/img_001_SRF_4_HR.png", "image_SRF_4/img_001_SRF_4_LR.png"),
    "SelfExSR, one scale": ("Urban100/image_SRF_4", "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png"),
}


@pytest.mark.parametrize("layout", AS_PEOPLE_HAVE_THEM)
def test_files_as_people_have_them_are_found(tmp_path, layout):
    root, hr, lr = AS_PEOPLE_HAVE_THEM[layout]
    whole, small = put(tmp_path / root / hr), put(tmp_path / root / lr, 6, 8, seed=1)
    source = Folder(path=str(tmp_path / root))
    assert np.array_equal(source.read(0), whole)
    assert np.array_equal(source.lr(4).read(0), small)
    assert source.describe() == f"1 HR image in {'/'.join((tmp_path / root / hr).parent.parts[-2:])}, LR x4 beside it"


# Splits


@pytest.fixture
def div2k(tmp_path):
    for split, name in (("train", "0001"), ("valid", "0801")):
        put(tmp_path / f"DIV2K_{split}_HR" / f"{name}.png")
        put(tmp_path / f"DIV2K_{split}_LR_bicubic" / "X4" / f"{name}x4.png", 6, 8)
    return tmp_path


@pytest.mark.parametrize(("split", "name"), [("train", "0001"), ("valid", "0801")])
def test_the_split_says_which_images_of_div2k(div2k, split, name):
    source = Folder(path=str(div2k), split=split)
    assert names(source) == names(source.lr(4)) == [name]


def test_training_is_the_split_that_is_not_named(div2k):
    assert names(Folder(path=str(div2k))) == ["0001"]


@pytest.mark.parametrize(("split", "other"), [("train", "valid"), ("valid", "train")])
def test_a_split_that_is_not_there_says_what_is(div2k, split, other):
    shutil.rmtree(div2k / f"DIV2K_{split}_HR")
    assert rejected(Folder, path=str(div2k), split=split) == (
        f'{div2k}: has DIV2K_{other}_HR, but no DIV2K_{split}_HR for split = "{split}": give split = "{other}", '
        f"or unpack https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_{split}_HR.zip there"
    )


@pytest.mark.parametrize("hr", ["HR/a.png", "GTmod12/a.png", "image_SRF_4/a_SRF_4_HR.png", "a.png"])
def test_a_layout_without_splits_has_no_validation_images(tmp_path, hr):
    put(tmp_path / hr)
    assert rejected(Folder, path=str(tmp_path), split="valid") == (
        f'{tmp_path}: has no splits, and split = "valid" is for a root with DIV2K_valid_HR: leave split out'
    )


def test_a_root_that_is_not_there_is_said_before_its_split(tmp_path):
    assert rejected(Folder, path=str(tmp_path / "none"), split="valid") == f"{tmp_path / 'none'}: is not there"


def test_split_goes_with_path():
    with pytest.raises(ValueError, match="split") as error:
        Folder(hr="a", split="valid")
    assert str(error.value) == "split goes with path: hr is the folder of one split already"


def test_a_split_is_train_or_valid():
    with pytest.raises(ValueError, match="split") as error:
        Folder(path="a", split="test")
    assert str(error.value) == 'split must be "train" or "valid", not "test"'


# Names


@pytest.fixture
def numbered(tmp_path):
    for number in range(8, 13):
        put(tmp_path / "HR" / f"{number:04}.png", seed=number)
        put(tmp_path / "LR_bicubic" / "X2" / f"{number:04}x2.png", 12, 16, seed=number)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("001[12]",), ["0011", "0012"]),
        (("0012", "000?"), ["0008", "0009", "0012"]),
        (("00*", "0009"), ["0008", "0009", "0010", "0011", "0012"]),
    ],
)
def test_names_are_taken_by_patterns_in_the_order_of_the_images(numbered, patterns, found):
    source = Folder(path=str(numbered), names=patterns)
    assert names(source) == names(source.lr(2)) == found
    assert np.array_equal(source.read(0), Folder(path=str(numbered)).read(int(found[0]) - 8))


def test_names_are_those_of_selfexsr_without_their_ending(tmp_path):
    for number in (1, 2):
        put(tmp_path / "image_SRF_4" / f"img_00{number}_SRF_4_HR.png")
        put(tmp_path / "image_SRF_4" / f"img_00{number}_SRF_4_LR.png", 6, 8)
    source = Folder(path=str(tmp_path), names=("img_002",))
    assert names(source) == names(source.lr(4)) == ["img_002"]


def test_patterns_heed_capital_letters(numbered):
    put(numbered / "HR" / "Bird.png")
    assert rejected(Folder, path=str(numbered), names=("bird",)) == (
        f'{numbered / "HR"}: names: "bird" matches none of 6 names; did you mean "Bird"?'
    )


def test_patterns_that_match_nothing_are_named_with_what_is_near(numbered):
    assert rejected(Folder, path=str(numbered), names=("0009.png", "0010", "x*")) == (
        f'{numbered / "HR"}: names: "0009.png" matches none of 5 names; did you mean "0009"?; '
        '"x*" matches none of 5 names; there are 0008, 0009, 0010, ...'
    )


def test_other_names_change_the_fingerprint(numbered):
    found = {Folder(path=str(numbered), names=(name,)).fingerprint() for name in ("0008", "0009", "*")}
    assert len(found) == 3


def test_only_images_that_were_chosen_need_lr(numbered):
    (numbered / "LR_bicubic" / "X2" / "0008x2.png").unlink()
    assert len(Folder(path=str(numbered), names=("001*",)).lr(2)) == 3


# LR of another degradation


def blurred(root, *folders, scale=4):
    put(root / "HR" / "a.png")
    for seed, folder in enumerate(folders):
        put(root / folder / f"X{scale}" / f"ax{scale}.png", 24 // scale, 32 // scale, seed=seed)
    return Folder(path=str(root))


def test_the_only_lr_folder_is_taken_whatever_its_degradation(tmp_path):
    (tmp_path / "LR_notes").mkdir()
    source = blurred(tmp_path / "set", "LR_blur")
    (tmp_path / "set" / "LR_notes").mkdir()
    (tmp_path / "set" / "LR_list").touch()
    assert source.lr(4).paths == (tmp_path / "set" / "LR_blur" / "X4" / "ax4.png",)
    assert source.describe() == "1 HR image in set/HR, LR x4 in LR_blur beside it"


def test_bicubic_goes_before_other_degradations(tmp_path):
    source = blurred(tmp_path, "LR_blur", "LR_bicubic")
    assert source.lr(4).paths == (tmp_path / "LR_bicubic" / "X4" / "ax4.png",)
    blurred(tmp_path, "LR_blur", scale=2)
    assert source.lr(2) is None


def test_of_several_degradations_none_is_taken_unasked(tmp_path):
    source = blurred(tmp_path / "set", "LR_blur", "LR_noise")
    root = tmp_path / "set"
    assert rejected(source.lr, 4) == (
        f'{root}: has LR images in LR_blur and LR_noise: give hr = "{root}/HR" with '
        f'lr = "{root}/LR_blur/X{{scale}}" or lr = "{root}/LR_noise/X{{scale}}", not path'
    )
    assert source.lr(2) is None
    assert source.describe() == (
        "1 HR image in set/HR, LR_blur and LR_noise beside it: give hr and lr to say which is meant"
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
        f"{tmp_path / 'LR_bicubic' / 'X2'}: has no LR image for 5 of 6 HR images: 0.png, 1.png, 2.png, ...; "
        "looked for 0x2; nothing is left over there"
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
    assert rejected(Folder, path=str(tmp_path)) == (f"{tmp_path}: has no images: looked for {LOOKED}")


def test_a_missing_folder_is_named(tmp_path):
    assert rejected(Folder, hr=str(tmp_path / "none")) == f"{tmp_path / 'none'}: is not there"


def test_a_file_that_is_no_image_is_no_folder(tmp_path):
    (tmp_path / "a.txt").write_text("no image")
    text = f"{tmp_path / 'a.txt'}: is a file; give the folder that holds it"
    assert rejected(Folder, path=str(tmp_path / "a.txt")) == text


def test_two_images_of_one_name_are_refused(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "a.jpg")
    assert rejected(Folder, path=str(tmp_path)) == f"{tmp_path}: has two images of one name: a.jpg and a.png; {RENAME}"
    for name in ("b.png", "b.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    assert rejected(Folder, path=str(tmp_path)) == (
        f"{tmp_path}: has two images of one name: a.jpg and a.png, b.jpg and b.png; {RENAME}"
    )


def test_a_broken_image_is_named_when_it_is_read(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    source = Folder(path=str(tmp_path))
    assert rejected(source.read, 1) == rejected(source.size, 1) == f"{tmp_path / 'b.png'}: is empty"


def test_a_folder_of_folders_names_them(tmp_path):
    for name in ("Set5", "B100", "Set14", "Urban100"):
        put(tmp_path / name / "HR" / "a.png")
    (tmp_path / ".cache").mkdir()
    assert rejected(Folder, path=str(tmp_path)) == (
        f"{tmp_path}: has no images: looked for {LOOKED}; its folders are B100, Set14, Set5, ..."
    )


# Known sets that are not there

ZIPS = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
TARS = "https://cv.snu.ac.kr/research/EDSR/"


def test_a_known_set_that_is_not_there_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rejected(Folder, path="data/DIV2K") == (
        f"data/DIV2K: is not there; looked for in {tmp_path}; "
        f"DIV2K is at {ZIPS}: unpack DIV2K_train_HR.zip or DIV2K_valid_HR.zip in data/DIV2K"
    )


def test_lr_of_a_known_set_that_is_not_there_says_where_to_get_it(tmp_path):
    put(tmp_path / "DIV2K_train_HR" / "0001.png")
    root = tmp_path / "DIV2K_train_LR_bicubic"
    source = Folder(hr=str(tmp_path / "DIV2K_train_HR"), lr=str(root / "X{scale}"))
    assert rejected(source.lr, 4) == (
        f"{root / 'X4'}: is not there; DIV2K_train_LR_bicubic is at {ZIPS}: unpack DIV2K_train_LR_bicubic_X2.zip, "
        f"DIV2K_train_LR_bicubic_X3.zip or DIV2K_train_LR_bicubic_X4.zip in {tmp_path}"
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("data/div2k", f"DIV2K is at {ZIPS}: unpack DIV2K_train_HR.zip or DIV2K_valid_HR.zip in data/div2k"),
        ("DIV2K/DIV2K_train_HR", f"DIV2K_train_HR is at {ZIPS}: unpack DIV2K_train_HR.zip in DIV2K"),
        ("DIV2K_valid_HR", f"DIV2K_valid_HR is at {ZIPS}: unpack DIV2K_valid_HR.zip here"),
        ("data/Flickr2K", f"Flickr2K is in {TARS}Flickr2K.tar: unpack it in data"),
        (
            "data/flickr2k",
            f"Flickr2K is in {TARS}Flickr2K.tar: unpack it in data, and move data/Flickr2K to data/flickr2k",
        ),
        (
            "data/DF2K",
            f"DF2K is DIV2K_train_HR.zip of {ZIPS} with {TARS}Flickr2K.tar: "
            "put the HR images of both into a folder HR in data/DF2K",
        ),
        ("data/benchmark", f"benchmark is in {TARS}benchmark.tar: unpack it in data"),
        ("data/benchmark/Set14/HR", f"Set14 is in {TARS}benchmark.tar: unpack it in data"),
        (
            "/data/Set5",
            f"Set5 is in {TARS}benchmark.tar: unpack it in /data, and move /data/benchmark/Set5 to /data/Set5",
        ),
        ("Urban100", f"Urban100 is in {TARS}benchmark.tar: unpack it here, and move benchmark/Urban100 to Urban100"),
        ("x/BSDS100", f"B100 is in {TARS}benchmark.tar: unpack it in x, and move x/benchmark/B100 to x/BSDS100"),
        (
            "x/benchmark/BSD100",
            f"B100 is in {TARS}benchmark.tar: unpack it in x, and move x/benchmark/B100 to x/benchmark/BSD100",
        ),
        ("data/photographs", ""),
        ("data/Set5000", ""),
        ("/", ""),
        (".", ""),
    ],
)
def test_where_a_set_is_to_be_had(path, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hint(Path(path)) == text


@pytest.mark.parametrize("there", ["Set5", "benchmark/Set5", "DIV2K"])
def test_a_set_that_is_there_is_not_to_be_had_again(tmp_path, there):
    (tmp_path / there).mkdir(parents=True)
    assert hint(tmp_path / there / "GT") == ""


@pytest.mark.parametrize("path", ["DIV2K", "Flickr2K", "Set5", "Set14", "b100", "Urban100", "benchmark/Set5"])
def test_a_set_that_was_unpacked_as_told_is_found(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = hint(Path(path))
    archives = {
        "unpack DIV2K_train_HR.zip or DIV2K_valid_HR.zip in ": "DIV2K_train_HR/0001.png",
        "Flickr2K.tar: unpack it ": "Flickr2K/Flickr2K_HR/000001.png",
        "benchmark.tar: unpack it ": "benchmark/{}/HR/a.png",
    }
    (archive, file), *_ = ((word, file) for word, file in archives.items() if word in told)
    place, _, move = told.partition(archive)[2].removeprefix("in ").partition(", and move ")
    put(Path("" if place == "here" else place) / file.format(told.split()[0]))
    if move:
        os.renames(*move.split(" to "))
    assert len(Folder(path=path)) == 1


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
    assert source.describe() == "1 HR image in set/gt, LR in set/lq; LR is not there"
    put(tmp_path / "set" / "lq" / "ax4.png", 6, 8)
    assert source.describe() == "1 HR image in set/gt, LR in set/lq"


def test_chosen_names_are_counted(numbered):
    source = Folder(path=str(numbered), names=("001*",))
    assert source.describe() == f"3 of 5 HR images in {numbered.name}/HR, LR x2 beside them"


def test_images_without_a_partner_are_told(numbered):
    for number in (8, 9):
        (numbered / "LR_bicubic" / "X2" / f"{number:04}x2.png").unlink()
    for number in range(20, 25):
        put(numbered / "LR_bicubic" / "X3" / f"{number:04}x3.png", 8, 10)
    for number in range(8, 13):
        put(numbered / "LR_bicubic" / "X3" / f"{number:04}x3.png", 8, 10)
    assert Folder(path=str(numbered)).describe() == (
        f"5 HR images in {numbered.name}/HR, LR x2, x3 beside them; "
        "no LR x2 for 2 of 5 HR images: 0008.png, 0009.png; "
        "no HR for 5 of 10 LR x3 images: 0020x3.png, 0021x3.png, 0022x3.png, ..."
    )


def test_images_that_were_not_chosen_are_partners_still(numbered):
    assert ";" not in Folder(path=str(numbered), names=("0008",)).describe()


def test_partners_in_a_given_folder_are_told(numbered):
    (numbered / "LR_bicubic" / "X2" / "0008x2.png").rename(numbered / "LR_bicubic" / "X2" / "0099x2.png")
    source = Folder(hr=str(numbered / "HR"), lr=str(numbered / "LR_bicubic" / "X2"))
    assert source.describe() == (
        f"5 HR images in {numbered.name}/HR, LR in LR_bicubic/X2; no LR for 1 of 5 HR images: 0008.png; "
        "no HR for 1 of 5 LR images: 0099x2.png"
    )


def test_other_results_in_a_folder_of_selfexsr_are_no_lr(tmp_path):
    root = tmp_path / "Urban100"
    for kind in ("HR", "LR", "bicubic", "SRCNN"):
        put(root / "image_SRF_4" / f"img_001_SRF_4_{kind}.png", *((6, 8) if kind == "LR" else (24, 32)))
    put(root / "image_SRF_4" / "img_002_SRF_4_LR.png", 6, 8)
    assert Folder(path=str(root)).describe() == (
        "1 HR image in Urban100/image_SRF_4, LR x4 beside it; no HR for 1 of 5 LR x4 images: img_002_SRF_4_LR.png"
    )


def test_a_folder_of_lr_that_cannot_be_used_is_told(tmp_path):
    put(tmp_path / "set" / "HR" / "a.png")
    (tmp_path / "set" / "LR_bicubic" / "X2").mkdir(parents=True)
    put(tmp_path / "set" / "LR_bicubic" / "X3" / "a.png")
    put(tmp_path / "set" / "LR_bicubic" / "X3" / "a.jpg")
    assert Folder(path=str(tmp_path / "set")).describe() == (
        "1 HR image in set/HR, LR x2, x3 beside it; "
        f"LR x2 has no images: looked for {LOOKED}; "
        f"LR x3 has two images of one name: a.jpg and a.png; {RENAME}"
    )


# Manifest


def manifest_of(root, *found):
    records = tuple(ImageRecord.of(put(root / "HR" / f"{name}.png", seed=seed)) for seed, name in enumerate(found))
    manifest = Manifest(found, {"hr": records}, {"crop": 0})
    (root / "MANIFEST.json").write_bytes(manifest.to_bytes())
    return manifest


def test_a_manifest_is_found(tmp_path):
    manifest = manifest_of(tmp_path, "a", "b")
    assert Folder(path=str(tmp_path)).manifest() == manifest


def test_a_manifest_is_of_the_names_that_were_chosen(tmp_path):
    whole = manifest_of(tmp_path, "b", "a10", "a2")
    hr = whole.sides["hr"]
    manifest = Folder(path=str(tmp_path), names=("a*",)).manifest()
    assert manifest == Manifest(("a10", "a2"), {"hr": hr[1:]}, {"crop": 0})


def test_images_that_were_not_prepared_have_no_manifest(tmp_path):
    put(tmp_path / "HR" / "a.png")
    assert Folder(path=str(tmp_path)).manifest() is None
    assert Folder(hr=str(tmp_path / "HR")).manifest() is None


def test_a_damaged_manifest_is_named(tmp_path):
    manifest_of(tmp_path, "a")
    file = tmp_path / "MANIFEST.json"
    file.write_bytes(file.read_bytes().replace(b'"a"', b'"b"'))
    assert rejected(Folder(path=str(tmp_path)).manifest) == f"{file}: is damaged: a manifest that was changed"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_manifest_that_is_no_file_is_named(tmp_path, make):
    put(tmp_path / "HR" / "a.png")
    make(tmp_path / "MANIFEST.json")
    assert rejected(Folder(path=str(tmp_path)).manifest) == f"{tmp_path / 'MANIFEST.json'}: is not a file"


# Fingerprint


@pytest.fixture
def three(tmp_path):
    for number in range(3):
        put(tmp_path / "here" / f"{number}.png", seed=number)
    return tmp_path / "here"


def fingerprint(path):
    return Folder(path=str(path)).fingerprint()


def test_an_hdf5_file_is_told_the_dataset_that_reads_it(tmp_path):
    (tmp_path / "set.h5").write_bytes(b"")
    assert rejected(Folder, path=str(tmp_path / "set.h5")) == (
        f"{tmp_path / 'set.h5'}: is a file, and a folder of images is needed here; "
        f'in a recipe, type = "h5" reads HDF5 files, and `srkit eval` takes --dataset h5:{tmp_path / "set.h5"}'
    )


def test_of_many_files_less_of_each_is_read_for_a_fingerprint(tmp_path):
    for number in range(300):  # 256 MiB / 300 is less than the 900,000 bytes of each
        with open(tmp_path / f"{number:03}.png", "wb") as file:
            file.truncate(900_000)
    before = fingerprint(tmp_path)
    for place, changes in ((450_000, False), (440_000, True)):
        with open(tmp_path / "007.png", "r+b") as file:
            file.seek(place)
            file.write(b"x")
        assert (fingerprint(tmp_path) != before) == changes


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


def test_a_folder_is_listed_once(tmp_path):
    for i in range(200):
        (tmp_path / f"{i}.png").touch()
    (tmp_path / "a.gif").touch()
    source = Folder(path=str(tmp_path))
    found = []
    assert calls(lambda: found.append(source.describe())) < 200
    folder = "/".join(tmp_path.parts[-2:])
    assert found == [f"200 HR images in {folder}, no LR beside them; left out: 1 .gif (a.gif: not read)"]


def test_the_lr_images_are_listed_once(tmp_path):
    for i in range(200):
        put(tmp_path / f"HR/{i}.png", 8, 8)
        put(tmp_path / f"LR_bicubic/X2/{i}x2.png", 4, 4)
    source = Folder(path=str(tmp_path))
    opened = calls(lambda: source.lr(2))
    assert calls(lambda: source.describe()) < opened / 2
    assert source.describe() == f"200 HR images in {tmp_path.name}/HR, LR x2 beside them"
