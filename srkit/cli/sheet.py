"""A contact sheet of a degradation: some images, each with several draws and what was drawn."""

from __future__ import annotations

import contextlib
import itertools
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from srkit.engine.networks.calling import scaled, shrunk
from srkit.errors import InputRejected, RunFailed

if TYPE_CHECKING:
    from srkit.engine.builder import Builder
    from srkit.images.reading import Picture
    from srkit.plugin.part import Part

IMAGES, DRAWS = 4, 3
SIDE = 256  # HR pixels of what is shown of an image, from its middle
GAP, LINE = 8, 12  # pixels


def draw_sheet(
    path: Path, builder: Builder, part: Part, scale: float, seed: int, reads: Sequence[Callable[[], Picture]]
) -> None:
    """Write a PNG with the first images, a row each: HR, and LR of the seed and of those after it, enlarged without
    smoothing. An image that cannot be used is left out. Raises RunFailed for a disk."""
    from srkit.engine.data.opening import drawn_in_words, make_degrade

    ways = [make_degrade(builder, part, scale, seed=seed + k) for k in range(DRAWS)]
    rows: list[list[tuple[Image.Image, str]]] = []
    for index, read in enumerate(reads):
        if len(rows) == IMAGES:
            break
        with contextlib.suppress(InputRejected, ValueError):
            hr = read().pixels
            row = [(_shown(hr, 1.0), "HR")]
            for k, degrade in enumerate(ways):
                text = drawn_in_words(builder, part, scale, seed=seed + k, index=index)
                row.append((_shown(degrade(hr, index), scale), _wrapped(f"seed {seed + k}\n{text}")))
            rows.append(row)
    lines = [max(text.count("\n") + 1 for _, text in row) for row in rows]
    heights = [SIDE + LINE * count + 2 * GAP for count in lines]
    sheet = Image.new("RGB", ((SIDE + GAP) * (DRAWS + 1) + GAP, sum(heights) + GAP), "white")
    pen, top = ImageDraw.Draw(sheet), GAP
    for row, height in zip(rows, heights, strict=True):
        for column, (image, text) in enumerate(row):
            left = GAP + column * (SIDE + GAP)
            sheet.paste(image, (left, top))
            pen.multiline_text((left, top + SIDE + 4), text, fill="black", spacing=LINE - 10, font_size=10)
        top += height
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as error:
        raise RunFailed(f"{path}: cannot be written: {error.strerror or error}") from None


def _wrapped(text: str) -> str:
    """Return a text whose lines are as wide as an image, the further ones of a line indented."""
    lines = (textwrap.wrap(line, SIDE // 6, subsequent_indent="   ") for line in text.splitlines())
    return "\n".join(itertools.chain.from_iterable(lines))


def _shown(image: Any, by: float) -> Image.Image:
    """Return the middle of an image that is smaller by a factor, at HR's size."""
    side = [min(SIDE, scaled(length, by)) for length in image.shape[:2]]
    tall, wide = (max(1, shrunk(length, by)) for length in side)
    top, left = (image.shape[0] - tall) // 2, (image.shape[1] - wide) // 2
    levels = image[top : top + tall, left : left + wide]
    shown = levels if levels.dtype == "uint8" else (levels // 257).astype("uint8")
    return Image.fromarray(shown).resize((scaled(wide, by), scaled(tall, by)), Image.Resampling.NEAREST)
