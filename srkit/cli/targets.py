"""What images are read from and written to: files, folders, patterns, and the standard streams."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from srkit.cli import printable
from srkit.cli.folders import images_of
from srkit.errors import InputRejected, UsageError
from srkit.images.opening import SUFFIXES
from srkit.images.writing import WRITTEN

STREAM = Path("-")  # the standard input, or the standard output
FORMATS = tuple(suffix[1:] for suffix in WRITTEN)


@attrs.frozen
class Plan:
    """The source of each target; the targets that are `there` already; the inputs that are none; what was left out of
    folders, a line for each."""

    work: dict[Path, Path]
    there: set[Path]
    bad: list[InputRejected]
    left_out: list[str]


@attrs.frozen
class Naming:
    """How a target is called after its source: with text behind the name, and in another format."""

    behind: str = ""
    format: str = ""

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for a text that no name has."""
        if re.search(r"[/\\\0]", self.behind):
            raise UsageError(f"--suffix {printable(self.behind)}: stands behind names, and has no slash")

    def of(self, source: Path) -> Path:
        """Return the target of a source, both relative to their folders."""
        if source == STREAM:
            return Path(f"stdin{self.behind}.{self.format or 'png'}")
        suffix = source.suffix if source.suffix.lower() in SUFFIXES else ""
        stem = source.name.removesuffix(suffix)
        return source.with_name(f"{stem}{self.behind}{f'.{self.format}' if self.format else suffix}")


def plan(inputs: Sequence[str], given: str, naming: Naming, *, recursive: bool, overwrite: bool) -> Plan:
    """Return what is to be done, before anything is written.

    Raises UsageError where two images would get one name, or one would be written over itself.
    """
    out, single = Path(given), _is_single(inputs, given)
    work: dict[Path, Path] = {}
    bad: list[InputRejected] = []
    left_out: list[str] = []
    for text in inputs:
        try:
            for image, name in _images(text, out, left_out, recursive=recursive):
                target = out if single else out / naming.of(name)
                other = work.setdefault(target, image)
                if other != image and other.resolve() != image.resolve():
                    raise UsageError(
                        f"{printable(other)} and {printable(image)} would both become {printable(target)}; "
                        "enlarge them into two folders"
                    )
        except InputRejected as error:
            bad.append(error)
    if out != STREAM:
        _refuse_losses(work)
    # A file that is named is meant to be written.
    there = set() if overwrite or single else {target for target in work if _is_there(target, work)}
    return Plan(work, there, bad, left_out)


def _is_single(inputs: Sequence[str], given: str) -> bool:
    """Say whether what is written to is one file, or the standard output. Raises UsageError where it can be neither
    that nor a folder."""
    out = Path(given)
    several = len(inputs) > 1 or Path(inputs[0]).is_dir() or _is_pattern(inputs[0])
    if out == STREAM:
        if several:
            raise UsageError("-o - writes one image, but there may be several; give a folder")
        return True
    is_folder = given.endswith("/") or out.exists() or several
    if not is_folder and re.fullmatch(r"\.[A-Za-z]\w{1,4}", out.suffix) and out.suffix.lower() not in WRITTEN:
        raise UsageError(
            f"-o {printable(out)}: images are written as {', '.join(WRITTEN)}; a folder's name may end with /"
        )
    single = out.suffix.lower() in WRITTEN and not out.is_dir()
    if single and several:
        raise UsageError(f"-o {printable(out)} names one image, but there may be several; give a folder")
    if out.exists() and not out.is_dir() and not single:
        raise UsageError(f"-o {printable(out)} is a file, but neither a folder nor an image")
    return single


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def _images(text: str, out: Path, left_out: list[str], *, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Yield the images of an input, each with its name below the folder that is kept. Raises InputRejected."""
    path = Path(text)
    if path == STREAM:
        yield STREAM, STREAM
    elif _is_pattern(text):
        plain = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        found = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if not Path(name).is_dir()]
        if not found:
            raise InputRejected(path, "no file has a name of this pattern")
        for image in found:
            yield image, image.relative_to(plain)
    else:
        images, line = images_of(path, out, recursive=recursive)
        left_out += [line] if line else []
        for image in images:
            yield image, image.relative_to(path) if path.is_dir() else Path(image.name)


def _refuse_losses(work: dict[Path, Path]) -> None:
    sources = {source.resolve() for source in work.values()}
    for target, source in work.items():
        if target.resolve() == source.resolve():
            raise UsageError(f"{printable(source)} would be written over itself; give another -o")
        if target.resolve() in sources:
            raise UsageError(
                f"{printable(source)} would be written over {printable(target)}, which is an input, too; "
                "give another -o"
            )


def _is_there(target: Path, work: dict[Path, Path]) -> bool:
    """Say whether an image is there, under its name or, where its format could not hold it, as the PNG beside."""
    return target.exists() or (beside(target) not in work and beside(target).exists())


def beside(target: Path) -> Path:
    """Return the PNG that is written where a target's format cannot hold the picture."""
    known = target.suffix.lower() in SUFFIXES
    return target.with_suffix(".png") if known else target.with_name(f"{target.name}.png")
