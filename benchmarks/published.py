"""What papers publish and what srkit measures, side by side: python benchmarks/published.py DATA [WEIGHTS...]

DATA holds Set5 (and Set14, B100, Urban100 where they are there) in a layout that the dataset `folder` finds. WEIGHTS
are files that authors published, or folders of them: EDSR, RCAN, IMDN, PAN, SwinIR, OmniSR, SPAN, HAT, DAT, A2N. They
are recognised by their names (EDSR_x4.pt, 001_classicalSR_DF2K_s64w8_SwinIR-M_x2.pth, aan_x2.pt). The table goes to the
standard output, and what is missing to the standard error.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

import srkit
from srkit.engine.builder import Builder
from srkit.engine.weights.model import read_model
from srkit.plugin.discovery import installed

SETS = ("Set5", "Set14", "B100", "Urban100")
A2N = {"features": 40, "blocks": 16, "upsampling_features": 24, "img_range": 255.0, "non_attention_kernel": 3}


@attrs.frozen
class Family:
    """Networks of a paper: what files of theirs are called, and PSNR / SSIM on Y by scale, for Set5 and so on.

    Of a scale without figures, networks are measured alone. Without an `architecture` it is what the file is recognised
    as, which needs spandrel. `forward` is how the paper's figures were measured.
    """

    source: str
    names: str
    figures: Mapping[int, Sequence[str]]
    architecture: str | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    forward: str = "whole"


FAMILIES: Mapping[str, Family] = {
    "EDSR": Family(
        "arXiv:1707.02921, as later papers have x4",
        r"edsr",
        {4: ("32.46 / .8968", "28.80 / .7876", "27.71 / .7420", "26.64 / .8033")},
    ),
    "RCAN": Family(
        "arXiv:1807.02758, as table 2 of arXiv:2108.10257 has it",
        r"rcan",
        {
            2: ("38.27 / .9614", "34.12 / .9216", "32.41 / .9027", "33.34 / .9384"),
            3: ("34.74 / .9299", "30.65 / .8482", "29.32 / .8111", "29.09 / .8702"),
            4: ("32.63 / .9002", "28.87 / .7889", "27.77 / .7436", "26.82 / .8087"),
        },
    ),
    "IMDN": Family(
        "arXiv:1909.11856, as table 3 of arXiv:2108.10257 has it",
        r"imdn",
        {
            2: ("38.00 / .9605", "33.63 / .9177", "32.19 / .8996", "32.17 / .9283"),
            3: ("34.36 / .9270", "30.32 / .8417", "29.09 / .8046", "28.17 / .8519"),
            4: ("32.21 / .8948", "28.58 / .7811", "27.56 / .7353", "26.04 / .7838"),
        },
    ),
    "PAN": Family(
        "arXiv:2010.01073 and its log", r"(?<!s)pan(?=[_x\d.-])", {2: ("38.00 / .9605",)}, architecture="pan"
    ),
    "SwinIR light": Family(
        "arXiv:2108.10257, table 3",
        r"lightweight.*swinir|swinir.*(light|swinir-s)",
        {
            2: ("38.14 / .9611", "33.86 / .9206", "32.31 / .9012", "32.76 / .9340"),
            3: ("34.62 / .9289", "30.54 / .8463", "29.20 / .8082", "28.66 / .8624"),
            4: ("32.44 / .8976", "28.77 / .7858", "27.69 / .7406", "26.47 / .7980"),
        },
    ),
    "SwinIR": Family(
        "arXiv:2108.10257, table 2, trained on DIV2K and Flickr2K",
        r"swinir",
        {2: ("38.42 / .9623", "34.46 / .9250", "32.53 / .9041", "33.81 / .9427")},
    ),
    "OmniSR": Family(
        "arXiv:2304.10244", r"omni", {2: ("38.22 / .9613", "33.98 / .9210", "32.36 / .9020", "33.05 / .9363")}
    ),
    "SPAN": Family("arXiv:2311.12770", r"span", {2: (), 4: ()}),
    "HAT": Family("arXiv:2205.04437", r"(?<![a-z])hat(?=[_x\d.-])", {2: (), 3: (), 4: ()}),
    "DAT": Family("arXiv:2308.03364", r"(?<![a-z])dat(?=[_x\d.-])", {2: (), 3: (), 4: ()}),
    "A2N": Family(
        "arXiv:2104.09497, tables 5 to 7",
        r"aan|a2n",
        {
            2: ("38.06 / .9608", "33.75 / .9194", "32.22 / .9002", "32.43 / .9311"),
            3: ("34.47 / .9279", "30.44 / .8437"),
            4: ("32.30 / .8966", "28.71 / .7842", "27.61 / .7374", "26.27 / .7920"),
        },
        architecture="a2n",
        settings=A2N,
        forward="chop",
    ),
}
BICUBIC = {
    2: ("33.66 / .9299", "30.24 / .8688", "29.56 / .8431", "26.88 / .8403"),
    3: ("30.39 / .8682",),
    4: ("28.42 / .8104",),
}
HEAD = "| set | network | published | measured | difference | protocol |\n|---|---|---|---|---|---|"
HOW = {"chop": "in quarters, as its authors do", "whole": "whole images"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path, nargs="*")
    given = parser.parse_args()
    files = [file for path in given.weights for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    print(HEAD)
    for line in rows(given.data, files):
        print(line, flush=True)
    for line in missing(given.data, files):
        print(line, file=sys.stderr)


def known(file: Path) -> tuple[str, int] | None:
    """Return whose weights a file's name says it holds, and for which scale; None for another one."""
    scale = re.search(
        r"(?<![a-z\d])x([234])(?!\d)|(?<!\d)([234])x(?![a-z\d])|([234])(?=\.\w+$)", file.name, re.IGNORECASE
    )
    family = next((name for name, own in FAMILIES.items() if re.search(own.names, file.name, re.IGNORECASE)), None)
    if scale is None or family is None:
        return None
    number = int(scale[1] or scale[2] or scale[3])
    return (family, number) if number in FAMILIES[family].figures else None


