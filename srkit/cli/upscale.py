"""Enlarge images or a film with a network: names, grey, alpha, 16 bits, colours, resolution and EXIF are kept.

MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set; or a file of
`srkit export`, which its own runtime computes (model.onnx). Or it is a recipe, such as zssr: then a network is trained
on each image itself, in a run directory below runs; the same command goes on where it was stopped.
INPUT is an image, a folder of images, a pattern ('photos/**/*.jpg'), or - for the standard input. What is there already
is not done again. A bad image is named and the rest goes on; the exit code is then 3.
A film keeps its times, sound, subtitles and colours; after a stop, the same command goes on where it was.
An image that its own format cannot hold enlarged becomes a PNG. CMYK becomes sRGB, by its profile if it has one.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import attrs

from srkit import files
from srkit.cli import enlarging, error_text, films, models, print_traceback, printable, shards, single, targets
from srkit.cli.enlarging import Enlarger
from srkit.errors import InputRejected, RunFailed, Stopped, UsageError, describe, nearest
from srkit.images.opening import MAX_BYTES
from srkit.images.reading import Jpeg, Picture, open_picture
from srkit.images.underlay import filled_under
from srkit.images.writing import WRITTEN, encode_picture, save_picture, suffix_for
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry
from srkit.protocol import Ensemble, Forward
from srkit.recipe.packaged import packaged_recipes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Enlarge = Callable[..., Any]  # an image at rest to a larger one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="best.safetensors, a run directory, other weights, a recipe")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images, folders of images, or films")
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="OUT",
        help="a folder; or a file, for a single image; or - for the standard output",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is in the folder already, but never an INPUT"
    )
    parser.add_argument("--format", choices=targets.FORMATS, help="what images are written as; that of each INPUT")
    parser.add_argument("--suffix", default="", metavar="TEXT", help="stands behind each name: _x2 makes photo_x2.jpg")
    parser.add_argument(
        "--quality",
        type=_quality,
        metavar="N",
        help="of JPEGs, 1 to 100; where it is not given, that of the INPUT if it is a JPEG, or else 95; of films (65)",
    )
    films.add_arguments(parser)
    parser.add_argument(
        "--forward",
        choices=get_args(Forward),
        help="what images become: the network's output for the whole image (default; large ones go in parts where "
        "these make it up), for overlapping tiles, or for quarters as EDSR takes them (chop)",
    )
    enlarging.add_arguments(parser)
    parser.add_argument(
        "--ensemble",
        choices=get_args(Ensemble),
        default="none",
        help="none (default), x8: the mean over the eight symmetries, median: their median",
    )
    parser.add_argument(
        "--back-projection",
        type=_count,
        default=0,
        metavar="N",
        help="so many steps towards an image that bicubic makes the input of (0)",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="take the folders below, too; OUT then has the same folders"
    )
    shards.add_arguments(parser)
    models.add_arguments(parser)
    parser.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="what each image becomes, as in 1920x1080, in place of --scale, by a network of any scale",
    )


def _size(text: str) -> tuple[int, int]:
    """Return (height, width) of "1920x1080"."""
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write width and height, 1920x1080")
    return int(found[2]), int(found[1])


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of steps, 0 to 9999")
    return int(text)


def _quality(text: str) -> int:
    if not re.fullmatch(r"100|[1-9]\d?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no quality, 1 to 100")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    """Enlarge each image."""
    try:
        return _main(arguments)
    except Stopped as error:
        print(f"{error}\nto continue, run the same command again", file=sys.stderr)
        return error.exit_code


def _main(arguments: argparse.Namespace) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from srkit.cli.output import clean, console

    if arguments.size is not None and arguments.scale is not None:
        raise UsageError("--size says how large images become, and --scale by how much larger: give one of them")
    if films.are_meant(arguments):
        enlarging.say_too_little(arguments)
        return films.main(arguments)
    naming = targets.Naming(arguments.suffix, arguments.format or "")
    plan = targets.plan(
        arguments.inputs, arguments.out, naming, recursive=arguments.recursive, overwrite=arguments.overwrite
    )
    images, bad = list(plan.work.items()), plan.bad
    own = dict(images[i] for i in arguments.shard.part(len(images)))
    work = {target: source for target, source in own.items() if target not in plan.there}
    if targets.STREAM in work:
        _refuse_terminal(arguments.stdout)
    registry = discover(arguments.plugins, arguments.ambient)
    enlarging.say_too_little(arguments)
    enlarger_of, by = _enlargers(arguments, registry)

    for error in bad:
        print(error_text(error), file=sys.stderr)
    if arguments.shard.of == 1:  # what other machines write would look like what processes left that live no more
        for folder in dict.fromkeys(target.parent for target in work):
            files.remove_remains(folder)
    taken = {path.resolve() for pair in images for path in pair}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    done = 0
    quiet = not sys.stderr.isatty() or single.recipe_of(arguments.model) is not None  # a run has a screen of its own
    with Progress(*columns, console=screen, disable=quiet) as progress:
        task = progress.add_task("", total=len(work))
        for number, (target, source) in enumerate(work.items(), 1):
            progress.update(task, description=clean(source.name))
            try:
                step = functools.partial(_show, progress, task, number - 1)
                enlarger = enlarger_of(source)
                enlarge = functools.partial(enlarger.enlarge, progress=step)
                picture = _enlarged(source, enlarge, enlarger.enlarge_alpha)
                if arguments.quality is not None:
                    picture = attrs.evolve(picture, jpeg=Jpeg(quality=arguments.quality))
                if target == targets.STREAM:
                    _write_out(arguments, picture)
                elif target != Path(arguments.out):
                    target = _holding(target, source, picture, taken)
            except InputRejected as error:
                bad.append(error)
                if arguments.traceback:
                    print_traceback(error)
                screen.print(clean(error), soft_wrap=True)
            else:
                if target != targets.STREAM:
                    _save(target, picture)
                done += 1
            progress.update(task, completed=number)
    total = done + len(bad) + len(own) - len(work)
    for text in plan.left_out:
        print(printable(text), file=sys.stderr)
    whose = f" of shard {arguments.shard}" if arguments.shard.of > 1 else ""
    before = len(own) - len(work)
    there = f"; {before} there already (--overwrite replaces them)" if before else ""
    where = "to the standard output" if arguments.out == "-" else f"in {printable(arguments.out)}"
    print(f"{done} of {total} images{whose} enlarged {by}, {where}{there}", file=sys.stderr)
    return InputRejected.exit_code if bad else 0


def _enlargers(arguments: argparse.Namespace, registry: Registry) -> tuple[Callable[[Path], Enlarger], str]:
    """Return what says for each image what enlarges it, and how large images become, "x2"."""
    from srkit.cli.run import show_log
    from srkit.engine.builder import Builder
    from srkit.engine.weights.model import near_run, read_model

    to = "" if arguments.size is None else "to {1}x{0}".format(*arguments.size)
    recipe = single.recipe_of(arguments.model)
    if recipe is None:
        given = Path(arguments.model)
        near = None if given.exists() or near_run(given) else nearest(arguments.model, packaged_recipes())
        if near is not None and given.parent != Path("."):  # a run of a recipe was meant, which would train here
            raise InputRejected(given, f"there is no such run; `srkit run {near}` trains one in runs/{near}")
        if near is not None:
            raise InputRejected(given, f"there is no such file, run directory or recipe; did you mean '{near}'?")
        enlarger = Enlarger.of(models.read_network(arguments.model, arguments, registry), arguments, registry)
        if enlarger.warning:
            print(printable(enlarger.warning), file=sys.stderr)
        return lambda source: enlarger, to or f"x{enlarger.model.scale}"
    if "-" in arguments.inputs:
        raise UsageError(f"{arguments.model} is a recipe, which trains on a file: save the standard input as one")
    if arguments.architecture or arguments.key:
        raise UsageError(
            f"{arguments.model} is a recipe, which says its network: --set architecture.type=NAME changes it"
        )
    overrides = [*([] if arguments.scale is None else [f"scale={arguments.scale}"]), *arguments.overrides]
    scale = single.load(recipe, overrides, registry).scale  # a mistake in the recipe ends all, and not each image
    show_log()

    def train(source: Path) -> Enlarger:
        directory = single.trained_on(source, recipe, overrides, registry)
        return Enlarger.of(read_model(directory, Builder(registry)), arguments, registry)

    return train, to or f"x{scale}"


def _show(progress: Progress, task: TaskID, before: int, done: int, count: int) -> None:
    """Show how much of an image is done, as a part of one."""
    progress.update(task, completed=before + done / count)


def _holding(target: Path, source: Path, picture: Picture, taken: set[Path]) -> Path:
    """Return the target, or a PNG beside it, then taken too, where the target's format cannot hold the picture.

    Raises InputRejected where another image has, or will have, that name.
    """
    if suffix_for(target, picture) == target.suffix:
        return target
    beside = targets.beside(target)
    if beside.resolve() in taken:
        raise InputRejected(source, f"must become a PNG, but {beside} is another image's; give it another folder")
    taken.add(beside.resolve())
    return beside


def _save(target: Path, picture: Picture) -> None:
    """Write an image whole. Raises RunFailed where the disk does not take it, InputRejected where its format cannot."""
    try:
        files.make_directory(target.parent)
        save_picture(target, picture)
    except OSError as error:
        raise RunFailed(f"{printable(target)}: cannot be written: {error.strerror}") from None
    except InputRejected as error:
        if isinstance(error.__cause__, OSError):
            raise RunFailed(str(error)) from None
        raise


def _refuse_terminal(stdout: Any) -> None:
    if stdout.isatty():
        raise UsageError("-o - would write an image to the terminal: send it to a file or a program")


def _write_out(arguments: argparse.Namespace, picture: Picture) -> None:
    """Write an image to the standard output. Raises InputRejected where the format cannot hold it."""
    suffix = f".{arguments.format}" if arguments.format else Path(arguments.inputs[0]).suffix.lower()
    if suffix not in WRITTEN:
        suffix = ".jpg" if picture.jpeg is not None else ".png"
    if not arguments.format:
        suffix = suffix_for(f"out{suffix}", picture)
    arguments.stdout.flush()
    for part in encode_picture(suffix, picture):
        arguments.stdout.buffer.write(part)
    arguments.stdout.buffer.flush()


def _opened(source: Path) -> Picture:
    if source == targets.STREAM:
        return open_picture("stdin", sys.stdin.buffer.read(MAX_BYTES + 1))
    return open_picture(source)


def _enlarged(source: Path, enlarge: Enlarge, enlarge_alpha: Enlarge) -> Picture:
    """Return a picture enlarged; alpha by itself, as a grey image. Raises InputRejected."""
    import numpy as np

    picture = _opened(source)
    alpha = picture.alpha
    try:
        # What lies under wholly transparent pixels is no colour of the picture, and would bleed into its edges.
        pixels = enlarge(picture.pixels if alpha is None else filled_under(picture.pixels, alpha), grey=picture.grey)
        alpha = None if alpha is None else enlarge_alpha(alpha)
    except (RuntimeError, MemoryError) as error:  # torch's own for a lack of memory is a RuntimeError
        height, width = picture.pixels.shape[:2]
        lacks_memory = isinstance(error, MemoryError) or "memory" in str(error)
        advice = "; --memory takes less" if lacks_memory else ""
        reason = f"is {width}x{height}, which the network fails on: {describe(error)}{advice}"
        raise InputRejected(source, reason) from error
    except ValueError as error:  # output that is not finite
        raise InputRejected(source, str(error)) from error
    if picture.grey:
        pixels = np.broadcast_to(pixels[..., None], (*pixels.shape, 3))
    return attrs.evolve(picture, pixels=pixels, alpha=alpha)
