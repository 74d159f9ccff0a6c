"""One way to export a network, tried in a process that may crash: written, opened in its runtime, compared with torch.

`python -m srkit.engine.exporting.attempt JOB` reads a file of JSON, `Job`, and writes another, `Found`.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from srkit.engine.builder import Builder
from srkit.engine.exporting.opened import SAID, sides
from srkit.engine.networks.calling import takes_size
from srkit.engine.networks.padding import sides_of, unfitted
from srkit.engine.scoring.tiler import Tiler
from srkit.engine.weights.model import Model, describe_converted, read_model
from srkit.errors import describe
from srkit.plugin.component import one_line
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry

# Height and width of LR that files are compared at: exporters that freeze what they have seen, or take sides for even,
# are found out here.
SIZES = ((64, 64), (96, 80), (77, 69))
# What SR may differ by, in 0..1. Other orders of summing in float32 make some 1e-6; half a level of 8 bits is 2e-3,
# which is what 16-bit weights may cost.
LIMIT, LIMIT_OF_HALF = 1e-4, 2e-3
TIMES = 3
LONGEST = 300  # characters of a reason: torch tells the graph


@attrs.frozen
class Job:
    """What to export: a model file, by which exporter and way, to which path; `size` where it is to be the only one."""

    model: str
    exporter: str
    path: str
    result: str
    plugins: Sequence[str] = ()
    ambient: str = ""
    way: str = ""
    half: bool = False
    size: tuple[int, int] | None = None


@attrs.frozen
class Found:
    """What was found of an attempt: a `reason` where it failed, or the largest difference at each size, "77x69", and
    the seconds that writing took and that SR of the first size takes in the runtime, and in torch.

    `unchecked` says why there are no differences: this machine has no such runtime.
    """

    reason: str = ""
    differences: Mapping[str, float] = attrs.field(factory=dict)
    seconds: float = 0.0
    latency: float = 0.0
    latency_of_torch: float = 0.0
    unchecked: str = ""


class Plain(nn.Module):
    """A network from LR to SR and nothing else, of one scale, for tracers."""

    def __init__(self, network: nn.Module, scale: int) -> None:
        super().__init__()
        self.network, self.scale, self.sized = network, scale, takes_size(network)

    def forward(self, lr: Tensor) -> Tensor:
        """Return SR, [n, 3, h * scale, w * scale]."""
        if self.sized:
            made = self.network(lr, size=(lr.shape[-2] * self.scale, lr.shape[-1] * self.scale))
        else:
            made = self.network(lr)
        sr: Tensor = made[0] if isinstance(made, tuple) else made
        return sr


def attempt(job: Job, registry: Registry | None = None) -> Found:
    """Export once, in this process, and return what was found."""
    registry = registry or discover(job.plugins, job.ambient)
    builder = Builder(registry)
    model = read_model(Path(job.model), builder)
    words = _words(model, builder, job)
    least, multiple = sides_of(model.network)
    network = Plain(unfitted(model.network), int(model.scale)).eval().requires_grad_(False)
    taken = [job.size] if job.size else [sides(least, multiple, size) for size in SIZES]
    component = registry.find("exporter", job.exporter).component
    exporter = registry.make("exporter", job.exporter, {"half": job.half}, {})
    start = time.perf_counter()
    path, example = Path(job.path), _images(1, *taken[0])
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch's exporters, on themselves
            exporter.write(network, example, path, words=words, way=job.way, fixed=job.size is not None)
        seconds = time.perf_counter() - start
        run = exporter.open(path).run
    except NotImplementedError as error:
        if not path.exists():
            return Found(describe(error))
        return Found(unchecked=str(error), seconds=seconds)
    except Exception as error:  # of torch's exporters, and of each runtime
        traceback.print_exc()  # for the log, which --traceback shows: the reason is a line
        return Found(one_line(describe(error), LONGEST))
    count = 2 if component.facts.get("batches") and not job.size else 1
    return attrs.evolve(compared(network, run, taken, count, half=job.half), seconds=seconds)


def _words(model: Model, builder: Builder, job: Job) -> dict[str, str]:
    """Return what a file says of its network."""
    facts = dict(model.facts)
    tiler = Tiler(model.network, torch.device("cpu"), facts)
    least, multiple = sides_of(model.network)
    known = {"tileable": facts.get("tileable"), "halo": tiler.halo, "min_size": least, "multiple_of": multiple}
    said = {
        **{key: value for key, value in describe_converted(model, builder).items() if key != "converted_from"},
        "scale": int(model.scale),
        "facts": {name: value for name, value in known.items() if value is not None},
        "size": job.size,
        "largest": builder.registry.find("exporter", job.exporter).component.facts.get("largest"),
        "half": job.half,
    }
    shown = {"input": "RGB, float32 0..1, [n, 3, h, w]", "scale": str(said["scale"]), "multiple_of": str(multiple)}
    return {**shown, SAID: json.dumps(said, sort_keys=True)}


def _images(count: int, height: int, width: int) -> Tensor:
    chance = torch.Generator().manual_seed(height * width)
    return torch.rand(count, 3, height, width, generator=chance)


def compared(
    network: nn.Module,
    run: Callable[[Any], Any],
    sizes: Sequence[tuple[int, int]],
    count: int = 1,
    *,
    half: bool = False,
) -> Found:
    """Compare what a file gives with what the network gives, at each size; at the second for `count` images at once."""
    differences: dict[str, float] = {}
    limit = LIMIT_OF_HALF if half else LIMIT
    for number, (height, width) in enumerate(sizes):
        name, lr = f"{height}x{width}", _images(count if number == 1 else 1, height, width)
        with torch.no_grad():
            sr = network(lr).numpy()
        try:
            made = np.asarray(run(lr.numpy()))
        except Exception as error:
            return Found(one_line(f"fails at {name}: {describe(error)}", LONGEST), differences)
        if made.shape != sr.shape:
            return Found(f"gives {list(made.shape)} at {name}, and not {list(sr.shape)}", differences)
        # Of a network whose SR lies far outside of 0..1 rounding is as much larger.
        differences[name] = float(np.abs(made - sr).max() / max(1.0, float(np.abs(sr).max())))
        if not differences[name] <= limit:
            return Found(f"is {differences[name]:.2g} off at {name}", differences)
    lr = _images(1, *sizes[0])
    with torch.no_grad():
        of_torch = _seconds(lambda: network(lr))
    return Found("", differences, 0.0, _seconds(lambda: run(lr.numpy())), of_torch)


def _seconds(compute: Callable[[], object]) -> float:
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - start)
    return median(taken)


def main(argv: Sequence[str]) -> int:
    """Try the job of a file, and write what was found."""
    told = json.loads(Path(argv[0]).read_text("utf-8"))
    job = Job(**{**told, "size": tuple(told["size"]) if told["size"] else None})
    Path(job.result).write_text(json.dumps(attrs.asdict(attempt(job))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
