"""Score networks on folders of images, beside bicubic: one table a folder and protocol.

With several models, the differences to the first one have 95 % intervals (paired bootstrap over the images).

A MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set.
"""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srkit import api
from srkit.cli import models, output, printable, tables
from srkit.errors import UsageError
from srkit.plugin.discovery import discover
from srkit.protocol import METHODS, Ensemble, Forward

FAR = 3.0  # dB below bicubic: no network that was trained for these images is


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="best.safetensors, a run directory, other weights")
    parser.add_argument(
        "--data",
        metavar="[NAME=]PATH",
        action="append",
        required=True,
        help="a folder of images, with LR beside HR or not; may be given several times",
    )
    models.add_arguments(parser)
    parser.add_argument(
        "--protocol",
        dest="protocols",
        metavar="NAME",
        action="append",
        default=[],
        help=f"{' or '.join(METHODS)}; may be given several times, for a table each",
    )
    parser.add_argument(
        "--forward",
        choices=typing.get_args(Forward),
        default="whole",
        help="how images are taken: whole (default), chop: in quarters as EDSR does, tiles: in overlapping tiles",
    )
    parser.add_argument(
        "--ensemble",
        choices=typing.get_args(Ensemble),
        default="none",
        help="none (default), or x8: the mean over the eight symmetries",
    )
    parser.add_argument(
        "--metric",
        dest="metrics",
        metavar="NAME",
        action="append",
        default=[],
        help="a metric (psnr_y and ssim_y where none is given); may be given several times",
    )
    parser.add_argument("--table", choices=[*tables.FORMATS, "json"], help="print the tables in this form")
    parser.add_argument("--json", action="store_true", help="print one JSON document: --table json")


def main(arguments: argparse.Namespace) -> int:
    """Evaluate each model on each folder."""
    arguments.json = arguments.json or arguments.table == "json"
    from srkit.engine.device import pick_device

    folders = _folders(arguments.data)
    registry = discover(arguments.plugins, arguments.ambient)
    found = [models.read(path, arguments, registry) for path in arguments.models]
    if arguments.forward == "tiles":
        for name in dict.fromkeys(model.architecture for model in found):
            if registry.find("architecture", name).component.facts.get("tileable") is False:
                text = f"architecture '{name}' states that tiles do not make up its output: these are scores of tiles"
                print(printable(text), file=sys.stderr)
    scales = {model.scale for model in found}
    if len(scales) > 1:
        raise UsageError(f"the models have scales {', '.join(map(str, sorted(scales)))}: one at a time")
    device = pick_device("auto")
    networks = {name: m.network.to(device) for name, m in zip(_names(arguments.models), found, strict=True)}
    scale = scales.pop()
    found_tables = [
        table
        for protocol in arguments.protocols or ["paper"]
        for table in api.evaluate(
            networks,
            folders,
            scale=scale,
            metrics=arguments.metrics or ("psnr_y", "ssim_y"),
            protocol=protocol,
            forward=arguments.forward,
            ensemble=arguments.ensemble,
            registry=registry,
        )
    ]
    _tell_of_other_ranges(found_tables)
    if arguments.json:
        output.print_json({"schema": 1, "tables": found_tables}, arguments.stdout)
    elif arguments.table is not None:
        print(tables.FORMATS[arguments.table](found_tables), file=arguments.stdout)
    else:
        output.print_tables(found_tables)
    return 0


def _tell_of_other_ranges(found: Sequence[dict[str, Any]]) -> None:
    """Say of a network that is far worse than bicubic what the reason usually is."""
    for table in found:
        means = {row["model"]: row["mean"] for row in table["rows"]}
        for model, mean in means.items():
            if any("psnr" in metric and mean[metric] < means["bicubic"][metric] - FAR for metric in mean):
                text = f"{model} is far below bicubic: is it trained, and does it take values of 0..1?"
                print(printable(text), file=sys.stderr)


def _folders(given: Sequence[str]) -> dict[str, str]:
    """Return the path of each folder by its name."""
    folders: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():  # a path may hold "=", too
            name, path = Path(text).resolve().name, text
        if name in folders:
            raise UsageError(f"two folders are named '{name}'; give them names, --data NAME=PATH")
        folders[name] = path
    return folders


def _names(paths: Sequence[str]) -> list[str]:
    """Return a row's name for each model: the run's or the file's, or the path where that would be no name."""
    names = []
    for path in map(Path, paths):
        is_run = path.is_dir() or path.name in ("best.safetensors", "last.safetensors")
        names.append((path if path.is_dir() else path.resolve().parent).resolve().name if is_run else path.stem)
    return [
        path if names.count(name) > 1 or name == "bicubic" else name for name, path in zip(names, paths, strict=True)
    ]
