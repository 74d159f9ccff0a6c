"""The images that a command is given, one by one or as folders, and what it leaves out."""

from __future__ import annotations

import errno
from pathlib import Path

import attrs

from srkit.errors import InputRejected
from srkit.images.listing import NO_IMAGES, list_folder


def images_of(path: Path, out: Path, *, recursive: bool) -> tuple[list[Path], str]:
    """Return an input's images, and a line about what is left out of it, or "".

    What lies in `out`, the folder that is written to, is no input. Raises InputRejected for what is not there, and for
    a folder without images.
    """
    if not path.is_dir():
        if not path.exists():
            loop = path.is_symlink() and _is_loop(path)
            raise InputRejected(
                path, "is a link that leads back to itself" if loop else "there is no such file or folder"
            )
        return [path], ""
    here, found = out.resolve(), list_folder(path, recursive)
    folders = tuple(folder for folder in found.folders if folder.resolve() != here)
    left_out = attrs.evolve(found, folders=folders).left_out
    images = [
        image
        for image in found.images
        if not recursive or path.resolve() == here or here not in image.resolve().parents
    ]
    if not images:
        raise InputRejected(path, NO_IMAGES + (f"; left out: {left_out}" if left_out else ""))
    return images, f"{path}: left out: {left_out}" if left_out else ""


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def file_of(name: str) -> Path:
    """Return the PNG that an image of a dataset is written to, below a folder: "cats/001" becomes cats/001.png.

    Raises InputRejected for a name that is no file's, or that would lie elsewhere.
    """
    parts = name.split("/")
    if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise InputRejected(ascii(name), "cannot be the name of a file")
    return Path(*parts[:-1], f"{parts[-1]}.png")
