"""The networks that a command is given: files that say what they hold, or other weights with the words for them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.cli import any_scale, printable
from srkit.errors import UsageError
from srkit.plugin.registry import Registry
from srkit.recipe.layers import REMOVED, Override
from srkit.recipe.reading import read_part

if TYPE_CHECKING:
    from srkit.engine.weights.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says what a file of weights holds."""
    parser.add_argument(
        "--scale",
        type=any_scale,
        metavar="N",
        help="the scale, where the file does not say it, or where its network serves several",
    )
    parser.add_argument("--architecture", metavar="NAME", help="the network, where the file does not say it")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the network; may be given several times",
    )
    parser.add_argument("--key", metavar="NAME", default="", help="which network of a file of several, as in netG")


def read(path: str, arguments: argparse.Namespace, registry: Registry) -> Model:
    """Return the network of a file. Raises what is wrong with the words, the file or the network."""
    from srkit.engine.builder import Builder
    from srkit.engine.weights.model import read_model

    builder = Builder(registry)
    if arguments.architecture is None:
        if arguments.overrides:
            raise UsageError("--set needs --architecture: whose setting is it?")
        return _told(read_model(Path(path), builder, scale=arguments.scale, key=arguments.key))
    part = read_part(registry, "architecture", arguments.architecture, arguments.overrides)
    model = read_model(
        Path(path),
        builder,
        architecture=arguments.architecture,
        scale=arguments.scale,
        settings=part.settings,
        said=[said.path[0] for said in map(Override.parse, arguments.overrides) if said.value is not REMOVED],
        key=arguments.key,
    )
    return _told(model)


def read_network(path: str, arguments: argparse.Namespace, registry: Registry) -> Model:
    """Return the network of a file, as `read` does, or one that an exporter wrote, which its own runtime computes."""
    from srkit.engine.exporting.opened import exporter_of, open_model, refuse_other_scale

    entry = exporter_of(Path(path), registry)
    if entry is None:
        return read(path, arguments, registry)
    if arguments.architecture or arguments.overrides or arguments.key:
        raise UsageError(f"{path} is a network with its settings: leave out --architecture, --set and --key")
    if arguments.memory is not None:
        name = entry.component.name
        raise UsageError(f"{path} is computed by {name}, whose memory is not known: --tile N takes less")
    if vars(arguments).get("precision", "float32") != "float32":
        raise UsageError(f"{path} is computed as it was exported: leave out --precision")
    if arguments.device not in ("auto", "cpu"):
        print(printable(f"{path} is computed on the CPU, and bicubic on {arguments.device}"), file=sys.stderr)
    model = open_model(Path(path), entry, registry)
    refuse_other_scale(model, arguments.scale)
    fixed = getattr(model.network, "fixed", None)
    if fixed is not None:
        line = f"{path} takes LR of {fixed[0]}x{fixed[1]}: other images are padded, or go in tiles"
        print(printable(line), file=sys.stderr)
    return model


def _told(model: Model) -> Model:
    if model.reading.note:
        print(printable(model.reading.note), file=sys.stderr)
    return model
