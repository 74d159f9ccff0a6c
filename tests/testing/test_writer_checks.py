"""Each check of a writer can fail: one that breaks one promise, and what is told of it. srkit's own writers pass."""

from __future__ import annotations

import re

import pytest

from srkit.plugin.discovery import discover, installed
from srkit.testing.check import Subject
from srkit.testing.running import perform, results
from srkit.testing.writer import CHECKS
from tests.conftest import plugin

MODULE = '''
from pathlib import Path

import numpy as np

import srkit


class Arrays:
    """A folder of numpy's files, a folder a side.

    Args:
        path: the folder.
    """

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)
        self.files = sorted((self.path / "hr").iterdir())

    def __len__(self):
        return len(self.files)

    def name(self, index):
        return self.files[index].stem

    def read(self, index, window=None):
        return np.load(self.files[index])

    def lr(self, scale):
        side = self.path / f"lr_x{scale}"
        if not side.is_dir():
            return None
        lr = Arrays(path=self.path)
        lr.files = sorted(side.iterdir())
        return lr

    def manifest(self):
        file = self.path / "manifest.json"
        return srkit.Manifest.from_bytes(file.read_bytes()) if file.exists() else None


class ArraysWithoutManifest(Arrays):
    manifest = property()


class Good:
    def __init__(self, *, path: Path) -> None:
        self.path = path

    def add(self, name, images):
        for side, image in images.items():
            self.save(side, name, image)

    def save(self, side, name, image):
        file = self.path / side / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, image)

    def finish(self, manifest):
        (self.path / "manifest.json").write_bytes(manifest.to_bytes())

    def close(self):
        pass


class Unread(Good):
    pass


class Told(Good):
    def finish(self, manifest):
        pass


class Renames(Good):
    def save(self, side, name, image):
        super().save(side, name.replace(" ", "_"), image)


class Shallow(Good):
    def save(self, side, name, image):
        super().save(side, name, (image >> 8).astype(np.uint8) if side == "hr" and image.dtype == np.uint16 else image)


class Swapped(Good):
    def save(self, side, name, image):
        super().save(side, name, image[..., ::-1] if side == "hr" else image)


class LosesLR(Good):
    def save(self, side, name, image):
        if side == "hr":
            super().save(side, name, image)


class BlursLR(Good):
    def save(self, side, name, image):
        super().save(side, name, image if side == "hr" else image // 2)


class OldManifest(Good):
    def finish(self, manifest):
        super().finish(srkit.Manifest(manifest.names, manifest.sides, {"by": "nobody"}))


class Littering(Good):
    def finish(self, manifest):
        super().finish(manifest)
        self.path.with_name("index.txt").write_text("2 images")


class Suffixed(Good):
    def __init__(self, *, path: Path) -> None:
        self.path = path.with_suffix(".arrays")


class Scribbling(Good):
    def save(self, side, name, image):
        super().save(side, name, image)
        image[0, 0] = 0


class Impatient(Good):
    waiting = False

    def add(self, name, images):
        super().add(name, images)
        self.waiting = True

    def finish(self, manifest):
        super().finish(manifest)
        self.waiting = False

    def close(self):
        if self.waiting:
            raise RuntimeError("call finish() first")
'''
NAMES = re.findall(r"^class (\w+)", MODULE, re.MULTILINE)[2:]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """What is installed, and a file with a writer for each broken promise, each by the name of its class."""
    path = tmp_path_factory.mktemp("plugin") / "writer_checks_mine.py"
    lines = []
    for name in NAMES:
        lines.append(f'"writer", "{name}", f"{{__name__}}:{name}", summary="arrays"')
        dataset = "ArraysWithoutManifest" if name == "Told" else "Arrays"
        if name != "Unread":
            lines.append(f'"dataset", "{name}", f"{{__name__}}:{dataset}", summary="arrays"')
    path.write_text(MODULE + plugin("\n".join(lines)))
    return discover([str(path)])


def outcomes(registry, name, outcome="failed"):
    found = results(Subject(registry.find("writer", name), registry))
    return {result.check.name: (result.found, result.instead) for result in found if result.outcome == outcome}


def test_a_writer_that_keeps_all_promises_passes(registry):
    assert outcomes(registry, "Good") == {}


def test_a_writer_whose_dataset_has_no_manifest_need_not_keep_it(registry):
    assert outcomes(registry, "Told") == {}
    assert outcomes(registry, "Told", "skipped")["manifest_is_kept"] == ("the dataset 'Told' has no manifest()", "")


ALL_THERE = "write at `path`, a file or a folder, and nowhere else, and have all of it there when close() returns"
BROKEN = {
    "Renames": (
        "dataset_reads_what_it_wrote",
        "the dataset finds the images ['baby', 'red_bird'], and ['baby', 'red bird'] were written",
        "keep names as they are",
    ),
    "Shallow": (
        "dataset_reads_what_it_wrote",
        "'baby' is read as [24, 32, 3] uint8, and [24, 32, 3] uint16 was written",
        "keep shape and dtype",
    ),
    "Swapped": (
        "dataset_reads_what_it_wrote",
        "'baby' is read with other pixels than were written, uint8",
        "keep every pixel, in RGB",
    ),
    "LosesLR": ("lr_is_kept_beside_hr", "the dataset has no LR of scale 2, which was written", "write 'lr_x2', too"),
    "BlursLR": (
        "lr_is_kept_beside_hr",
        "LR of scale 2 of 'baby' is read with other pixels than were written, uint8",
        "keep every pixel, in RGB",
    ),
    "OldManifest": (
        "manifest_is_kept",
        "the dataset returns another manifest than was given",
        "write manifest.to_bytes() in finish(), and read it by from_bytes()",
    ),
    "Littering": ("only_its_path_is_written", "beside its path it leaves index.txt", ALL_THERE),
    "Scribbling": ("images_are_not_written_to", "it changes 'hr' of 'baby'", "work on a copy"),
    "Impatient": (
        "unfinished_one_is_closed",
        "close() without finish() raises RuntimeError: call finish() first",
        "close what is open, whatever was written",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_writer_that_breaks_one_promise_is_told_which(registry, name):
    check, found, instead = BROKEN[name]
    assert outcomes(registry, name) == {check: (found, instead)}


def test_a_writer_without_a_dataset_of_its_name_is_told_so(registry):
    told = outcomes(registry, "Unread")
    assert told.keys() == {"dataset_reads_what_it_wrote", "lr_is_kept_beside_hr", "manifest_is_kept"}
    assert told["dataset_reads_what_it_wrote"] == (
        "there is no dataset 'writer_checks_mine.py:Unread'",
        "give the dataset that reads what this writer writes, by its name",
    )


def test_a_writer_that_adds_a_suffix_to_its_path_is_told_so(registry):
    assert outcomes(registry, "Suffixed")["only_its_path_is_written"] == (
        "nothing is at its path, and beside it is made.arrays",
        ALL_THERE,
    )


def test_every_check_was_seen_to_fail():
    assert {check.name for check in CHECKS} == {check for check, _, _ in BROKEN.values()}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("kind", ["folder", "h5", "lmdb"])
def test_writers_of_srkit_keep_all_promises(kind, check):
    perform(check, Subject(installed().find("writer", kind), installed()))
