"""The part of the images that one machine of several takes: `--shard I/N`."""

from __future__ import annotations

import argparse
import re

from srkit.images.manifest import Shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--shard I/N`."""
    parser.add_argument(
        "--shard",
        type=_shard,
        default=Shard(),
        metavar="I/N",
        help="take the I-th of N parts of the images, for N machines that know nothing of each other",
    )


def _shard(text: str) -> Shard:
    number, _, of = text.partition("/")
    if not (re.fullmatch(r"\d{1,4}", number) and re.fullmatch(r"\d{1,4}", of) and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"'{text}' is no part: write 1/4 to 4/4 for four")
    return Shard(int(number), int(of))
