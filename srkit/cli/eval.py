"""Score networks on folders of images, beside bicubic: one table a folder, under one protocol.

A MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from srkit import api
from srkit.cli import output
from srkit.errors import UsageError
from srkit.plugins import discover
from srkit.reading import read_part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="best.safetensors, a run directory, other weights")
    parser.add_argument(
        "--data",
        metavar="[NAME=]PATH",
        action="append",
        required=True,
        help="a folder of images, with LR beside HR or not",
    )
    parser.add_argument("--scale", type=int, metavar="N", help="the scale, where the file does not say it")
    parser.add_argument("--architecture", metavar="NAME", help="the network, where the file does not say it")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="a setting of the network"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Evaluate each model on each folder."""
    from srkit.engine.build import pick_device
    from srkit.engine.model import read_model

    registry = discover(arguments.plugins)
    if arguments.overrides and arguments.architecture is None:
        raise UsageError("--set needs --architecture: whose setting is it?")
    settings = {}
    if arguments.architecture is not None:
        part = read_part(registry, "architecture", arguments.architecture, arguments.overrides)
        settings = dict(part.settings)
    models = [
        read_model(Path(path), registry, architecture=arguments.architecture, scale=arguments.scale, settings=settings)
        for path in arguments.models
    ]
    scales = {model.scale for model in models}
    if len(scales) > 1:
        raise UsageError(f"the models have scales {', '.join(map(str, sorted(scales)))}: one at a time")
    names = _unique([_name(Path(path)) for path in arguments.models], arguments.models)
    device = pick_device("auto")
    folders: dict[str, str] = {}
    for given_data in arguments.data:
        name, equals, path = given_data.partition("=")
        if not equals:
            name, path = Path(given_data).resolve().name, given_data
        if name in folders:
            raise UsageError(f"two folders are named '{name}'; give them names, NAME=PATH")
        folders[name] = path
    networks = {name: model.network.to(device) for name, model in zip(names, models, strict=True)}
    tables = api.evaluate(networks, folders, scale=scales.pop(), registry=registry)
    if arguments.json:
        output.print_json({"schema": 1, "tables": tables})
    else:
        output.print_tables(tables)
    return 0


def _name(path: Path) -> str:
    run = path if path.is_dir() else path.parent
    return run.resolve().name if path.is_dir() or path.name in ("best.safetensors", "last.safetensors") else path.stem


def _unique(names: list[str], paths: list[str]) -> list[str]:
    return [
        path if names.count(name) > 1 or name == "bicubic" else name for name, path in zip(names, paths, strict=True)
    ]
