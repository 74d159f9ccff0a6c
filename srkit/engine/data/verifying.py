"""Prepared images against their manifest."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import attrs

from srkit.errors import InputRejected
from srkit.images.listing import nfc
from srkit.images.manifest import HR, ImageRecord, Manifest
from srkit.plugin.component import making
from srkit.plugin.contracts import Dataset
from srkit.plugin.discovery import discover


@attrs.frozen
class Verified:
    """How many images there are, the scales of their LR, what is not what was written, and of how many that is."""

    images: int
    scales: tuple[int, ...]
    damaged: tuple[str, ...]
    count: int


def verify(path: Path, format: str, *, plugins: Sequence[str] = (), threads: int = 2) -> Verified:
    """Read every pixel of a prepared dataset, of the format of that name, and compare it with the manifest.

    Raises InputRejected where there is no manifest or the dataset cannot be opened.
    """
    # In a process of its own: a damaged LMDB does not raise, it kills whoever reads it.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        try:
            found = executor.submit(_verify, path, format, tuple(plugins), threads).result()
        except BrokenProcessPool:
            raise InputRejected(path, "is damaged: reading it kills the process that does") from None
    if isinstance(found, str):
        raise InputRejected(path, found)
    return found


def _verify(path: Path, format: str, plugins: tuple[str, ...], threads: int) -> Verified | str:
    try:
        registry = discover(plugins)
        with making(registry.find("dataset", format).component):
            source: Dataset = registry.create("dataset", format, path=str(path))
        manifest: Manifest | None = getattr(source, "manifest", lambda: None)()
        if manifest is None:
            return "has no manifest: it was not written by srkit prepare"
        return compare(source, manifest, threads)
    except InputRejected as error:
        return error.reason if error.path == str(path) else str(error)


def compare(source: Dataset, manifest: Manifest, threads: int) -> Verified:
    """Read every pixel of a dataset and compare it with its manifest. Raises InputRejected where LR does not open.

    Names compare equal in any of Unicode's forms: a folder that was on a macOS disk may have come back in another.
    """
    sides = {HR: source, **{f"lr_x{scale}": source.lr(scale) for scale in manifest.scales}}
    names, known = manifest.names, {nfc(name) for name in manifest.names}
    damaged = []
    missing = 0  # sides as a whole, which are one line each
    with ThreadPoolExecutor(threads) as executor:
        for side, records in manifest.sides.items():
            images = sides[side]
            if images is None:
                damaged.append(f"{side}: is not there")
                missing += len(records) - 1
                continue
            places = {images.name(i): i for i in range(len(images))}
            alike = {nfc(name): i for name, i in places.items()}
            found = [places.get(name, alike.get(nfc(name))) for name in names]
            lines = executor.map(_damage, [images] * len(names), found, records)
            damaged += [f"{side}/{name}: {line}" for name, line in zip(names, lines, strict=True) if line]
            damaged += [f"{side}/{name}: is not in the manifest" for name in places if nfc(name) not in known]
    return Verified(len(manifest.names), tuple(manifest.scales), tuple(damaged), len(damaged) + missing)


def _damage(images: Dataset, index: int | None, record: ImageRecord) -> str:
    """Return what is wrong with an image, or nothing."""
    if index is None:
        return "is not there"
    try:
        found = ImageRecord.of(images.read(index))
    except InputRejected as error:
        return error.reason
    if found.size != record.size or found.dtype != record.dtype:
        wide, was = (f"{r.size[1]}x{r.size[0]} {r.dtype}" for r in (found, record))
        return f"is {wide}, was {was}"
    return "" if found.sha256 == record.sha256 else "has other pixels than were written"
