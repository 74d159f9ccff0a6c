"""A score by step as a small drawing of characters, with bicubic's line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit_observers import lines

ROWS, LEAST, MOST = 7, 16, 56  # of the drawing; least and most columns
DOTS = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)  # a character's dots from top to bottom, left and right
BRAILLE = 0x2800  # the character without any dot


@attrs.define
class Scores:
    """The scores of a run on its first set so far: of its first PSNR, or of its first metric where it has none."""

    name: str = ""
    metric: str = ""
    level: float | None = None  # bicubic's
    points: dict[int, float] = attrs.field(factory=dict)

    def add(self, step: int, tables: Sequence[Mapping[str, Any]]) -> None:
        """Take the tables of a validation."""
        if not tables or not tables[0]["rows"]:
            return
        own, *others = tables[0]["rows"]
        metrics = list(own["mean"])
        self.metric = next((name for name in metrics if "psnr" in name), metrics[0] if metrics else "")
        value = own["mean"].get(self.metric)
        self.name = lines.data(tables[0])
        self.level = _finite(next((row["mean"].get(self.metric) for row in others if row["model"] == "bicubic"), None))
        if _finite(value) is not None:
            self.points[step] = value

    def read(self, path: Path, before: int) -> None:
        """Take what metrics.jsonl has of an earlier part of the run, up to a step."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return
        for line in text.splitlines():
            if not line.startswith('{"event": "validated"'):
                continue
            try:
                record = json.loads(line)
                if record["step"] <= before:
                    self.add(record["step"], record["tables"])
            except (ValueError, KeyError, TypeError):  # of another form
                continue

    @property
    def last(self) -> str:
        """The last score beside bicubic's: "psnr_y 35.84 (+2.18)"; "" where there is none."""
        if not self.points:
            return ""
        value = self.points[max(self.points)]
        gain = "" if self.level is None else f" ({lines.score(self.metric, value - self.level, sign=True)})"
        return f"{lines.clean(self.metric)} {lines.score(self.metric, value)}{gain}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def draw(scores: Scores, *, width: int, unicode: bool) -> list[str]:
    """Return the lines of a drawing that is at most so wide; none for fewer than two scores, or too little width.

    Dots of Braille, or stars where they cannot be shown; values in between are on straight lines.
    """
    points = sorted(scores.points.items())
    values = [value for _, value in points] + ([] if scores.level is None else [scores.level])
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    edge = max(len(lines.score(scores.metric, value)) for value in (low, high))
    note = "" if scores.level is None else f" bicubic {lines.score(scores.metric, scores.level)}"
    columns = min(MOST, width - edge - 2 - len(note))
    if len(points) < 2 or columns < LEAST:
        return []
    per_column, per_row = (2, 4) if unicode else (1, 1)
    across, down = columns * per_column, ROWS * per_row

    def row(value: float) -> int:
        """Return the row of dots of a value, counted from the top."""
        return round((high - value) / (high - low) * (down - 1)) if high > low else down // 2

    found = [row(_between(points, points[0][0], points[-1][0], x / (across - 1))) for x in range(across)]
    level = None if scores.level is None else row(scores.level) // per_row
    grid = [_line(found, i, level == i, unicode=unicode) for i in range(ROWS)]
    labels = {0: lines.score(scores.metric, high), ROWS - 1: lines.score(scores.metric, low)}
    axis = "│" if unicode else "|"
    drawn = [f"{labels.get(i, ''):>{edge}} {axis}{line}{note if i == level else ''}" for i, line in enumerate(grid)]
    first, last = str(points[0][0]), str(points[-1][0])
    steps = f"{'':>{edge + 2}}{first}{last:>{max(1, columns - len(first))}}"
    return [line.rstrip() for line in (f"{lines.clean(scores.metric)}, {scores.name}, by step", *drawn, steps)]


def _between(points: Sequence[tuple[int, float]], first: int, last: int, share: float) -> float:
    """Return the value at a share of the way from the first step to the last."""
    step = first + share * (last - first)
    after = next((i for i, (at, _) in enumerate(points) if at >= step and i), len(points) - 1)
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * min(1.0, max(0.0, (step - left) / (right - left)))


def _line(found: Sequence[int], index: int, level: bool, *, unicode: bool) -> str:
    """Return a line of characters: where the curve is not, a dash of the level or a blank."""
    empty = ("╌" if unicode else "-") if level else " "
    if not unicode:
        return "".join("*" if _passes(found, x, index) else empty for x in range(len(found)))
    characters = []
    for x in range(0, len(found), 2):
        dots = sum(DOTS[side][dot] for side in (0, 1) for dot in range(4) if _passes(found, x + side, 4 * index + dot))
        characters.append(chr(BRAILLE + dots) if dots else empty)
    return "".join(characters)


def _passes(found: Sequence[int], x: int, row: int) -> bool:
    """Say whether the curve passes through a row of a column: from where it was in the column before, without that."""
    now, before = found[x], found[max(0, x - 1)]
    return row == now or before < row < now or now < row < before
