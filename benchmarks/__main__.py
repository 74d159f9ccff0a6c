"""Measure ratios, each with its goal: python -m benchmarks [--json] [--only NAME]

Each script times things in turn, in one thread, and a ratio is the median of its rounds. Without --only, the table of
benchmarks/RESULTS.md becomes that of this run; what people wrote there stays.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

RESULTS = Path(__file__).parent / "RESULTS.md"
BEGIN, END = "<!-- python -m benchmarks -->", "<!-- end -->"


@attrs.frozen
class Goal:
    """A ratio that is measured: the script it comes from, what it should be, and what it is of."""

    script: str
    value: float
    what: str
    at_most: bool = False  # a cost

    @property
    def words(self) -> str:
        return f"at {'most' if self.at_most else 'least'} {self.value:g}"

    def is_met(self, found: float) -> bool:
        return found <= self.value if self.at_most else found >= self.value


GOALS = {
    "batches_vs_blog_h5": Goal("datasets", 10, "batches a second, beside a file of floats opened per item"),
    "batches_vs_png_lmdb": Goal("datasets", 70, "the same beside PNGs in an LMDB (BasicSR's way)"),
    "h5_vs_blog_h5": Goal("datasets", 8, "windows of an h5 dataset beside a file of floats opened per item"),
    "lmdb_vs_blog_h5": Goal("datasets", 12, "windows of an lmdb dataset beside the same"),
    "resize_2040_by_4": Goal("resize", 5, "MATLAB's bicubic beside a numpy port, 2040x1356 by 4"),
    "metrics_512": Goal("metrics", 5, "psnr_y and ssim_y beside five full filters in float64, 512x512"),
    "metrics_2040": Goal("metrics", 5, "the same, 2040x1356"),
    "forward_float32": Goal("networks", 1.5, "A2N x4, 128x128, beside the authors' layers in float32"),
    "forward_bfloat16": Goal("networks", 3, "the same under bfloat16 autocast"),
    "train_float32": Goal("networks", 1.25, "a step of A2N x4 beside the authors' layers in float32"),
    "train_bfloat16": Goal("networks", 2.3, "the same under bfloat16 autocast"),
    "torch_import_vs_help": Goal("startup", 30, "import torch beside srkit --help"),
    "torch_import_vs_list": Goal("startup", 10, "import torch beside srkit list"),
    "quickstart_cost": Goal("startup", 3, "the first step of quickstart beside import torch", at_most=True),
    "save_cost": Goal("checkpoints", 1, "a checkpoint, whole and flushed, beside torch.save", at_most=True),
    "stall_cost": Goal("checkpoints", 0.25, "what training waits for of it, beside torch.save", at_most=True),
    "load_vs_torch": Goal("checkpoints", 4, "torch.load beside a checkpoint, checked"),
    "folder_cost": Goal("growth", 3, "a folder of 100,000 images opened, beside listing and statting it", at_most=True),
    "bytes_an_image": Goal("growth", 64, "memory of a run that reads windows, for each further image", at_most=True),
    "batch_cost": Goal("growth", 1.25, "a batch of 1,000,000 images beside one of 100", at_most=True),
}


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--only", choices=list(GOALS), metavar="NAME", help=f"one of {', '.join(GOALS)}")
    given = parser.parse_args()
    scripts = dict.fromkeys(goal.script for name, goal in GOALS.items() if given.only in (None, name))
    found: dict[str, float] = {}
    for script in scripts:
        for name, value in importlib.import_module(f"benchmarks.{script}").ratios():
            if given.only in (None, name):
                found[name] = value
                if not given.json:
                    print(line(name, value), flush=True)
    if given.json:
        print(
            json.dumps({**machine(), "ratios": {name: entry(name, value) for name, value in found.items()}}, indent=2)
        )
    if given.only is None:
        RESULTS.write_text(with_table(RESULTS.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 0


def line(name: str, value: float) -> str:
    """Return what is printed of a ratio."""
    goal = GOALS[name]
    return (
        f"{name:22} {shown(value):>7}   goal {goal.words:15} {'met' if goal.is_met(value) else 'short':6} {goal.what}"
    )


def entry(name: str, value: float) -> dict[str, Any]:
    """Return what JSON has of a ratio."""
    goal = GOALS[name]
    return {"value": value, "goal": goal.value, "at_most": goal.at_most, "met": goal.is_met(value), "what": goal.what}


def shown(value: float) -> str:
    """Return a ratio in three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> dict[str, str]:
    """Return when and on what this runs."""
    import numpy
    import torch

    import srkit

    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = named[1] if named else model
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores of {model}, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        "versions": f"srkit {srkit.__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {numpy.__version__}",
    }


def with_table(text: str, found: dict[str, float]) -> str:
    """Return the text of RESULTS.md with the table of these ratios in the place of the one that was there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{RESULTS}: there is no place for the table: {BEGIN} ... {END}")
    return "\n".join([f"{before}{BEGIN}", "", *table(found), "", f"{END}{after}"])


def table(found: dict[str, float]) -> Iterator[str]:
    """Yield the lines of the table."""
    facts = machine()
    yield f"{facts['date']}: {facts['machine']}; {facts['versions']}; one thread."
    yield ""
    yield "| ratio | measured | goal | | what |"
    yield "|---|---|---|---|---|"
    for name, value in found.items():
        goal = GOALS[name]
        yield f"| `{name}` | {shown(value)} | {goal.words} | {'met' if goal.is_met(value) else 'short'} | {goal.what} |"


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before anything is imported that reads them
    sys.exit(main())
