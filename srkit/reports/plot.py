"""Curves as SVG, which a page shows in its own colours, light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from srkit.reports.curves import LOG_ABOVE, LOSS, Curve, Points, columns

WIDTH, HEIGHT = 480, 240  # about as a page shows it, so that its letters are about as large as the page's
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 24, 48  # of the axes, in pixels of the drawing
COLUMNS = 320  # points that a curve has at most
# Told apart with any colour vision (Okabe and Ito 2008), without black and yellow, which a page or its shade swallows.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")


def colors(count: int) -> list[str]:
    """Return a colour for each of so many runs; they repeat."""
    return [COLORS[i % len(COLORS)] for i in range(count)]


def svg(curve: Curve, colors: Mapping[str, str], *, level: float | None = None, marks: Sequence[int] = ()) -> str:
    """Return the curves of runs over their steps as SVG, with `level` as a dashed line and `marks` as dotted steps.

    The axis of a loss is logarithmic where its values are positive and differ by more than a factor. The outermost
    lines of the grid enclose all values.
    """
    end = max((step for points in curve.runs.values() for step in points), default=1)
    lines = {name: _thinned(points, end) for name, points in curve.runs.items()}
    values = [value for pieces in lines.values() for piece in pieces for _, value in piece]
    if level is not None:
        values.append(level)
    if not values:
        return ""
    low, high = min(values), max(values)
    log = curve.name == LOSS and 0 < LOG_ABOVE * low < high
    if low == high:
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    grid = _decades(low, high) if log else _round(low, high, most=5)
    low, high = grid[0], grid[-1]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return bottom - share * (bottom - TOP)

    def x(step: float) -> float:
        return LEFT + step / end * (right - LEFT)

    label = escape(" ".join(filter(None, [curve.name, curve.value])))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    tiny = any(0 < abs(value) < 1e-4 for value in grid)
    for value in grid:
        at, text = f"{y(value):.1f}", _number(value, tiny=tiny)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>')
    for step in _round(0, end, most=4):
        if step <= end and step == int(step):
            anchor, place = ("end", right) if x(step) > right - 30 else ("middle", x(step))
            parts.append(f'<text x="{place:.1f}" y="{bottom + 20}" text-anchor="{anchor}">{step:,.0f}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2:.1f}" y="{bottom + 40}" text-anchor="middle">step</text>')
    if log:
        parts.append(f'<text x="{LEFT}" y="{TOP - 10}">log scale</text>')
    for step in (step for step in marks if step <= end):
        parts.append(f'<line class="mark" x1="{x(step):.1f}" x2="{x(step):.1f}" y1="{TOP}" y2="{bottom}"/>')
    if level is not None:
        parts.append(f'<line class="level" x1="{LEFT}" x2="{right}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>')
        above = y(level) - 6 if y(level) > TOP + 18 else y(level) + 16
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


def _number(value: float, *, tiny: bool) -> str:
    """Return a number of an axis; where it has tiny ones, 0.00025 is 2.5e-4, so that all small ones look alike."""
    if not tiny or not 0 < abs(value) < 1e-3:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _round(low: float, high: float, *, most: int) -> list[float]:
    """Return round values at equal distances, the first at most `low` and the last at least `high`."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next((factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= most), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return four to seven round values for a logarithmic axis, the first at most `low`, the last at least `high`."""
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if top - bottom >= 3:
        apart = math.ceil((top - bottom) / 6)
        count = math.ceil((top - bottom) / apart)
        return [10.0 ** (top - i * apart) for i in range(count, -1, -1)]
    found: list[float] = []
    for factors in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        values = [factor * 10.0**power for power in range(bottom, top + 1) for factor in factors]
        first = max((i for i, value in enumerate(values) if value <= low), default=0)
        last = min((i for i, value in enumerate(values) if value >= high), default=len(values) - 1)
        found = values[first : last + 1]
        if len(found) >= 4:
            break
    return found
