"""HR images of a folder, with the LR images that the usual layouts keep beside them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from srkit import InputRejected, Window, image_size, list_images, read_image

Image = NDArray[np.uint8] | NDArray[np.uint16]

# Where a root keeps HR images, and where it keeps the LR images of a scale.
_LAYOUTS = (
    ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X{scale}"),
    ("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{scale}"),
    ("HR", "LR_bicubic/X{scale}"),  # DF2K, EDSR's benchmark
    ("GTmod12", "LRbicx{scale}"),  # BasicSR
)
# SelfExSR keeps HR, cropped to a multiple of the scale, and LR of a scale in one folder.
_SELFEXSR = "image_SRF_{scale}"
_SELFEXSR_HR = re.compile(r"(.+)_SRF_\d+_HR")
# How an LR file is called after its HR image; a folder keeps to one of these.
_LR_STEMS = ("{name}", "{name}x{scale}", "{name}_SRF_{scale}_LR")

_SCALES = range(2, 17)  # what `describe` looks for
_THREADS = 8
_WHOLE = 2**20  # bytes up to which a fingerprint reads a file whole; of longer ones, half of this from either end

T = TypeVar("T")
R = TypeVar("R")


class Files:
    """Image files as a dataset without LR images.

    Args:
        files: the path of each image by the image's name, in the dataset's order
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.names = tuple(files)
        self.paths = tuple(files.values())
        self._sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.names[index]

    def size(self, index: int) -> tuple[int, int]:
        if index not in self._sizes:
            self._sizes[index] = image_size(self.paths[index])
        return self._sizes[index]

    def read(self, index: int, window: Window | None = None) -> Image:
        image = read_image(self.paths[index])
        if window is None:
            return image
        top, left, height, width = window
        return image[top : top + height, left : left + width]

    def lr(self, scale: int) -> Files | None:
        return None

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits from each file's name, size and content; where the folder lies is no part."""
        names = [os.fsencode(path.name) for path in self.paths]
        parts = sorted(zip(names, _each(_digest, self.paths), strict=True))
        return hashlib.blake2b(b"".join(name + b"\0" + digest for name, digest in parts), digest_size=8).hexdigest()


class Folder(Files):
    """Images in a folder: PNG, JPEG, WebP, TIFF or BMP, in the natural order of their names.

    Give `path`, and the layout is found: DIV2K, DF2K, EDSR's benchmark sets, BasicSR and SelfExSR, each with its LR
    images, or a plain folder of HR images. Or give `hr`, and `lr` where there are LR images.

    Args:
        path: a folder of images, or the root of a known layout
        hr: the folder of HR images
        lr: the folder of LR images, which are called as HR or with x4 behind; may contain {scale}
    """

    def __init__(self, *, path: str | None = None, hr: str | None = None, lr: str | None = None) -> None:
        if (path is None) == (hr is None):
            raise ValueError("give either path (a folder whose layout is found) or hr (the folder of HR images)")
        if lr is not None and hr is None:
            raise ValueError("lr goes with hr: give hr (the folder of HR images) instead of path")
        self._explicit = lr is not None
        self._lr = None if lr is None else str(Path(lr).expanduser())
        if path is not None:
            self.folder, self._lr = _find_layout(Path(path).expanduser())
        else:
            assert hr is not None
            self.folder = Path(hr).expanduser()
        super().__init__(_hr_files(self.folder))

    def lr(self, scale: int) -> Files | None:
        """Return the LR images of a scale in HR's order, or None where the layout has none of that scale.

        Raises InputRejected where they do not belong to the HR images, one for each and 1 / scale of its size, and
        where the folder that the setting `lr` names is not there.
        """
        folder = self._lr_folder(scale)
        if folder is None or not (self._explicit or folder.is_dir()):
            return None
        found = _by_stem(folder)
        stems = [[form.format(name=name, scale=scale) for name in self.names] for form in _LR_STEMS]
        matching = max(stems, key=lambda form: sum(stem in found for stem in form))
        unpaired = [path.name for path, stem in zip(self.paths, matching, strict=True) if stem not in found]
        if unpaired:
            shown = ", ".join(unpaired[:3]) + (", ..." if len(unpaired) > 3 else "")
            raise InputRejected(folder, f"has no LR image for {len(unpaired)} of {len(self)} HR images: {shown}")
        lr = Files({name: found[stem] for name, stem in zip(self.names, matching, strict=True)})
        indices = range(len(self))
        for index, hr_size, lr_size in zip(indices, _each(self.size, indices), _each(lr.size, indices), strict=True):
            expected = hr_size[0] // scale, hr_size[1] // scale  # of HR cropped to a multiple of the scale
            if lr_size != expected:
                hr = f"{self.paths[index].name} is {_size(hr_size)}"
                reason = f"is {_size(lr_size)}, but {hr}, which needs {_size(expected)} at scale {scale}"
                raise InputRejected(lr.paths[index], reason)
        return lr

    def describe(self) -> str:
        """Return what was found: "5 HR images in Set5/HR, LR x2, x3, x4 beside them"."""
        images, them = ("image", "it") if len(self) == 1 else ("images", "them")
        text = f"{len(self)} HR {images} in {_short(self.folder)}"
        if self._lr is not None and "{scale}" not in self._lr:
            return f"{text}, LR in {_short(Path(self._lr))}"
        scales = [f"x{scale}" for scale in _SCALES if (folder := self._lr_folder(scale)) and folder.is_dir()]
        lr = f"LR {', '.join(scales)}" if scales else "no LR"
        return f"{text}, {lr} beside {them}"

    def _lr_folder(self, scale: int) -> Path | None:
        return None if self._lr is None else Path(self._lr.replace("{scale}", str(scale)))


def _find_layout(root: Path) -> tuple[Path, str | None]:
    """Return the folder of HR images and the pattern of the LR folders, None for a root that is HR images alone."""
    found = [(root / hr, str(root / lr)) for hr, lr in _LAYOUTS if (root / hr).is_dir()]
    if len(found) > 1:
        choices = " or ".join(f'hr = "{hr}" with lr = "{lr}"' for hr, lr in found)
        raise InputRejected(root, f"holds {' and '.join(hr.name for hr, _ in found)}: give {choices}, not path")
    if found:
        return found[0]
    if re.fullmatch(r"image_SRF_\d+", root.name):
        return root, str(root.with_name(_SELFEXSR))
    for scale in _SCALES:  # the HR of the smallest scale has lost least by its cropping
        if (folder := root / _SELFEXSR.format(scale=scale)).is_dir():
            return folder, str(root / _SELFEXSR)
    return root, None


def _hr_files(folder: Path) -> dict[str, Path]:
    """Return the HR images of a folder by name, in natural order."""
    files = _by_stem(folder)
    return {found[1]: path for stem, path in files.items() if (found := _SELFEXSR_HR.fullmatch(stem))} or files


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by stem, in natural order: "2" before "10"."""
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in found:
            raise InputRejected(folder, f"has two images of one name: {found[path.stem].name} and {path.name}")
        found[path.stem] = path
    return found


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
            if size <= _WHOLE:
                content.update(file.read())
            else:
                content.update(file.read(_WHOLE // 2))
                file.seek(-(_WHOLE // 2), os.SEEK_END)
                content.update(file.read())
    except OSError as error:
        raise InputRejected(path, f"cannot be read: {error.strerror}") from error
    return content.digest()


def _each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, items))


def _short(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
