"""Make LR images from HR images: PNGs under DST with the names of SRC, HR cropped to a multiple of the scale.

SRC is a folder of images or one image, or any dataset: photos.h5, or TYPE:PATH as in h5:photos, folder:DIV2K, or TYPE
alone where it needs no path (leaves). A dataset gives pixels; of files that are named, what says their colours is kept.
A bad image is named and the rest goes on; the exit code is then 3.

TYPE may be a recipe: its degradation and its scale are taken, and --set KEY=VALUE overrides the recipe's keys. A random
degradation draws by --seed and by the image's place in SRC. --sheet shows some images, each with three draws and what
was drawn; the first is what DST has.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from srkit import files
from srkit.cli import any_scale, print_traceback, printable, whole_number
from srkit.cli.datasets import format_of, make_dataset, names_dataset, split
from srkit.cli.folders import file_of, images_of
from srkit.cli.output import clean, console
from srkit.errors import InputRejected, RunFailed, UsageError, nearest
from srkit.images.color import is_grey_profile
from srkit.images.encoding import encode_png
from srkit.images.reading import Picture, read_picture
from srkit.plugin.discovery import discover
from srkit.recipe.packaged import find_recipe, packaged_recipes
from srkit.recipe.reading import read_part, read_recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from srkit.plugin.part import Part
    from srkit.plugin.registry import Registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "type", metavar="TYPE", help="a degradation, as `srkit list degradation` names it, or a recipe that has one"
    )
    parser.add_argument("source", metavar="SRC", help="a folder of HR images, one image, or a dataset: TYPE:PATH")
    parser.add_argument("target", metavar="DST", help="the folder of LR images to make; files there are replaced")
    parser.add_argument("--scale", type=any_scale, metavar="N", help="how much smaller LR is (a recipe's own)")
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="decides what a random degradation draws (0)"
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="a picture of some images and draws, to look at")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the degradation, or a key of the recipe; may be given several times",
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
    part, of_recipe = degradation_of(registry, arguments.type, arguments.overrides)
    scale = arguments.scale or of_recipe
    if scale is None:
        raise UsageError(f"give --scale N, how much smaller LR is: '{part.type}' does not say it, as a recipe would")
    if arguments.sheet is not None and arguments.sheet.suffix.lower() != ".png":
        raise UsageError(f"--sheet makes a PNG: give it a name that ends with .png, not {printable(arguments.sheet)}")
    builder = Builder(registry)
    degrade = make_degrade(builder, part, scale, seed=arguments.seed)
    work, told = _plan(arguments.source, Path(arguments.target), registry, recursive=arguments.recursive)
    for folder in dict.fromkeys(target.parent for target in work):
        files.remove_remains(folder)
    screen = console(stderr=True)
    quiet = not sys.stderr.isatty()
    bad = 0
    for i, (target, hr) in enumerate(
        track(work.items(), description="", console=screen, transient=True, disable=quiet)
    ):
        try:
            data = _degraded(hr, i, degrade)
        except InputRejected as error:
            bad += 1
            if arguments.traceback:
                print_traceback(error)
            screen.print(clean(error), soft_wrap=True)
            continue
        try:
            files.make_directory(target.parent)
            files.write_file(target, data)
        except OSError as error:
            raise RunFailed(f"{printable(target)}: cannot be written: {error.strerror}") from None
    if arguments.sheet is not None:
        from srkit.cli.sheet import draw_sheet

        draw_sheet(arguments.sheet, builder, part, scale, arguments.seed, [hr.read for hr in work.values()])
        print(f"a sheet of draws is in {printable(arguments.sheet)}", file=sys.stderr)
    if told:
        print(printable(told), file=sys.stderr)
    done = f"{len(work) - bad} of {len(work)} images downscaled by {scale}"
    print(f"{done}, in {printable(arguments.target)}", file=sys.stderr)
    return InputRejected.exit_code if bad else 0


def degradation_of(registry: Registry, name: str, overrides: list[str]) -> tuple[Part, int | None]:
    """Return the degradation of a name, or that of a recipe with the recipe's scale.

    Raises UsageError where a recipe has none; ComponentError and RecipeError for what is wrong.
    """
    known = {entry.component.name for entry in registry.of_kind("degradation")}
    recipes = packaged_recipes()
    if name.rpartition(":")[2] in known or not (name.endswith(".toml") or name in recipes):
        near = nearest(name, recipes)
        if near is not None and name.rpartition(":")[2] not in known and nearest(name, known) is None:
            raise UsageError(f"there is no degradation and no recipe '{name}'; did you mean the recipe '{near}'?")
        return read_part(registry, "degradation", name, overrides), None
    recipe, _ = read_recipe(find_recipe(name), registry, overrides=overrides)
    if recipe.data.degradation is None:
        raise UsageError(f"recipe {name} names no data.degradation; its LR are files, or MATLAB's bicubic")
    return recipe.data.degradation, recipe.scale


@attrs.frozen
class _Hr:
    """An HR image: what errors call it, and how it is read. `read` raises InputRejected."""

    name: str | Path
    read: Callable[[], Picture]


def _plan(source: str, target: Path, registry: Registry, *, recursive: bool) -> tuple[dict[Path, _Hr], str]:
    """Return what each target is made of, and a line about SRC, or "", before anything is written.

    Raises UsageError where two images would get one name, or one would be written over itself.
    """
    if target.exists() and not target.is_dir():
        raise UsageError(f"DST is a folder to make LR images in, but {printable(target)} is a file")
    path = Path(source)
    named = source
    if path.exists() and (format_ := format_of(registry, "dataset", path)) != "folder":
        named = f"{format_}:{source}"
    if named != source or (not path.exists() and names_dataset(named, registry)):
        if recursive:
            raise UsageError("--recursive is for folders: a dataset says itself what it holds")
        return _plan_dataset(named, target, registry)
    return _plan_files(path, target, recursive=recursive)


def _plan_dataset(named: str, target: Path, registry: Registry) -> tuple[dict[Path, _Hr], str]:
    from srkit.engine.data.pairs import Pairs

    _, dataset = make_dataset(named, registry, "")
    root = split(named, registry)[1]
    if root and Path(root).resolve() in (target.resolve(), *target.resolve().parents):
        raise UsageError(f"DST lies in SRC: LR images would stand among the files of {printable(root)}")
    # As it is, without LR: it looks at what a dataset gives, and names the image.
    pairs = Pairs(dataset, 1, degradation=None, made_by="", files=False)

    def read(index: int) -> Picture:
        return Picture(pairs.read(index)[1])

    work: dict[Path, _Hr] = {}
    for index in range(len(pairs)):
        name = pairs.name(index)
        path = target / file_of(name)
        if path in work:
            raise UsageError(f"two images of {printable(named)} are called {printable(name)}")
        work[path] = _Hr(name, functools.partial(read, index))
    if not work:
        raise InputRejected(named, "there are no images")
    return work, pairs.describe()


def _plan_files(source: Path, target: Path, *, recursive: bool) -> tuple[dict[Path, _Hr], str]:
    images, left_out = images_of(source, target, recursive=recursive)
    if target.resolve() == source.resolve():
        raise UsageError(f"DST is SRC: LR images would stand among the HR images of {printable(source)}")
    inputs = {image.resolve() for image in images}
    work: dict[Path, _Hr] = {}
    for image in images:
        name = target / (image.relative_to(source) if source.is_dir() else Path(image.name)).with_suffix(".png")
        if name in work:
            raise UsageError(f"{printable(work[name].name)} and {printable(image)} would both become {printable(name)}")
        if name.resolve() in inputs:
            raise UsageError(f"{printable(name)} would be written over itself; give another DST")
        work[name] = _Hr(image, functools.partial(read_picture, image))
    return work, left_out


def _degraded(source: _Hr, index: int, degrade: Callable[[NDArray[Any], int], NDArray[Any]]) -> bytes:
    """Return the PNG of an LR image, with what says what HR's colours mean. Raises InputRejected."""
    hr = source.read()
    try:
        lr = degrade(hr.pixels, index)
    except ValueError as error:
        raise InputRejected(source.name, str(error)) from None
    if is_grey_profile(hr.icc):  # which means nothing beside three channels
        if not (lr == lr[..., :1]).all():
            raise InputRejected(source.name, "has a colour profile of grey, and its LR has colours: save it without")
        lr = lr[..., :1]
    return encode_png(lr, icc=hr.icc, chunks=hr.color)
