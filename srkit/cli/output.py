"""What commands print: tables by rich, and JSON."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from srkit.cli import printable
from srkit.files import json_text
from srkit.protocol import Protocol
from srkit.reports.texts import difference_text, score_text, signed_text

if TYPE_CHECKING:
    from rich.console import Console

MOST_NAMES = 5  # images that a line names


def console(*, stderr: bool = False) -> Console:
    """Return a console; wide enough never to fold a line where the output is a file or a pipe."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich itself would end the process with exit code 1

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Screen(file=stream, highlight=False, emoji=False)
    return Screen(file=cast("TextIO", _Stripped(stream)), highlight=False, emoji=False, width=10_000)


class _Stripped(io.TextIOBase):
    """Writes to a file or a pipe without the blanks that rich pads lines with."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(re.sub(r" +(?=\n)", "", text))

    def flush(self) -> None:
        self._stream.flush()


def clean(text: object) -> str:
    """Return foreign text as a line without control characters and without meaning to rich's markup."""
    from rich.markup import escape

    return escape(printable(text))


def print_json(value: Any, stream: TextIO) -> None:
    """Print one JSON document; what JSON has no form for (a path that is a default, say) as its text."""
    text = json_text(_plain(value))
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:  # a file's name that is not UTF-8, or a locale without most characters
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    print(text, file=stream)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list | tuple) else str(value)


def grid(
    rows: Sequence[Sequence[str]],
    headers: Sequence[str],
    *,
    numbers_from: int | None = None,
    cut: int | None = None,
    whole: Collection[int] = (),
) -> Any:
    """Return a table without lines; columns from `numbers_from` are set flush right.

    Where the terminal is too narrow, columns are folded, but for those in `whole`. Column `cut` is kept to one line and
    cut instead.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=any(headers), header_style="bold", padding=(0, 3, 0, 0))
    for i, header in enumerate(headers):
        right = numbers_from is not None and i >= numbers_from
        # Where columns must shrink, rich spares those that do not wrap.
        kept = i in whole or (cut is not None and i != cut)
        table.add_column(header, justify="right" if right else "left", overflow="fold", no_wrap=kept)
    for row in rows:
        cells = [Text.from_markup(cell, emoji=False) for cell in row]
        if cut is not None:
            cells[cut].no_wrap, cells[cut].overflow = True, "ellipsis"
        table.add_row(*cells)
    return table


def print_tables(tables: Sequence[dict[str, Any]], *, stderr: bool = False) -> None:
    """Print score tables, each with its protocol as its caption; of those of other protocols, that they are."""
    out = console(stderr=stderr)
    seen: dict[str, Protocol] = {}
    for i, table in enumerate(tables):
        name = f"{table['data']} x{table['scale']}"
        if i:
            out.print()
        out.print(_score_grid(table, clean(name)))
        protocol = Protocol.from_tree(table["protocol"])
        for row in table["rows"]:
            if "difference" in row:
                out.print(f"[dim]{clean(_differences(row))}[/dim]", soft_wrap=True)
        compared = {row["model"] == "bicubic" for row in table["rows"]} == {True, False}
        for line in exact_lines(table):
            out.print(f"[dim]{clean(line)}[/dim]", soft_wrap=True)
        brackets = "in brackets: minus bicubic; " if compared else ""
        out.print(f"[dim]{brackets}{clean(protocol.caption)}[/dim]")
        if seen.setdefault(name, protocol) != protocol:
            out.print(f"[yellow]not comparable with {clean(name)} above: another protocol[/yellow]")


def exact_lines(table: Mapping[str, Any]) -> list[str]:
    """Return a line for each row and metric of which images are exact: infinite, and so in no mean."""
    lines = []
    for row in table["rows"]:
        for metric, images in row.get("exact", {}).items():
            left_out = f"{row['model']}: {metric} is infinite on {len(images)} of {len(row['images'])} images, exact"
            means = "no mean has them" if len(images) < len(row["images"]) else "there is no mean"
            lines.append(f"{left_out} ({named(images)}): {means}")
    return lines


def named(images: Sequence[str]) -> str:
    """Return the first names of images, and how many more there are."""
    more = f" and {len(images) - MOST_NAMES} more" if len(images) > MOST_NAMES else ""
    return ", ".join(images[:MOST_NAMES]) + more


def _score_grid(table: Mapping[str, Any], name: str) -> Any:
    from srkit.reports.intervals import difference

    rows = table["rows"]
    metrics = list(rows[0]["mean"])
    baseline = next((row for row in rows if row["model"] == "bicubic"), None)
    lines = []
    for row in rows:
        cells = []
        for metric in metrics:
            gain = None if baseline is None or row is baseline else difference(row, baseline, metric)
            cells.append(score_text(metric, row["mean"][metric]))
            shown = gain is not None and math.isfinite(gain)
            cells.append(f"[dim]({signed_text(metric, gain or 0.0)})[/dim]" if shown else "")
        lines.append([clean(row["model"]), *cells])
    headers = [name]
    for metric in metrics:
        headers += [clean(metric), ""]
    return grid(lines, headers, numbers_from=1)


def _differences(row: Mapping[str, Any]) -> str:
    told = [f"{metric} {difference_text(metric, row['difference'][metric])}" for metric in row["mean"]]
    return f"{row['model']} minus {row['difference']['to']}: {', '.join(told)} (95 %)"
