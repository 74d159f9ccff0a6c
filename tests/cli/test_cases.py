"""Inputs of public reports, by the commands that they were reported of. They are no part of the repository."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit.images.opening import SUFFIXES
from srkit.images.reading import read_image

DATA = os.environ.get("SRKIT_TEST_DATA")
CASES = Path(DATA or "", "cases")
pytestmark = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")

AVIF = ".avif" in SUFFIXES
LEFT_OUT = f"{'' if AVIF else '1 .avif (avif.avif: not read by this Pillow), '}1 .gif (still.gif: not read), 1 folder"
MIX = f"{4 if AVIF else 3} of {4 if AVIF else 3} images"

# The command, in the case's folder; its exit code; what it says.
COMMANDS = {
    "bus_error.lmdb": [
        ("prepare . {out}.h5 --from lmdb", 3, "data.mdb: is damaged: page 23 has a value beyond the end of the file"),
        ("degrade bicubic lmdb:. {out} --scale 2", 3, "page 23 has a value beyond the end of the file"),
        ("eval --dataset lmdb:. --scale 2", 3, "page 23 has a value beyond the end of the file"),
    ],
    "cmyk-profile-dropped": [("upscale {model} in.jpg in.tif -o {out}", 0, "2 of 2 images enlarged")],
    "fill_value.h5": [
        ("prepare fill_value.h5 {out}.h5", 3, "hr/a: has no pixels: nothing was ever written to it"),
        ("degrade bicubic fill_value.h5 {out} --scale 2", 3, "hr/a: has no pixels: nothing was ever written to it"),
        ("eval --dataset h5:fill_value.h5 --scale 2", 3, "hr/a: has no pixels: nothing was ever written to it"),
    ],
    "jpeg-without-eoi-refused": [
        ("upscale {model} noeoi.jpg -o {out}", 0, "1 of 1 images enlarged x2"),
        ("prepare . {out}", 0, "2 images"),
    ],
    "lmdb-single-file-message": [
        ("prepare l_file.mdb {out}.h5 --from lmdb", 0, "1 image;"),
        ("degrade bicubic lmdb:l_file.mdb {out} --scale 2", 0, "1 of 1 images downscaled by 2"),
    ],
    "lr-beside-hr-in-one-folder": [
        ("prepare one {out}.h5 --scale 4", 0, "3 images; LR x4 by files"),
        ("eval --data one=one --scale 4", 0, "3 images; psnr_y on Y"),
        ("check same.toml", 0, "LR by files"),
        (
            "check same.toml --set data.dataset.hr= --set data.dataset.lr= --set data.dataset.path=one",
            0,
            "3 HR images in one, LR x4 in the same folder; LR by files",
        ),
    ],
    "many_blocks.safetensors": [
        ("upscale many_blocks.safetensors . -o {out}", 3, "describes a network of far more parts than its 1 tensor"),
        (
            "eval many_blocks.safetensors --data best-stuck-at-inf/vblack",
            3,
            "describes a network of far more parts than its 1 tensor",
        ),
    ],
    "nested-keys-to-folder": [("prepare l_nested.lmdb {out} --from lmdb --to folder", 0, "2 images")],
    "nfc-nfd-pairs": [
        ("prepare {unpacked}/nf {out}.h5 --scale 2", 0, "2 images; LR x2 by files"),
        ("eval --data {unpacked}/nf --scale 2", 0, "LR from files"),
    ],
    "opaque-alpha": [
        ("prepare opq {out}.h5", 0, "2 images"),
        ("eval --data opq --scale 2", 0, "2 images; psnr_y on Y"),
        ("degrade bicubic opq {out} --scale 2", 0, "2 of 2 images downscaled by 2"),
    ],
    "pair-names": [
        (f"prepare {name}/H {{out}}.h5 --lr {name}/L --scale 2", 0, "2 images; LR x2 by files")
        for name in ("p_us", "p_bic", "p_real", "p_mild", "p_upX")
    ],
    "png-large-metadata-refused": [
        ("upscale {model} ztxt2M.png itxt2M.png iccp2M.png -o {out}", 0, "3 of 3 images enlarged x2"),
        ("prepare . {out}.h5", 0, "3 images"),
    ],
    "silently-left-out-files": [
        (
            "upscale {model} mix -o {out}",
            0,
            f"mix: left out: {LEFT_OUT} with images (more: --recursive takes it)\n{MIX}",
        ),
        ("degrade bicubic mix {out} --scale 2", 0, f"{LEFT_OUT} with images (more: --recursive takes it)\n{MIX}"),
        ("prepare mix {out}.h5", 0, f"left out: {LEFT_OUT} with images (more: --recursive takes it)"),
        ("prepare mix {out}.h5 --recursive", 0, f"{5 if AVIF else 4} images"),
        ("eval --data mix --scale 2", 0, f"left out: {LEFT_OUT} with images (more: recursive = true takes it)"),
        (
            "check quickstart --set data.dataset={{type='folder',path='mix'}} --set data.patch=8",
            0,
            f"left out: {LEFT_OUT} with images (more: recursive = true takes it)",
        ),
    ],
    "tiff-orientation-uncompressed": [
        ("upscale {model} pil_o6_l.tif o6_g16.tif -o {out}", 0, "2 of 2 images enlarged x2"),
        ("degrade bicubic pil_o6_l.tif {out} --scale 2", 0, "1 of 1 images downscaled by 2"),
        ("prepare . {out}", 0, "2 images"),
    ],
}
# Those of which more must be seen than what a command says.
ELSEWHERE = {
    "alpha-fringe": "cli/test_upscale.py",
    "best-stuck-at-inf": "engine/running/test_keeping.py",
    "eval-one-flat-image": "cli/test_eval.py",
    "read-only-array-warning": "images/test_colors.py",
    "weight-norm-with-ema": "engine/running/test_rehearsal.py",
}


@pytest.fixture
def at(call, model, nearest, tmp_path, monkeypatch):
    """Run a command in the folder of a case; return its exit code and all that it printed, and where it writes."""

    def run(case, command):
        folder = CASES / case
        monkeypatch.chdir(folder if folder.is_dir() else folder.parent)
        for archive in folder.glob("*.tar"):
            shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
        out = tmp_path / "out"
        words = command.format(model=model, out=out, unpacked=tmp_path / "unpacked").split()
        code, printed, err = call("-p", nearest, *words)
        return code, " ".join(printed.split()) + err, out

    return run


@pytest.mark.parametrize(
    ("case", "command", "code", "told"), [(case, *row) for case, rows in COMMANDS.items() for row in rows]
)
def test_the_input_of_a_public_report_gives_what_is_expected(at, case, command, code, told):
    found, printed, _ = at(case, command)
    assert told in printed
    assert found == code


def test_every_case_has_a_test():
    assert sorted(path.name for path in CASES.iterdir()) == sorted([*COMMANDS, *ELSEWHERE])
    for case, file in ELSEWHERE.items():
        assert case in Path(__file__).parents[1].joinpath(file).read_text(encoding="utf-8")


def test_inks_are_enlarged_by_their_profile(at):
    _, _, out = at("cmyk-profile-dropped", "upscale {model} in.jpg in.tif -o {out}")
    for name in ("in.jpg", "in.tif"):
        found = read_image(out / name).astype(int)
        for ink in ((0, 150, 218), (216, 0, 121), (247, 224, 0)):
            assert (np.abs(found - ink).max(axis=2) <= 4).any()


def test_a_jpeg_without_its_end_has_the_pixels_of_the_whole_one(caplog):
    case = CASES / "jpeg-without-eoi-refused"
    assert np.array_equal(read_image(case / "noeoi.jpg"), read_image(case / "b.jpg"))
    assert caplog.messages == [f"{case / 'noeoi.jpg'}: lacks its end marker; no pixel is missing"]


def test_turned_tiffs_come_out_upright(at):
    case = "tiff-orientation-uncompressed"
    _, _, out = at(case, "upscale {model} pil_o6_l.tif o6_g16.tif -o {out}")
    for name in ("pil_o6_l.tif", "o6_g16.tif"):
        with Image.open(CASES / case / name) as image:
            stored = image.tag_v2[257], image.tag_v2[256]
        assert read_image(out / name).shape[:2] == (2 * stored[1], 2 * stored[0])


def test_keys_with_a_slash_become_folders(at):
    _, _, out = at("nested-keys-to-folder", "prepare l_nested.lmdb {out} --from lmdb --to folder")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == ["HR/000/a.png", "HR/001/a.png"]
