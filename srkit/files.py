"""Every durable write: whole or not at all, at whichever instant the process or the machine stops."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from srkit.errors import InputRejected

MANIFEST = "MANIFEST.json"
# Names of what is not finished or not wanted any more; `clean` removes them.
ASIDE = ".aside-"
# The name of a directory while another takes its place; `clean` brings it back where that did not happen.
REPLACED = ".replaced-"


def write_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file, given whole or in parts, under a temporary name, flush it to the disk and rename it.

    Raises OSError, and what making a part raises, and leaves no remains.
    """
    temporary = _aside(path)
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a directory of files and a manifest with their sizes and sha256, then rename it. As `write_file`."""
    temporary = _aside(path)
    manifest = {
        "format": 1,
        "files": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()},
    }
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            _write_synced(temporary / name, data)
        _write_synced(temporary / MANIFEST, json_text(manifest).encode())
        sync_directory(temporary)
        replaced = path.with_name(f"{REPLACED}{path.name}")
        if path.exists():  # the same step again, after a run went back to an earlier one
            shutil.rmtree(replaced, ignore_errors=True)
            os.rename(path, replaced)
        os.rename(temporary, path)
        sync_directory(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            _bring_back(path.parent)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def read_directory(path: Path) -> dict[str, bytes]:
    """Return the files of a directory that `write_directory` wrote; others are ignored.

    Raises InputRejected, with the file, for any difference.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
        if any(Path(name).name != name for name in expected):
            raise ValueError("a file outside the directory")
        files = {name: (path / name).read_bytes() for name in expected}
    except OSError as error:
        raise InputRejected(error.filename or path, f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputRejected(path / MANIFEST, "is damaged") from None
    for name, data in files.items():
        if (len(data), _sha256(data)) != expected[name]:
            raise InputRejected(path / name, "is damaged: its size or its sha256 is not the manifest's")
    return files


def remove_directory(path: Path) -> None:
    """Remove a directory that srkit itself wrote; it is renamed first, so that half of it is never taken for it."""
    aside = _aside(path)
    os.rename(path, aside)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    """Return a new name beside a path, as short for long names and no other thread's or process's."""
    return path.with_name(f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex[:12]}")


def clean(directory: Path) -> None:
    """Remove what killed processes left half-written in a directory of srkit's, and bring back what they took away."""
    _bring_back(directory)
    for entry in directory.glob(f"{ASIDE}*"):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def remove_remains(directory: Path) -> None:
    """Remove the half-written files that processes which live no more left in a folder; those of others stay.

    What cannot be removed stays, too. Nothing is removed on Windows, which cannot be asked whether a process lives.
    """
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        for entry in directory.glob(f"{ASIDE}*-*"):
            number = entry.name.removeprefix(ASIDE).partition("-")[0]
            if number.isdecimal() and not _lives(int(number)) and entry.is_file() and not entry.is_symlink():
                entry.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _bring_back(directory: Path) -> None:
    for entry in directory.glob(f"{REPLACED}*"):
        path = entry.with_name(entry.name.removeprefix(REPLACED))
        if path.exists():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            os.rename(entry, path)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk; Windows has no such call and keeps them by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks have no such call for directories
            raise
    finally:
        os.close(descriptor)


def json_text(value: Any) -> str:
    """Return JSON that any reader takes: numbers that JSON lacks become "inf", "-inf" and "nan"."""
    return json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """Return a tree with the words "inf", "-inf" and "nan" for those numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: finite(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [finite(member) for member in value]
    return value


def _write_synced(path: Path, data: bytes | Iterable[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
