"""Pictures to look at: bicubic, network and HR side by side, enlarged where bicubic differs most from HR."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import srkit

logger = logging.getLogger("srkit")

SIDE = 64  # HR pixels of the enlarged crop
ENLARGE = 5
GAP, BAR = 8, 22
INK, PAPER = (235, 235, 235), (24, 24, 28)
LONGEST = 100  # bytes of a set's name in the name of its picture; file systems take 255 in all

Pixels = NDArray[np.uint8]


class Samples:
    """Writes the pictures of each validation to `samples/` in the run directory, as PNG.

    They are step_00000600_Set5.png, and step_00000600_Set5+2.png of a set's second image. Where a file cannot be
    written, a warning says so.
    """

    def run_started(self, run: srkit.Run) -> None:
        """Remember where the run is, and what its network is called."""
        self._folder, self._model = run.directory / "samples", run.facts["architecture"]

    def pictured(self, step: int, pictures: Sequence[srkit.Picture]) -> None:
        """Write a picture of each image that bicubic was scored on, too."""
        written: list[str] = []
        for picture in pictures:
            if picture.baseline is None:
                continue
            written.append(picture.data)
            number = written.count(picture.data)
            name = file_name(picture.data) + (f"+{number}" if number > 1 else "")  # a sign that no set's name brings in
            image = beside(picture.baseline, picture.sr, picture.hr, f"{self._model}, step {step}")
            self._write(self._folder / f"step_{step:08d}_{name}.png", image)

    def _write(self, path: Path, image: Pixels) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            srkit.save_image(path, image)
        except OSError as error:
            logger.warning("%s could not be written: %s", path, error.strerror)
        except srkit.InputRejected as error:
            logger.warning("%s", error)


def beside(plain: Pixels, sr: Pixels, hr: Pixels, label: str) -> Pixels:
    """Return a picture of an image uint8 [h, w, 3], as bicubic (`plain`), as a network and as it is.

    The crop is where bicubic fails most, so that it is the same at every step.
    """
    top, left, height, width = worst_window(plain, hr, SIDE)
    whole = Image.fromarray(hr)
    side = SIDE * ENLARGE
    whole.thumbnail((side, side), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (4 * side + 5 * GAP, side + BAR + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    ratio = whole.width / hr.shape[1]
    canvas.paste(whole, (GAP, GAP + BAR))
    draw.rectangle(
        [
            GAP + left * ratio,
            GAP + BAR + top * ratio,
            GAP + (left + width) * ratio,
            GAP + BAR + (top + height) * ratio,
        ],
        outline=(255, 90, 60),
        width=2,
    )
    draw.text((GAP, GAP // 2 + 2), "HR, whole", INK, font)
    for column, (name, image) in enumerate((("bicubic", plain), (label, sr), ("HR", hr)), 1):
        crop = Image.fromarray(np.ascontiguousarray(image[top : top + height, left : left + width]))
        x = GAP + column * (side + GAP)
        canvas.paste(crop.resize((width * ENLARGE, height * ENLARGE), Image.Resampling.NEAREST), (x, GAP + BAR))
        draw.text((x, GAP // 2 + 2), name, INK, font)
    return np.asarray(canvas)


def worst_window(image: Pixels, hr: Pixels, side: int) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the window of at most side x side with the largest squared error."""
    error = ((image.astype(np.float64) - hr) ** 2).sum(2)
    height, width = min(side, hr.shape[0]), min(side, hr.shape[1])
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), height, width


def file_name(name: str) -> str:
    """Return a name for files that is short, plain, and no other name's: "a/b" is not "a_b"."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    if plain == name and len(plain.encode()) <= LONGEST:
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    short = plain.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore")
    return f"{short}-{digest}"
