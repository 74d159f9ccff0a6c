"""Write a page on one run or several: scores, curves, pictures, recipe. One HTML file, which loads nothing.

A RUN is a run directory, or a file in one; it may still be going on. Every run writes its own, report.html, at each
validation and at its end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from srkit import files
from srkit.api import report
from srkit.errors import RunFailed
from srkit.runs.history import find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run directory, or a file in one")
    parser.add_argument(
        *("-o", "--out", "--output"),
        metavar="FILE",
        help="where to write it (report.html in the directory of a single run)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Write the page, in a folder that is made where it is not there, and print its path."""
    if arguments.out is not None:
        for run in arguments.runs:  # a folder is made for nothing but a page
            find_run(Path(run))
        try:
            files.make_directory(Path(arguments.out).parent)
        except OSError as error:
            raise RunFailed(f"{arguments.out}: {error.strerror}") from None
    print(report(*arguments.runs, out=arguments.out), file=arguments.stdout)
    return 0
