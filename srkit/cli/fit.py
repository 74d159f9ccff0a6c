"""Make the file that a metric needs, of photographs: `srkit fit niqe photos niqe.npz`.

SRC is a folder of images, or any dataset as TYPE:PATH. DST must not be there yet.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.cli import output
from srkit.cli.datasets import format_of, make_dataset, names_dataset
from srkit.errors import InputRejected, UsageError
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry
from srkit.plugin.settings import REQUIRED, read_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from srkit.plugin.contracts import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("metric", metavar="METRIC", help="a metric that is fitted to images: niqe")
    parser.add_argument("source", metavar="SRC", help="a folder of images, or any dataset as TYPE:PATH")
    parser.add_argument("target", metavar="DST", help="the file to make; it must not be there yet")
    parser.add_argument("--recursive", action="store_true", help="take the images of the folders below SRC, too")


def main(arguments: argparse.Namespace) -> int:
    """Fit."""
    from rich.progress import track

    from srkit.engine.data.conversions import to_8_bits
    from srkit.files import write_file

    registry = discover(arguments.plugins, arguments.ambient)
    if arguments.metric.endswith(".toml"):
        raise UsageError(
            f"{arguments.metric} is a recipe, and fit makes the file of a metric: srkit run trains recipes"
        )
    component = registry.find("metric", arguments.metric).component
    make = component.load()
    fit = getattr(make, "fit", None)
    if not callable(fit):
        raise UsageError(f"metric '{arguments.metric}' has nothing to fit: it needs no file of images' statistics")
    target = Path(arguments.target)
    if os.path.lexists(target):
        raise UsageError(f"{target} is there already: remove it, or give another name")
    images = _source(registry, arguments.source, recursive=arguments.recursive)

    def read() -> Iterator[NDArray[np.uint8]]:
        screen = output.console(stderr=True)
        for index in track(range(len(images)), "", console=screen, transient=True, disable=not sys.stderr.isatty()):
            yield to_8_bits(images.read(index))

    try:
        data: bytes = fit(read())
    except ValueError as error:
        raise InputRejected(arguments.source, str(error)) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, data)
    settings = read_settings(make, KINDS["metric"].given)
    name = next((name for name, setting in settings.items() if setting.default is REQUIRED), "path")
    text = f"{len(images):,} image{'' if len(images) == 1 else 's'}"
    table = f'metric = {{ type = "{arguments.metric}", {name} = {json.dumps(str(target))} }}'
    out = output.console()
    out.print(f"[green]ok[/green]  [bold]{output.clean(target)}[/bold]  fitted to {text}", soft_wrap=True)
    out.print(f"    in a recipe  {output.clean(table)}", soft_wrap=True)
    return 0


def _source(registry: Registry, text: str, *, recursive: bool) -> Dataset:
    path = Path(text)
    if not os.path.lexists(path) and names_dataset(text, registry):
        if recursive:
            raise UsageError(f"--recursive goes with a folder, and {text} says all by itself")
        return make_dataset(text, registry, "")[1]
    more = {"recursive": True} if recursive else {}
    made: Dataset = registry.create("dataset", format_of(registry, "dataset", path), path=text, **more)
    return made
