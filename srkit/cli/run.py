"""Train a recipe in runs/<its name>, or continue the run that is there.

Ctrl-C, SIGTERM and SIGUSR1 save a checkpoint and end with exit code 75: the same command goes on from there.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from srkit import api
from srkit.cli import output
from srkit.errors import Stopped, UsageError
from srkit.plugin.discovery import discover
from srkit.runs.stopping import StopFlag


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a file, or the name of a packaged recipe")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="[STAGE:]KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the recipe, as in train.steps=500; without a value, data.degradation=, the key is "
        "taken away, as if the recipe did not have it; with a recipe's name before it, a2n_x2:train.steps=500, of that "
        "stage alone, where there are several; may be given several times",
    )
    parser.add_argument("--out", metavar="DIR", help="the run directory")
    parser.add_argument(
        "--restart", action="store_true", help="set the old run aside under a dated name and begin anew"
    )
    parser.add_argument(
        "--accept-dataset-change",
        action="store_true",
        help="go on although the run's images have changed; its environment.json then tells which, and from which step",
    )


def main(arguments: argparse.Namespace) -> int:
    """Train, then show the scores and what to do next."""
    with StopFlag():  # from now on a signal is not lost, and does not end the process in the middle of something
        return _main(arguments)


def _main(arguments: argparse.Namespace) -> int:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # set by torchrun
        raise UsageError("one process trains a run: start it without torchrun")
    show_log()
    try:
        result = api.run(
            arguments.recipe,
            out=arguments.out,
            set=arguments.overrides,
            restart=arguments.restart,
            accept_dataset_change=arguments.accept_dataset_change,
            observers=["console"],
            registry=discover(arguments.plugins, arguments.ambient),
        )
    except Stopped as error:
        print(f"{error}\nto continue, run the same command again", file=sys.stderr)
        return error.exit_code
    if result.was_finished:
        print(f"{result.directory} is finished at step {result.step}; a larger train.steps continues it")
    if result.tables:
        print()
        output.print_tables(result.tables)
        _print_best(result.directory / "best.safetensors", result.step)
    _print_next(result.directory, arguments.plugins)
    return 0


def _print_best(path: Path, step: int) -> None:
    """Say which step the scores above are of, where the best weights are of another one."""
    from srkit.engine.weights.model import step_of

    best = step_of(path)
    if best not in (-1, step):
        text = f"these are the scores of step {step}; best.safetensors has the weights of step {best}"
        output.console().print(f"[dim]{text}[/dim]", soft_wrap=True)


def show_log() -> None:
    """Show on stderr what a run logs."""
    logging.basicConfig(format="%(message)s", handlers=[_ToStderr()], force=True)
    logging.getLogger("srkit").setLevel(logging.INFO)  # torch has much to say at that level


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _print_next(directory: Path, plugins: Sequence[str]) -> None:
    out = output.console()
    srkit = output.clean(shlex.join(["srkit", *(word for name in plugins for word in ("-p", name))]))
    model, samples = (output.clean(shlex.quote(str(directory / name))) for name in ("best.safetensors", "samples"))
    out.print("\n[bold]Next[/bold]")
    rows = [
        [f"{srkit} upscale {model} photo.jpg -o out/", "enlarge your own pictures"],
        [f"{srkit} eval {model} --data Set5=DIR", "score it on a folder of images"],
        [f"{srkit} list", "the networks, losses, datasets... to try in its place"],
    ]
    if (directory / "samples").is_dir():
        rows.insert(2, [f"ls {samples}", "bicubic, network and HR side by side"])
    width = max(len(command) for command, _ in rows)
    for command, text in rows:  # as a comment, so that a line can be pasted whole
        out.print(f"  {command:<{width}}  [dim]# {text}[/dim]", soft_wrap=True)
