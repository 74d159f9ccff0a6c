"""Copy a packaged recipe here, to change it: srkit new recipe quickstart"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from srkit import files
from srkit.errors import UsageError, did_you_mean
from srkit.packaged import packaged_recipes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("what", choices=["recipe"], help="what to make")
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(packaged_recipes())}")


def main(arguments: argparse.Namespace) -> int:
    """Copy the recipe and what it extends into the current folder; no file is overwritten."""
    known = packaged_recipes()
    wanted: list[Path] = []
    name = arguments.name.removesuffix(".toml")
    while name:
        if name not in known:
            raise UsageError(f"there is no packaged recipe '{name}'{did_you_mean(name, known)}")
        wanted.append(known[name])
        name = Path(tomllib.loads(known[name].read_text(encoding="utf-8")).get("extends", "")).stem
    for source in wanted:
        if Path(source.name).exists() and source is wanted[0]:
            raise UsageError(f"{source.name} is here already; nothing was overwritten")
    for source in reversed(wanted):
        if not Path(source.name).exists():
            files.write_file(Path(source.name), source.read_bytes())
            print(source.name)
    return 0
