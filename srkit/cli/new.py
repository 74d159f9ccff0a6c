"""Copy a packaged recipe here, to change it: srkit new recipe quickstart"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from srkit import files
from srkit.errors import RunFailed, UsageError, did_you_mean
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
        target = Path(source.name)
        if target.exists() and (source is wanted[0] or target.read_bytes() != source.read_bytes()):
            raise UsageError(f"{target} is here already; nothing was overwritten")
    for source in reversed(wanted):
        target = Path(source.name)
        if not target.exists():
            try:
                files.write_file(target, source.read_bytes())
            except OSError as error:
                raise RunFailed(f"{target}: cannot be written: {error.strerror}") from None
            print(target)
    return 0
