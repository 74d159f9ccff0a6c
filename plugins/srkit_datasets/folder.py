"""HR images of a folder, with the LR images that the usual layouts keep beside them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from srkit import InputRejected, Manifest, Window, image_size, list_folder, list_images, read_image
from srkit_datasets.known import SCALES, Layout, find_layout, hint
from srkit_datasets.packed import bytes_to_hash
from srkit_datasets.pairing import Pairing, first, nfc, pair, split_pairs

Image = NDArray[np.uint8] | NDArray[np.uint16]

MANIFEST = "MANIFEST.json"  # in the root of a folder that `srkit prepare` wrote
MAX_MANIFEST = 2**30  # bytes; no manifest has more

_SELFEXSR_HR = re.compile(r"(.+)_SRF_\d+_HR")
# What else is in SelfExSR's folders: HR, and the results of other methods.
_SELFEXSR_NO_LR = re.compile(r".+_SRF_\d+_(?!LR$).*")
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
        self._digests: tuple[str, ...] = ()

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
        # Of folders below, their names are part of the image's; of the dataset's own folder, none is.
        below = [name.rpartition("/")[0] for name in self.names]
        names = [
            os.fsencode(f"{folder}/{path.name}" if folder else path.name)
            for folder, path in zip(below, self.paths, strict=True)
        ]
        most = bytes_to_hash(len(self.paths))
        parts = sorted(zip(names, digests := _each(lambda path: _digest(path, most), self.paths), strict=True))
        self._digests = tuple(digest.hex()[:16] for digest in digests)
        return hashlib.blake2b(b"".join(name + b"\0" + digest for name, digest in parts), digest_size=8).hexdigest()

    def digests(self) -> tuple[str, ...]:
        """Return 16 hexadecimal digits of each image's file, those of the last fingerprint. Raises InputRejected."""
        if len(self._digests) != len(self.paths):
            self.fingerprint()
        return self._digests


