"""HR images of a folder, with the LR images that the usual layouts keep beside them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from srkit import InputRejected, Manifest, Window, image_size, list_images, read_image
from srkit_datasets.known import SCALES, Layout, find_layout, hint
from srkit_datasets.packed import bytes_to_hash

Image = NDArray[np.uint8] | NDArray[np.uint16]

MANIFEST = "MANIFEST.json"  # in the root of a folder that `srkit prepare` wrote
MAX_MANIFEST = 2**30  # bytes; no manifest has more

_SELFEXSR_HR = re.compile(r"(.+)_SRF_\d+_HR")
# What else is in SelfExSR's folders: HR, and the results of other methods.
_SELFEXSR_NO_LR = re.compile(r".+_SRF_\d+_(?!LR$).*")
# How an LR file is called after its HR image; a folder keeps to one of these.
_LR_STEMS = ("{name}", "{name}x{scale}", "{name}_SRF_{scale}_LR")

_THREADS = 8

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
        """Return the number of images."""
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return an image's name, "baby"; an LR image has the name of its HR image, though its file is babyx4.png."""
        return self.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels, read once from the file's header. Raises InputRejected."""
        if index not in self._sizes:
            self._sizes[index] = image_size(self.paths[index])
        return self._sizes[index]

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an image or a window of it, uint8 or uint16 [height, width, 3], RGB.

        The whole file is decoded each time. Raises InputRejected, naming the file.
        """
        image = read_image(self.paths[index])
        if window is None:
            return image
        top, left, height, width = window
        return image[top : top + height, left : left + width]

    def lr(self, scale: int) -> Files | None:
        """Return None: plain files have no LR images."""
        return None

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits from each file's name, size and content; where the folder lies is no part."""
        names, most = [os.fsencode(path.name) for path in self.paths], bytes_to_hash(len(self.paths))
        parts = sorted(zip(names, _each(lambda path: _digest(path, most), self.paths), strict=True))
        return hashlib.blake2b(b"".join(name + b"\0" + digest for name, digest in parts), digest_size=8).hexdigest()


