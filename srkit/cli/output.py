"""What commands print: tables by rich, and JSON."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from srkit.cli import printable
from srkit.files import json_text

if TYPE_CHECKING:
    from rich.console import Console


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
    print(json_text(_plain(value)), file=stream)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list | tuple) else str(value)


def grid(
    rows: Sequence[Sequence[str]], headers: Sequence[str], *, numbers_from: int | None = None, cut: int | None = None
) -> Any:
    """Return a table without lines; columns from `numbers_from` are set flush right.

    Column `cut` is kept to one line and cut where the terminal is too narrow, the others are folded.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=any(headers), header_style="bold", padding=(0, 3, 0, 0))
    for i, header in enumerate(headers):
        right = numbers_from is not None and i >= numbers_from
        # Where columns must shrink, rich spares those that do not wrap.
        table.add_column(
            header, justify="right" if right else "left", overflow="fold", no_wrap=cut is not None and i != cut
        )
    for row in rows:
        cells = [Text.from_markup(cell, emoji=False) for cell in row]
        if cut is not None:
            cells[cut].no_wrap, cells[cut].overflow = True, "ellipsis"
        table.add_row(*cells)
    return table


def score_text(metric: str, value: float) -> str:
    """Return a score as the field prints it: dB with two decimals, everything else with four."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.2f}" if "psnr" in metric else f"{value:.4f}"


def print_tables(tables: Sequence[dict[str, Any]], *, stderr: bool = False) -> None:
    """Print score tables, each with its protocol as its caption."""
    out = console(stderr=stderr)
    for i, table in enumerate(tables):
        rows = table["rows"]
        metrics = list(rows[0]["mean"])
        baseline = next((row["mean"] for row in rows if row["model"] == "bicubic"), None)
        lines = []
        for row in rows:
            cells = []
            for metric in metrics:
                value, difference = row["mean"][metric], math.nan
                if baseline is not None and row["model"] != "bicubic":
                    difference = value - baseline[metric]
                sign = "-" if difference < 0 else "+"
                known = math.isfinite(difference)
                cells.append(score_text(metric, value))
                cells.append(f"[dim]({sign}{score_text(metric, abs(difference))})[/dim]" if known else "")
            lines.append([clean(row["model"]), *cells])
        headers = [f"{clean(table['data'])} x{table['scale']}"]
        for metric in metrics:
            headers += [clean(metric), ""]
        if i:
            out.print()
        out.print(grid(lines, headers, numbers_from=1))
        out.print(f"[dim]{clean(caption(table['protocol']))}[/dim]")


def caption(protocol: dict[str, Any]) -> str:
    """Return a protocol in a line."""
    colors = ", ".join(f"{metric} on {color}" for metric, color in protocol["color"].items())
    lr = "LR from files" if protocol["lr"] == "files" else f"LR by {protocol['lr']}"
    parts = [
        f"{protocol['images']} image{'' if protocol['images'] == 1 else 's'}",
        colors,
        f"SR rounded to {protocol['rounding']}",
        f"border {protocol['border']} cut",
        f"HR cropped to a {protocol['crop']}",
        lr,
        f"forward {protocol['forward']}",
        f"data {protocol['fingerprint']}",
    ]
    return "; ".join(parts)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str | os.PathLike):
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{json.dumps(str(key))} = {toml_value(member)}" for key, member in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML cannot write {value!r}")
