"""What a source of images must do."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srkit.errors import InputRejected, describe, located
from srkit.images.manifest import HR, ImageRecord, Manifest
from srkit.images.opening import SUFFIXES
from srkit.plugin.contracts import Dataset, Window
from srkit.plugin.part import as_tree
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.watching import watching

Image = NDArray[Any]
Ask = tuple[int, Window | None]  # what `read` is called with

SCALES = (2, 3, 4, 8)  # where LR is looked for
ABSENT = 97  # a scale that nobody has
THREADS = 8
PATCH = 48  # pixels of a window's side, at most
SWITCH = 1e-5  # seconds between two threads' turns, so that they meet within a read
# In a process of its own, where hash() of a text is another.
_FINGERPRINT = """
import json, sys
from pathlib import Path
from srkit.plugin.component import Component
from srkit.plugin.files import import_file
told = json.loads(sys.argv[1])
if told["file"]:
    import_file(Path(told["file"]))
print(json.dumps(Component("dataset", "", told["target"]).load()(**told["settings"]).fingerprint()))
"""


def images_are_at_rest(subject: Subject) -> None:
    """There are images, and each is a numpy array, uint8 or uint16, [height, width, 3]."""
    dataset = subject.make()
    if not len(dataset):
        fail(
            "it has no images",
            "check it with settings that find some: --set path=... (in a test, check(path=...))",
        )
    for index in _looked_at(dataset):
        fault = _fault(dataset.read(index))
        if fault:
            fail(f"read({index}) gives {fault}", "return numpy, uint8 or uint16, [height, width, 3], RGB")


def names_are_unique(subject: Subject) -> None:
    """Each image has a name of its own, a text without the suffix of a file: scores and LR images are found by it."""
    dataset = _opened(subject)
    names = [dataset.name(index) for index in range(len(dataset))]
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name:
            fail(f"name({index}) is {name!r}", 'return a text, "baby" say')
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        fail(f"{count} images have the name '{name}'", "name them after all that tells them apart, folders included")
    if all(name.lower().endswith(SUFFIXES) for name in names):
        fail(f"the names have suffixes: '{names[0]}'", f"leave them out: '{os.path.splitext(names[0])[0]}'")


def size_is_that_of_the_image(subject: Subject) -> None:
    """An image's size is a tuple, (height, width), of what `read` gives."""
    dataset = _opened(subject)
    for index in _looked_at(dataset):
        size, image = dataset.size(index), _whole(dataset, index)
        if not isinstance(size, tuple) or size != image.shape[:2]:
            fail(
                f"size({index}) is {size!r}, and the image has height {image.shape[0]} and width {image.shape[1]}",
                "return the tuple (height, width) of the upright image",
            )


def size_is_known_without_decoding(subject: Subject) -> None:
    """An image's size is known without decoding the image: training asks for a hundred thousand before it begins."""
    dataset = _opened(subject)
    index = _looked_at(dataset)[-1]
    with watching() as seen:
        dataset.size(index)
    decoder = seen.decoder(*_whole(dataset, index).shape[:2])
    if decoder:
        fail(
            f"size({index}) decodes the image, with {decoder}",
            "read the header alone (srkit.image_size does), or keep the sizes beside the images",
        )


def same_image_twice(subject: Subject) -> None:
    """Read twice, an image is the same: nothing is drawn by chance."""
    dataset = _opened(subject)
    for index in _looked_at(dataset):
        first, second = np.array(_whole(dataset, index)), dataset.read(index)
        if difference := _difference(second, first):
            fail(f"read({index}) the second time {difference}", "leave randomness to degradations and augmentations")


def earlier_images_are_left_alone(subject: Subject) -> None:
    """An image that was read stays as it is when others are read: no buffer is used again."""
    dataset = _opened(subject)
    kept: list[tuple[Ask, Image, Image]] = []
    for index in _looked_at(dataset):
        asked: list[Ask] = [(index, None), *((index, window) for window in _patches(_whole(dataset, index).shape))]
        for ask in asked:
            image = dataset.read(*ask)
            kept.append((ask, image, np.array(image)))
    for ask, image, before in kept:
        if not np.array_equal(image, before):
            fail(
                f"what {_call(*ask)} gave changes when others are read",
                "return memory of its own each time: a copy of the buffer",
            )


