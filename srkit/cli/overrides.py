"""The option --set of commands that read a recipe."""

from __future__ import annotations

import argparse


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Declare --set, whose texts are `overrides`."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="[STAGE:]KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the recipe, as in train.steps=500; without a value, as in data.degradation=, remove "
        "the key; a recipe's name before the key, a2n_x2:train.steps=500, overrides that stage alone; may be given "
        "several times",
    )
