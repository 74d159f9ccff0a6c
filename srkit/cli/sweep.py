"""Train a recipe with each combination of lists of settings, and for several seeds: one table, one page.

Runs go on beside each other with --processes, each in a folder of its settings' name. Ctrl-C stops them all with a
checkpoint, exit code 75; the same command goes on: what is finished is used. A run that fails leaves the others alone.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srkit import api
from srkit.cli import output, whole_number
from srkit.errors import RecipeError, RunFailed, Stopped
from srkit.plugin.discovery import discover
from srkit.reports.texts import toml_value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a file, or the name of a packaged recipe")
    parser.add_argument(
        "--grid",
        metavar="KEY=[VALUE, ...]",
        action="append",
        default=[],
        help="the values of a key, as in 'optimizer.lr=[1e-4, 5e-4]'; may be given several times: all combinations run",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=whole_number, help="run each combination for N seeds, from the recipe's on"
    )
    parser.add_argument(
        "--processes", metavar="N", type=whole_number, default=1, help="runs at once, which share the cores and GPUs"
    )
    parser.add_argument(
        "--optuna",
        metavar="N",
        type=whole_number,
        default=0,
        help="let optuna choose N combinations, of the lists of --grid and the ranges of --range",
    )
    parser.add_argument(
        "--range",
        dest="ranges",
        metavar="KEY=[LOW, HIGH]",
        action="append",
        default=[],
        help="with --optuna: numbers from LOW to HIGH, as in 'optimizer.lr=[1e-5, 1e-3, \"log\"]'",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the recipe in all runs; may be given several times",
    )
    parser.add_argument("--out", metavar="DIR", help="the folder of the runs (runs/RECIPE-sweep)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Run, then show the table; the exit code says whether a run has failed."""
    from srkit.cli.run import show_log
    from srkit.sweeps.grid import parse_lists

    show_log(logging.INFO)
    grid = parse_lists(arguments.grid, "--grid", "optimizer.lr=[1e-4, 5e-4]")
    ranges = parse_lists(arguments.ranges, "--range", 'optimizer.lr=[1e-5, 1e-3, "log"]')
    try:
        found = api.sweep(
            arguments.recipe,
            grid,
            seeds=arguments.seeds,
            processes=arguments.processes,
            out=arguments.out,
            set=arguments.overrides,
            trials=arguments.optuna,
            ranges=ranges,
            plugins=arguments.plugins,
            registry=discover(arguments.plugins, arguments.ambient),
        )
    except Stopped as error:
        print(f"{error}\nto continue, run the same command again", file=sys.stderr)
        return error.exit_code
    except RecipeError as error:
        typed = {
            f"--set {key}={toml_value(value)}": f"{option} {text}"
            for option, texts, lists in (("--grid", arguments.grid, grid), ("--range", arguments.ranges, ranges))
            for text, (key, values) in zip(texts, lists.items(), strict=True)
            for value in values
        }
        problems = dict.fromkeys(_as_typed(problem, typed) for problem in error.problems)
        raise RecipeError(list(problems), error.notes) from error
    if arguments.json:
        output.print_json(found, arguments.stdout)
    else:
        _print(found)
    if any(run["state"] == "stopped" for run in found["runs"]):
        return Stopped.exit_code
    return RunFailed.exit_code if any(run["state"] == "failed" for run in found["runs"]) else 0


def _as_typed(problem: str, typed: Mapping[str, str]) -> str:
    """Return a problem of a run's override as one of the list that it came from."""
    for own in sorted(typed, key=len, reverse=True):  # 0.15 begins as 0.1 does
        if own in problem:
            return problem.replace(own, typed[own])
    return problem


def _print(found: dict[str, Any]) -> None:
    from srkit.reports.sweeps import Member, cells, unfinished

    out = output.console()
    for table in found["tables"]:
        head, rows, what = cells(table)
        styled = []
        for i, row in enumerate(rows):
            of = table["rows"][i] if i < len(table["rows"]) else {}
            style = "bold" if of.get("best") else ""
            style += " green" if style and of["above_bicubic"] is not False else ""
            styled.append([f"[{style}]{output.clean(cell)}[/]" if style else output.clean(cell) for cell in row])
        out.print(f"\n[bold]{output.clean(table['data'])} x{table['scale']}[/bold]")
        out.print(
            output.grid(styled, list(map(output.clean, head)), numbers_from=len(head) - len(table["metrics"]) - 1)
        )
        out.print(f"[dim]{output.clean(what)}[/dim]", soft_wrap=True)
    for line in unfinished([Member(**run) for run in found["runs"]]):
        out.print(f"[red]{output.clean(line)}[/red]", soft_wrap=True)
    page = Path(found["directory"]) / api.REPORT
    if page.exists():
        out.print(f"\nthe page: {output.clean(page)}", soft_wrap=True)
