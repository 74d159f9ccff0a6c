"""Train a recipe in runs/<its name>, or continue the run that is there.

Ctrl-C, SIGTERM and SIGUSR1 save a checkpoint and end with exit code 75: the same command goes on from there.

With --processes several of them train on this machine, a GPU each, or sharing its cores; on several machines start
`srkit run` with torchrun.
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
from srkit.cli import output, whole_number
from srkit.cli.overrides import add_overrides
from srkit.errors import Elsewhere, RunFailed, Stopped, UsageError
from srkit.plugin.discovery import discover
from srkit.runs.stopping import WITH_PARENT, StopFlag, end_with_parent

FLAGS = ("--restart", "--accept-dataset-change", "--traceback")  # that each of several processes is given, too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a file, or the name of a packaged recipe")
    add_overrides(parser)
    parser.add_argument("--out", metavar="DIR", help="the run directory")
    parser.add_argument(
        "--restart", action="store_true", help="set the old run aside under a dated name and begin anew"
    )
    parser.add_argument(
        "--accept-dataset-change",
        action="store_true",
        help="go on although the run's images have changed; its environment.json then tells which, and from which step",
    )
    parser.add_argument(
        "--processes", metavar="N", type=whole_number, default=0, help="train in N processes, which share each batch"
    )
    parser.add_argument(
        "--max-restarts",
        metavar="N",
        type=whole_number,
        default=0,
        help="with --processes: go on from the last checkpoint when one is killed, hangs or fails, at most N times",
    )


def main(arguments: argparse.Namespace) -> int:
    """Train, then show the scores and what to do next."""
    if arguments.processes or arguments.max_restarts:
        return _supervise(arguments)
    with StopFlag():  # from now on a signal is not lost, and does not end the process in the middle of something
        return _main(arguments)


def _main(arguments: argparse.Namespace) -> int:
    # Of several processes, which torchrun has started and numbered, the first one speaks; it restarts them, too.
    first = os.environ.get("RANK", "0") == "0"
    restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if "RANK" in os.environ or WITH_PARENT in os.environ:
        end_with_parent()
    show_log(logging.INFO if first else logging.CRITICAL)
    try:
        result = api.run(
            arguments.recipe,
            out=arguments.out,
            set=arguments.overrides,
            restart=arguments.restart and not restarted,
            accept_dataset_change=arguments.accept_dataset_change,
            observers=["console"],
            registry=discover(arguments.plugins, arguments.ambient),
        )
    except Stopped as error:
        print(f"{error}\nto continue, run the same command again", file=sys.stderr)
        return error.exit_code
    except Elsewhere as error:
        return error.exit_code
    if not first:
        return 0
    if result.was_finished:
        print(f"{result.directory} is finished at step {result.step}; a larger train.steps continues it")
    if result.tables:
        print()
        output.print_tables(result.tables)
        _print_best(result.directory / "best.safetensors", result.step)
    _print_next(result.directory, arguments.plugins)
    return 0


def _supervise(arguments: argparse.Namespace) -> int:
    """Train in several processes, and start them again where that was asked for; return their exit code."""
    if arguments.processes < 1 or arguments.max_restarts < 0:
        raise UsageError("--processes is at least 1, --max-restarts at least 0, and that is for --processes alone")
    if "RANK" in os.environ:
        raise UsageError("torchrun starts the processes: leave out --processes")
    from srkit.engine.supervising import Ended, supervise

    words = [word for name in arguments.plugins for word in ("-p", name)]
    words += ["run", *(word for text in arguments.overrides for word in ("--set", text))]
    words += ["--out", arguments.out] if arguments.out is not None else []
    words += [name for name in FLAGS if getattr(arguments, name[2:].replace("-", "_"))]
    command = [sys.executable, "-m", "srkit", *words, "--", arguments.recipe]
    ended = Ended(0)
    for attempt in range(arguments.max_restarts + 1):
        if attempt:
            print(f"start {attempt + 1} of at most {arguments.max_restarts + 1}", file=sys.stderr)
        ended = supervise(command, arguments.processes, os.environ, attempt)
        if ended.signal:
            print(f"process {ended.rank} of {arguments.processes} was ended by {ended.signal}", file=sys.stderr)
        if ended.asked or (not ended.signal and ended.code != RunFailed.exit_code):
            break  # done, stopped, or it would fail of the same again
    return RunFailed.exit_code if ended.signal else ended.code


def _print_best(path: Path, step: int) -> None:
    """Say which step the scores above are of, where the best weights are of another one."""
    from srkit.engine.weights.model import step_of

    best = step_of(path)
    if best not in (-1, step):
        text = f"these are the scores of step {step}; best.safetensors has the weights of step {best}"
        output.console().print(f"[dim]{text}[/dim]", soft_wrap=True)


def show_log(level: int = logging.INFO) -> None:
    """Show on stderr what a run logs."""
    logging.basicConfig(format="%(message)s", handlers=[_ToStderr()], force=True)
    logging.getLogger("srkit").setLevel(level)  # torch has much to say at that level


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _print_next(directory: Path, plugins: Sequence[str]) -> None:
    out = output.console()
    srkit = output.clean(shlex.join(["srkit", *(word for name in plugins for word in ("-p", name))]))
    model, samples = (output.clean(shlex.quote(str(directory / name))) for name in ("best.safetensors", "samples"))
    pictures = output.clean(shlex.quote(f"out/{directory.resolve().name}/"))  # of this network alone
    out.print("\n[bold]Next[/bold]")
    rows = [
        [f"{srkit} upscale {model} photo.jpg -o {pictures}", "enlarge your own pictures"],
        [f"{srkit} eval {model} --data Set5=DIR", "score it on a folder of images"],
        [f"{srkit} list", "the networks, losses, datasets... to try in its place"],
    ]
    if (directory / "samples").is_dir():
        rows.insert(2, [f"ls {samples}", "bicubic, network and HR side by side"])
    width = max(len(command) for command, _ in rows)
    for command, text in rows:  # as a comment, so that a line can be pasted whole
        out.print(f"  {command:<{width}}  [dim]# {text}[/dim]", soft_wrap=True)
