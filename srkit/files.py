"""Every durable write: whole or not at all, at whichever instant the process or the machine stops."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from srkit.errors import InputRejected

Bytes = bytes | bytearray
Contents = Mapping[str, Bytes]  # of a directory, by the names of its files
MANIFEST = "MANIFEST.json"
FORMAT = 1  # of the manifest
# Names of what is not finished or not wanted any more; `clean` removes them.
ASIDE = ".aside-"
THREADS = 2  # that files of a directory are hashed by; most of one is in two or three files
# The name of a directory while another takes its place; `clean` brings it back where that did not happen.
REPLACED = ".replaced-"


class Operation(NamedTuple):
    """What is about to be done on the disk.

    A "write" is of all bytes of a file, which `more` is where they are known; a "rename" has the new path there. A
    "sync" is of a file or of a directory's entries; "remove" is of a file, or of a directory with all that is in it.
    """

    kind: Literal["make", "write", "sync", "rename", "remove"]
    path: Path
    more: bytes | Path | None = None


_watching: list[Callable[[Operation], None]] = []  # empty but in tests; the last one watches


@contextlib.contextmanager
def watched(watch: Callable[[Operation], None]) -> Iterator[None]:
    """Within this context, `watch` is called before each operation on the disk that is to last, in any thread.

    It may write the operation down, raise the OSError that the disk is to answer with, or end the process: it is how
    tests inject faults, and where they do. What readers and plugins' own libraries do between is not seen.
    """
    _watching.append(watch)
    try:
        yield
    finally:
        _watching.remove(watch)


def about_to(
    kind: Literal["make", "write", "sync", "rename", "remove"], path: Path, more: bytes | Path | None = None
) -> None:
    """Tell who watches of an operation. Raises the OSError that is injected there."""
    if _watching:
        _watching[-1](Operation(kind, path, more))


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, where it is not there yet, and flush their names. Raises OSError."""
    if not path.exists():
        if not path.parent.exists():
            make_directory(path.parent)
        about_to("make", path)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)
    elif not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))


def rename(path: Path, new: Path) -> None:
    """Rename a file or a directory; a file in that place is replaced. Raises OSError."""
    about_to("rename", path, new)
    os.replace(path, new)


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it. Raises OSError for the first that cannot be removed."""
    about_to("remove", path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_quietly(path: Path) -> None:
    """Remove what can be removed; what cannot is found and removed by `clean`."""
    with contextlib.suppress(OSError):
        remove(path)


def probe(directory: Path, size: int = 0) -> None:
    """Write a file of so many bytes, flush it, rename it and remove it. Raises the OSError that a save would."""
    written, renamed = _aside(directory / "probe"), _aside(directory / "probe")
    try:
        about_to("write", written)
        with open(written, "wb") as file:
            file.write(b"srkit")
            file.flush()
            if size and hasattr(os, "posix_fallocate"):  # the blocks, without the bytes
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a disk without such a call
                        raise
            _sync(file.fileno(), written)
        rename(written, renamed)
        sync_directory(directory)
    finally:
        remove_quietly(written)
        remove_quietly(renamed)


def write_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file, given whole or in parts, under a temporary name, flush it to the disk and rename it.

    Raises OSError, and what making a part raises, and leaves no remains.
    """
    temporary = _aside(path)
    try:
        _write_synced(temporary, data)
        rename(temporary, path)
    except BaseException:
        remove_quietly(temporary)
        raise
    sync_directory(path.parent)


def copy(source: Path, path: Path) -> None:
    """Copy a file, or a folder and all that is in it, whole or not at all. Raises OSError, and leaves no remains."""
    if not source.is_dir():
        with open(source, "rb") as file:
            write_file(path, iter(lambda: file.read(2**20), b""))
        return
    temporary = _aside(path)
    try:
        about_to("write", temporary)
        shutil.copytree(source, temporary)
        sync_tree(temporary)
        rename(temporary, path)
    except BaseException:
        remove_quietly(temporary)
        raise
    sync_directory(path.parent)


