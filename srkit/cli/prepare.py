"""Pack images for training, whole frames or tiles: LMDB, HDF5, LitData or a folder, with LR beside HR or not.

DST is there when all of it is there: a command that was stopped leaves nothing that looks whole. A bad image is named,
and nothing is written, unless --skip-bad leaves it out. `srkit prepare --verify DST` reads all of it again.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.cli import error_text, output, shards, whole_number
from srkit.cli.datasets import format_of, formats, make_dataset, meant_by, names_dataset
from srkit.cli.degrade import degradation_of
from srkit.errors import InputRejected, UsageError
from srkit.images.manifest import Manifest
from srkit.plugin.component import making
from srkit.plugin.contracts import KINDS, Dataset, Writer
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry
from srkit.plugin.settings import read_settings
from srkit.recipe.reading import read_part

if TYPE_CHECKING:
    from srkit.plugin.part import Part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SRC",
        help="a folder of images, the root of a known layout, any dataset as TYPE:PATH",
    )
    parser.add_argument("target", nargs="?", metavar="DST", help="what to make; it must not be there yet")
    parser.add_argument(
        "--to", metavar="FORMAT", help="lmdb, h5, litdata or folder (what DST ends with, or else folder)"
    )
    parser.add_argument("--from", dest="origin", metavar="TYPE", help="the dataset that reads SRC (as --to)")
    parser.add_argument(
        "--recursive", action="store_true", help="take the images of the folders below SRC, too, as cats/001"
    )
    parser.add_argument("--lr", metavar="PATH", help="LR of SRC, where it is not beside it; may contain {scale}")
    parser.add_argument(
        "--crop", type=whole_number, default=0, metavar="N", help="cut tiles of N pixels (whole images)"
    )
    parser.add_argument(
        "--step", type=whole_number, default=0, metavar="N", help="from tile to tile (as --crop: no overlap)"
    )
    parser.add_argument(
        "--scale",
        type=_scales,
        dest="scales",
        action="extend",
        default=[],
        metavar="N",
        help="keep LR too (the scale of a recipe that --degradation names); may be given several times, or as 2,4",
    )
    parser.add_argument(
        "--degradation",
        metavar="TYPE",
        help="makes LR: a degradation, or a recipe that has one (the LR files beside HR, or else MATLAB's bicubic)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the degradation; may be given several times",
    )
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="decides what a random degradation draws (0)"
    )
    parser.add_argument(
        "--threads",
        type=whole_number,
        default=os.cpu_count() or 1,
        metavar="N",
        help="threads that decode images (as many as there are cores)",
    )
    shards.add_arguments(parser)
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be used")
    parser.add_argument("--verify", metavar="DST", help="compare every pixel of DST with what was written")


def main(arguments: argparse.Namespace) -> int:
    """Prepare or verify."""
    _refuse_contradictions(arguments)
    if arguments.verify is not None:
        return _verify(arguments)

    from srkit.engine.builder import Builder
    from srkit.engine.data import preparing

    registry = discover(arguments.plugins, arguments.ambient)
    target = Path(arguments.target)
    degradation, scales = _lr(registry, arguments)
    unit = _unit(arguments, scales)
    format_ = arguments.to or format_of(registry, "writer", target)
    _refuse_another_ending(registry, target, format_)
    component = registry.find("writer", format_).component
    writer = component.load()
    settings = {}
    if degradation is not None and "lr" in read_settings(writer, KINDS["writer"].given):
        settings["lr"] = f"LR_{degradation.type.rpartition(':')[2]}"

    def make_writer(path: Path) -> Writer:
        with making(component, OSError):  # of a full disk, which is no fault of the writer
            made: Writer = writer(path=path, **settings)
        return made

    images = _source(registry, arguments)
    prepared = preparing.prepare(
        Builder(registry),
        images,
        target,
        make_writer,
        format=format_,
        tiles=preparing.Tiles(arguments.crop, arguments.step or arguments.crop, unit),
        scales=scales,
        degradation=degradation,
        seed=arguments.seed,
        shard=arguments.shard,
        threads=arguments.threads,
        skip_bad=arguments.skip_bad,
        bad=_tell,
        track=_track,
    )
    describe = getattr(images, "describe", lambda: f"{len(images)} images")
    _report(target, format_, prepared, describe().replace("recursive = true takes", "--recursive takes"))
    return 0


def _refuse_contradictions(given: argparse.Namespace) -> None:
    if given.verify is not None:
        if given.source is not None:
            raise UsageError("--verify DST stands alone: without SRC")
        return
    if given.target is None:
        raise UsageError("give SRC and DST, or --verify DST; see srkit prepare --help")
    least = {"crop": (given.crop, 0), "step": (given.step, 0), "threads": (given.threads, 1)}
    least["scale"] = (min(given.scales, default=2), 2)
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise UsageError(f"--{name} must be at least {max(1, smallest)}, not {value}")
    if given.step and not given.crop:
        raise UsageError("--step goes with --crop: the size of the tiles")
    if given.step > given.crop:
        raise UsageError(f"--step {given.step} is larger than --crop {given.crop}: it would leave gaps between tiles")
    if given.overrides and not given.degradation:
        raise UsageError("--set goes with --degradation: whose setting it is")


def _lr(registry: Registry, given: argparse.Namespace) -> tuple[Part | None, list[int]]:
    """Return what makes LR, or None, and its scales: those that are given, or else that of a recipe."""
    scales = sorted(set(given.scales))
    if given.degradation is None:
        return None, scales
    degradation, of_recipe = degradation_of(registry, given.degradation, given.overrides)
    if not scales and of_recipe is None:
        raise UsageError("--degradation goes with --scale: how much smaller LR is")
    if not scales and of_recipe == 1:
        raise UsageError(f"recipe {given.degradation} has scale 1, and the LR that is packed has scale 2 at least")
    scales = scales or [typing.cast(int, of_recipe)]
    for scale in scales:
        offered = registry.find("degradation", degradation.type).component.facts.get("scales", (scale,))
        if scale not in offered:
            have = ", ".join(map(str, offered))
            raise UsageError(f"degradation '{degradation.type}' has scales {have}, not {scale}")
    return degradation, scales


def _unit(given: argparse.Namespace, scales: list[int]) -> int:
    """Return what sides and steps of tiles are multiples of. Raises UsageError where they are none."""
    from srkit.engine.data.preparing import unit_of

    unit = unit_of(scales)
    for name, length in (("--crop", given.crop), ("--step", given.step)):
        if length % unit:
            raise UsageError(
                f"{name} {length} is no multiple of {unit}, so the LR of a tile would not begin at a pixel; "
                f"give {length // unit * unit or unit} or {length // unit * unit + unit}"
            )
    return unit


def _scales(text: str) -> list[int]:
    return [whole_number(part) for part in text.split(",")]


def _refuse_another_ending(registry: Registry, path: Path, format_: str) -> None:
    """Raise UsageError for a name that looks like another format's, or like one that there is not."""
    known, meant = formats(registry, "writer"), meant_by(path)
    if meant in known and meant != format_:
        raise UsageError(f"{path} ends as {meant} does, and would be {format_}; give it another name")
    if meant not in known and format_ == "folder" and re.fullmatch(r"[a-z][a-z0-9]{1,4}", meant):
        there_are = " or ".join(f".{name}" for name in known if name != "folder")
        raise UsageError(f"{path} would be a folder; end it with {there_are}, or leave the ending out")


