"""What a first network asks, answered by one small recipe: python benchmarks/questions.py DATA [--out DIR]

DATA holds T91 to train on, and Set5 and BSDS200 to score on (every fifth image of it). Each answer changes one setting
of the recipe and is trained from several seeds; a run that was stopped goes on with the same command. Prints the table
of docs/networks.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import srkit

RECIPE = """
title = "Questions"
scale = 2

[architecture]
type = "srresnet"
features = 16
blocks = 4
norm = "none"

[[loss]]
type = "l1"

[data]
dataset = {{ type = "folder", path = "{data}/T91" }}
degradation = {{ type = "bicubic" }}
augment = ["hflip", "vflip", "rot90"]
patch = 24
batch = 8

[[validate]]
name = "Set5"
dataset = {{ type = "folder", path = "{data}/Set5" }}

[[validate]]
name = "BSDS200"
dataset = {{ type = "folder", path = "{fifth}" }}

[[metric]]
type = "psnr_y"

[optimizer]
type = "adam"
lr = 2e-3

[schedule]
type = "cosine"
warmup = 50

[train]
steps = {steps}
threads = 1
ema = 0.99
clip = 1.0
log_every = 100
validate_every = {steps}
checkpoint_every = 500
"""

# What each row changes; the first changes nothing.
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "no normalisation, L1, sub-pixel, after": (),
    "batch normalisation": ("architecture.norm=batch",),
    "L2": ("loss.0.type=l2",),
    "Charbonnier": ("loss.0.type=charbonnier",),
    "deconvolution": ("architecture.upsampler=deconvolution",),
    "interpolation": ("architecture.upsampler=interpolation",),
    "enlarged in steps": ("architecture.place=steps",),
    "enlarged before": ("architecture.place=before",),
}


SETS = ("Set5", "BSDS200")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/questions"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = write_recipe(given.data.resolve(), given.out, given.steps)
    # A seed for all answers before the next one, so that a table of fewer seeds is there early.
    found: dict[str, list[dict[str, float]]] = {answer: [] for answer in ANSWERS}
    for seed in given.seeds:
        for number, (answer, changes) in enumerate(ANSWERS.items()):
            out = given.out / f"{number}-{seed}"
            result = srkit.run(recipe, out=out, set=[f"seed={seed}", *changes])
            found[answer].append(gains(result.tables))
            print(f"{answer}, seed {seed}: {found[answer][-1]}", flush=True)
        print("\n".join(rows(found, given.out)), flush=True)
    print("\n".join(both_modes(given.data, given.out, given.seeds)))


def write_recipe(data: Path, out: Path, steps: int) -> Path:
    """Write the recipe, and links to every fifth image of BSDS200, into the folder of the runs."""
    fifth = out / "BSDS200"
    fifth.mkdir(parents=True, exist_ok=True)
    for image in sorted((data / "BSDS200").iterdir())[::5]:
        link = fifth / image.name
        if not link.is_symlink():
            link.symlink_to(image)
    recipe = out / "questions.toml"
    recipe.write_text(RECIPE.format(data=data, fifth=fifth.resolve(), steps=steps))
    return recipe


def gains(tables: list[dict]) -> dict[str, float]:
    """Return what the network has above bicubic on each set, in dB of PSNR on Y."""
    return {
        table["data"]: round(table["rows"][0]["mean"]["psnr_y"] - table["rows"][1]["mean"]["psnr_y"], 4)
        for table in tables
    }


def rows(found: Mapping[str, list[dict[str, float]]], out: Path) -> Iterator[str]:
    """Yield the lines of the table: gains, differences to the first row's of the same seed, the cost of an LR pixel."""
    yield "| | Set5 | BSDS200 | minus the first row: Set5 | BSDS200 | multiply-adds |"
    yield "|---|---|---|---|---|---|"
    first = next(iter(found.values()))
    for number, (answer, scores) in enumerate(found.items()):
        if not scores:
            continue
        gained = [mean_and_range([score[name] for score in scores]) for name in SETS]
        pairs = list(zip(scores, first, strict=False))
        differences = [mean_and_range([score[name] - other[name] for score, other in pairs]) for name in SETS]
        network = srkit.load(next(out.glob(f"{number}-*")))
        cells = [answer, *gained, *(differences if number else ["", ""]), f"{multiply_adds(network):,}"]
        yield f"| {' | '.join(cells)} |"


def mean_and_range(values: list[float]) -> str:
    return f"{statistics.fmean(values):+.2f} ({min(values):+.2f} to {max(values):+.2f})"


def multiply_adds(network: torch.nn.Module) -> int:
    """Return the multiply-adds of an LR pixel; convolutions count."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, 3, 48, 48))
    return round(counter.get_total_flops() / 2 / 48**2)


def both_modes(data: Path, out: Path, seeds: list[int]) -> Iterator[str]:
    """Yield what a network with batch normalisation scores where it is left in training mode."""
    for seed in seeds:
        network = srkit.load(out / f"1-{seed}")
        table = srkit.evaluate({"network": network, "training mode": StaysInTraining(network)}, data / "Set5")[0]
        shown = ", ".join(f"{row['model']} {row['mean']['psnr_y']:.2f} dB" for row in table["rows"])
        yield f"batch normalisation, Set5, seed {seed}: {shown}"


class StaysInTraining(torch.nn.Module):
    """A network that normalises by the image at hand, as it does in training, whatever it is asked for."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return SR of a batch; what the network has learnt of means is put back afterwards."""
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        sr: torch.Tensor = self.network.train()(x)
        self.network.load_state_dict(kept, strict=False)
        self.network.eval()
        return sr


if __name__ == "__main__":
    main()
