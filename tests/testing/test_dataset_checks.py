"""Each check of a dataset can fail: one that breaks one promise, and what is told of it. srkit's own datasets pass."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

import srkit
from srkit.cli import main
from srkit.plugin.discovery import discover, installed
from srkit.testing.check import CheckFailed, Inapplicable, Subject
from srkit.testing.dataset import CHECKS
from srkit.testing.running import perform, results
from tests.conftest import photograph, plugin

MODULE = '''
import threading
from pathlib import Path

import numpy as np

import srkit


class Meeting:
    """Where threads of a pool are at once: the first to come waits for the second."""

    def __init__(self):
        self.lock, self.both, self.came = threading.Lock(), threading.Event(), 0

    def of_two(self):
        if not threading.current_thread().name.startswith("ThreadPoolExecutor"):
            return False
        with self.lock:
            self.came += 1
            if self.came == 2:
                self.both.set()
        return self.both.wait()


class Mine:
    def __init__(self, *, count: int = 3) -> None:
        """
        Args:
            count: how many images there are.
        """
        draw = np.random.default_rng(0).integers
        self.images = [draw(0, 256, (20 + 5 * index, 30 - index, 3), dtype=np.uint8) for index in range(count)]
        self.names = [f"image{index}" for index in range(count)]
        self.counts = [0] * count
        self.inside = 0
        self.meeting = Meeting()
        self.local = threading.local()

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return self.names[index]

    def size(self, index):
        return self.images[index].shape[:2]

    def read(self, index, window=None):
        return cut(self.images[index], window)

    def lr(self, scale):
        return None

    def fingerprint(self):
        return "mine"


def cut(image, window):
    top, left, height, width = window or (0, 0, *image.shape[:2])
    return image[top : top + height, left : left + width]


class Floats(Mine):
    def read(self, index, window=None):
        return super().read(index, window) / 255


class Lists(Mine):
    def read(self, index, window=None):
        return super().read(index, window).tolist()


class Nameless(Mine):
    def name(self, index):
        return ""


class Twins(Mine):
    def name(self, index):
        return "image0"


class Suffixes(Mine):
    def name(self, index):
        return f"image{index}.PNG"


class Turned(Mine):
    def size(self, index):
        return super().size(index)[::-1]


class Listed(Mine):
    def size(self, index):
        return list(super().size(index))


class Changing(Mine):
    def read(self, index, window=None):
        self.counts[index] += window is None
        return super().read(index, window) + np.uint8(self.counts[index] > 1 and window is None)


class Buffered(Mine):
    def read(self, index, window=None):
        image = super().read(index, window)
        buffer = self.local.__dict__.setdefault("buffer", np.zeros(10_000, np.uint8))
        buffer[: image.size] = image.reshape(-1)
        return buffer[: image.size].reshape(image.shape)


class Swapping(Mine):
    def read(self, index, window=None):
        if window is not None:
            top, left, height, width = window
            window = left, top, width, height
        return super().read(index, window)


class Whole(Mine):
    def read(self, index, window=None):
        return super().read(index)


class Crowded(Mine):
    def read(self, index, window=None):
        return super().read(index, window) + np.uint8(self.meeting.of_two())


class Locked(Mine):
    def read(self, index, window=None):
        if self.meeting.of_two():
            raise ValueError("it is being read")
        return super().read(index, window)


class Unprinted(Mine):
    def fingerprint(self):
        return ""


class Moving(Mine):
    def read(self, index, window=None):
        self.inside += 1
        return super().read(index, window)

    def fingerprint(self):
        return f"{self.inside}"


class Timed(Mine):
    def fingerprint(self):
        return f"{id(self.images)}"


class Hashed(Mine):
    def fingerprint(self):
        return f"{hash(tuple(self.names))}"


class Paired(Mine):
    def __init__(self, *, count: int = 3) -> None:
        """
        Args:
            count: how many images there are.
        """
        super().__init__(count=count)
        self.found = {scale: Mine(count=count) for scale in (2, 4)}
        for scale, lr in self.found.items():
            lr.images = [self.small(image, scale) for image in self.images]

    def small(self, image, scale):
        height, width = (side // scale * scale for side in image.shape[:2])
        return image[:height:scale, :width:scale]

    def lr(self, scale):
        return self.found.get(scale)


class Keyed(Paired):
    def lr(self, scale):
        return self.found[scale]


class RoundedUp(Paired):
    def small(self, image, scale):
        return image[::scale, ::scale]


class Fewer(Paired):
    def lr(self, scale):
        return scale == 2 and Mine(count=2) or None


class OtherNames(Paired):
    def lr(self, scale):
        lr = super().lr(scale)
        if lr is not None:
            lr.names = sorted(lr.names, reverse=True)
        return lr


class Unprintable(Paired):
    def lr(self, scale):
        lr = super().lr(scale)
        if lr is not None:
            lr.fingerprint = lambda: None
        return lr


class FloatLR(Paired):
    def small(self, image, scale):
        return super().small(image, scale) / 255


class SwappingLR(Paired):
    def lr(self, scale):
        lr = super().lr(scale)
        if lr is not None:
            lr.__class__ = Whole
        return lr


class Yes(Mine):
    windowed = "yes"


class Weighed(Mine):
    def weight(self, index):
        return 0.5 * index


class Negative(Mine):
    def weight(self, index):
        return -1.0 if index else 1.0


class Weightless(Mine):
    def weight(self, index):
        return 0


class Long(Mine):
    def describe(self):
        return "3 images\\nof noise"


class Told(Mine):
    def manifest(self):
        return self.manifest_of(self.names, self.images)

    def manifest_of(self, names, images):
        return srkit.Manifest(tuple(names), {"hr": tuple(map(srkit.ImageRecord.of, images))})


class ToldAsText(Told):
    def manifest(self):
        return "3 images"


class ToldOfOthers(Told):
    def manifest(self):
        return self.manifest_of(["a", "b", "c"], self.images)


class ToldWrong(Told):
    def manifest(self):
        return self.manifest_of(self.names, self.images[::-1])


class Files:
    """Image files.

    Args:
        path: the folder.
    """

    def __init__(self, *, path: str) -> None:
        self.files = srkit.list_images(path)
        self.known = {}

    def __len__(self):
        return len(self.files)

    def name(self, index):
        return self.files[index].stem

    def size(self, index):
        return srkit.image_size(self.files[index])

    def read(self, index, window=None):
        return cut(srkit.read_image(self.files[index]), window)

    def lr(self, scale):
        return None

    def fingerprint(self):
        return "files"


class ReadsForSize(Files):
    def __init__(self, *, path: str) -> None:
        """
        Args:
            path: the folder.
        """
        super().__init__(path=path)

    def size(self, index):
        return self.read(index).shape[:2]


class OpenCVForSize(ReadsForSize):
    def size(self, index):
        import cv2

        return cv2.imread(str(self.files[index])).shape[:2]


class Windowed(ReadsForSize):
    windowed = True

    def size(self, index):
        return srkit.image_size(self.files[index])


class Npy(Mine):
    """Images in .npy files, of which all is read for their size.

    Args:
        path: their folder.
        mapped: whether the file is mapped, and only what is used of it read.
    """

    def __init__(self, *, path: Path, mapped: bool = False) -> None:
        super().__init__()
        self.files = sorted(Path(path).glob("*.npy"))
        self.images = [np.load(file) for file in self.files]
        self.mode = "r" if mapped else None

    def size(self, index):
        return np.load(self.files[index], mmap_mode=self.mode).shape[:2]


class H5:
    """Images of an HDF5 file.

    Args:
        path: the file.
    """

    def __init__(self, *, path: str) -> None:
        import h5py

        self.file = h5py.File(path)

    def __len__(self):
        return len(self.file)

    def name(self, index):
        return list(self.file)[index]

    def size(self, index):
        return self.file[self.name(index)][:].shape[:2]

    def read(self, index, window=None):
        return cut(self.file[self.name(index)][:], window)

    def lr(self, scale):
        return None

    def fingerprint(self):
        return "h5"
'''
# The fingerprint is asked for in a process of its own, which takes a while: by the tests that are about it.
QUICK = [check for check in CHECKS if check.name != "fingerprint_stays"]
NAMES = re.findall(r"^class (\w+)", MODULE, re.MULTILINE)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """What is installed, and a file with a dataset for each broken promise, each by the name of its class."""
    path = tmp_path_factory.mktemp("plugin") / "dataset_checks_mine.py"
    components = "\n".join(f'"dataset", "{name}", f"{{__name__}}:{name}", summary="images"' for name in NAMES)
    path.write_text(MODULE + plugin(components))
    return discover([str(path)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of four photographs of 64 rows."""
    path = tmp_path_factory.mktemp("images")
    for index in range(4):
        srkit.save_image(path / f"image{index}.png", photograph(index, 64, 71 + index))
    return path


