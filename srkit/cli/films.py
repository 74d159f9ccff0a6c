"""Films enlarged by a network: what `srkit upscale` does where its INPUT is one."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.cli import models, printable, single, targets, whole_number
from srkit.cli.enlarging import Enlarger, say
from srkit.errors import InputRejected, Stopped, UsageError
from srkit.plugin.discovery import discover

if TYPE_CHECKING:
    from rich.progress import Progress

    from srkit.video.coding import Coding
    from srkit.video.film import Film

# What is taken for a film by its name, and what films are written as.
SUFFIXES = {
    *(".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".wmv", ".flv"),
    *(".ogv", ".3gp", ".mxf", ".y4m"),
}
WRITTEN = (".mkv", ".mp4", ".mov")
CODECS = ("h264", "hevc", "av1", "ffv1", "prores")
PART = 128  # frames: some five seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what goes with films alone."""
    parser.add_argument(
        "--codec", choices=CODECS, help="of films (h264; hevc for more than 8 bits, ffv1 for more than 12)"
    )
    parser.add_argument(
        "--part",
        type=whole_number,
        metavar="N",
        help=f"frames of a film that are saved together: a stop loses at most so many ({PART})",
    )


def are_meant(arguments: argparse.Namespace) -> bool:
    """Say whether the inputs are films. Raises UsageError where only some are, and for what does not go with them."""
    found = [text for text in arguments.inputs if Path(text).suffix.lower() in SUFFIXES and not Path(text).is_dir()]
    if not found:
        if arguments.codec is not None or arguments.part is not None:
            raise UsageError("--codec and --part go with films, and no INPUT is one")
        return False
    if len(found) < len(arguments.inputs):
        other = next(text for text in arguments.inputs if text not in found)
        raise UsageError(f"{printable(found[0])} is a film, and {printable(other)} is none: give them to two commands")
    words = {"--format": arguments.format, "--recursive": arguments.recursive, "--shard": arguments.shard.of > 1}
    for name, given in words.items():
        if given:
            raise UsageError(f"{name} goes with images, and {printable(found[0])} is a film")
    if arguments.part == 0:
        raise UsageError("--part must be at least 1, not 0")
    if single.recipe_of(arguments.model) is not None:
        raise UsageError(f"{printable(arguments.model)} is a recipe, which trains on an image: a film needs a network")
    return True


def main(arguments: argparse.Namespace) -> int:
    """Enlarge each film."""
    try:
        import av
    except ImportError:
        raise UsageError("films need PyAV: pip install 'srkit[video]'") from None
    from srkit.runs.stopping import Interrupted, StopFlag

    av.logging.set_level(av.logging.PANIC)  # what FFmpeg says besides is in its errors
    places = _places(arguments)
    registry = discover(arguments.plugins, arguments.ambient)
    enlarger = Enlarger.of(models.read(arguments.model, arguments, registry), arguments, registry)
    if enlarger.warning:
        print(printable(enlarger.warning), file=sys.stderr)
    with StopFlag() as stop:
        for path, target in places.items():
            if target.exists() and not arguments.overwrite:
                print(f"{printable(target)} is there already (--overwrite replaces it)", file=sys.stderr)
                continue
            try:
                count = _enlarge(path, target, enlarger, stop)
            except Interrupted as error:
                raise Stopped(f"{error}; {printable(target)} is not written yet") from None
            print(f"{count} frames of {printable(path)} enlarged, in {printable(target)}", file=sys.stderr)
    return 0


def _places(arguments: argparse.Namespace) -> dict[Path, Path]:
    """Return the target of each film. Raises UsageError where it cannot be a film's, or would be an INPUT."""
    out, paths = Path(arguments.out), [Path(text) for text in arguments.inputs]
    if arguments.out == "-":
        raise UsageError("-o - writes an image: give a file or a folder for a film")
    naming = targets.Naming(arguments.suffix)
    if out.suffix.lower() in WRITTEN and not out.is_dir():
        if len(paths) > 1:
            raise UsageError(f"-o {printable(out)} names one film, and there are {len(paths)}: give a folder")
        places = {paths[0]: out}
    elif out.suffix and not out.is_dir() and not arguments.out.endswith("/"):
        written = ", ".join(WRITTEN)
        raise UsageError(f"-o {printable(out)}: films are written as {written}; a folder's name may end with /")
    else:
        places = {}
        for path in paths:
            suffix = path.suffix.lower() if path.suffix.lower() in WRITTEN else ".mkv"
            places[path] = out / f"{path.stem}{naming.behind}{suffix}"
    sources = {path.resolve() for path in paths}
    if len(set(places.values())) < len(paths):
        raise UsageError(f"two films would become one file in {printable(out)}: give them to two commands")
    for path, target in places.items():
        if target.resolve() in sources:
            raise UsageError(f"{printable(path)} would be written over {printable(target)}; give another -o")
    return places


def _enlarge(path: Path, target: Path, enlarger: Enlarger, stop: Any) -> int:
    """Write a film enlarged and return how many frames it has. Raises Interrupted after a signal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from srkit.cli.output import clean, console
    from srkit.video.coding import coding_for
    from srkit.video.enlarging import enlarge_film
    from srkit.video.film import read_film
    from srkit.video.joining import refuse_what_it_cannot_hold
    from srkit.video.parts import Parts

    arguments = enlarger.arguments
    film = read_film(path)
    try:
        height, width = enlarger.size_for(film.height, film.width)
    except ValueError as error:
        raise InputRejected(path, str(error)) from None
    suffix = target.suffix.lower()
    coding = coding_for(film, width, height, codec=arguments.codec, quality=arguments.quality, suffix=suffix)
    refuse_what_it_cannot_hold(coding, suffix)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    parts = Parts(target.with_name(f"{target.name}.parts"), _job(film, coding, enlarger))
    with parts.held(), Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(clean(path.name), total=film.frames or None)
        return enlarge_film(
            coding,
            parts,
            target,
            enlarger.enlarge_together,
            together=enlarger.tiler.together((film.height, film.width)),
            length=arguments.part or PART,
            done=functools.partial(_done, progress, task, stop),
            say=say,
        )


def _done(progress: Progress, task: Any, stop: Any, frames: int) -> None:
    progress.update(task, completed=frames)
    stop.heed()


def _job(film: Film, coding: Coding, enlarger: Enlarger) -> dict[str, Any]:
    """Return all that the frames depend on: parts are gone on with where it is the same."""
    import av

    from srkit import __version__
    from srkit.engine.weights.reading import digest

    model, arguments = enlarger.model, enlarger.arguments
    said = {"architecture": model.architecture, "scale": model.scale, "settings": repr(sorted(model.settings.items()))}
    status = os.stat(film.path)
    words = ("forward", "ensemble", "back_projection", "precision", "tile", "memory", "part")
    return {
        "film": f"{film.path.resolve()}, {status.st_size} bytes, of {status.st_mtime_ns}",
        "network": digest(model.network.state_dict(), said)[:16],
        "device": str(enlarger.tiler.device),
        "size": f"{coding.width}x{coding.height}",
        "codec": f"{coding.codec.name} {coding.format}",
        "quality": arguments.quality,
        **{name: getattr(arguments, name) for name in words},
        "made by": f"srkit {__version__}, PyAV {av.__version__}",
    }
