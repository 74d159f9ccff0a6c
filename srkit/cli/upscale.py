"""Enlarge images with a network: names, grey, alpha, 16 bits and colour profiles are kept.

MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set.
INPUT is an image or a folder of images. A bad image is named and the rest goes on; the exit code is then 3.
An image that its own format cannot hold enlarged becomes a PNG.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import attrs

from srkit.cli import error_text, models, printable
from srkit.errors import InputRejected, RunFailed, UsageError, describe
from srkit.images.listing import list_images
from srkit.images.reading import SUFFIXES, Picture, open_picture
from srkit.images.writing import WRITTEN, save_picture, suffix_for
from srkit.plugin.discovery import discover
from srkit.protocol import Forward, Method

Enlarge = Callable[[Any], Any]  # an image at rest, [h, w, 3], to a larger one


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
    parser.add_argument(
        "--forward",
        choices=get_args(Forward),
        default="whole",
        help="how images are taken: whole (default), tiles: in overlapping tiles, which takes less memory, chop: in "
        "quarters as EDSR does",
    )
    models.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Enlarge each image."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from srkit.cli.output import clean, console
    from srkit.engine.builder import Builder
    from srkit.engine.device import pick_device
    from srkit.engine.scoring.evaluate import upscale

    work, bad = _plan(arguments.inputs, arguments.out)
    registry = discover(arguments.plugins, arguments.ambient)
    model = models.read(arguments.model, arguments, registry)
    device = pick_device("auto")
    method = Method(forward=arguments.forward)
    enlarge = functools.partial(upscale, network=model.network.to(device), device=device, method=method)
    # Alpha is no colour that the network has seen: what is opaque must stay so.
    enlarge_alpha = functools.partial(
        upscale, network=Builder(registry).baseline(model.scale).to(device), device=device
    )
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
                picture = _enlarged(source, enlarge, enlarge_alpha)
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


def _plan(inputs: Sequence[str], given: str) -> tuple[dict[Path, Path], list[InputRejected]]:
    """Return the source of each target, and the inputs that are none, before anything is written.

    Raises UsageError where two images would get one name, or one would be written over itself.
    """
    out = Path(given)
    is_folder = given.endswith("/") or out.exists() or len(inputs) > 1 or Path(inputs[0]).is_dir()
    if not is_folder and re.fullmatch(r"\.[A-Za-z]\w{1,4}", out.suffix) and out.suffix.lower() not in WRITTEN:
        raise UsageError(f"-o {out}: images are written as {', '.join(WRITTEN)}; a folder's name may end with /")
    single = out.suffix.lower() in WRITTEN and not out.is_dir()
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


def _enlarged(source: Path, enlarge: Enlarge, enlarge_alpha: Enlarge) -> Picture:
    """Return a picture enlarged; alpha by itself, as a grey image. Raises InputRejected."""
    import numpy as np

    def grey_of(image: Any) -> Any:
        # The network's three channels need not agree on a grey image; their mean is grey again.
        return np.asarray(np.floor(image.mean(2) + 0.5), dtype=image.dtype)

    picture = open_picture(source)
    alpha = picture.alpha
    try:
        pixels = enlarge(picture.pixels)
        if alpha is not None:
            alpha = grey_of(enlarge_alpha(np.repeat(alpha[..., None], 3, axis=2)))
    except (RuntimeError, MemoryError) as error:  # torch's own for a lack of memory is a RuntimeError
        height, width = picture.pixels.shape[:2]
        lacks_memory = isinstance(error, MemoryError) or "memory" in str(error)
        advice = "; --forward tiles takes less" if lacks_memory else ""
        reason = f"is {width}x{height}, which the network fails on: {describe(error)}{advice}"
        raise InputRejected(source, reason) from error
    except ValueError as error:  # output that is not finite
        raise InputRejected(source, str(error)) from error
    if picture.grey:
        pixels = np.repeat(grey_of(pixels)[..., None], 3, axis=2)
    return attrs.evolve(picture, pixels=pixels, alpha=alpha)
