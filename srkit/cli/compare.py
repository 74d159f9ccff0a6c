"""Runs side by side: the settings that differ, their scores beside bicubic's, and their curves.

A RUN is a run directory, or a file in one; it may still be going on. Scores share a table only under one protocol.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from srkit.cli import output
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry
from srkit.reports.curves import ASCII, BLOCKS, LOSS, Curve, Points, draw, loss_curves
from srkit.reports.runs import describe, missing, named_runs
from srkit.reports.scores import Better, Table, not_comparable, side_by_side
from srkit.reports.texts import caption, score_text, setting_text
from srkit.runs import history
from srkit.runs.history import Difference, History, Numbers

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 60  # columns of a curve where there is no terminal
LEAST_WIDTH = 12  # and in a terminal that is narrow
GAP = 2  # columns between a curve and the numbers beside it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run directory, or a file in one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Compare the runs."""
    runs = named_runs([history.find_run(Path(path)) for path in arguments.runs])
    registry = discover(arguments.plugins, arguments.ambient)
    tables = side_by_side(runs, registry)
    curves = {"scores": [table.curve() for table in tables], "loss": loss_curves(runs, registry)}
    differences = {
        "recipe": history.recipe_differences([run.recipe for run in runs.values()]),
        "environment": history.environment_differences([run.environment for run in runs.values()]),
    }
    if arguments.json:
        document = {
            "schema": 1,
            "runs": [describe(name, run) | {"missing": missing(run, registry)} for name, run in runs.items()],
            "differences": {
                part: [{"key": d.key, "of": d.of, "values": dict(zip(runs, d.values, strict=True))} for d in found]
                for part, found in differences.items()
            },
            "tables": [
                table.document() | {"not_comparable": not_comparable(tables, i)} for i, table in enumerate(tables)
            ],
            "curves": {part: [curve.document() for curve in found] for part, found in curves.items()},
        }
        output.print_json(document, arguments.stdout)
        return 0
    page = Page(output.console())
    _print_runs(page, runs)
    if len(runs) > 1:
        _print_differences(page, list(runs), differences)
    for i, table in enumerate(tables):
        _print_table(page, table, not_comparable(tables, i))
    _print_curves(page, [*curves["scores"], *curves["loss"]])
    _print_missing(page, runs, registry)
    return 0


