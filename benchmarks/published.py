"""What papers publish and what srkit measures, side by side: python benchmarks/published.py DATA [--weights aan_x2.pt]

DATA holds Set5 (and Set14, B100, Urban100 where they are there) in a layout that the dataset `folder` finds. The
weights are the file that the authors of A2N published for x2. Prints the table of the README.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import srkit
from srkit.engine.builder import Builder
from srkit.engine.weights.model import read_model
from srkit.plugin.discovery import installed

# arXiv:2104.09497, tables 5 to 7: PSNR / SSIM on Y; bicubic as the field's papers print it.
PUBLISHED: Mapping[tuple[str, str, int], str] = {
    ("bicubic", "Set5", 2): "33.66 / .9299",
    ("bicubic", "Set5", 3): "30.39 / .8682",
    ("bicubic", "Set5", 4): "28.42 / .8104",
    ("bicubic", "Set14", 2): "30.24 / .8688",
    ("bicubic", "B100", 2): "29.56 / .8431",
    ("bicubic", "Urban100", 2): "26.88 / .8403",
    ("A2N", "Set5", 2): "38.06 / .9608",
    ("A2N", "Set14", 2): "33.75 / .9194",
    ("A2N", "B100", 2): "32.22 / .9002",
    ("A2N", "Urban100", 2): "32.43 / .9311",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    print("\n".join(rows(given.data, given.weights)))


def rows(data: Path, weights: Path | None) -> Iterator[str]:
    """Yield the lines of the table."""
    network = None if weights is None else authors(weights)
    yield "| set | network | published | srkit | protocol |"
    yield "|---|---|---|---|---|"
    for name in dict.fromkeys(name for _, name, _ in PUBLISHED):
        if not (data / name).is_dir():
            continue
        for scale in (2, 3, 4):
            if ("bicubic", name, scale) in PUBLISHED:
                yield row(name, "bicubic", scale, score(data / name, None, scale), "LR from the files, in RGB")
        if network is not None:
            yield row(name, "A2N", 2, score(data / name, network, 2, forward="chop"), "in quarters, as its authors do")
            yield row(name, "A2N", 2, score(data / name, network, 2), "whole images")


def authors(weights: Path) -> torch.nn.Module:
    """Return the authors' x2 network; its weights work in 0..255."""
    part = {"features": 40, "blocks": 16, "upsampling_features": 24, "img_range": 255.0, "non_attention_kernel": 3}
    return read_model(weights, Builder(installed()), architecture="a2n", scale=2, settings=part).network


def score(folder: Path, network: torch.nn.Module | None, scale: int, **how: Any) -> str:
    """Return "38.06 / .9608" of a network, or of bicubic."""
    networks = {} if network is None else {"A2N": network}
    table = srkit.evaluate(networks, {folder.name: folder}, scale=scale, **how)[0]
    mean = table["rows"][0]["mean"]
    return f"{mean['psnr_y']:.2f} / {mean['ssim_y']:.4f}".replace(" 0.", " .")


def row(name: str, network: str, scale: int, measured: str, how: str) -> str:
    return f"| {name} x{scale} | {network} | {PUBLISHED[network, name, scale]} | {measured} | {how} |"


if __name__ == "__main__":
    main()