class Folder(Files):
    """Images in a folder: PNG, JPEG, WebP, TIFF or BMP, in the natural order of their names.

    Give `path`, and the layout is found: DIV2K, Flickr2K, DF2K, EDSR's benchmark sets, BasicSR and SelfExSR, each with
    its LR images, or a plain folder of HR images. Or give `hr`, and `lr` where there are LR images.

    Args:
        path: a folder of images, or the root of a known layout
        hr: the folder of HR images
        lr: the folder of LR images, which are called as HR or with x4 behind; may contain {scale}
        split: which images of a root like DIV2K's, that holds both
        names: patterns of the names to take, as in a shell: ["080[1-5]"]; all where it is empty
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        hr: str | None = None,
        lr: str | None = None,
        split: Literal["train", "valid"] = "train",
        names: tuple[str, ...] = (),
    ) -> None:
        if (path is None) == (hr is None):
            raise ValueError("give either path (a folder whose layout is found) or hr (the folder of HR images)")
        if lr is not None and hr is None:
            raise ValueError("lr goes with hr: give hr (the folder of HR images) instead of path")
        if split not in ("train", "valid"):
            raise ValueError(f'split must be "train" or "valid", not "{split}"')
        if split != "train" and hr is not None:
            raise ValueError("split goes with path: hr is the folder of one split already")
        self._root = None if path is None else Path(path).expanduser()
        if self._root is not None and self._root.suffix in (".h5", ".hdf5") and self._root.is_file():
            raise InputRejected(
                self._root,
                'is a file, and a folder of images is needed here; in a recipe, type = "h5" reads HDF5 files',
            )
        if self._root is not None:
            layout = find_layout(self._root, split)
        else:
            assert hr is not None
            layout = Layout(Path(hr).expanduser(), () if lr is None else (str(Path(lr).expanduser()),))
        self._explicit = lr is not None
        self._lr = layout.lr
        self._patterns = names
        self.folder = layout.hr
        self._all = _by_stem(self.folder) if layout.plain else _hr_files(self.folder)
        super().__init__({name: self._all[name] for name in _chosen(self.folder, tuple(self._all), names)})

    def lr(self, scale: int) -> Files | None:
        """Return the LR images of a scale in HR's order, or None where the layout has none of that scale.

        Raises InputRejected where they do not belong to the HR images, one for each and 1 / scale of its size, where
        several folders have LR images of that scale, and where the folder that the setting `lr` names is not there.
        """
        folders = [_of_scale(lr, scale) for lr in self._lr]
        if not self._explicit and not any(map(os.path.isdir, folders)):
            return None
        if len(folders) > 1:
            several = " and ".join(Path(lr).parent.name for lr in self._lr)
            which = " or ".join(f'lr = "{lr}"' for lr in self._lr)
            reason = f'has LR images in {several}: give hr = "{self.folder}" with {which}, not path'
            raise InputRejected(self.folder.parent, reason)
        (folder,) = folders
        pairing = _pair(self._all, _by_stem(folder), scale)
        unpaired = [path.name for name, path in self._files() if name not in pairing.lr]
        if unpaired:
            reason = f"has no LR image for {len(unpaired)} of {len(self)} HR images: {_first(unpaired)}"
            raise InputRejected(folder, reason)
        lr = Files({name: pairing.lr[name] for name in self.names})
        indices = range(len(self))
        for index, hr_size, lr_size in zip(indices, _each(self.size, indices), _each(lr.size, indices), strict=True):
            expected = hr_size[0] // scale, hr_size[1] // scale  # of HR cropped to a multiple of the scale
            if lr_size != expected:
                hr = f"{self.paths[index].name} is {_size(hr_size)}"
                reason = f"is {_size(lr_size)}, but {hr}, which needs {_size(expected)} at scale {scale}"
                raise InputRejected(lr.paths[index], reason)
        return lr

    def describe(self) -> str:
        """Return what was found: "5 HR images in Set5/HR, LR x2, x3, x4 beside them".

        It says, too, which images have no partner. Nothing is raised.
        """
        count = f"{len(self)}" if len(self) == len(self._all) else f"{len(self)} of {len(self._all)}"
        images, them = ("image", "it") if len(self._all) == 1 else ("images", "them")
        text = f"{count} HR {images} in {_short(self.folder)}"
        if len(self._lr) > 1:
            several = " and ".join(Path(lr).parent.name for lr in self._lr)
            return f"{text}, {several} beside {them}: give hr and lr to say which is meant"
        if self._lr and "{scale}" not in self._lr[0]:
            folder = Path(self._lr[0])
            return "; ".join([f"{text}, LR in {_short(folder)}", *self._partners("LR", folder, SCALES)])
        scales = {scale: folder for lr in self._lr for scale in SCALES if os.path.isdir(folder := _of_scale(lr, scale))}
        if not scales:
            return f"{text}, no LR beside {them}"
        place = next(iter(scales.values())).parent.name
        unusual = f" in {place}" if place.startswith("LR_") and place != "LR_bicubic" else ""
        text = f"{text}, LR {', '.join(f'x{scale}' for scale in scales)}{unusual} beside {them}"
        faults = [
            fault for scale, folder in scales.items() for fault in self._partners(f"LR x{scale}", folder, [scale])
        ]
        return "; ".join([text, *faults])

    def manifest(self) -> Manifest | None:
        """Return what `srkit prepare` has kept with the images, of those in `names` alone; None where there is none.

        Raises InputRejected where it is damaged.
        """
        if self._root is None:
            return None
        path = self._root / MANIFEST
        try:
            with open(path, "rb") as file:
                whole = Manifest.from_bytes(file.read(MAX_MANIFEST + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputRejected(path, f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InputRejected(path, f"is damaged: {error}") from None
        if not self._patterns:
            return whole
        kept = [i for i, name in enumerate(whole.names) if _matches(name, self._patterns)]
        sides = {side: tuple(records[i] for i in kept) for side, records in whole.sides.items()}
        return Manifest(tuple(whole.names[i] for i in kept), sides, whole.made)

    def _partners(self, what: str, folder: Path, scales: Iterable[int]) -> list[str]:
        """Return what is wrong with the pairs of HR and a folder of LR images of one of the scales."""
        try:
            files = _by_stem(folder)
        except InputRejected as error:
            return [f"{what} {error.reason}"]
        pairing = max((_pair(self._all, files, scale) for scale in scales), key=lambda pairing: len(pairing.lr))
        found = []
        if unpaired := [path.name for name, path in self._files() if name not in pairing.lr]:
            found.append(f"no {what} for {len(unpaired)} of {len(self)} HR images: {_first(unpaired)}")
        if extra := [path.name for path in pairing.extra]:
            found.append(f"no HR for {len(extra)} of {len(files)} {what} images: {_first(extra)}")
        return found

    def _files(self) -> Iterable[tuple[str, Path]]:
        return zip(self.names, self.paths, strict=True)


@attrs.frozen
class _Pairing:
    """The LR file of each HR image that has one, by its name, and the LR files that belong to none."""

    lr: Mapping[str, Path]
    extra: Sequence[Path]


def _pair(names: Iterable[str], files: Mapping[str, Path], scale: int) -> _Pairing:
    """Pair HR images, by name, with the LR files of a folder, by stem."""
    forms = [{name: form.format(name=name, scale=scale) for name in names} for form in _LR_STEMS]
    best = max(forms, key=lambda form: sum(stem in files for stem in form.values()))
    used = set(best.values())
    extra = [path for stem, path in files.items() if stem not in used and not _SELFEXSR_NO_LR.fullmatch(stem)]
    return _Pairing({name: files[stem] for name, stem in best.items() if stem in files}, extra)


def _chosen(folder: Path, names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that any of the patterns matches. Raises InputRejected for a pattern that matches none."""
    faults = []
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, names, n=1)
            other = f'did you mean "{near[0]}"?' if near else f"there are {_first(names)}"
            faults.append(f'"{pattern}" matches none of {len(names)} names; {other}')
    if faults:
        raise InputRejected(folder, f"names: {'; '.join(faults)}")
    return [name for name in names if _matches(name, patterns)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _hr_files(folder: Path) -> dict[str, Path]:
    """Return the HR images of a folder by name, in natural order; of SelfExSR's folders, the HR images alone."""
    files = _by_stem(folder)
    return {found[1]: path for stem, path in files.items() if (found := _SELFEXSR_HR.fullmatch(stem))} or files


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by stem, in natural order: "2" before "10"."""
    found: dict[str, Path] = {}
    for path in _images(folder):
        if path.stem in found:
            raise InputRejected(folder, f"has two images of one name: {found[path.stem].name} and {path.name}")
        found[path.stem] = path
    return found


def _images(folder: Path) -> list[Path]:
    """Return `list_images` of a folder; where there are none, its error goes on with what to do."""
    try:
        return list_images(folder)
    except InputRejected as error:
        more = hint(folder)
        if not more and (inner := _folders(folder)):
            more = f"its folders are {_first(inner)}"
        raise InputRejected(folder, f"{error.reason}; {more}" if more else error.reason) from None


def _folders(folder: Path) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return []


def _of_scale(lr: str, scale: int) -> Path:
    return Path(lr.replace("{scale}", str(scale)))


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _digest(path: Path, most: int) -> bytes:
    """Return a digest of a file's size and content: of a longer one than `most` bytes, half of them from either end."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=16)
            if size <= most:
                content.update(file.read())
            else:
                content.update(file.read(most // 2))
                file.seek(-(most // 2), os.SEEK_END)
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
