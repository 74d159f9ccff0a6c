"""What the folder writer writes, as the folder dataset and as other programs read it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image
from srkit_datasets.folder import Folder
from srkit_datasets.folder_writer import FolderWriter

from srkit import ImageRecord, InputRejected, Manifest
from srkit.plugin.discovery import installed


def pixels(height=24, width=36, seed=0, dtype=np.uint8):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, 3), dtype=dtype, endpoint=True)


def sides(seed=0, **dtype):
    return {"hr": pixels(24, 36, seed, **dtype)} | {
        f"lr_x{scale}": pixels(24 // scale, 36 // scale, seed + scale, **dtype) for scale in (2, 4)
    }


def manifest_of(images):
    records = {
        side: tuple(ImageRecord.of(found[side]) for found in images.values()) for side in ("hr", "lr_x2", "lr_x4")
    }
    return Manifest(tuple(images), records, {"crop": 0})


def write(path, images, **settings):
    writer = FolderWriter(path=path, **settings)
    for name, found in images.items():
        writer.add(name, found)
    manifest = manifest_of(images)
    writer.finish(manifest)
    writer.close()
    return manifest


def files(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def refused(path, name):
    with pytest.raises(InputRejected) as error:
        FolderWriter(path=path).add(name, sides())
    return str(error.value)


# What is written


def test_files_lie_as_edsrs_benchmark_sets_do(tmp_path):
    write(tmp_path / "set", {"baby": sides()})
    assert files(tmp_path / "set") == [
        "HR/baby.png",
        "LR_bicubic/X2/babyx2.png",
        "LR_bicubic/X4/babyx4.png",
        "MANIFEST.json",
    ]


def test_the_folder_of_lr_may_be_called_after_its_degradation(tmp_path):
    write(tmp_path / "set", {"a": sides()}, lr="LR_blur")
    assert "LR_blur/X4/ax4.png" in files(tmp_path / "set")
    assert Folder(path=str(tmp_path / "set")).describe() == "1 HR image in set/HR, LR x2, x4 in LR_blur beside it"


def test_hr_alone_has_no_folder_of_lr(tmp_path):
    writer = FolderWriter(path=tmp_path)
    writer.add("a", {"hr": pixels()})
    writer.finish(Manifest(("a",), {"hr": (ImageRecord.of(pixels()),)}))
    writer.close()
    assert files(tmp_path) == ["HR/a.png", "MANIFEST.json"]


def test_another_program_reads_the_pixels(tmp_path):
    images = {"a": sides()}
    write(tmp_path, images)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "LR_bicubic/X2/ax2.png")), images["a"]["lr_x2"])


# What is read back

NAMES = ["baby", "10", "2", "B", "a.b", "ax2", "a", "été", "a b", "x_SRF_4_HR", "n" * 240]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_dataset_reads_every_pixel_that_was_written(tmp_path, dtype):
    images = {name: sides(seed, dtype=dtype) for seed, name in enumerate(NAMES)}
    write(tmp_path / "set", images)
    source = Folder(path=str(tmp_path / "set"))
    for side, found in {"hr": source, "lr_x2": source.lr(2), "lr_x4": source.lr(4)}.items():
        read = {found.name(index): found.read(index) for index in range(len(found))}
        assert sorted(read) == sorted(NAMES)
        for name in NAMES:
            assert read[name].dtype == dtype
            assert np.array_equal(read[name], images[name][side])


def test_the_dataset_returns_the_manifest(tmp_path):
    manifest = write(tmp_path / "set", {"b": sides(), "a": sides(1)})
    assert Folder(path=str(tmp_path / "set")).manifest() == manifest


def test_there_is_no_manifest_before_all_is_written(tmp_path):
    writer = FolderWriter(path=tmp_path)
    writer.add("a", sides())
    writer.close()
    assert Folder(path=str(tmp_path)).manifest() is None


def test_a_manifest_of_no_images_is_kept_too(tmp_path):
    write(tmp_path / "deep" / "set", {})
    assert files(tmp_path) == ["deep/set/MANIFEST.json"]


def test_names_of_an_lmdb_with_folders_become_folders_that_the_dataset_finds(tmp_path):
    images = {name: sides(seed) for seed, name in enumerate(["0/a", "1/a"])}
    write(tmp_path / "set", images)
    assert files(tmp_path / "set") == [
        "HR/0/a.png",
        "HR/1/a.png",
        "LR_bicubic/X2/0/ax2.png",
        "LR_bicubic/X2/1/ax2.png",
        "LR_bicubic/X4/0/ax4.png",
        "LR_bicubic/X4/1/ax4.png",
        "MANIFEST.json",
    ]
    source = Folder(path=str(tmp_path / "set"))
    assert [source.name(i) for i in range(2)] == list(images)
    for index, name in enumerate(images):
        assert np.array_equal(source.read(index), images[name]["hr"])
        assert np.array_equal(source.lr(2).read(index), images[name]["lr_x2"])


# What is refused

NO_NAMES = {
    "/etc/a": "'/etc/a': cannot be the name of a file: it has a / at an end, or two beside each other; "
    "rename the image",
    "../a": "'../a': cannot be the name of a file: it begins with a full stop, which hides a file; rename the image",
    "a/../../b": "'a/../../b': cannot be the name of a file: it begins with a full stop, which hides a file; "
    "rename the image",
    "..": "'..': cannot be the name of a file: it begins with a full stop, which hides a file; rename the image",
    ".": "'.': cannot be the name of a file: it begins with a full stop, which hides a file; rename the image",
    ".a": "'.a': cannot be the name of a file: it begins with a full stop, which hides a file; rename the image",
    "": "'': cannot be the name of a file: it is empty; rename the image",
    "a\0b": "'a\\x00b': cannot be the name of a file: it contains NUL; rename the image",
    "\udc80": "'\\udc80': cannot be the name of a file: it is no text; rename the image",
    "n" * 241: f"'{'n' * 241}': cannot be the name of a file: it has 241 bytes, of at most 240; rename the image",
    "é" * 121: "'"
    + "\\xe9" * 121
    + "': cannot be the name of a file: it has 242 bytes, of at most 240; rename the image",
}


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_a_name_that_cannot_be_a_files_is_refused_before_anything_is_written(tmp_path, name):
    assert refused(tmp_path / "set", name) == NO_NAMES[name]
    assert list(tmp_path.iterdir()) == []


def test_two_images_of_one_name_are_refused(tmp_path):
    writer = FolderWriter(path=tmp_path)
    writer.add("a", sides())
    with pytest.raises(InputRejected) as error:
        writer.add("A", sides())
    writer.close()
    assert str(error.value) == "'A': is the name of two images, but for small and capital letters"


@pytest.mark.parametrize("lr", ["bicubic", "", "LR_a/b", "../LR_a", "LR_\0"])
def test_the_folder_of_lr_begins_with_lr(tmp_path, lr):
    with pytest.raises(ValueError, match="LR_") as error:
        FolderWriter(path=tmp_path, lr=lr)
    assert str(error.value) == (
        f'lr must be the name of a folder that begins with LR_, as "LR_bicubic" does, not "{lr}"'
    )


# A disk that fails


def test_a_disk_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    (tmp_path / "HR").touch()
    with pytest.raises(OSError, match="File exists") as error:
        FolderWriter(path=tmp_path).add("a", sides())
    assert error.value.filename == str(tmp_path / "HR")


FULL = """
import resource, sys, pathlib, signal
import numpy as np
from srkit_datasets.folder_writer import FolderWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
writer = FolderWriter(path=pathlib.Path(sys.argv[1]))
try:
    writer.add("a", {"hr": np.eye(96, dtype=np.uint8)[..., None].repeat(3, 2)})
    writer.finish(None)
except OSError as error:
    print(type(error).__name__, error.strerror)
writer.close()
"""


def test_an_image_that_does_not_fit_is_an_error_of_the_system(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "OSError File too large\n"


# The component


def test_the_component_names_its_target():
    entry = installed().find("writer", "folder")
    assert entry.component.load() is FolderWriter


def test_a_writer_is_called_with_its_path_and_its_settings(tmp_path):
    writer: Any = installed().create("writer", "folder", path=tmp_path, lr="LR_noise")
    writer.add("a", sides())
    writer.finish(manifest_of({"a": sides()}))
    writer.close()
    assert "LR_noise/X2/ax2.png" in files(tmp_path)