def _source(registry: Registry, arguments: argparse.Namespace) -> Dataset:
    path = Path(arguments.source)
    if not arguments.origin and not os.path.lexists(path) and names_dataset(arguments.source, registry):
        if arguments.lr or arguments.recursive:
            raise UsageError(f"--lr and --recursive go with a path, and {arguments.source} says all by itself")
        return make_dataset(arguments.source, registry, "")[1]
    name = arguments.origin or format_of(registry, "dataset", path)
    return _open(registry, path, name, arguments.lr, recursive=arguments.recursive)


def _open(registry: Registry, path: Path, name: str, lr: str | None, *, recursive: bool) -> Dataset:
    settings = {"path": str(path)}
    if lr is not None:
        known = read_settings(registry.find("dataset", name).component.load())
        settings = {"hr" if "hr" in known else "path": str(path), "lr": lr}
    overrides = [f"{key}={_toml_text(text)}" for key, text in settings.items()]
    part = read_part(registry, "dataset", name, [*overrides, *(["recursive=true"] if recursive else [])])
    with making(registry.find("dataset", name).component):
        source: Dataset = registry.create("dataset", name, **part.settings)
    return source


def _toml_text(text: str) -> str:
    """Return a text as a TOML string: a path named 3 is no number."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tell(error: InputRejected) -> None:
    print(error_text(error), file=sys.stderr)


def _track(indices: Iterator[int], count: int) -> Iterator[int]:
    from rich.progress import track

    screen = output.console(stderr=True)
    return iter(track(indices, "", count, console=screen, transient=True, disable=not sys.stderr.isatty()))


def _report(path: Path, format_: str, prepared: Any, source: str) -> None:
    manifest: Manifest = prepared.manifest
    out = output.console()
    pieces = [f"{prepared.images:,} image{'' if prepared.images == 1 else 's'}"]
    if manifest.made["crop"] and len(manifest.names) == prepared.images:
        pieces.append(f"kept whole: none is larger than a tile of {manifest.made['crop']}")
    elif manifest.made["crop"]:
        pieces.append(f"{len(manifest.names):,} tiles of {manifest.made['crop']} every {manifest.made['step']} pixels")
    if "shard" in manifest.made:
        pieces.append(f"shard {manifest.made['shard']}")
    drawn = f", seed {manifest.made['seed']}" if "seed" in manifest.made else ""
    pieces += [f"LR {scale} by {how}{drawn}" for scale, how in manifest.made["lr"].items()]
    pieces.append(f"{_bytes(path) / 2**20:,.1f} MiB")
    out.print(
        f"[green]ok[/green]  [bold]{output.clean(path)}[/bold]  {output.clean('; '.join(pieces))}", soft_wrap=True
    )
    out.print(f"    from         {output.clean(source)}", soft_wrap=True)
    table = f'dataset = {{ type = "{format_}", path = {_toml_text(str(path))} }}'
    out.print(f"    in a recipe  {output.clean(table)}", soft_wrap=True)


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(Path(folder, name).stat().st_size for folder, _, names in os.walk(path) for name in names)


def _verify(arguments: argparse.Namespace) -> int:
    from srkit.engine.data.verifying import verify

    path = Path(arguments.verify)
    registry = discover(arguments.plugins, arguments.ambient)
    format_ = arguments.origin or arguments.to or format_of(registry, "dataset", path)
    found = verify(path, registry.find("dataset", format_).full_name, plugins=arguments.plugins)
    for line in found.damaged:
        print(error_text(InputRejected(path, line)), file=sys.stderr)
    lr = "".join(f", LR x{scale}" for scale in found.scales)
    if found.damaged:
        damage = f"{found.count:,} of {found.images * (1 + len(found.scales)):,} images are not what was written"
        print(error_text(InputRejected(path, damage)), file=sys.stderr)
        return InputRejected.exit_code
    images = f"{found.images:,} image{'' if found.images == 1 else 's'}{lr}"
    output.console().print(
        f"[green]ok[/green]  [bold]{output.clean(path)}[/bold]  {images}: every pixel is as it was written",
        soft_wrap=True,
    )
    return 0
