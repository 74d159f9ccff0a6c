"""Make LR images from HR images: PNGs under DST with the names of SRC, HR cropped to a multiple of the scale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from srkit import files
from srkit.cli.output import clean, console
from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.imaging import SUFFIXES, encode_png, list_images, read_image
from srkit.plugins import discover
from srkit.reading import read_part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("type", metavar="TYPE", help="a degradation, as `srkit list degradation` names it")
    parser.add_argument("source", metavar="SRC", help="a folder of HR images, or one image")
    parser.add_argument("target", metavar="DST", help="the folder of LR images to make")
    parser.add_argument("--scale", type=int, required=True, metavar="N", help="how much smaller LR is")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="a setting of the degradation"
    )


def main(arguments: argparse.Namespace) -> int:
    """Degrade each image."""
    from rich.progress import track

    from srkit.engine.build import make_degrade

    if arguments.scale < 1:
        raise UsageError(f"--scale must be at least 1, not {arguments.scale}")
    registry = discover(arguments.plugins)
    part = read_part(registry, "degradation", arguments.type, arguments.overrides)
    degrade = make_degrade(registry, part, arguments.scale)
    source, target = Path(arguments.source), Path(arguments.target)
    if not source.exists():
        raise InputRejected(source, "there is no such file or folder")
    images = list_images(source) if source.is_dir() else [source]
    if not images:
        raise InputRejected(source, f"holds no images ({', '.join(SUFFIXES)})")
    names = [target / f"{image.stem}.png" for image in images]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UsageError(f"{images[names.index(name)]} and {images[i]} would both become {name}")
        if name.resolve() == images[i].resolve():
            raise UsageError(f"{images[i]} would be written over itself; give another DST")
    screen = console(stderr=True)
    bad = 0
    for i, image in enumerate(
        track(images, description="", console=screen, transient=True, disable=not sys.stderr.isatty())
    ):
        try:
            lr = degrade(read_image(image), i)
        except InputRejected as error:
            bad += 1
            screen.print(clean(error), soft_wrap=True)
            continue
        except ValueError as error:
            bad += 1
            screen.print(clean(f"{image}: {error}"), soft_wrap=True)
            continue
        try:
            target.mkdir(parents=True, exist_ok=True)
            files.write_file(names[i], encode_png(lr))
        except OSError as error:
            raise RunFailed(f"{names[i]}: cannot be written: {error.strerror}") from None
    print(f"{len(images) - bad} of {len(images)} images made smaller by {arguments.scale} in {target}", file=sys.stderr)
    return InputRejected.exit_code if bad else 0