@attrs.frozen
class Page:
    """Where it is printed: a terminal of some width, or a file or a pipe; and what its encoding can hold."""

    out: Console

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None for a file or a pipe."""
        return self.out.width if sys.stdout.isatty() else None

    def natural_width(self, grid: Any) -> int:
        """Return how many columns a table takes where nothing is folded."""
        return self.out.measure(grid, options=self.out.options.update(max_width=10_000)).maximum

    def show(self, grid: Any, *, fold: int = 0) -> None:
        """Print a table, of which `fold` columns can be saved.

        What is too wide even so is left to the terminal to wrap, for a number that is cut is another number.
        """
        width = self.out.width
        self.out.width = max(width, self.natural_width(grid) - fold)
        self.out.print(grid, crop=False)
        self.out.width = width

    @property
    def levels(self) -> str:
        """The characters of a curve, from low to high."""
        return BLOCKS if self._fit(BLOCKS) == BLOCKS else ASCII

    def text(self, foreign: object) -> str:
        """Return foreign text for rich, on one line."""
        return self._fit(output.clean(foreign))

    def _fit(self, text: str) -> str:
        encoding = sys.stdout.encoding or "utf-8"
        return text.encode(encoding, "replace").decode(encoding)


def _grid(
    rows: Sequence[Sequence[str]],
    headers: Sequence[str] = (),
    *,
    folded: Sequence[int] = (),
    right_from: int | None = None,
    gap: int = 3,
    widths: Sequence[int] = (),
) -> Any:
    """Return a table without lines, whose columns `folded` give way where the terminal is too narrow."""
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0), show_header=bool(headers))
    for i in range(len(rows[0])):
        grid.add_column(
            headers[i] if headers else "",
            justify="right" if right_from is not None and i >= right_from else "left",
            no_wrap=i not in folded,
            overflow="fold",
            width=widths[i] if widths else None,
        )
    for row in rows:
        grid.add_row(*row)
    return grid


def _fold(page: Page, names: Iterable[str]) -> int:
    """Return how many columns are saved where names are folded to a quarter of the page."""
    return max(0, max(map(len, names)) - (page.width or 0) // 4)


def _print_runs(page: Page, runs: Mapping[str, History]) -> None:
    rows = []
    for name, run in runs.items():
        found = describe(name, run)
        parameters, speed, state = found["parameters"], found["images_per_s"], found["outcome"]
        rows.append(
            [
                f"[bold]{page.text(name)}[/bold]",
                page.text(f"{found['architecture']} x{found['scale']}"),
                page.text(state) if state else "[yellow]not ended[/yellow]",
                f"{found['step']}/{page.text(found['steps'])}",
                f"{parameters:,}" if isinstance(parameters, int) else "-",
                "-" if speed is None else f"{speed:,.0f}" if speed >= 9.95 else f"{speed:.2g}",
            ]
        )
    headers = ["run", "network", "", "step", "parameters", "images/s"]
    page.show(_grid(rows, headers, folded=[0], right_from=3), fold=_fold(page, runs))


def _print_differences(page: Page, names: Sequence[str], differences: Mapping[str, Sequence[Difference]]) -> None:
    page.out.print()
    if not differences["recipe"]:
        page.out.print("the recipes are the same")
    rows = []
    for part, found in differences.items():
        for difference in found:
            key = page.text(difference.key if part == "recipe" else f"{part}.{difference.key}")
            of = f" [dim]of {page.text(difference.of)}[/dim]" if difference.of else ""
            rows.append([key + of, *(page.text(setting_text(value)) for value in difference.values)])
    if not rows:
        return
    table = _grid(rows, ["differs", *(page.text(name) for name in names)])
    if page.width is None or page.natural_width(table) <= page.width:
        page.show(table)
        return
    page.out.print("[bold]differs[/bold]")  # a column a run is too much for this terminal
    for key, *values in rows:
        page.out.print(key, soft_wrap=True)
        members = [["", value, page.text(of)] for value, of in _holders(names, values).items()]
        page.out.print(_grid(members, folded=[1, 2]))


def _holders(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Return who has each value; the first of more than half of the runs are "the others"."""
    found = {value: [name for name, v in zip(names, values, strict=True) if v == value] for value in values}
    most = max(found, key=lambda value: len(found[value]))
    texts = {value: ", ".join(members) for value, members in found.items()}
    return texts | ({most: "the others"} if len(found[most]) > max(2, len(names) // 2) else {})


def _print_table(page: Page, table: Table, others: Sequence[Mapping[str, Any]]) -> None:
    metrics, whens = table.metrics, ["best", "last"]
    if all(entry.steps.get("best") == entry.steps["last"] for entry in table.entries):
        whens = ["last"]
    rows = []
    for when in whens:
        label = when if len(whens) == 2 else "best, last"
        for entry in table.entries:
            if when not in entry.steps:
                continue
            rows.append([f"[dim]{label}[/dim]", page.text(entry.run), str(entry.steps[when])])
            label = ""
            differences = table.differences(entry, when)
            for metric in metrics:
                difference = _signed(metric, differences.get(metric), table.better(metric))
                rows[-1] += [_score(metric, entry.mean(when)), difference]
    if table.bicubic:
        rows.append(["", "bicubic", ""])
        for metric in metrics:
            rows[-1] += [_score(metric, table.bicubic), ""]
    headers = [page.text(table.name), "", "step"]
    for metric in metrics:
        headers += [page.text(metric), ""]
    page.out.print()
    page.show(_grid(rows, headers, folded=[1], right_from=2), fold=_fold(page, (entry.run for entry in table.entries)))
    for other in others:
        why = page.text(", ".join(other["differ_in"]))
        page.out.print(f"[yellow]not comparable with {page.text(table.name)} above: they differ in {why}[/yellow]")
    reference = f"in brackets: minus {table.reference}; " if table.reference else ""
    page.out.print(f"[dim]{page.text(reference + caption(table.protocol))}[/dim]")


def _score(metric: str, mean: Numbers) -> str:
    if metric not in mean:
        return "-"
    value = mean[metric]
    return "not finite" if value is None else score_text(metric, value)


def _signed(metric: str, difference: float | None, better: Better) -> str:
    """Return a difference in the color of what is better or worse, where that is known and can be seen."""
    if difference is None:
        return ""
    text = score_text(metric, abs(difference))
    seen = float(text) > 0 and better is not None
    color = "dim" if not seen else "green" if (difference > 0) == better else "red"
    return f"[{color}]({'-' if difference < 0 else '+'}{text})[/{color}]"


def _print_curves(page: Page, curves: Sequence[Curve]) -> None:
    """Print curves on one axis of steps; the runs of each share the axis of values, too."""
    if not curves:
        return
    end = max(step for curve in curves for points in curve.runs.values() for step in points)
    names = max(len(name) for curve in curves for name in curve.runs)
    ends = [[_ends(curve, points) for points in curve.runs.values()] for curve in curves]
    number = max(len(text) for of in ends for texts in of for text in (*texts, "highest"))
    width = PIPE_WIDTH
    if page.width is not None:
        names = min(names, page.width // 4)
        width = max(LEAST_WIDTH, page.width - names - 3 * number - 4 * GAP)
    for curve, numbers in zip(curves, ends, strict=True):
        lines, notes = draw(curve, end=end, width=width, levels=page.levels)
        title = page.text(", ".join([f"{curve.name} {curve.value}", *notes]))
        rows = [
            [page.text(name), f"[cyan]{line}[/cyan]", *texts]
            for name, line, texts in zip(curve.runs, lines, numbers, strict=True)
        ]
        if curve is curves[-1]:
            rows.append(["", f"[dim]step 1{str(end).rjust(width - len('step 1'))}[/dim]", "", "", ""])
        headers = ["", title, "first", curve.best, "last"]
        widths = [names, width, *[number] * 3]
        page.out.print()
        page.show(_grid(rows, headers, folded=[0, 1], right_from=2, gap=GAP, widths=widths))


def _ends(curve: Curve, points: Points) -> list[str]:
    """Return the first, the best and the last value of a run."""
    values = list(points.values())
    finite = [value for value in values if value is not None]
    best = {"highest": max, "lowest": min}.get(curve.best)
    shown = [values[0], best(finite) if best and finite else None, values[-1]]
    return ["-" if value is None else _number(curve, value) for value in shown]


def _number(curve: Curve, value: float) -> str:
    if curve.name != LOSS:
        return score_text(curve.value, value)
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def _print_missing(page: Page, runs: Mapping[str, History], registry: Registry) -> None:
    lines = [f"{name}: {text}" for name, run in runs.items() for text in missing(run, registry)]
    if lines:
        page.out.print()
    for line in lines:
        page.out.print(f"[yellow]{page.text(line)}[/yellow]", soft_wrap=True)