def window_is_the_crop(subject: Subject) -> None:
    """A window of an image is the same as the crop of the whole: at its corners, of one pixel, and all of it."""
    dataset = _opened(subject)
    for index in _looked_at(dataset):
        _refuse_other_windows(dataset, index, "")


def threads_read_the_same(subject: Subject) -> None:
    """Read by eight threads at once, as training does, windows are the same as read by one."""
    asked = _asked(subject)
    alone = _read(subject.make(), asked)
    dataset = subject.make()
    together = threading.Barrier(THREADS)

    def read(thread: int) -> list[Image]:
        together.wait()
        first = thread % len(asked)
        images = _read(dataset, [*asked[first:], *asked[:first]])  # from another place each
        return [*images[len(asked) - first :], *images[: len(asked) - first]]

    with _switching_often(), ThreadPoolExecutor(THREADS) as executor:
        try:
            read_by = list(executor.map(read, range(THREADS)))
        except Exception as error:
            fail(
                f"read by {THREADS} threads at once, it raises {located(error)}",
                "share no open file and no buffer among threads: open it in each read, or use threading.local()",
            )
    for images in read_by:
        for ask, image, expected in zip(asked, images, alone, strict=True):
            if difference := _difference(image, expected):
                fail(
                    f"read by {THREADS} threads at once, {_call(*ask)} {difference}",
                    "share no open file and no buffer among threads: open it in each read, or use threading.local()",
                )


def fingerprint_stays(subject: Subject) -> None:
    """The fingerprint is a text of one line, and the same whenever the same images are opened, in another process,
    too."""
    dataset = _opened(subject)
    first = dataset.fingerprint()
    if not _is_line(first):
        fail(f"fingerprint() is {first!r}", "return a short text, of one line")
    dataset.read(0)
    if dataset.fingerprint() != first:
        fail("fingerprint() changes when an image is read", "make it of the images alone")
    again = subject.make().fingerprint()
    if again != first:
        fail(f"opened again, the fingerprint is '{again}', not '{first}'", "make it of the images alone, by hashlib")
    elsewhere = _fingerprint_elsewhere(subject)
    if elsewhere not in (None, first):
        fail(
            f"in another process, the fingerprint is '{elsewhere}', not '{first}'",
            "use hashlib: hash() is another function in each process",
        )


