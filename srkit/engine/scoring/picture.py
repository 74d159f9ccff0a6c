"""A picture to look at: bicubic, network and HR side by side, enlarged where bicubic differs most from HR."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 64  # HR pixels of the enlarged crop
ENLARGE = 5
GAP, BAR = 8, 22
INK, PAPER = (235, 235, 235), (24, 24, 28)

Pixels = NDArray[np.uint8]


def png(plain: Pixels, sr: Pixels, hr: Pixels, label: str) -> bytes:
    """Return a picture of an image uint8 [h, w, 3], as bicubic (`plain`), as a network and as it is, as PNG.

    The crop is where bicubic fails most, so that it is the same at every step.
    """
    top, left, height, width = _worst_window(plain, hr)
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
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def _worst_window(image: Pixels, hr: Pixels) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the crop with the largest squared error."""
    error = ((image.astype(np.float64) - hr) ** 2).sum(2)
    height, width = min(SIDE, hr.shape[0]), min(SIDE, hr.shape[1])
    total = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left), height, width
