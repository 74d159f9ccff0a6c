"""A packed file, or several as one, as a dataset."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from srkit import InputRejected, Manifest, Window
from srkit_datasets.packed import HR, LR, Contents, Image, Images, Size, natural, paired

_SCALES = range(2, 17)  # what `describe` looks for


class Packed:
    """HR images out of packed files, with LR in the same files or in others.

    Args:
        path: the file or folder, or a pattern or a list of them
        lr: those of LR images, or None; may contain {scale}
        open_contents: what opens one of them
    """

    def __init__(
        self, path: str | list[str], lr: str | list[str] | None, open_contents: Callable[[Path], Contents]
    ) -> None:
        self.paths = _named(path, "path")
        self._lr = [lr] if isinstance(lr, str) else lr
        self._open = open_contents
        opened = [open_contents(each) for each in self.paths]
        for each, contents in zip(self.paths, opened, strict=True):
            if HR not in contents.sides:
                raise InputRejected(each, "holds LR images alone; give it as lr, and HR as path")
        self._lacking = _lacking([contents.manifest for contents in opened])
        self._contents = _joined(list(zip(self.paths, opened, strict=True)))
        self._hr = self._contents.sides[HR]
        self.windowed = self._hr.windowed

    def __len__(self) -> int:
        """Return the number of HR images."""
        return len(self._hr)

    def name(self, index: int) -> str:
        """Return the name of an HR image, "baby"."""
        return self._hr.name(index)

    def size(self, index: int) -> Size:
        """Return (height, width) of an HR image in pixels. Raises InputRejected."""
        return self._hr.size(index)

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an HR image or a window of it, uint8 or uint16 [height, width, 3], RGB.

        Raises InputRejected, naming the file and the image.
        """
        return self._hr.read(index, window)

    def lr(self, scale: int) -> Images | None:
        """Return the LR images of a scale in HR's order, or None where there are none of that scale.

        Raises InputRejected where they do not belong to the HR images, one for each and 1 / scale of its size, and
        where what the setting `lr` names is not there.
        """
        if self._lr is not None:
            paths = _named([text.replace("{scale}", str(scale)) for text in self._lr], "lr")
            sides = _joined([(path, self._open(path)) for path in paths]).sides
            return paired(self._hr, sides[LR] if LR in sides else sides[HR], scale)
        sides = self._contents.sides
        if LR in sides:
            return paired(self._hr, sides[LR], scale, scale_is_known=False)
        return paired(self._hr, sides[side], scale) if (side := f"lr_x{scale}") in sides else None

    def fingerprint(self) -> str:
        """Return sixteen hexadecimal digits: those of the manifest, or of the HR images where there is none."""
        return self._hr.fingerprint()

    def manifest(self) -> Manifest | None:
        """Return what `srkit prepare` has kept with the images, or None where another program wrote them."""
        return self._contents.manifest

    def describe(self) -> str:
        """Return what was found: "800 HR images in data/DIV2K.h5, LR x2, x4 beside them"."""
        images, them = ("image", "it") if len(self) == 1 else ("images", "them")
        text = f"{len(self)} HR {images} in {_places(self.paths)}"
        if self._lacking:
            text += f" (without shard {self._lacking})"
        if self._lr is not None:
            return f"{text}, LR in {_places([Path(lr).expanduser() for lr in self._lr])}"
        scales = ", ".join(f"x{scale}" for scale in self._scales())
        return f"{text}, {f'LR {scales}' if scales else 'no LR'} beside {them}"

    def _scales(self) -> list[int]:
        if self._contents.manifest is not None:
            return self._contents.manifest.scales
        lr = self._contents.sides.get(LR)
        if lr is None:
            return []
        large, small = self.size(0), lr.size(0)  # of the first image alone: reading the sizes of all is slow
        return [scale for scale in _SCALES if small == (large[0] // scale, large[1] // scale)]


class _Joined(Images):
    """A side of several files, one file behind the other.

    Raises InputRejected, with both files, where two have an image of one name.
    """

    def __init__(self, parts: Sequence[Images], manifest: Manifest | None) -> None:
        places: dict[str, Path] = {}
        for part in parts:
            for name in part.names:
                if (other := places.setdefault(name, part.path)) is not part.path:
                    raise InputRejected(part.path, f"has an image '{name}', and so has {other}: names must differ")
        super().__init__(parts[0].path, parts[0].side, list(places))
        self._parts, self._manifest = parts, manifest
        self._ends = list(accumulate(map(len, parts)))
        self.windowed = all(part.windowed for part in parts)

    def label(self, index: int) -> str:
        """Return what errors call an image, with the file that it is in."""
        part, inner = self._place(index)
        return part.label(inner)

    def size(self, index: int) -> Size:
        """Return (height, width) in pixels. Raises InputRejected."""
        part, inner = self._place(index)
        return part.size(inner)

    def read(self, index: int, window: Window | None = None) -> Image:
        """Return an image or a window of it, uint8 or uint16 [height, width, 3]. Raises InputRejected."""
        part, inner = self._place(index)
        return part.read(inner, window)

    def fingerprint(self) -> str:
        """Return that of the manifest, the same as of one file with the same images; or else one of all files'."""
        if self._manifest is not None:
            return self._manifest.fingerprint
        texts = "\n".join(f"{len(part)} {part.fingerprint()}" for part in self._parts)
        return hashlib.blake2b(texts.encode(), digest_size=8).hexdigest()

    def _place(self, index: int) -> tuple[Images, int]:
        number = bisect_right(self._ends, index)
        return self._parts[number], index - (self._ends[number - 1] if number else 0)


def _joined(files: Sequence[tuple[Path, Contents]]) -> Contents:
    """Return what several files hold, as one. Raises InputRejected where they were not packed alike."""
    (path, first), *others = files
    if not others:
        return first
    for other, contents in others:
        if set(contents.sides) != set(first.sides):
            raise InputRejected(
                other,
                f"holds {_held(contents)}, and {path} {_held(first)}: files that are read as one must hold the same",
            )
        for scale in {**_lr(first), **_lr(contents)}:
            by, before = _lr(contents).get(scale), _lr(first).get(scale)
            if by != before:
                raise InputRejected(other, f"has LR {scale} by {by}, and {path} by {before}")
    manifest = _together([contents.manifest for _, contents in files])
    sides = {side: _Joined([contents.sides[side] for _, contents in files], manifest) for side in first.sides}
    return Contents(sides, manifest)


def _named(given: str | Sequence[str], setting: str) -> list[Path]:
    """Return the files that a setting names, of a pattern those that fit, "2" before "10".

    Raises InputRejected where no file fits a pattern, ValueError where none is named.
    """
    paths: list[Path] = []
    for text in [given] if isinstance(given, str | os.PathLike) else given:
        path = Path(text).expanduser()
        if glob.has_magic(str(path)) and not path.exists():
            found = sorted(glob.glob(str(path)), key=natural)
            if not found:
                raise InputRejected(path, "is a pattern that no file fits")
            paths += map(Path, found)
        else:
            paths.append(path)
    if not paths:
        raise ValueError(f"{setting} must name one file at least")
    return paths


def _lacking(manifests: Sequence[Manifest | None]) -> str:
    """Return which shards of `srkit prepare --shard` are not among files, "2, 3 of 4"; "" where none is missing."""
    stated = [re.fullmatch(r"(\d{1,4})/(\d{1,4})", str(m.made.get("shard"))) for m in manifests if m is not None]
    found = {(int(match[1]), int(match[2])) for match in stated if match is not None}
    count = {of for _, of in found}
    if len(count) != 1:
        return ""
    (of,) = count
    missing = [str(number) for number in range(1, of + 1) if (number, of) not in found]
    return f"{', '.join(missing)} of {of}" if missing else ""


def _lr(contents: Contents) -> dict[str, str]:
    """Return what made LR, by scale."""
    by = {} if contents.manifest is None else contents.manifest.made.get("lr", {})
    return {str(scale): str(how) for scale, how in by.items()} if isinstance(by, dict) else {}


def _together(manifests: Sequence[Manifest | None]) -> Manifest | None:
    """Return the manifest of all images, or None where a file has none."""
    known = [manifest for manifest in manifests if manifest is not None]
    if len(known) < len(manifests):
        return None
    names = tuple(name for manifest in known for name in manifest.names)
    sides = {side: tuple(r for manifest in known for r in manifest.sides[side]) for side in known[0].sides}
    made = {k: v for k, v in known[0].made.items() if all(manifest.made.get(k) == v for manifest in known)}
    return Manifest(names, sides, made)


def _held(contents: Contents) -> str:
    return ", ".join(sorted(contents.sides))


def _places(paths: Sequence[Path]) -> str:
    if len(paths) == 1:
        return _short(paths[0])
    return f"{len(paths)} files, {_short(paths[0])} to {_short(paths[-1])}"


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:])
