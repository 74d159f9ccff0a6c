"""Enlarge images with a network: names, grey, alpha, 16 bits and colour profiles are kept.

MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set.
INPUT is an image or a folder of images. A bad image is named and the rest goes on; the exit code is then 3.
An image that its own format cannot hold enlarged becomes a PNG.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from srkit.cli import error_text, models, printable
from srkit.component import describe
from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.imaging import SUFFIXES, Picture, list_images, open_picture, save_picture, suffix_for
from srkit.plugins import discover

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="best.safetensors, a run directory, other weights")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images, or folders of images")
    parser.add_argument(
        "-o",
        dest="out",
        required=True,
        metavar="OUT",
        help="a folder; or a file, for a single image. Files that are there are replaced, but never an INPUT",
    )
    models.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Enlarge each image."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from srkit.cli.output import clean, console
    from srkit.engine.build import pick_device

    work, bad = _plan(arguments.inputs, Path(arguments.out))
    model = models.read(arguments.model, arguments, discover(arguments.plugins, arguments.ambient))
    device = pick_device("auto")
    network = model.network.to(device)
    for error in bad:
        print(error_text(error), file=sys.stderr)
    taken = {path.resolve() for pair in work.items() for path in pair}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    done = 0
    with Progress(*columns, console=screen, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(work))
        for target, source in work.items():
            progress.update(task, description=clean(source.name))
            try:
                picture = _enlarged(source, network, device)
                if target != Path(arguments.out):
                    target = _holding(target, source, picture, taken)
            except InputRejected as error:
                bad.append(error)
                screen.print(clean(error), soft_wrap=True)
            else:
                _save(target, picture)
                done += 1
            progress.advance(task)
    total = done + len(bad)
    print(f"{done} of {total} images enlarged x{model.scale}, in {printable(arguments.out)}", file=sys.stderr)
    return InputRejected.exit_code if bad else 0


def _plan(inputs: Sequence[str], out: Path) -> tuple[dict[Path, Path], list[InputRejected]]:
    """Return the source of each target, and the inputs that are none, before anything is written.

    Raises UsageError where two images would get one name, or one would be written over itself.
    """
    single = out.suffix.lower() in SUFFIXES and not out.is_dir()
    if single and (len(inputs) > 1 or Path(inputs[0]).is_dir()):
        raise UsageError(f"-o {out} names one image, but there may be several; give a folder")
    if out.exists() and not out.is_dir() and not single:
        raise UsageError(f"-o {out} is a file, but neither a folder nor an image")
    work: dict[Path, Path] = {}
    bad: list[InputRejected] = []
    for path in map(Path, inputs):
        images = [path]
        if path.is_dir():
            try:
                images = list_images(path)
            except InputRejected as error:
                bad.append(error)
                continue
        elif not path.exists():
            bad.append(InputRejected(path, "there is no such file or folder"))
            continue
        for image in images:
            target = out if single else out / image.name
            other = work.setdefault(target, image)
            if other.resolve() != image.resolve():
                raise UsageError(f"{other} and {image} would both become {target}; enlarge them into two folders")
    sources = {source.resolve() for source in work.values()}
    for target, source in work.items():
        if target.resolve() == source.resolve():
            raise UsageError(f"{source} would be written over itself; give another -o")
        if target.resolve() in sources:
            raise UsageError(f"{source} would be written over {target}, which is an input, too; give another -o")
    return work, bad


def _holding(target: Path, source: Path, picture: Picture, taken: set[Path]) -> Path:
    """Return the target, or a PNG beside it, then taken too, where the target's format cannot hold the picture.

    Raises InputRejected where another image has, or will have, that name.
    """
    if suffix_for(target, picture) == target.suffix:
        return target
    known = target.suffix.lower() in SUFFIXES
    beside = target.with_suffix(".png") if known else target.with_name(f"{target.name}.png")
    if beside.resolve() in taken:
        raise InputRejected(source, f"must become a PNG, but {beside} is another image's; give it another folder")
    taken.add(beside.resolve())
    return beside


def _save(target: Path, picture: Picture) -> None:
    """Write an image whole. Raises RunFailed where the disk does not take it, InputRejected where its format cannot."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_picture(target, picture)
    except OSError as error:
        raise RunFailed(f"{target}: cannot be written: {error.strerror}") from None
    except InputRejected as error:
        if isinstance(error.__cause__, OSError):
            raise RunFailed(str(error)) from None
        raise


def _enlarged(source: Path, network: nn.Module, device: torch.device) -> Picture:
    """Return a picture enlarged by a network; alpha by itself, as a grey image. Raises InputRejected."""
    import numpy as np

    from srkit.engine.evaluate import upscale

    def grey_of(image: NDArray[Any]) -> NDArray[Any]:
        # The network's three channels need not agree on a grey image; their mean is grey again.
        return np.asarray(np.floor(image.mean(2) + 0.5), dtype=image.dtype)

    picture = open_picture(source)
    alpha = picture.alpha
    try:
        pixels = upscale(picture.pixels, network, device)
        if alpha is not None:
            alpha = grey_of(upscale(np.repeat(alpha[..., None], 3, axis=2), network, device))
    except (RuntimeError, MemoryError) as error:  # torch's own for a lack of memory is a RuntimeError
        height, width = picture.pixels.shape[:2]
        raise InputRejected(source, f"is {width}x{height}, which the network fails on: {describe(error)}") from error
    if picture.grey:
        pixels = np.repeat(grey_of(pixels)[..., None], 3, axis=2)
    return attrs.evolve(picture, pixels=pixels, alpha=alpha)