def failures(registry, name, *, checks=QUICK, **settings):
    subject, found = Subject(registry.find("dataset", name), registry, settings), {}
    for check in checks:
        try:
            perform(check, subject)
        except Inapplicable:
            continue
        except CheckFailed as error:
            found[check.name] = error.what, error.instead
    return found


@pytest.mark.parametrize("name", ["Mine", "Paired", "Told", "Weighed"])
def test_a_dataset_that_keeps_all_promises_passes(registry, name):
    found = results(Subject(registry.find("dataset", name), registry))
    assert [result for result in found if result.outcome == "failed"] == []


def test_a_dataset_of_one_image_passes(registry):
    assert failures(registry, "Paired", count=1) == {}


def test_files_that_are_opened_in_each_read_pass(registry, folder):
    assert failures(registry, "Files", checks=CHECKS, path=str(folder)) == {}


FORM = "return numpy, uint8 or uint16, [height, width, 3], RGB"
SHARED = "share no open file and no buffer among threads: open it in each read, or use threading.local()"
MANIFEST = "return that of these images, or None"
BROKEN = {
    "Floats": ("images_are_at_rest", "read(0) gives [20, 30, 3] float64", FORM),
    "Lists": ("images_are_at_rest", "read(0) gives a list", FORM),
    "Nameless": ("names_are_unique", "name(0) is ''", 'return a text, "baby" say'),
    "Twins": (
        "names_are_unique",
        "3 images have the name 'image0'",
        "name them after all that tells them apart, folders included",
    ),
    "Suffixes": ("names_are_unique", "the names have suffixes: 'image0.PNG'", "leave them out: 'image0'"),
    "Turned": (
        "size_is_that_of_the_image",
        "size(0) is (30, 20), and the image has height 20 and width 30",
        "return the tuple (height, width) of the upright image",
    ),
    "Listed": (
        "size_is_that_of_the_image",
        "size(0) is [20, 30], and the image has height 20 and width 30",
        "return the tuple (height, width) of the upright image",
    ),
    "Changing": (
        "same_image_twice",
        "read(0) the second time has other pixels",
        "leave randomness to degradations and augmentations",
    ),
    "Buffered": (
        "earlier_images_are_left_alone",
        "what read(0) gave changes when others are read",
        "return memory of its own each time: a copy of the buffer",
    ),
    "Swapping": (
        "window_is_the_crop",
        "read(0, Window(top=0, left=29, height=1, width=1)) is [0, 1, 3] uint8, not [1, 1, 3] uint8",
        "return what image[0:1, 29:30] of the whole is",
    ),
    "Whole": (
        "window_is_the_crop",
        "read(0, Window(top=0, left=0, height=1, width=1)) is [20, 30, 3] uint8, not [1, 1, 3] uint8",
        "return what image[0:1, 0:1] of the whole is",
    ),
    "Crowded": (
        "threads_read_the_same",
        "read by 8 threads at once, read(0, Window(top=1, left=2, height=18, width=20)) has other pixels",
        SHARED,
    ),
    "Unprinted": ("fingerprint_stays", "fingerprint() is ''", "return a short text, of one line"),
    "Moving": ("fingerprint_stays", "fingerprint() changes when an image is read", "make it of the images alone"),
    "Timed": (
        "fingerprint_stays",
        "opened again, the fingerprint is 'N', not 'N'",
        "make it of the images alone, by hashlib",
    ),
    "Hashed": (
        "fingerprint_stays",
        "in another process, the fingerprint is 'N', not 'N'",
        "use hashlib: hash() is another function in each process",
    ),
    "Keyed": (
        "lr_belongs_to_hr",
        "lr(3) raises KeyError: 3",
        "return None where there are no LR images of a scale",
    ),
    "RoundedUp": (
        "lr_belongs_to_hr",
        "image 1 of lr(2) has (height, width) (13, 15), not (12, 14)",
        "HR is cropped to a multiple of the scale first; raise InputRejected for an LR image of another size",
    ),
    "Fewer": ("lr_belongs_to_hr", "lr(2) has 2 images for 3 of HR", "give one for each, or raise"),
    "OtherNames": (
        "lr_belongs_to_hr",
        "image 0 of lr(2) is 'image2', and of HR 'image0'",
        "give LR in HR's order, and by HR's names",
    ),
    "Unprintable": ("lr_belongs_to_hr", "the fingerprint of lr(2) is None", "return a short text, of one line"),
    "FloatLR": (
        "lr_is_read_as_hr_is",
        "lr(2).read(0) gives [10, 15, 3] float64",
        "return numpy, uint8 or uint16, [height, width, 3]",
    ),
    "SwappingLR": (
        "lr_is_read_as_hr_is",
        "lr(2).read(0, Window(top=0, left=0, height=1, width=1)) is [10, 15, 3] uint8, not [1, 1, 3] uint8",
        "return what image[0:1, 0:1] of the whole is",
    ),
    "Yes": ("windowed_is_true", "windowed is 'yes'", "let it be True or False: an attribute, or a property"),
    "Long": (
        "description_is_a_line",
        "describe() is '3 images\\nof noise'",
        "return a text of one line: what was found",
    ),
    "Negative": ("weights_are_numbers", "the weight of 'image1' is -1.0", "return a number of at least 0"),
    "Weightless": (
        "weights_are_numbers",
        "the weight of every image is 0",
        "return more than 0 for those that are to be drawn",
    ),
    "ToldAsText": ("manifest_is_that_of_the_images", "manifest() is a str", "return a srkit.Manifest, or None"),
    "ToldOfOthers": ("manifest_is_that_of_the_images", "manifest() is of other images than there are", MANIFEST),
    "ToldWrong": (
        "manifest_is_that_of_the_images",
        "manifest() has another record of 'image0' than its pixels",
        MANIFEST,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_dataset_that_breaks_one_promise_is_told_which(registry, name):
    check, found, instead = BROKEN[name]
    told = failures(registry, name, checks=CHECKS if check == "fingerprint_stays" else QUICK)
    if name in ("Timed", "Hashed"):
        told = {check: (re.sub(r"-?\d+", "N", found), instead) for check, (found, instead) in told.items()}
    assert told == {check: (found, instead)}


def test_a_dataset_that_raises_where_threads_meet_is_told_so(registry):
    ((check, (found, instead)),) = failures(registry, "Locked").items()
    assert check == "threads_read_the_same"
    found = re.sub(r" \(\S+:\d+\)$", "", found)
    assert found == "read by 8 threads at once, it raises ValueError: it is being read"
    assert instead == SHARED


def test_a_dataset_without_images_is_told_so_and_nothing_else(registry):
    assert failures(registry, "Mine", count=0) == {
        "images_are_at_rest": (
            "it has no images",
            "check it with settings that find some: --set path=... (in a test, check(path=...))",
        )
    }


@pytest.mark.parametrize(
    ("name", "index", "decoder"), [("ReadsForSize", 3, "Pillow's load()"), ("OpenCVForSize", 3, "imread()")]
)
def test_a_size_that_needs_the_image_is_told(registry, folder, name, index, decoder):
    assert failures(registry, name, path=str(folder)) == {
        "size_is_known_without_decoding": (
            f"size({index}) decodes the image, with {decoder}",
            "read the header alone (srkit.image_size does), or keep the sizes beside the images",
        )
    }


def test_a_size_that_reads_the_pixels_of_an_hdf5_file_is_told(registry, tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["one"] = photograph(0, 20, 30)
        file["two"] = photograph(1, 30, 20)
    assert failures(registry, "H5", path=str(tmp_path / "mine.h5")) == {
        "size_is_known_without_decoding": (
            "size(1) decodes the image, with h5py's __getitem__()",
            "read the header alone (srkit.image_size does), or keep the sizes beside the images",
        )
    }


@pytest.mark.parametrize(("mapped", "failed"), [(False, ["size_is_known_without_decoding"]), (True, [])])
def test_a_size_that_reads_a_whole_array_is_told_and_one_of_a_mapped_file_is_not(registry, tmp_path, mapped, failed):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", photograph(i, 20 + i, 30))
    found = failures(registry, "Npy", path=str(tmp_path), mapped=mapped)
    assert list(found) == failed
    assert not failed or found[failed[0]][0] == "size(2) decodes the image, with numpy's read_array()"


def test_windows_that_need_the_image_are_told(registry, folder):
    assert failures(registry, "Windowed", path=str(folder)) == {
        "windowed_is_true": (
            "windowed is True, and a window of one pixel decodes its image, with Pillow's load()",
            "let windowed be False, so that images are kept in memory",
        )
    }


def test_every_check_was_seen_to_fail():
    others = {"size_is_known_without_decoding"}
    assert {check.name for check in CHECKS} == {check for check, _, _ in BROKEN.values()} | others


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    """The photographs as each format, LR beside them."""
    root = tmp_path_factory.mktemp("prepared")
    for kind in ("folder", "h5", "lmdb"):
        assert main(["prepare", str(folder), str(root / kind), "--to", kind, "--scale", "2,4", "--threads", "1"]) == 0
    return root


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("kind", ["folder", "h5", "lmdb"])
def test_prepared_images_keep_all_promises(prepared, kind, check):
    subject = Subject(installed().find("dataset", kind), installed(), {"path": str(prepared / kind)})
    if check.name == "weights_are_numbers" or (kind, check.name) == ("folder", "windowed_is_true"):  # it states nothing
        with pytest.raises(Inapplicable):
            perform(check, subject)
    else:
        perform(check, subject)


def test_a_folder_without_lr_and_one_of_16_bits_keep_all_promises(folder, tmp_path):
    for index in range(2):
        srkit.save_image(tmp_path / f"{index}.png", photograph(index, 24, 33).astype(np.uint16) * 257)
    for path in (folder, tmp_path):
        assert failures(installed(), "folder", path=str(path)) == {}


def test_lr_of_one_scale_that_is_named_keeps_all_promises(prepared):
    hr, lr = prepared / "folder" / "HR", prepared / "folder" / "LR_bicubic" / "X4"
    assert failures(installed(), "folder", hr=str(hr), lr=str(lr)) == {}


def test_leaves_keep_all_promises():
    assert failures(installed(), "leaves", count=4, size=64) == {}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_mix_keeps_all_promises(prepared, check):
    datasets = [{"type": kind, "path": str(prepared / kind)} for kind in ("h5", "lmdb")]
    subject = Subject(installed().find("dataset", "mix"), installed(), {"datasets": datasets, "weights": [1.0, 3.0]})
    if check.name == "manifest_is_that_of_the_images":  # it has none
        with pytest.raises(Inapplicable):
            perform(check, subject)
    else:
        perform(check, subject)
