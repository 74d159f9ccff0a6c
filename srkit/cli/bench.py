"""Measure networks side by side: latency, images a second, peak memory, parameters and multiply-adds.

A MODEL is a file of weights, a run directory, or the name of a network, whose first weights do. Those of one size are
timed in turns, so that a busy machine slows all of them alike; the ratio is to the first row of the size.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from srkit import api
from srkit.cli import any_scale, output, whole_number
from srkit.errors import RunFailed
from srkit.plugin.discovery import discover

WORDS = ("device", "threads", "batch", "seconds", "scale", "memory")
LISTS = ("sizes", "precisions", "forms")
HEAD = [
    *("model", "scale", "size", "precision", "form", "ms", "images/s", "ratio", "MiB"),
    *("parameters", "G multiply-adds"),
]
NUMBERS_FROM = 5
# What a narrow terminal does without, the first of them first; but before these what all rows have alike.
WORDS_OF_CASE = ("scale", "form", "precision", "size")
LESS = ("G multiply-adds", "parameters", "MiB", "images/s", "ratio")
LEAST_OF_NAME = 24  # columns for the name of a model, which is folded where it is longer
GAP = 3  # between columns, as `output.grid` has it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="best.safetensors, a run directory, or a2n, say")
    lists = (
        ("size", _size, "HxW", "LR pixels, 128x128 where none is given"),
        ("precision", str, "NAME", "float32, bfloat16 or float16, by autocast; float32 where none is given"),
        ("form", str, "NAME", "eager, compiled (torch.compile) or folded (what the network offers for inference)"),
    )
    for name, kind, metavar, text in lists:
        parser.add_argument(
            f"--{name}",
            dest=f"{name}s",
            type=kind,
            metavar=metavar,
            action="append",
            default=[],
            help=f"{text}; may be given several times",
        )
    parser.add_argument("--scale", type=any_scale, metavar="N", help="the scale, where the model does not say it")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the networks that are named; may be given several times",
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--threads", type=whole_number, default=0, metavar="N", help="of torch on the CPU")
    parser.add_argument("--batch", type=whole_number, default=1, metavar="N", help="images at once (1)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="N", help="for how long each is timed (2), three calls at least"
    )
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peak memory")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)  # of one case, in this process


def main(arguments: argparse.Namespace) -> int:
    """Measure and print; fails where nothing could be computed."""
    registry = discover(arguments.plugins, arguments.ambient)
    given: dict[str, Any] = {name: getattr(arguments, name) for name in WORDS}
    given |= {name: tuple(found) for name in LISTS if (found := getattr(arguments, name))}
    if arguments.peak:
        from srkit.engine.builder import Builder
        from srkit.engine.speed.bench import Words, peak_here

        words = Words(**given, overrides=arguments.overrides)
        print(peak_here(arguments.models[0], Builder(registry), words), file=arguments.stdout)
        return 0
    found = api.bench(*arguments.models, **given, set=arguments.overrides, plugins=arguments.plugins, registry=registry)
    if arguments.json:
        output.print_json(found, arguments.stdout)
    else:
        _print(found)
    return 0 if any(row["seconds"] is not None for row in found["rows"]) else RunFailed.exit_code


def _size(text: str) -> tuple[int, int]:
    """Return an argument that is a size, (height, width)."""
    sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if sides is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write HEIGHTxWIDTH, as in 180x320")
    return int(sides[1]), int(sides[2])


def _print(found: Mapping[str, Any]) -> None:
    out = output.console()
    rows = [row for row in found["rows"] if row["seconds"] is not None]
    if rows:
        table, left_out = _table(rows, out.width)
        out.print(table)
        if left_out:
            out.print(f"[dim]{output.clean(left_out)}[/dim]", soft_wrap=True)
    for row in found["rows"]:
        if row["reason"]:
            what = f"{row['model']} {_shape(row['size'])} {row['precision']} {row['form']}: {row['reason']}"
            out.print(f"[yellow]{output.clean(what)}[/yellow]", soft_wrap=True)
    count = found["threads"]
    device = found["device_name"] or f"{found['device']}, {count} thread{'' if count == 1 else 's'}"
    line = f"{device}; torch {found['torch']}; batch {found['batch']}; medians of calls in turns; size of LR; "
    line += "ratio: times as fast as the first row of its size"
    line += "; MiB: peak memory, beside the weights and LR" if _has_memory(rows) else ""
    out.print(f"[dim]{output.clean(line)}[/dim]", soft_wrap=True)


def _table(rows: Sequence[Mapping[str, Any]], width: int) -> tuple[Any, str]:
    """Return a table that fits into a width, and a line on the columns that it has no room for.

    A long name of a model is folded; a number never is.
    """
    from rich.cells import cell_len
    from rich.markup import render

    cells = [_cells(row) for row in rows]
    columns = {name: [line[i] for line in cells] for i, name in enumerate(HEAD)}
    wide = {name: max(cell_len(render(cell).plain) for cell in (name, *column)) for name, column in columns.items()}
    wide["model"] = min(wide["model"], LEAST_OF_NAME)
    alike = [name for name in WORDS_OF_CASE if len(set(columns[name])) == 1]
    shown = head = HEAD if _has_memory(rows) else [name for name in HEAD if name != "MiB"]
    for name in dict.fromkeys((*alike, *LESS, *WORDS_OF_CASE)):
        if sum(wide[column] + GAP for column in shown) - GAP <= width:
            break
        shown = [column for column in shown if column != name]
    lines = [[columns[name][i] for name in shown] for i in range(len(rows))]
    numbers_from = sum(name in HEAD[:NUMBERS_FROM] for name in shown)
    table = output.grid(lines, shown, numbers_from=numbers_from, whole=range(1, len(shown)))
    same = [f"{name} {columns[name][0]}" for name in alike if name not in shown]
    gone = [name for name in head if name not in shown and name not in alike]
    said = [f"all rows: {', '.join(same)}"] if same else []
    said += [f"no room here for {', '.join(gone)}: --json has them"] if gone else []
    return table, "; ".join(said)


def _has_memory(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["peak_bytes"] is not None for row in rows)


def _figure(value: float, digits: int) -> str:
    """Return a number with so many digits that count, and never an exponent: "1,010", "26.79"."""
    whole = math.floor(math.log10(abs(value))) if value else digits
    rounded = round(value, digits - 1 - whole)
    return f"{rounded:,.{max(0, digits - 1 - whole)}f}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    peak, counted = row["peak_bytes"], row["multiply_adds"]
    return [
        output.clean(row["model"]),
        f"x{row['scale']:g}",
        _shape(row["size"]),
        row["precision"],
        row["form"],
        _figure(1000 * row["seconds"], 4),
        _figure(row["images_per_s"], 3),
        f"{row['ratio']:.2f}",
        "-" if peak is None else f"{peak / 2**20:,.0f}",
        f"{row['parameters']:,}",
        "-" if counted is None else _figure(counted / 1e9, 3),
    ]


def _shape(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"
