"""Score tables as Markdown, LaTeX and CSV, each with its protocol."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from srkit.cli import printable
from srkit.cli.output import exact_lines
from srkit.protocol import Protocol
from srkit.reports.texts import difference_text, score_text

Table = Mapping[str, Any]


def markdown(tables: Sequence[Table]) -> str:
    """Return a pipe table for each table, with its protocol below."""
    return "\n\n".join(_markdown(table) for table in tables)


def latex(tables: Sequence[Table]) -> str:
    """Return a tabular for each table, with its protocol as a comment; it needs no package."""
    return "\n\n".join(_latex(table) for table in tables)


def csv_text(tables: Sequence[Table]) -> str:
    """Return a line for each score of each image, and for each mean (image empty), with the protocol in each line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "scale", "model", "image", "metric", "value", "protocol"])
    for table in tables:
        caption = Protocol.from_tree(table["protocol"]).caption
        for row in table["rows"]:
            for image, scores in [("", row["mean"]), *row["images"].items()]:
                for metric, value in scores.items():
                    writer.writerow([table["data"], table["scale"], row["model"], image, metric, repr(value), caption])
    return text.getvalue().rstrip("\n")


FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = {"markdown": markdown, "latex": latex, "csv": csv_text}


def _markdown(table: Table) -> str:
    head, *rows = _cells(table)
    escaped = [[re.sub(r"([\\`*_|<>])", r"\\\1", cell) for cell in row] for row in [head, *rows]]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    rule = "|" + "|".join([" --- "] + [" ---: "] * (len(head) - 1)) + "|"
    captions = [*exact_lines(table), Protocol.from_tree(table["protocol"]).caption]
    return "\n".join([lines[0], rule, *lines[1:], "", "; ".join(map(printable, captions))])


def _latex(table: Table) -> str:
    head, *rows = _cells(table)
    lines = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in [head, *rows]]
    captions = [*exact_lines(table), Protocol.from_tree(table["protocol"]).caption]
    columns = "l" + "r" * (len(head) - 1)
    return "\n".join(
        [
            *(f"% {printable(caption)}" for caption in captions),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\hline",
            lines[0],
            r"\hline",
            *lines[1:],
            r"\hline",
            r"\end{tabular}",
        ]
    )


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)


def _cells(table: Table) -> list[list[str]]:
    """Return the head and the rows; differences to the first model with their interval, where there are several."""
    rows = table["rows"]
    metrics = list(rows[0]["mean"])
    several = any("difference" in row for row in rows)
    head = [f"{printable(table['data'])} x{table['scale']}"]
    for metric in metrics:
        head += [metric, f"minus {printable(rows[0]['model'])}"] if several else [metric]
    cells = [head]
    for row in rows:
        line = [printable(row["model"])]
        for metric in metrics:
            line.append(score_text(metric, row["mean"][metric]))
            if several:
                line.append(difference_text(metric, row.get("difference", {}).get(metric)))
        cells.append(line)
    return cells
