"""Score networks on folders of images, beside bicubic: one table a folder, under one protocol.

A MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from srkit import api
from srkit.cli import models, output
from srkit.errors import UsageError
from srkit.plugins import discover


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
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Evaluate each model on each folder."""
    from srkit.engine.build import pick_device

    folders = _folders(arguments.data)
    registry = discover(arguments.plugins)
    found = [models.read(path, arguments, registry) for path in arguments.models]
    scales = {model.scale for model in found}
    if len(scales) > 1:
        raise UsageError(f"the models have scales {', '.join(map(str, sorted(scales)))}: one at a time")
    device = pick_device("auto")
    networks = {name: m.network.to(device) for name, m in zip(_names(arguments.models), found, strict=True)}
    tables = api.evaluate(networks, folders, scale=scales.pop(), registry=registry)
    if arguments.json:
        output.print_json({"schema": 1, "tables": tables}, arguments.stdout)
    else:
        output.print_tables(tables)
    return 0


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
