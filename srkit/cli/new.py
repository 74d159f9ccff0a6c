"""Begin something of your own.

srkit new recipe NAME    copy a packaged recipe here, to change it
srkit new recipe NAME --from options.yml
                         write NAME.toml from an option file of BasicSR,
                         traiNNer-redux or neosr
srkit new plugin NAME    write a plugin that works, to change it: a folder
                         to install, to test and to train with
"""

from __future__ import annotations

import argparse
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from srkit import files
from srkit.cli import scaffold
from srkit.cli.moving import recipe_of, text_of
from srkit.cli.options import read_options
from srkit.errors import RunFailed, UsageError, did_you_mean
from srkit.plugin.discovery import discover
from srkit.recipe.layers import Override, lay_overrides, long_forms, without_removed
from srkit.recipe.packaged import packaged_recipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.usage = (
        "srkit new recipe NAME [--from FILE [--set KEY=VALUE]]\n"
        "       srkit new plugin NAME [--kind KIND] [--to DIR] [-p FILE]"
    )
    parser.add_argument("what", choices=list(MAKERS), metavar="recipe|plugin", help="what to make")
    parser.add_argument(
        "name",
        metavar="NAME",
        help=f"a packaged recipe ({', '.join(packaged_recipes())}); with --from, the new recipe's name; or what the "
        "plugin's component is called",
    )
    recipe = parser.add_argument_group("of a recipe")
    recipe.add_argument("--from", dest="source", metavar="FILE", help="an option file of another toolbox, YAML or TOML")
    recipe.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="with --from: what the options do not have"
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
    if arguments.source is not None:
        return _moved(Path(arguments.source), Path(f"{arguments.name.removesuffix('.toml')}.toml"), arguments.set)
    if arguments.set:
        raise UsageError("--set goes with --from")
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
            _write(target, source.read_bytes())
    return 0


def _moved(source: Path, target: Path, overrides: Sequence[str]) -> int:
    """Write a recipe from another toolbox's option file."""
    if target.exists():
        raise UsageError(f"{target} is there already; remove it first")
    options = read_options(source)
    given = {Override.parse(text).path[0] for text in overrides}
    tree = lay_overrides(long_forms(recipe_of(options, given)), overrides)[0]
    _write(target, text_of(without_removed(tree), options).encode())
    if options.left:
        count = len(options.left)
        keys = "key has no counterpart and is a comment" if count == 1 else "keys have no counterpart and are comments"
        print(f"{count} {keys} at its end")
    return 0


def _write(target: Path, data: bytes) -> None:
    try:
        files.write_file(target, data)
    except OSError as error:
        raise RunFailed(f"{target}: cannot be written: {error.strerror}") from None
    print(target)


def _plugin(arguments: argparse.Namespace) -> int:
    """Write the plugin's folder, and say what to type next."""
    if arguments.source is not None or arguments.set:
        raise UsageError("--from and --set go with `srkit new recipe`")
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