def rows(data: Path, files: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of the table: bicubic's, and those of each file that is known."""
    for scale, figures in BICUBIC.items():
        for name, published in zip(SETS, figures, strict=False):
            if (data / name).is_dir():
                yield row(
                    name, "bicubic", scale, published, score(data / name, None, scale), "LR from the files, in RGB"
                )
    for file in files:
        if (found := known(file)) is None:
            continue
        family, scale = FAMILIES[found[0]], found[1]
        network = read_weights(file, family, scale)
        for name, published in itertools.zip_longest(SETS, family.figures[scale]):
            if (data / name).is_dir():
                for forward in dict.fromkeys((family.forward, "whole")):
                    measured = score(data / name, network, scale, forward=forward)
                    yield row(name, found[0], scale, published, measured, HOW[forward])


def missing(data: Path, files: Sequence[Path]) -> Iterator[str]:
    """Yield what there is no row of, and why."""
    for name in SETS:
        if not (data / name).is_dir():
            yield f"missing: {data / name}"
    there = {known(file) for file in files}
    for file in files:
        if known(file) is None:
            yield f"not known by its name: {file}"
    for name, family in FAMILIES.items():
        scales = [f"x{scale}" for scale in family.figures if (name, scale) not in there]
        if scales:
            yield f"no weights: {name} {', '.join(scales)} ({family.source})"


def read_weights(file: Path, family: Family, scale: int) -> torch.nn.Module:
    """Return the network of a file. Raises InputRejected where it is not what its name says."""
    builder = Builder(installed())
    if family.architecture is None:
        return read_model(file, builder).network
    return read_model(
        file, builder, architecture=family.architecture, scale=scale, settings=dict(family.settings)
    ).network


def score(folder: Path, network: torch.nn.Module | None, scale: int, **how: Any) -> tuple[float, float]:
    """Return PSNR and SSIM on Y of a network, or of bicubic."""
    networks = {} if network is None else {"network": network}
    table = srkit.evaluate(networks, {folder.name: folder}, scale=scale, **how)[0]
    mean = table["rows"][0]["mean"]
    return mean["psnr_y"], mean["ssim_y"]


def row(name: str, network: str, scale: int, published: str | None, measured: tuple[float, float], how: str) -> str:
    shown = f"{measured[0]:.2f} / {measured[1]:.4f}".replace(" 0.", " .")
    if published is None:
        return f"| {name} x{scale} | {network} | | {shown} | | {how} |"
    psnr, ssim = map(float, published.split(" / "))
    # Of what is printed: a paper's figures have no more digits.
    apart = f"{round(measured[0], 2) - psnr:+.2f} / {round(measured[1], 4) - ssim:+.4f}".replace("0.", ".")
    return f"| {name} x{scale} | {network} | {published} | {shown} | {apart} | {how} |"


if __name__ == "__main__":
    main()