class Folder(Files):
    """Images in a folder: PNG, JPEG, WebP, TIFF or BMP, in the natural order of their names.

    Give `path`, and the layout is found: DIV2K, Flickr2K, DF2K, EDSR's benchmark sets, BasicSR and SelfExSR, each with
    its LR images, or a plain folder of HR images. Or give `hr`, and `lr` where there are LR images.

    Args:
        path: a folder of images, the root of a known layout, or one image
        hr: the folder of HR images
        lr: the folder of LR images, called as HR or with x4, _x4, _LR4 or the like behind; may contain {scale}
        lr_name: what LR files are called, without their suffix: "{name}_small{scale}"; empty for the usual names
        split: which images of a root like DIV2K's, that holds both
        names: patterns of the names to take, as in a shell: ["080[1-5]"]; all where it is empty
        recursive: take images of the folders below, too, which are called "cats/001"
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        hr: str | None = None,
        lr: str | None = None,
        split: Literal["train", "valid"] = "train",
        names: tuple[str, ...] = (),
        lr_name: str = "",
        recursive: bool = False,
    ) -> None:
        if (path is None) == (hr is None):
            raise ValueError("give either path (a folder whose layout is found) or hr (the folder of HR images)")
        if lr is not None and hr is None:
            raise ValueError("lr goes with hr: give hr (the folder of HR images) instead of path")
        if split not in ("train", "valid"):
            raise ValueError(f'split must be "train" or "valid", not "{split}"')
        if split != "train" and hr is not None:
            raise ValueError("split goes with path: hr is the folder of one split already")
        if lr_name and "{name}" not in lr_name:
            raise ValueError(
                f'lr_name must contain {{name}}, HR\'s name, as "{{name}}_x{{scale}}" does, not "{lr_name}"'
            )
        self._form = lr_name
        self._root = None if path is None else Path(path).expanduser()
        if self._root is not None and self._root.suffix in (".h5", ".hdf5") and self._root.is_file():
            raise InputRejected(
                self._root,
                'is a file, and a folder of images is needed here; in a recipe, type = "h5" reads HDF5 files, '
                f"and `srkit eval` takes --dataset {shlex.quote(f'h5:{self._root}')}",
            )
        self._image = image = self._root if self._root is not None and _is_image(self._root) else None
        if self._root is not None:
            layout = Layout(image.parent) if image else find_layout(self._root, split)
        else:
            assert hr is not None
            layout = Layout(Path(hr).expanduser(), () if lr is None else (str(Path(lr).expanduser()),))
        self._explicit = lr is not None
        if self._root is not None and layout.plain and (self._root / MANIFEST).is_file():
            recursive = True  # the folder writer makes folders of names such as "cats/001"
        self._recursive = recursive
        self._lr = layout.lr
        self._patterns = names
        self._lr_by_folder: dict[Path, dict[str, Path]] = {}  # what is there, listed once
        self.folder = layout.hr
        images, self._left_out = ([image], "") if image else _listed(self.folder, recursive)
        files = _by_stem(self.folder, images)
        # Of SelfExSR's folders, which hold LR and other methods' results too, the HR images alone.
        hr_of = (
            {} if layout.plain else {m[1]: path for stem, path in files.items() if (m := _SELFEXSR_HR.fullmatch(stem))}
        )
        self._is_selfexsr = bool(hr_of)
        found = hr_of or files
        self._inside: dict[int, dict[str, Path]] = {}  # LR images that lie among the HR images, by scale and name
        if not hr_of and (not layout.lr or self._holds_hr(Path(layout.lr[0]))):
            inside = split_pairs(tuple(found), lambda stem: image_size(found[stem]), SCALES)
            self._inside = {
                scale: {name: found[stem] for name, stem in pairs.items()} for scale, pairs in inside.items()
            }
        lr_files = {path for pairs in self._inside.values() for path in pairs.values()}
        self._all = {name: path for name, path in found.items() if path not in lr_files} if lr_files else dict(found)
        super().__init__({name: self._all[name] for name in _chosen(self.folder, tuple(self._all), names)})

    def lr(self, scale: int) -> Files | None:
        """Return the LR images of a scale in HR's order, or None where the layout has none of that scale.

        Raises InputRejected where they do not belong to the HR images, one for each and 1 / scale of its size, where
        several folders have LR images of that scale, and where the folder that the setting `lr` names is not there.
        """
        folders = [_of_scale(lr, scale) for lr in self._lr]
        if not self._explicit and scale in self._inside:
            folders = [self.folder]
        elif not self._explicit and not any(map(os.path.isdir, folders)):
            return None
        if len(folders) > 1:
            several = " and ".join(Path(lr).parent.name for lr in self._lr)
            which = " or ".join(f'lr = "{lr}"' for lr in self._lr)
            reason = f'has LR images in {several}: give hr = "{self.folder}" with {which}, not path'
            raise InputRejected(self.folder.parent, reason)
        (folder,) = folders
        files = self._lr_files(folder)
        if not self._explicit and self._lr and "{scale}" not in self._lr[0] and self._fits_another(files, scale):
            return None
        pairing = self._pairing(files, scale)
        if any(name not in pairing.lr for name in self.names):
            own = pair(self.names, files, scale, self._form)
            raise InputRejected(folder, own.reason(len(self), lambda name: self._all[name].name))
        if pairing.rival:
            example = 'lr_name = "{name}_x{scale}"'
            raise InputRejected(
                folder, f"has two kinds of LR images, as {pairing.rival}: give lr_name, as in {example}"
            )
        lr = Files({name: files[pairing.lr[name]] for name in self.names})
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

        It says, too, which images have no partner, and what of the folder was left out. Nothing is raised.
        """
        count = f"{len(self)}" if len(self) == len(self._all) else f"{len(self)} of {len(self._all)}"
        images, them = ("image", "it") if len(self._all) == 1 else ("images", "them")
        text = f"{count} HR {images}{f', {_short(self._image)}' if self._image else f' in {_short(self.folder)}'}"
        if len(self._lr) > 1:
            several = " and ".join(Path(lr).parent.name for lr in self._lr)
            return f"{text}, {several} beside {them}: give hr and lr to say which is meant"
        left_out = f"; left out: {self._left_out}" if self._left_out else ""
        left_out = left_out.replace("--recursive takes", "recursive = true takes")
        if self._lr and "{scale}" not in self._lr[0]:
            folder = Path(self._lr[0])
            return "; ".join([f"{text}, LR in {_short(folder)}", *self._partners("LR", folder, SCALES)]) + left_out
        scales = {scale: folder for lr in self._lr for scale in SCALES if os.path.isdir(folder := _of_scale(lr, scale))}
        if self._inside:
            inside = ", ".join(f"x{scale}" for scale in sorted(self._inside))
            text = f"{text}, LR {inside} in the same folder"
            for scale, pairs in sorted(self._inside.items()):
                if unpaired := [path.name for name, path in self._files() if name not in pairs]:
                    text += f"; no LR x{scale} for {len(unpaired)} of {len(self)} HR images: {first(unpaired)}"
            return f"{text}{left_out}"
        if not scales:
            return f"{text}, no LR beside {them}{left_out}"
        place = next(iter(scales.values())).parent.name
        unusual = f" in {place}" if place.startswith("LR_") and place != "LR_bicubic" else ""
        text = f"{text}, LR {', '.join(f'x{scale}' for scale in scales)}{unusual} beside {them}"
        faults = [
            fault for scale, folder in scales.items() for fault in self._partners(f"LR x{scale}", folder, [scale])
        ]
        return "; ".join([text, *faults]) + left_out

    def manifest(self) -> Manifest | None:
        """Return what `srkit prepare` has kept with the images, of those in `names` alone; None where there is none.

        Raises InputRejected where it is damaged.
        """
        if self._root is None or self._root.is_file():
            return None
        path = self._root / MANIFEST
        if path.exists() and not path.is_file():
            raise InputRejected(path, "is not a file")
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
            files = self._lr_files(folder)
        except InputRejected as error:
            return [f"{what} {error.reason}"]
        pairing = max((self._pairing(files, scale) for scale in scales), key=lambda pairing: len(pairing.lr))
        found = []
        if unpaired := [path.name for name, path in self._files() if name not in pairing.lr]:
            found.append(f"no {what} for {len(unpaired)} of {len(self)} HR images: {first(unpaired)}")
        if extra := [files[stem].name for stem in pairing.extra if not _SELFEXSR_NO_LR.fullmatch(stem)]:
            found.append(f"no HR for {len(extra)} of {len(files)} {what} images: {first(extra)}")
        return found

    def _holds_hr(self, folder: Path) -> bool:
        """Say whether a folder is that of the HR images."""
        with contextlib.suppress(OSError):
            return os.path.samefile(folder, self.folder)
        return False

    def _lr_files(self, folder: Path) -> dict[str, Path]:
        """Return the files of a folder that may be LR, by stem: where HR lies there too, no HR file is among them."""
        if folder not in self._lr_by_folder:
            files = _by_stem(folder, _listed(folder, self._recursive)[0])
            if not self._is_selfexsr and self._holds_hr(folder):
                hr = set(self._all.values())
                files = {stem: path for stem, path in files.items() if path not in hr}
            self._lr_by_folder[folder] = files
        return self._lr_by_folder[folder]

    def _pairing(self, files: Mapping[str, Path], scale: int) -> Pairing:
        return pair(tuple(self._all), files, scale, self._form)

    def _fits_another(self, files: Mapping[str, Path], scale: int) -> bool:
        """Say whether LR files in a folder whose name states no scale are of another one, as the first one's size is.

        Raises InputRejected.
        """
        (height, width), name = self.size(0), self.names[0]
        for other in (scale, *SCALES):
            stem = self._pairing(files, other).lr.get(name)
            if stem is not None and image_size(files[stem]) == (height // other, width // other):
                return bool(other != scale)
        return False

    def _files(self) -> Iterable[tuple[str, Path]]:
        return zip(self.names, self.paths, strict=True)


def _chosen(folder: Path, names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that any of the patterns matches. Raises InputRejected for a pattern that matches none."""
    faults = []
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            near = get_close_matches(pattern, names, n=1)
            other = f'did you mean "{near[0]}"?' if near else f"there are {first(names)}"
            faults.append(f'"{pattern}" matches none of {len(names)} names; {other}')
    if faults:
        raise InputRejected(folder, f"names: {'; '.join(faults)}")
    return [name for name in names if _matches(name, patterns)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(nfc(name), nfc(pattern)) for pattern in patterns)


def _by_stem(folder: Path, images: Iterable[Path]) -> dict[str, Path]:
    """Return images of a folder by stem, in their order; those below it as "cats/2"."""
    found: dict[str, Path] = {}
    clashes = []
    for path in images:
        stem = path.stem if path.parent == folder else path.relative_to(folder).with_suffix("").as_posix()
        if (other := found.setdefault(stem, path)) is not path:
            clashes.append(f"{other.name} and {path.name}")
    if clashes:
        reason = f"has two images of one name: {first(clashes)}; an image's name has no suffix: rename one of the two"
        raise InputRejected(folder, reason)
    return found


def _is_image(path: Path) -> bool:
    return path.is_file() and path in list_folder(path.parent).images


def _listed(folder: Path, recursive: bool) -> tuple[Sequence[Path], str]:
    """Return the images of a folder and a text on what was left out; without images, the error says what helps."""
    try:
        found = list_folder(folder, recursive)
        return found.images or list_images(folder, recursive), found.left_out
    except InputRejected as error:
        more = hint(folder)
        if not more and (inner := _folders(folder)):
            more = f"its folders are {first(inner)}"
        raise InputRejected(folder, f"{error.reason}; {more}" if more else error.reason) from None


def _folders(folder: Path) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return []


def _of_scale(lr: str, scale: int) -> Path:
    return Path(lr.replace("{scale}", str(scale)))


def _digest(path: Path, most: int) -> bytes:
    """Return a digest of a file's size and content: of a longer one than `most` bytes, half of them from either end."""
    if not path.is_file():  # a pipe would be waited for
        raise InputRejected(path, "is not a file")
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
    """Return the results in order, computed by threads: a run of items each, as to hand over one costs more than it."""
    items = list(items)
    share = -(-len(items) // (4 * _THREADS)) or 1
    runs = [items[first : first + share] for first in range(0, len(items), share)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [result for results in pool.map(lambda run: list(map(function, run)), runs) for result in results]


def _short(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
