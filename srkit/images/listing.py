"""A folder's images, in the order in which people count."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from srkit.errors import InputRejected
from srkit.images.reading import SUFFIXES


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return a folder's files with one of `SUFFIXES` in any case, "2.png" before "10.png"; hidden ones are left out.

    Raises InputRejected where there are none, or the folder cannot be read.
    """
    root = Path(folder)
    try:
        with os.scandir(root) as entries:
            files = [entry.name for entry in entries if not entry.is_dir()]
    except FileNotFoundError:
        reason = "is not there" if root.is_absolute() else f"is not there; looked for in {os.getcwd()}"
        raise InputRejected(root, reason) from None
    except NotADirectoryError:
        raise InputRejected(root, "is a file; give the folder that holds it") from None
    except OSError as error:
        raise InputRejected(root, f"cannot be listed: {error.strerror}") from None
    names = [name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    if not names:
        raise InputRejected(root, f"has no images: looked for {', '.join(SUFFIXES)}")
    return [root / name for name in sorted(names, key=_natural)]


def _natural(name: str) -> tuple[list[Any], str]:
    parts: list[Any] = re.split(r"(\d+)", name.casefold())
    parts[1::2] = map(int, parts[1::2])
    return parts, name  # the name itself, so that "a.png" and "A.png" have one order
