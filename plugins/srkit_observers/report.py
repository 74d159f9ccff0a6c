"""report.html in the run directory, as `srkit report` writes it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import srkit
from srkit_observers.samples import Pixels, file_name, worst_window

logger = logging.getLogger("srkit")

SIDE = 480  # HR pixels of a picture's part on the page


class Report:
    """Writes `report.html` at each validation and at the end, with the last pictures in `samples/latest/`.

    Where a file cannot be written, a warning says so, once.
    """

    def __init__(self) -> None:
        self._warned = False

    def run_started(self, run: srkit.Run) -> None:
        """Remember where the run is."""
        self._directory = run.directory

    def pictured(self, step: int, pictures: Sequence[srkit.Picture]) -> None:
        """Write the part of each image where bicubic is worst, as bicubic, the network and HR have it, and the page."""
        folder, records, written = self._directory / "samples" / "latest", [], list[str]()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for picture in pictures:
                written.append(picture.data)
                stem = f"{file_name(picture.data)}+{written.count(picture.data)}"
                images = _parts(picture)
                files = {kind: f"{stem}_{kind}.webp" for kind in images}
                for kind, name in files.items():
                    srkit.save_image(folder / name, images[kind])
                records.append({"data": picture.data, "name": picture.name, "files": files})
            (folder / "pictures.json").write_text(json.dumps({"step": step, "pictures": records}), encoding="utf-8")
        except (OSError, srkit.InputRejected) as error:
            self._warn(error)
        self._write()

    def run_ended(self, step: int, outcome: str) -> None:
        """Write the page for the last time."""
        self._write()

    def _write(self) -> None:
        try:
            srkit.report(self._directory)
        except (OSError, srkit.SrkitError) as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("the report cannot be written: %s", error)


def _parts(picture: srkit.Picture) -> Mapping[str, Pixels]:
    """Return the same part of each of a picture's images, by what it is."""
    plain = picture.sr if picture.baseline is None else picture.baseline
    top, left, height, width = worst_window(plain, picture.hr, SIDE)
    images: dict[str, Any] = {"bicubic": picture.baseline, "network": picture.sr, "HR": picture.hr}
    return {
        kind: np.ascontiguousarray(image[top : top + height, left : left + width])
        for kind, image in images.items()
        if image is not None
    }
