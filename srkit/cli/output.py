"""What commands print: tables by rich, and JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from srkit.files import json_text

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return a console; wide enough not to fold lines where the output is a file or a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 200)


def clean(text: object) -> str:
    """Return foreign text without control characters and without meaning to rich's markup."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "�" for c in str(text)))


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json_text(value))


def grid(rows: Sequence[Sequence[str]], headers: Sequence[str], *, numbers_from: int | None = None) -> Any:
    """Return a table without lines; columns from `numbers_from` are set flush right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=any(headers), header_style="bold", padding=(0, 3, 0, 0))
    for i, header in enumerate(headers):
        right = numbers_from is not None and i >= numbers_from
        table.add_column(header, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def score_text(metric: str, value: float) -> str:
    """Return a score as the field prints it: dB with two decimals, everything else with four."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.2f}" if "psnr" in metric else f"{value:.4f}"


def print_tables(tables: Sequence[dict[str, Any]], *, stderr: bool = False) -> None:
    """Print score tables, each with its protocol as its caption."""
    out = console(stderr=stderr)
    for table in tables:
        rows = table["rows"]
        metrics = list(rows[0]["mean"])
        baseline = next((row["mean"] for row in rows if row["model"] == "bicubic"), None)
        lines = []
        for row in rows:
            cells = []
            for metric in metrics:
                value = row["mean"][metric]
                text = score_text(metric, value)
                if baseline is not None and row["model"] != "bicubic" and math.isfinite(value - baseline[metric]):
                    difference = value - baseline[metric]
                    text += f" [dim]({'+' if difference >= 0 else '-'}{score_text(metric, abs(difference))})[/dim]"
                cells.append(text)
            lines.append([clean(row["model"]), *cells])
        title = f"{clean(table['data'])} x{table['scale']}"
        out.print()
        out.print(grid(lines, [title, *metrics], numbers_from=1))
        out.print(f"[dim]{clean(caption(table['protocol']))}[/dim]")


def caption(protocol: dict[str, Any]) -> str:
    """Return a protocol in a line."""
    colors = ", ".join(f"{metric} on {color}" for metric, color in protocol["color"].items())
    lr = "LR from files" if protocol["lr"] == "files" else f"LR by {protocol['lr']}"
    parts = [
        f"{protocol['images']} images",
        colors,
        f"SR rounded to {protocol['rounding']}",
        f"border {protocol['border']} cut",
        f"HR cropped to a {protocol['crop']}",
        lr,
        f"forward {protocol['forward']}",
        f"data {protocol['fingerprint']}",
    ]
    return "; ".join(parts)


def dumps(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