def lr_belongs_to_hr(subject: Subject) -> None:
    """LR of a scale is None, or a dataset with an image for each HR image, in the same order, by the same names, of
    1 / scale of its size, rounded down."""
    dataset = _opened(subject)
    for scale in (*SCALES, ABSENT):
        try:
            dataset.lr(scale)
        except InputRejected:
            continue
        except Exception as error:
            fail(f"lr({scale}) raises {describe(error)}", "return None where there are no LR images of a scale")
    for scale, lr in _lr(dataset).items():
        if len(lr) != len(dataset):
            fail(f"lr({scale}) has {len(lr)} images for {len(dataset)} of HR", "give one for each, or raise")
        for index in range(len(lr)):
            hr_name, name = dataset.name(index), lr.name(index)
            if name != hr_name:
                fail(
                    f"image {index} of lr({scale}) is '{name}', and of HR '{hr_name}'",
                    "give LR in HR's order, and by HR's names",
                )
        for index in _looked_at(dataset):
            height, width = (side // scale for side in dataset.size(index))
            found = [lr.size(index), lr.read(index).shape[:2]]
            if found != [(height, width)] * 2:
                wrong = next(size for size in found if size != (height, width))
                fail(
                    f"image {index} of lr({scale}) has (height, width) {wrong}, not {(height, width)}",
                    "HR is cropped to a multiple of the scale first; raise InputRejected for an LR image of another "
                    "size",
                )
        if not _is_line(lr.fingerprint()):
            fail(f"the fingerprint of lr({scale}) is {lr.fingerprint()!r}", "return a short text, of one line")


def lr_is_read_as_hr_is(subject: Subject) -> None:
    """LR images have the form of HR images, and a window of one is the crop of the whole."""
    dataset = _opened(subject)
    for scale, lr in _lr(dataset).items():
        for index in _looked_at(lr):
            fault = _fault(lr.read(index))
            if fault:
                fail(f"lr({scale}).read({index}) gives {fault}", "return numpy, uint8 or uint16, [height, width, 3]")
            _refuse_other_windows(lr, index, f"lr({scale}).")


def windowed_is_true(subject: Subject) -> None:
    """Where `windowed` is True, a window is read without its image."""
    dataset = _opened(subject)
    stated = getattr(dataset, "windowed", None)
    if stated is None:
        raise Inapplicable("it has no attribute 'windowed'")
    if not isinstance(stated, bool):
        fail(f"windowed is {stated!r}", "let it be True or False: an attribute, or a property")
    if not stated:
        raise Inapplicable("windowed is False")
    for index in _looked_at(dataset):
        height, width = dataset.size(index)
        if min(height, width) < 2:
            continue
        with watching() as seen:
            dataset.read(index, Window(0, 0, 1, 1))
        decoder = seen.decoder(height, width)
        if decoder:
            fail(
                f"windowed is True, and a window of one pixel decodes its image, with {decoder}",
                "let windowed be False, so that images are kept in memory",
            )


def description_is_a_line(subject: Subject) -> None:
    """Where there is `describe()`, it gives a line of text."""
    dataset = _opened(subject)
    if not hasattr(dataset, "describe"):
        raise Inapplicable("it has no describe()")
    if not _is_line(text := dataset.describe()):
        fail(f"describe() is {text!r}", "return a text of one line: what was found")


def manifest_is_that_of_the_images(subject: Subject) -> None:
    """Where there is `manifest()`, it gives None or the Manifest of these images: their names, sizes, dtypes and
    pixels."""
    dataset = _opened(subject)
    if not hasattr(dataset, "manifest"):
        raise Inapplicable("it has no manifest()")
    manifest = dataset.manifest()
    if manifest is None:
        raise Inapplicable("there is no manifest")
    if not isinstance(manifest, Manifest):
        fail(f"manifest() is a {type(manifest).__name__}", "return a srkit.Manifest, or None")
    if sorted(manifest.names) != sorted(map(dataset.name, range(len(dataset)))):
        fail("manifest() is of other images than there are", "return that of these images, or None")
    places = {name: place for place, name in enumerate(manifest.names)}
    for index in _looked_at(dataset):
        name = dataset.name(index)
        if manifest.sides[HR][places[name]] != ImageRecord.of(_whole(dataset, index)):
            fail(f"manifest() has another record of '{name}' than its pixels", "return that of these images, or None")


def weights_are_numbers(subject: Subject) -> None:
    """Where there is `weight(index)`, it gives a number of at least 0 for each image, and not 0 for all."""
    dataset = _opened(subject)
    if not hasattr(dataset, "weight"):
        raise Inapplicable("it has no weight()")
    found = {dataset.name(index): dataset.weight(index) for index in range(len(dataset))}
    for name, weight in found.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            fail(f"the weight of '{name}' is {weight!r}", "return a number of at least 0")
    if not any(found.values()):
        fail("the weight of every image is 0", "return more than 0 for those that are to be drawn")


CHECKS = (
    Check(images_are_at_rest, first=True),
    Check(names_are_unique),
    Check(size_is_that_of_the_image),
    Check(size_is_known_without_decoding),
    Check(same_image_twice),
    Check(earlier_images_are_left_alone, needs=(same_image_twice,)),
    Check(window_is_the_crop, needs=(same_image_twice,)),
    Check(threads_read_the_same, needs=(same_image_twice,)),
    Check(fingerprint_stays),
    Check(lr_belongs_to_hr),
    Check(lr_is_read_as_hr_is),
    Check(windowed_is_true),
    Check(description_is_a_line),
    Check(manifest_is_that_of_the_images),
    Check(weights_are_numbers),
)


def _opened(subject: Subject) -> Any:
    dataset = subject.make()
    if not len(dataset):
        raise Inapplicable("it has no images")
    return dataset


def _looked_at(dataset: Dataset) -> list[int]:
    """Return the indices of the first, the middle and the last image."""
    count = len(dataset)
    return sorted({0, count // 2, count - 1}) if count else []


def _whole(dataset: Dataset, index: int) -> Image:
    image = dataset.read(index)
    if _fault(image):
        raise Inapplicable("its images are not at rest")
    return image


def _fault(image: object) -> str:
    """Return what is there instead of an image at rest, or nothing."""
    if not isinstance(image, np.ndarray):
        return f"a {type(image).__name__}"
    right = image.dtype in (np.uint8, np.uint16) and image.ndim == 3 and image.shape[2] == 3 and image.size > 0
    return "" if right else f"{list(image.shape)} {image.dtype}"


def _difference(found: Image, expected: Image) -> str:
    """Return how an image differs from what it must be, or nothing."""
    if _fault(found) or found.shape != expected.shape or found.dtype != expected.dtype:
        what = _fault(found) or f"{list(found.shape)} {found.dtype}"
        return f"is {what}, not {list(expected.shape)} {expected.dtype}"
    return "" if np.array_equal(found, expected) else "has other pixels"


def _patches(shape: Sequence[int]) -> list[Window]:
    """Return two windows of an image of this shape, by chance, of any sides up to PATCH."""
    rng = np.random.default_rng(0)
    windows = []
    for _ in range(2):
        height, width = (int(rng.integers(1, min(side, PATCH) + 1)) for side in shape[:2])
        top, left = (int(rng.integers(shape[axis] - side + 1)) for axis, side in enumerate((height, width)))
        windows.append(Window(top, left, height, width))
    return windows


def _refuse_other_windows(dataset: Dataset, index: int, prefix: str) -> None:
    whole = np.array(_whole(dataset, index))
    height, width = whole.shape[:2]
    corners = [Window(top, left, 1, 1) for top in (0, height - 1) for left in (0, width - 1)]
    for window in (*corners, *_patches(whole.shape), Window(0, 0, height, width)):
        top, left, tall, wide = window
        if difference := _difference(dataset.read(index, window), whole[top : top + tall, left : left + wide]):
            fail(
                f"{prefix}{_call(index, window)} {difference}",
                f"return what image[{top}:{top + tall}, {left}:{left + wide}] of the whole is",
            )


def _call(index: int, window: Window | None) -> str:
    return f"read({index})" if window is None else f"read({index}, {window})"


def _asked(subject: Subject) -> list[Ask]:
    dataset = _opened(subject)
    return [(index, window) for index in _looked_at(dataset) for window in _patches(_whole(dataset, index).shape)[:1]]


def _read(dataset: Dataset, asked: Sequence[Ask]) -> list[Image]:
    return [np.array(dataset.read(*ask)) for ask in asked]


@contextlib.contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _lr(dataset: Dataset) -> dict[int, Dataset]:
    """Return LR by scale. Raises Inapplicable where there is none that can be used, with the reason."""
    found, reason = {}, f"there are no LR images of the scales {', '.join(map(str, SCALES))}"
    for scale in SCALES:
        try:
            lr = dataset.lr(scale)
        except Exception as error:
            reason = describe(error)
            continue
        if lr is not None:
            found[scale] = lr
    if not found:
        raise Inapplicable(reason)
    return found


def _is_line(text: object) -> bool:
    return isinstance(text, str) and bool(text) and text.isprintable()


def _fingerprint_elsewhere(subject: Subject) -> str | None:
    """Return the fingerprint of the same images in a new process, or None where it cannot be made there."""
    origin, target = subject.entry.origin, subject.component.target
    file = getattr(sys.modules.get(target.partition(":")[0]), "__file__", None) if origin.is_file else None
    try:
        told = json.dumps({"file": file, "target": target, "settings": as_tree(subject.settings)})
    except (TypeError, ValueError):
        return None
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "random"}
    run = subprocess.run(
        [sys.executable, "-P", "-c", _FINGERPRINT, told],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    return None if run.returncode else str(json.loads(run.stdout.splitlines()[-1]))
