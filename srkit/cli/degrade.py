"""Make LR images from HR images: PNGs under DST with the names of SRC, HR cropped to a multiple of the scale.

A bad image is named and the rest goes on; the exit code is then 3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit import files
from srkit.cli import print_traceback, printable, scale
from srkit.cli.folders import images_of
from srkit.cli.output import clean, console
from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.images.color import is_grey_profile
from srkit.images.encoding import encode_png
from srkit.images.reading import read_picture
from srkit.plugin.discovery import discover
from srkit.recipe.reading import read_part

if TYPE_CHECKING:
    from numpy.typing import NDArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("type", metavar="TYPE", help="a degradation, as `srkit list degradation` names it")
    parser.add_argument("source", metavar="SRC", help="a folder of HR images, or one image")
    parser.add_argument("target", metavar="DST", help="the folder of LR images to make; files there are replaced")
    parser.add_argument("--scale", type=scale, required=True, metavar="N", help="how much smaller LR is")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the degradation; may be given several times",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="take the folders below SRC, too; DST then has the same folders"
    )


def main(arguments: argparse.Namespace) -> int:
    """Degrade each image."""
    from rich.progress import track

    from srkit.engine.builder import Builder
    from srkit.engine.data.opening import make_degrade

    registry = discover(arguments.plugins, arguments.ambient)
    part = read_part(registry, "degradation", arguments.type, arguments.overrides)
    scales = registry.find("degradation", part.type).component.facts.get("scales", (arguments.scale,))
    if arguments.scale not in scales:
        offered = ", ".join(map(str, scales))
        raise UsageError(f"degradation '{part.type}' has scales {offered}, not {arguments.scale}")
    degrade = make_degrade(Builder(registry), part, arguments.scale)
    work, left_out = _plan(Path(arguments.source), Path(arguments.target), recursive=arguments.recursive)
    for folder in dict.fromkeys(target.parent for target in work):
        files.remove_remains(folder)
    screen = console(stderr=True)
    quiet = not sys.stderr.isatty()
    bad = 0
    for i, (target, source) in enumerate(
        track(work.items(), description="", console=screen, transient=True, disable=quiet)
    ):
        try:
            data = _degraded(source, i, degrade)
        except InputRejected as error:
            bad += 1
            if arguments.traceback:
                print_traceback(error)
            screen.print(clean(error), soft_wrap=True)
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            files.write_file(target, data)
        except OSError as error:
            raise RunFailed(f"{printable(target)}: cannot be written: {error.strerror}") from None
    if left_out:
        print(printable(left_out), file=sys.stderr)
    done = f"{len(work) - bad} of {len(work)} images made smaller by {arguments.scale}"
    print(f"{done}, in {printable(arguments.target)}", file=sys.stderr)
    return InputRejected.exit_code if bad else 0


def _plan(source: Path, target: Path, *, recursive: bool) -> tuple[dict[Path, Path], str]:
    """Return the source of each target, and a line about what is left out, or "", before anything is written.

    Raises UsageError where two images would get one name, or one would be written over itself.
    """
    if target.exists() and not target.is_dir():
        raise UsageError(f"DST is a folder to make LR images in, but {printable(target)} is a file")
    images, left_out = images_of(source, target, recursive=recursive)
    if target.resolve() == source.resolve():
        raise UsageError(f"DST is SRC: LR images would stand among the HR images of {printable(source)}")
    inputs = {image.resolve() for image in images}
    work: dict[Path, Path] = {}
    for image in images:
        name = target / (image.relative_to(source) if source.is_dir() else Path(image.name)).with_suffix(".png")
        if name in work:
            raise UsageError(f"{printable(work[name])} and {printable(image)} would both become {printable(name)}")
        if name.resolve() in inputs:
            raise UsageError(f"{printable(name)} would be written over itself; give another DST")
        work[name] = image
    return work, left_out


def _degraded(source: Path, index: int, degrade: Callable[[NDArray[Any], int], NDArray[Any]]) -> bytes:
    """Return the PNG of an LR image, with what says what HR's colours mean. Raises InputRejected."""
    hr = read_picture(source)
    try:
        lr = degrade(hr.pixels, index)
    except ValueError as error:
        raise InputRejected(source, str(error)) from None
    if is_grey_profile(hr.icc):  # which means nothing beside three channels
        if not (lr == lr[..., :1]).all():
            raise InputRejected(source, "has a colour profile of grey, and its LR has colours: save it without")
        lr = lr[..., :1]
    return encode_png(lr, icc=hr.icc, chunks=hr.color)
