"""Begin something of your own.

srkit new recipe NAME    copy a packaged recipe here, to change it
srkit new plugin NAME    write a plugin that works, to change it: a folder
                         to install, to test and to train with
"""

from __future__ import annotations

import argparse
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from srkit import files
from srkit.cli import scaffold
from srkit.errors import RunFailed, UsageError, did_you_mean
from srkit.plugin.discovery import discover
from srkit.recipe.packaged import packaged_recipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.usage = "srkit new recipe NAME\n       srkit new plugin NAME [--kind KIND] [--to DIR] [-p FILE]"
    parser.add_argument("what", choices=list(MAKERS), metavar="recipe|plugin", help="what to make")
    parser.add_argument(
        "name",
        metavar="NAME",
        help=f"a packaged recipe ({', '.join(packaged_recipes())}), or what the plugin's component is to be called",
    )
    plugin = parser.add_argument_group("of a plugin")
    plugin.add_argument("--kind", metavar="KIND", help=f"{', '.join(scaffold.EXAMPLES)} (architecture)")
    plugin.add_argument("--to", metavar="DIR", help="the folder to make (srkit-NAME)")


def main(arguments: argparse.Namespace) -> int:
    """Make what was asked for; no file is overwritten."""
    return MAKERS[arguments.what](arguments)


def _recipe(arguments: argparse.Namespace) -> int:
    """Copy the recipe and what it extends into the current folder."""
    if arguments.kind is not None or arguments.to is not None:
        raise UsageError("--kind and --to go with `srkit new plugin`")
    known = packaged_recipes()
    wanted: list[Path] = []
    name = arguments.name.removesuffix(".toml")
    while name:
        if name not in known:
            raise UsageError(f"there is no packaged recipe '{name}'{did_you_mean(name, known)}")
        wanted.append(known[name])
        name = Path(tomllib.loads(known[name].read_text(encoding="utf-8")).get("extends", "")).stem
    for source in wanted:
        target = Path(source.name)
        if target.exists() and (source is wanted[0] or target.read_bytes() != source.read_bytes()):
            raise UsageError(f"{target} is there already; remove it first")
    for source in reversed(wanted):
        target = Path(source.name)
        if not target.exists():
            try:
                files.write_file(target, source.read_bytes())
            except OSError as error:
                raise RunFailed(f"{target}: cannot be written: {error.strerror}") from None
            print(target)
    return 0


def _plugin(arguments: argparse.Namespace) -> int:
    """Write the plugin's folder, and say what to type next."""
    registry = discover(arguments.plugins, arguments.ambient)
    kind = "architecture" if arguments.kind is None else arguments.kind
    plugin = scaffold.plan_plugin(registry, kind, arguments.name)
    target = Path(plugin.distribution if arguments.to is None else arguments.to)
    for path in scaffold.write_plugin(plugin, target):
        print(path)
    commands = [
        ["pip", "install", "-e", f"{target}[test]"],
        ["pytest", str(target)],
        ["srkit", "show", plugin.name],
        ["srkit", "run", str(target / "recipe.toml"), "--out", f"runs/{plugin.name}"],
    ]
    print("\nnext:")
    for command in commands:
        print(f"    {shlex.join(command)}")
    return 0


MAKERS: Mapping[str, Callable[[argparse.Namespace], int]] = {"recipe": _recipe, "plugin": _plugin}
