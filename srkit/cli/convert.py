"""Make any checkpoint a file that describes itself: safetensors, with its architecture, settings and scale.

IN is weights of any kind (.pth, .pt, .ckpt, .safetensors), whose network --architecture, --scale and --set say; or a
file that srkit wrote, or a run directory, which say it themselves. No code of a file is ever run. OUT then needs no
words: `srkit eval OUT`, `srkit upscale OUT`, and `weights` under [start] in a recipe.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from srkit import files
from srkit.cli import models, output
from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.plugin.discovery import discover

if TYPE_CHECKING:
    from srkit.engine.weights.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", metavar="IN", help="weights, a file that srkit wrote, or a run directory")
    parser.add_argument("target", metavar="OUT", help="the .safetensors file to write; it must not be there yet")
    models.add_arguments(parser)


def main(arguments: argparse.Namespace) -> int:
    """Convert a checkpoint."""
    from srkit.engine.builder import Builder
    from srkit.engine.weights.model import describe_converted, save_model

    target = Path(arguments.target)
    _refuse_target(target)
    registry = discover(arguments.plugins, arguments.ambient)
    model = models.read(arguments.source, arguments, registry)
    if arguments.scale is not None and model.made_for != arguments.scale:
        raise UsageError(
            f"{model.reading.path} is a network '{model.architecture}' made for scale {model.made_for}, and stays one: "
            f"leave out --scale {arguments.scale:g}, which eval and upscale take"
        )
    try:
        description = describe_converted(model, Builder(registry))
    except OSError as error:
        raise InputRejected(model.reading.path, f"cannot be read: {error.strerror}") from None
    try:
        files.make_directory(target.parent)
        files.remove_remains(target.parent)
        save_model(target, model.network.state_dict(), description)
    except OSError as error:
        raise RunFailed(f"{target}: cannot be written: {error.strerror}") from None
    _report(model, target, arguments.plugins)
    return 0


def _refuse_target(target: Path) -> None:
    if target.suffix != ".safetensors":
        raise UsageError(
            f"OUT must end with .safetensors, and {target} does not: a pickle (.pt, .pth, .ckpt) can hold code, "
            "and none is written"
        )
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} is there already; remove it first, or give another OUT")


def _report(model: Model, target: Path, plugins: list[str]) -> None:
    reading, out = model.reading, output.console()
    values = sum(reading.taken.taken.values())
    tensors = _tensors(len(reading.taken.taken))
    size = f"{target.stat().st_size / 2**20:,.1f} MiB"
    out.print(
        f"[green]ok[/green]  [bold]{output.clean(target)}[/bold]  "
        f"{output.clean(model.architecture)} x{model.made_for}, {size}",
        soft_wrap=True,
    )
    lines = [("matched", f"{tensors} ({values:,} values) of {reading.path}")]
    off = [f"{what} '{name}'" for what, name in (("wrapper", reading.wrapper), ("prefix", reading.prefix)) if name]
    if off:
        lines.append(("taken off", ", ".join(off)))
    lines += [(f"now {made}", f"{_tensors(count)} of {found}") for (found, made), count in reading.cast.items()]
    words = [word for plugin in plugins for word in ("-p", plugin)]
    lines.append(("next", f"{shlex.join(['srkit', 'eval', *words, str(target)])} --data FOLDER"))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        out.print(f"    {name:<{width}}  {output.clean(text)}", soft_wrap=True)


def _tensors(count: int) -> str:
    return f"{count} tensor" if count == 1 else f"{count} tensors"
