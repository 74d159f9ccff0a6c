"""Curves as SVG, which a page shows in its own colours, light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from srkit.reports.curves import LOG_ABOVE, Curve, Points, columns

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 28  # of the axes, in pixels of the drawing
COLUMNS = 320  # points that a curve has at most
# Told apart with any colour vision (Okabe and Ito 2008), without black and yellow, which a page or its shade swallows.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def colors(count: int) -> list[str]:
    """Return a colour for each of so many runs; they repeat."""
    return [COLORS[i % len(COLORS)] for i in range(count)]


def svg(curve: Curve, colors: Mapping[str, str], *, level: float | None = None) -> str:
    """Return the curves of runs over their steps as SVG, with `level` as a dashed line.

    The axis of values is logarithmic where they are positive and differ by more than a factor.
    """
    end = max((step for points in curve.runs.values() for step in points), default=1)
    lines = {name: _thinned(points, end) for name, points in curve.runs.items()}
    values = [value for pieces in lines.values() for piece in pieces for _, value in piece]
    if level is not None:
        values.append(level)
    if not values:
        return ""
    low, high = min(values), max(values)
    log = level is None and 0 < LOG_ABOVE * low < high
    if low == high:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def x(step: float) -> float:
        return LEFT + step / end * (WIDTH - LEFT - RIGHT)

    label = escape(" ".join(filter(None, [curve.name, curve.value])))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for value in _ticks(low, high, log=log):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for step in _ticks(0, end, log=False):
        anchor = "end" if x(step) > WIDTH - RIGHT - 20 else "middle"
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{step:,.0f}</text>')
    if level is not None:
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        above = y(level) - 5 if y(level) > TOP + 14 else y(level) + 14
        parts.append(f'<text class="level" x="{LEFT + 4}" y="{above:.1f}">bicubic</text>')
    for name, pieces in lines.items():
        color = colors[name]
        for piece in pieces:
            path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in piece)
            parts.append(f'<polyline points="{path}" stroke="{color}"><title>{escape(name)}</title></polyline>')
        if pieces:
            step, value = pieces[-1][-1]
            parts.append(f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="3" fill="{color}"/>')
    return "".join([*parts, "</svg>"])


def _thinned(points: Points, end: int) -> list[list[tuple[float, float]]]:
    """Return a curve in pieces of (step, value), means of neighbours where they are many; a gap is not finite."""
    found: list[tuple[float, float | None]] = list(points.items())
    if len(found) > COLUMNS:
        found = [((i + 1) * end / COLUMNS, value) for i, value in enumerate(columns(points, end, COLUMNS))]
    pieces: list[list[tuple[float, float]]] = [[]]
    for step, value in found:
        if value is not None and math.isfinite(value):
            pieces[-1].append((step, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Return round values from low to high, some three to six."""
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            found = [f * 10.0**power for power in range(first, last + 1) for f in factors]
            found = [value for value in found if low <= value <= high]
            if len(found) >= 3:
                return found[:: max(1, len(found) // 5)]
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    for factor in (1, 2, 5, 10):
        if (high - low) / (step * factor) <= 6:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
