"""The picture at the head of the README: python benchmarks/picture.py RUN [-o docs/picture.png]

RUN is what `srkit run quickstart` leaves. The picture shows one part of a drawn image that the run has never seen: LR,
bicubic, the network, HR, each with its PSNR on the luma of the whole image. It is a PNG of at most 256 colours, to stay
small.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import srkit

SEED = 2000  # the quickstart trains on seed 0 and validates on 1000
PART = 64  # HR pixels on a side
ZOOM = 3
GAP, LABEL = 8, 34
INK, PAPER = (31, 35, 40), (255, 255, 255)


def main() -> None:
    """Draw the image, enlarge it and lay the four parts side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/picture.png"))
    arguments = parser.parse_args()
    picture(arguments.run).quantize(256, method=Image.Quantize.MEDIANCUT).save(arguments.out, optimize=True)


def picture(run: Path) -> Image.Image:
    """Return the four parts with their labels."""
    network = srkit.load(run)
    scale = 2
    hr = srkit.create("dataset", "leaves", count=1, seed=SEED).read(0)
    lr = shrunk(hr, scale)
    bicubic = srkit.upscale(lr, srkit.create("architecture", "bicubic", scale=scale))
    sr = srkit.upscale(lr, network)
    psnr = srkit.create("metric", "psnr_y")
    inner = np.s_[scale:-scale, scale:-scale]  # the border that papers cut
    top, left = worst(hr, bicubic)
    columns = [
        ("LR", "the input", np.repeat(np.repeat(lr, scale, axis=0), scale, axis=1)),
        ("bicubic", f"{psnr(bicubic[inner], hr[inner]):.2f} dB", bicubic),
        ("network", f"{psnr(sr[inner], hr[inner]):.2f} dB", sr),
        ("HR", "the original", hr),
    ]
    side = PART * ZOOM
    sheet = Image.new("RGB", (4 * side + 5 * GAP, side + LABEL + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (name, note, image) in enumerate(columns):
        part = Image.fromarray(image[top : top + PART, left : left + PART])
        x = GAP + i * (side + GAP)
        sheet.paste(part.resize((side, side), Image.Resampling.NEAREST), (x, GAP))
        draw.text((x + side // 2, GAP + side + 18), f"{name}, {note}", INK, ImageFont.load_default(15), anchor="mm")
    return sheet


def shrunk(hr: np.ndarray, scale: int) -> np.ndarray:
    """Return LR as `srkit degrade bicubic` makes it, uint8 [h, w, 3]."""
    degrade = srkit.create("degradation", "bicubic", scale=scale)
    return degrade(hr)


def worst(hr: np.ndarray, bicubic: np.ndarray) -> tuple[int, int]:
    """Return the corner of the part where bicubic is furthest from HR, on even pixels."""
    error = np.square(hr.astype(float) - bicubic).mean(axis=2)
    sums = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    parts = sums[PART:, PART:] - sums[:-PART, PART:] - sums[PART:, :-PART] + sums[:-PART, :-PART]
    top, left = np.unravel_index(parts[::2, ::2].argmax(), parts[::2, ::2].shape)
    return int(2 * top), int(2 * left)


if __name__ == "__main__":
    main()
