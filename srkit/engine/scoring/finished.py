"""SR images that any program has made, as files, to be scored like a network's."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from srkit.errors import InputRejected
from srkit.images.listing import list_images
from srkit.images.reading import read_image

_BEHIND = re.compile(r"[\W_].*|x\d.*", re.IGNORECASE | re.DOTALL)  # baby_x2_SR, babyx2, baby-edsr
FIRST = 3  # names that a message lists


class Finished:
    """The SR image of each HR image of a set: a file of a folder that is called as HR, or begins so.

    The file named exactly as HR goes first; what may stand behind begins with a sign or with x2: "baby_x2_SR.png".
    Raises InputRejected where an HR image has no file, or several.
    """

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str]) -> None:
        files: dict[str, list[Path]] = {}
        plain = {_plain(name): name for name in names}
        for path in list_images(folder):
            stem = _plain(path.stem)
            ends = (end for end in range(len(stem), 0, -1) if stem[:end] in plain)  # the longest name first
            name = next((stem[:end] for end in ends if end == len(stem) or _BEHIND.fullmatch(stem[end:])), "")
            if name:
                files.setdefault(plain[name], []).append(path)
        lacking = [name for name in names if name not in files]
        if lacking:
            shown = ", ".join(lacking[:FIRST]) + (f" and {len(lacking) - FIRST} more" if len(lacking) > FIRST else "")
            reason = f"has no SR image for {len(lacking)} of {len(names)} HR images: {shown}"
            raise InputRejected(folder, f"{reason}; SR files are called as HR, or with more behind (baby_x2_SR.png)")
        self._paths = {name: _one(name, found) for name, found in files.items()}

    def read(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the SR image of a name, uint8 or uint16 [h, w, 3]. Raises InputRejected for another size."""
        sr = read_image(self._paths[name])
        if sr.shape != shape:
            found, needed = (f"{size[1]}x{size[0]}" for size in (sr.shape, shape))
            reason = f"is {found}, and HR, cropped to a multiple of the scale, is {needed}"
            raise InputRejected(self._paths[name], reason)
        return sr


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.rpartition("/")[2])


def _one(name: str, paths: Sequence[Path]) -> Path:
    exact = [path for path in paths if _plain(path.stem) == _plain(name)]
    found = exact or paths
    if len(found) > 1:
        several = " and ".join(path.name for path in found[:FIRST])
        raise InputRejected(found[0].parent, f"has several SR images of {name}: {several}; keep one")
    return found[0]
