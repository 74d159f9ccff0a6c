"""A folder's images, in the order in which people count, and what else lies there."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit.errors import InputRejected
from srkit.images.opening import SUFFIXES

NO_IMAGES = f"has no images: looked for {', '.join(SUFFIXES)}"

# Kinds of pictures that are not read: a person who has them in a folder means them to be taken.
_OTHER_KINDS = (
    *(".apng", ".avif", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jp2", ".jpx", ".jxl", ".mpo", ".pam"),
    *(".pbm", ".pcx", ".pfm", ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".svg", ".tga", ".xcf"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"),  # what cameras measure
)


_SHOWN = 3  # names of a kind


_BY_SOME = (".avif",)  # read where Pillow can, and counted where not


@attrs.frozen
class Listing:
    """What a folder holds: `images` in natural order; the number of `others` by suffix; `folders` with images.

    `others` counts pictures of kinds that are not read, "" stands for links that lead nowhere; `examples` are the
    first names of each. `folders` are those right below that hold an image at any depth; none where these are taken.
    """

    images: tuple[Path, ...]
    others: tuple[tuple[str, int], ...] = ()
    folders: tuple[Path, ...] = ()
    examples: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    @property
    def left_out(self) -> str:
        """What was not taken, with the reason, for people, "1 .gif (a.gif: not read)"; "" for nothing."""
        told = []
        for suffix, count in self.others:
            what, why = f"{count} {suffix}", ": not read"
            if not suffix:
                what, why = f"{count} {'link that leads' if count == 1 else 'links that lead'} nowhere", ""
            elif suffix in _BY_SOME:
                why = ": not read by this Pillow"
            names = self.examples.get(suffix, ())
            told.append(f"{what} ({_named(names, count)}{why})" if names else what)
        if self.folders:
            count, names = len(self.folders), tuple(path.name for path in self.folders[:_SHOWN])
            takes = f": --recursive takes {'it' if count == 1 else 'them'}"
            told.append(f"{count} folder{'' if count == 1 else 's'} with images ({_named(names, count)}{takes})")
        return ", ".join(told)


def _named(names: Sequence[str], count: int) -> str:
    return ", ".join([*names, *(["..."] if count > len(names) else [])])


def list_images(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """Return a folder's files with one of `SUFFIXES` in any case, "2.png" before "10.png"; hidden ones are left out.

    `recursive` takes those of the folders below, too, behind the folder's own, each folder once: links may lead back.
    Raises InputRejected where there are none, or the folder cannot be read.
    """
    found = list_folder(folder, recursive)
    if not found.images:
        raise InputRejected(folder, NO_IMAGES)
    return list(found.images)


def list_folder(folder: str | os.PathLike[str], recursive: bool = False) -> Listing:
    """Return the images of a folder, as `list_images`, but for none, too; and what was left out.

    Raises InputRejected where a folder cannot be read.
    """
    root = Path(folder)
    images: list[Path] = []
    others: dict[str, list[str]] = {}
    below: list[Path] = []
    waiting = [root]
    seen: set[Path] = set()
    while waiting:
        here = waiting.pop()
        if recursive:
            real = here.resolve()
            if real in seen:
                continue
            seen.add(real)
        folders = []
        names = []
        for entry in _entries(here):
            name = entry.name
            if name.startswith("."):
                continue
            kind = _kind(entry)
            if kind == "folder":
                folders.append(name)
            elif kind == "nothing":
                others.setdefault("", []).append(name)
            elif name.lower().endswith(SUFFIXES):
                names.append(name)
            elif (suffix := os.path.splitext(name)[1].lower()) in _OTHER_KINDS:
                others.setdefault(suffix, []).append(name)
        images += [here / name for name in sorted(names, key=_natural)]
        inner = [here / name for name in sorted(folders, key=_natural)]
        if recursive:
            waiting += reversed(inner)
        else:
            below = [path for path in inner if _holds_images(path)]
    kinds = sorted(others, key=lambda suffix: (not suffix, suffix))
    counts = tuple((suffix, len(others[suffix])) for suffix in kinds)
    examples = {suffix: tuple(sorted(others[suffix], key=_natural)[:_SHOWN]) for suffix in kinds}
    return Listing(tuple(images), counts, tuple(below), examples)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        reason = "is not there" if folder.is_absolute() else f"is not there; looked for in {os.getcwd()}"
        raise InputRejected(folder, reason) from None
    except NotADirectoryError:
        raise InputRejected(folder, "is a file; give the folder that holds it") from None
    except OSError as error:
        raise InputRejected(folder, f"cannot be listed: {error.strerror}") from None


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "folder", "file", or "nothing" for a link to what is not there, a loop of links among them."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_symlink():
            entry.stat()
    except OSError:
        return "nothing"
    return "file"


def _holds_images(folder: Path) -> bool:
    """Return whether a folder has an image at any depth; links to folders are not followed."""
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(name.lower().endswith(SUFFIXES) and not name.startswith(".") for name in names):
            return True
    return False


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form: macOS' disks and archives made there have the other one."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _natural(name: str) -> tuple[list[Any], str]:
    parts: list[Any] = re.split(r"(\d+)", name.casefold())
    parts[1::2] = map(int, parts[1::2])
    return parts, name  # the name itself, so that "a.png" and "A.png" have one order
