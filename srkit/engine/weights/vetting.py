"""What a file of weights claims to hold, looked at before any of it is read."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

from srkit.engine.weights.pickles import Claims, Refusal, shown

MOST_HEADER = 8 << 20  # bytes of a header, of a pickle, of a zip file's directory: beyond 20,000 tensors
MOST_TENSORS = 20_000

MAGIC = 0x1950A86A20F9469CFC6C  # of the files that torch wrote before its zip files

# What files that are none of weights begin with.
OTHER_FILES = {
    b"PK\x03\x04": "a zip file",
    b"\x80": "a pickle",
    b"<": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, whose file is still to be fetched",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"RIFF": "an image",
    b"\x89HDF": "an HDF5 file",
}


def not_weights(start: bytes) -> Refusal:
    """Return what is said of a file that begins so and is none of weights."""
    kinds = [kind for magic, kind in OTHER_FILES.items() if start.lstrip().startswith(magic)]
    if not start:
        return Refusal("it is empty")
    return Refusal(f"it is {kinds[0]}" if kinds else "neither torch nor safetensors writes such files")


def vet_zip(path: Path) -> None:
    """Raise Refusal, or what zipfile raises, unless a zip file is torch.save's and holds what its pickle claims."""
    size = path.stat().st_size
    _vet_directory(path, size)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        root = entries[0].filename.partition("/")[0] if entries else ""
        sizes = {entry.filename.lower(): entry.file_size for entry in entries}  # torch finds names in any case
        if f"{root}/constants.pkl".lower() in sizes:
            raise Refusal("it is a TorchScript archive, which holds code; its maker can save the state dict alone")
        if f"{root}/data.pkl".lower() not in sizes:
            raise Refusal("it is a zip file without data.pkl, not one that torch.save wrote")
        if len(sizes) < len(entries):
            raise Refusal("two of its entries have one name")
        if any(
            (entry.compress_type, entry.compress_size) != (zipfile.ZIP_STORED, entry.file_size) for entry in entries
        ):
            raise Refusal("its entries are compressed, which torch.save never does: they may be of any size")
        if sum(sizes.values()) > size:
            raise Refusal(f"its entries claim {sum(sizes.values()):,} bytes of a file of {size:,}")
        if sizes[f"{root}/data.pkl".lower()] > MOST_HEADER:
            raise Refusal(f"its data.pkl is longer than {MOST_HEADER:,} bytes")
        damaged = archive.testzip()
        if damaged is not None:
            raise Refusal(f"it is damaged: {shown(damaged)} is not what was written")
        claims = Claims()
        claims.walk(io.BytesIO(archive.read(f"{root}/data.pkl")))
    claims.vet(size)
    for key, length in claims.storages.items():
        if sizes.get(f"{root}/data/{key}".lower()) != length:
            raise Refusal(f"it is damaged: data/{shown(key)} is not {length:,} bytes long")


def _vet_directory(path: Path, size: int) -> None:
    """Raise Refusal unless a zip file ends where its directory does, and that is of a size to be read."""
    with open(path, "rb") as file:
        file.seek(max(0, size - 98))
        tail = file.read()
    if tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise Refusal("it is a zip file whose end is missing")
    (length,) = struct.unpack("<I", tail[-10:-6])
    if len(tail) == 98 and tail[:4] == b"PK\x06\x06":  # the larger form, which torch writes always
        length = max(length, *struct.unpack("<Q", tail[40:48]))
    if length > MOST_HEADER:
        raise Refusal(f"its directory is longer than {MOST_HEADER:,} bytes")


def vet_pickle(path: Path) -> None:
    """Raise Refusal, or what a damaged pickle raises, unless a file is what torch.save wrote before its zip files:
    five pickles, and then the values that they claim."""
    size = path.stat().st_size
    claims = Claims()
    with open(path, "rb") as file:
        stream = io.BytesIO(file.read(MOST_HEADER))
    if claims.walk(stream) != MAGIC:
        raise Refusal("it is a pickle, but none that torch.save wrote")
    for _ in ("version", "system", "object"):
        claims.walk(stream)
    keys = claims.walk(stream)
    if sorted(keys) != sorted(claims.storages):
        raise Refusal("it is damaged: its list of storages is not that of its tensors")
    claims.vet(size)
    if sum(claims.storages.values()) + 8 * len(keys) > size - stream.tell():
        raise Refusal("it is cut short")


def vet_safetensors(path: Path) -> None:
    """Raise Refusal, or what json raises, unless the header of a safetensors file is one to be read.

    That its tensors lie within the file and do not overlap is looked at by safetensors itself.
    """
    with open(path, "rb") as file:
        start = file.read(64)
        if start[8:9] != b"{":
            raise not_weights(start)
        length = int.from_bytes(start[:8], "little")
        if length > MOST_HEADER:
            raise Refusal(f"its header claims {length:,} bytes, more than {MOST_HEADER:,}")
        file.seek(8)
        header = file.read(length)
    if len(header) < length:
        raise Refusal("it is cut short")
    # A tensor has a brace, two brackets and ten quotes; a byte of JSON may take 20 in memory.
    if any(header.count(mark) > 12 * MOST_TENSORS for mark in (b"{", b"[", b'"')):
        raise Refusal(f"its header names more than {MOST_TENSORS:,} tensors")
    entries = json.loads(header, object_pairs_hook=_unique)
    if len(entries) - ("__metadata__" in entries) > MOST_TENSORS:
        raise Refusal(f"its header names more than {MOST_TENSORS:,} tensors")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refusal(f"its header names {shown(name)} twice")
        found[name] = value
    return found
