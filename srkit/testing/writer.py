"""What a format that images are packed into must do."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from srkit.errors import ComponentError, describe
from srkit.images.manifest import HR, ImageRecord, Manifest, lr_side
from srkit.plugin.contracts import Dataset
from srkit.testing.check import Check, Inapplicable, Subject, fail

Images = dict[str, dict[str, NDArray[Any]]]  # by name and side

NAME = "made"
SCALE = 2
SIZES = {"baby": (24, 32), "red bird": (18, 22)}  # (height, width) of HR
DTYPES = (np.uint8, np.uint16)


def dataset_reads_what_it_wrote(subject: Subject) -> None:
    """The dataset of the same name reads the images that it wrote, of 8 and of 16 bits: the same names, the same
    pixels."""
    for dtype in DTYPES:
        with _written(subject, dtype) as written:
            dataset = written.opened()
            names = [dataset.name(index) for index in range(len(dataset))]
            if sorted(names) != sorted(SIZES):
                fail(f"the dataset finds the images {names}, and {list(SIZES)} were written", "keep names as they are")
            for index, name in enumerate(names):
                _refuse_other_pixels(dataset.read(index), written.images[name][HR], f"'{name}'")


def lr_is_kept_beside_hr(subject: Subject) -> None:
    """LR images that were written beside HR are the dataset's LR images of their scale."""
    for dtype in DTYPES:
        with _written(subject, dtype) as written:
            dataset = written.opened()
            lr = dataset.lr(SCALE)
            if lr is None:
                fail(f"the dataset has no LR of scale {SCALE}, which was written", f"write '{lr_side(SCALE)}', too")
            for index in range(len(lr)):
                name = dataset.name(index)
                if name in written.images:  # others are another check's
                    _refuse_other_pixels(
                        lr.read(index), written.images[name][lr_side(SCALE)], f"LR of scale {SCALE} of '{name}'"
                    )


def manifest_is_kept(subject: Subject) -> None:
    """The manifest is kept with the images, so that the dataset's `manifest()` returns it and `srkit prepare --verify`
    can compare."""
    with _written(subject, np.uint8) as written:
        dataset = written.opened()
        if not hasattr(dataset, "manifest"):
            raise Inapplicable(f"the dataset '{subject.component.name}' has no manifest()")
        found = dataset.manifest()
        if found != written.manifest:
            what = "no manifest" if found is None else "another manifest than was given"
            fail(f"the dataset returns {what}", "write manifest.to_bytes() in finish(), and read it by from_bytes()")


def only_its_path_is_written(subject: Subject) -> None:
    """All that it writes is its path, or below it: it is flushed and renamed as a whole."""
    with _written(subject, np.uint8) as written:
        found = sorted(path.name for path in written.path.parent.iterdir())
        beside = ", ".join(name for name in found if name != NAME)
        if NAME not in found:
            fail(f"nothing is at its path{f', and beside it is {beside}' if beside else ''}", _ALL_THERE)
        if beside:
            fail(f"beside its path it leaves {beside}", _ALL_THERE)


def images_are_not_written_to(subject: Subject) -> None:
    """The images that it is given are left alone."""
    with _written(subject, np.uint16) as written:
        for name, sides in written.given.items():
            for side, image in sides.items():
                if not np.array_equal(image, written.images[name][side]):
                    fail(f"it changes '{side}' of '{name}'", "work on a copy")


def unfinished_one_is_closed(subject: Subject) -> None:
    """It is closed without an error where nothing was finished: a disk was full, or a person has stopped it."""
    with tempfile.TemporaryDirectory() as folder:
        writer = subject.make(path=Path(folder) / NAME)
        try:
            writer.add(*next(iter(_images(np.uint8).items())))
        finally:
            try:
                writer.close()
            except Exception as error:
                fail(f"close() without finish() raises {describe(error)}", "close what is open, whatever was written")


_ALL_THERE = "write at `path`, a file or a folder, and nowhere else, and have all of it there when close() returns"

CHECKS = (
    Check(dataset_reads_what_it_wrote),
    Check(lr_is_kept_beside_hr),
    Check(manifest_is_kept),
    Check(only_its_path_is_written),
    Check(images_are_not_written_to),
    Check(unfinished_one_is_closed),
)


@attrs.frozen
class _Written:
    """What was written, and where. `given` are the arrays that the writer has had."""

    subject: Subject
    path: Path
    images: Images
    given: Images
    manifest: Manifest

    def opened(self) -> Any:
        """Return the dataset of the same name, of what was written."""
        name = self.subject.entry.full_name
        try:
            entry = self.subject.registry.find("dataset", name)
        except ComponentError:
            fail(f"there is no dataset '{name}'", "give the dataset that reads what this writer writes, by its name")
        dataset: Dataset = entry.component.load()(path=str(self.path))
        return dataset


@contextlib.contextmanager
def _written(subject: Subject, dtype: type[np.uint8 | np.uint16]) -> Iterator[_Written]:
    images, given = _images(dtype), _images(dtype)
    records = {side: tuple(ImageRecord.of(images[name][side]) for name in images) for side in (HR, lr_side(SCALE))}
    manifest = Manifest(tuple(images), records, {"by": "a check of the writer"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        writer = subject.make(path=path)
        try:
            for name, sides in given.items():
                writer.add(name, sides)
            writer.finish(manifest)
        finally:
            writer.close()
        yield _Written(subject, path, images, given, manifest)


def _images(dtype: type[np.uint8 | np.uint16]) -> Images:
    """Return the images to write: HR of noise, LR of every second pixel."""
    rng = np.random.default_rng(0)
    found = {}
    for name, size in SIZES.items():
        hr = rng.integers(0, np.iinfo(dtype).max + 1, (*size, 3)).astype(dtype)
        found[name] = {HR: hr, lr_side(SCALE): np.ascontiguousarray(hr[::SCALE, ::SCALE])}
    return found


def _refuse_other_pixels(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        fail(
            f"{what} is read as {list(found.shape)} {found.dtype}, and {list(expected.shape)} {expected.dtype} was "
            "written",
            "keep shape and dtype",
        )
    if not np.array_equal(found, expected):
        fail(f"{what} is read with other pixels than were written, {expected.dtype}", "keep every pixel, in RGB")
