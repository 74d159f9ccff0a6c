"""The events of a run as plain text.

step 1200/5000  epoch 3.2  loss 0.0213  5.1 it/s  data 2 %  eta 00:12:40
step 1200  Set5 x2  psnr_y 35.84 (bicubic 33.66, +2.18)  ssim_y 0.9501 (bicubic 0.9299, +0.0202)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import srkit

# What a logging event holds beside each loss by its name.
OTHERS = ("loss", "epoch", "learning_rate", "it_per_s", "images_per_s", "data_share", "eta_s")


def clean(text: str) -> str:
    """Return untrusted text on one line, without control and formatting characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def started(run: srkit.Run) -> str:
    """Return the line of a run's start: "a2n_x2  5000 steps  runs/a2n_x2"."""
    start = f"from step {run.first_step}  " if run.first_step else ""
    return f"{clean(run.title)}  {run.steps} steps  {start}{clean(str(run.directory))}"


def logged(step: int, steps: int, values: Mapping[str, float]) -> str:
    """Return the line of a logging event; what `values` does not hold is left out."""
    return "  ".join([f"step {step}/{steps}", *(" ".join(part) for part in parts(values))])


def parts(values: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield the words of a logging event.

    ("epoch", "3.2"), ("loss", "0.0213"), ("5.1", "it/s"), ("data", "2 %"), ("eta", "00:12:40")
    """
    if "epoch" in values:
        yield "epoch", f"{values['epoch']:.1f}"
    if "loss" in values:
        yield "loss", number(values["loss"])
    if "it_per_s" in values:
        yield rate(values["it_per_s"]), "it/s"
    if "data_share" in values:
        yield "data", f"{100 * values['data_share']:.0f} %"
    if "eta_s" in values:
        yield "eta", duration(values["eta_s"])
    losses = [name for name in values if name not in OTHERS]
    if len(losses) > 1:  # of which "loss" is the weighted sum
        for name in losses:
            yield clean(name), number(values[name])


def number(value: float) -> str:
    """Return a loss with three digits that matter, and whole numbers above 100: "0.0213", "12.0", "23456"."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def rate(value: float) -> str:
    """Return a rate with one decimal, or two digits where it is below 1: "5.1", "0.042"."""
    return f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds: "00:12:40"; hours may pass 99."""
    if not math.isfinite(seconds):
        return "--:--:--"
    minutes, second = divmod(max(0, round(seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"


def score(metric: str, value: float, *, sign: bool = False) -> str:
    """Return a score with the decimals that papers print: two for PSNR, four for any other. `sign` shows a plus."""
    return f"{value:{'+' if sign else ''}.{2 if 'psnr' in metric else 4}f}"


def data(table: Mapping[str, Any]) -> str:
    """Return what a table's scores were measured on: "Set5 x2"."""
    return f"{clean(table['data'])} x{table['scale']}"


def validated(step: int, table: Mapping[str, Any]) -> str:
    """Return the line of one table of a validation: its first row's scores, and beside each those of the other rows."""
    texts = [f"step {step}", data(table)]
    own, *others = table["rows"] or [{"mean": {}}]
    for metric, value in own["mean"].items():
        beside = [_beside(own, row, metric) for row in others if metric in row["mean"]]
        exact = len(own.get("exact", {}).get(metric, ()))
        words = [*beside, *([f"{exact} of {len(own['images'])} images exact"] if exact else [])]
        texts.append(f"{clean(metric)} {score(metric, value)}" + (f" ({'; '.join(words)})" if words else ""))
    return "  ".join(texts)


def _beside(own: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> str:
    """Return "bicubic 33.66, +2.18"."""
    text, difference = f"{clean(row['model'])} {score(metric, row['mean'][metric])}", gain(own, row, metric)
    return text if difference is None else f"{text}, {score(metric, difference, sign=True)}"


def gain(own: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> float | None:
    """Return how far a row's mean is from another's, of the images that are exact in neither; None where it is none."""
    difference = own["mean"][metric] - row["mean"][metric]
    if metric in own.get("exact", {}) or metric in row.get("exact", {}):
        pairs = [(own["images"][name][metric], row["images"][name][metric]) for name in own["images"]]
        values = [one - other for one, other in pairs if math.inf not in (one, other)]
        difference = statistics.fmean(values) if values else math.nan
    return difference if math.isfinite(difference) else None


def saved(step: int, path: Path, directory: Path) -> str:
    """Return the line of a save: "step 1200  saved checkpoints/step_00001200"."""
    return f"step {step}  saved {clean(inside(path, directory))}"


def ended(step: int, outcome: str) -> str:
    """Return the line of a run's end: "step 5000  finished"."""
    return f"step {step}  {clean(outcome)}"


def inside(path: Path, directory: Path) -> str:
    """Return a path relative to the run directory, or unchanged where it is outside."""
    return path.relative_to(directory).as_posix() if path.is_relative_to(directory) else str(path)
