"""What the values of a run are called in every tracker, and what is kept of a tracker's run."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import srkit

TRACKED = ("epoch", "learning_rate", "it_per_s", "images_per_s", "data_share")
OTHERS = (*TRACKED, "eta_s")  # the values of a log that are no loss


def scalars(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values of a log by their names: `loss/total`, `loss/<loss>`, `learning_rate`, `images_per_s`..."""
    found = {name: values[name] for name in TRACKED if name in values}
    losses = {f"loss/{name}": value for name, value in values.items() if name not in (*OTHERS, "loss")}
    if "loss" in values:
        losses["loss/total"] = values["loss"]
    return finite({**losses, **found})


def scores(tables: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of a validation by name: `metrics/<set>/<metric>` of the network, `bicubic/...` of bicubic.

    A set that is scored at several scales has its scale in the name: `metrics/Set5_x2/psnr_y`.
    """
    names = [table["data"] for table in tables]
    found: dict[str, float | None] = {}
    for table in tables:
        name = table["data"] if names.count(table["data"]) == 1 else f"{table['data']}_x{table['scale']}"
        for i, row in enumerate(table["rows"]):
            group = "metrics" if i == 0 else row["model"]
            found |= {f"{group}/{name}/{metric}": value for metric, value in row["mean"].items()}
    return finite(found)


def finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return the values that are finite: not every tracker takes others."""
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def images(pictures: Sequence[srkit.Picture]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the pictures of a validation by their names, `<set>/<image>`: bicubic, network and HR side by side."""
    for picture in pictures:
        parts = [image for image in (picture.baseline, picture.sr, picture.hr) if image is not None]
        yield f"{picture.data}/{picture.name}", np.concatenate(parts, axis=1)


def settings(run: srkit.Run) -> dict[str, Any]:
    """Return a run's recipe, with every default, and its facts, as plain values."""
    try:
        recipe = tomllib.loads((run.directory / "recipe.toml").read_text("utf-8"))
    except (OSError, ValueError):
        recipe = {}
    return {"recipe": recipe, **{key: value for key, value in run.facts.items() if value is not None}}


class Kept:
    """Which run of a tracker a run directory is, so that the same command goes on with it: `<tracker>.json`."""

    def __init__(self, directory: Path, tracker: str) -> None:
        self._path = directory / f"{tracker}.json"

    def read(self) -> dict[str, Any]:
        """Return what was kept, or nothing."""
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, values: Mapping[str, Any]) -> None:
        """Keep values. Raises OSError."""
        self._path.write_text(json.dumps(dict(values)), encoding="utf-8")