def write_directory(path: Path, files: Contents) -> None:
    """Write a directory of files and a manifest with their sizes and sha256, then rename it. As `write_file`."""
    from concurrent.futures import ThreadPoolExecutor  # not for those who only list

    temporary = _aside(path)
    try:
        about_to("make", temporary)
        temporary.mkdir(parents=True)
        with ThreadPoolExecutor(1) as other:  # which computes them while the disk works
            digests = {name: other.submit(_sha256, data) for name, data in files.items()}
            for name, data in files.items():
                _write_synced(temporary / name, data)
        entries = {name: {"bytes": len(data), "sha256": digests[name].result()} for name, data in files.items()}
        _write_synced(temporary / MANIFEST, json_text({"format": FORMAT, "files": entries}).encode())
        sync_directory(temporary)
        replaced = path.with_name(f"{REPLACED}{path.name}")
        if path.exists():  # the same step again, after a run went back to an earlier one
            if replaced.exists():
                remove(replaced)
            rename(path, replaced)
        rename(temporary, path)
        sync_directory(path.parent)
    except BaseException:
        remove_quietly(temporary)
        with contextlib.suppress(OSError):
            _bring_back(path.parent)
        raise
    if replaced.exists():
        remove_quietly(replaced)


def read_directory(path: Path) -> dict[str, bytearray]:
    """Return the files of a directory that `write_directory` wrote; others are ignored.

    Raises InputRejected, with the file, for any difference.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if (version := manifest.get("format", FORMAT)) != FORMAT:
            raise InputRejected(path / MANIFEST, f"is of format {version}, which a newer srkit may read")
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
        if any(Path(name).name != name for name in expected):
            raise ValueError("a file outside the directory")
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(THREADS) as pool:
            found = dict(zip(expected, pool.map(_read_hashed, [path / name for name in expected]), strict=True))
    except OSError as error:
        raise InputRejected(error.filename or path, f"cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputRejected(path / MANIFEST, "is damaged") from None
    for name, (data, digest) in found.items():
        if (len(data), digest) != expected[name]:
            raise InputRejected(path / name, "is damaged: its size or its sha256 is not the manifest's")
    return {name: data for name, (data, _) in found.items()}


def _read_hashed(path: Path) -> tuple[bytearray, str]:
    with open(path, "rb") as file:
        data = bytearray(os.fstat(file.fileno()).st_size)
        del data[file.readinto(data) :]  # not a slice, which is a copy
    return data, _sha256(data)


def remove_directory(path: Path) -> None:
    """Remove a directory that srkit itself wrote; it is renamed first, so that half of it is never taken for it."""
    aside = _aside(path)
    rename(path, aside)
    remove_quietly(aside)


def _aside(path: Path) -> Path:
    """Return a new name beside a path, as short for long names and no other thread's or process's."""
    return path.with_name(f"{ASIDE}{os.getpid()}-{os.urandom(6).hex()}")


def clean(directory: Path) -> None:
    """Remove what killed processes left half-written in a directory of srkit's, and bring back what they took away."""
    _bring_back(directory)
    for entry in directory.glob(f"{ASIDE}*"):
        remove_quietly(entry)


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
            remove_quietly(entry)
        else:
            rename(entry, path)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk; Windows has no such call and keeps them by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _sync(descriptor, path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks have no such call for directories
            raise
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Flush a file, or a folder and all that is in it, to the disk. Raises OSError."""
    below = [path]
    if path.is_dir():
        below = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    for file in below:
        with open(file, "rb") as opened:
            _sync(opened.fileno(), file)
    for directory in {file.parent for file in below} - {path.parent}:
        sync_directory(directory)


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


def _write_synced(path: Path, data: Bytes | Iterable[bytes]) -> None:
    parts = [data] if isinstance(data, bytes | bytearray) else data
    about_to("write", path, bytes(data) if _watching and isinstance(data, bytes | bytearray) else None)
    with open(path, "wb") as file:
        file.writelines(parts)
        file.flush()
        _sync(file.fileno(), path)


def _sync(descriptor: int, path: Path) -> None:
    about_to("sync", path)
    os.fsync(descriptor)


def _sha256(data: Bytes) -> str:
    return hashlib.sha256(data).hexdigest()
