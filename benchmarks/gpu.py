"""Whether srkit does on a GPU what it does on the CPU, and how fast it trains there.

    python benchmarks/gpu.py [--device cuda|cpu] [--small] [--json FILE]

First the checks, a line each: passed, failed or skipped, with what was measured. Then the speed of A2N x2 (batch 32, LR
patches of 48, Adam, L1) in srkit's own trainer, beside the same step in plain eager PyTorch, interleaved in one run.
There is nothing to download, and it takes some minutes. The exit code is 0 where no check failed. With --small all is
tiny: that shows on a CPU that the command works.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import functools
import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import srkit_resize.device
import srkit_resize.matlab
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit
from srkit.cli.output import clean, console, grid
from srkit.engine.builder import Builder
from srkit.engine.data.batches import Augmentation, Batch, Batches, BatchPlan
from srkit.engine.data.opening import make_pairs
from srkit.engine.data.pairs import Pairs
from srkit.engine.data.pools import DevicePool, PackedPool, Pool, SourcePool, make_pool
from srkit.engine.data.preparing import Tiles, prepare
from srkit.engine.data.sampling import stream
from srkit.engine.learning.graphs import CudaRecorder, Graphs
from srkit.engine.learning.learner import Learner, network_learner
from srkit.engine.learning.objective import Opposing, Term
from srkit.engine.learning.trainer import PRECISIONS, Duty, Options, Trainer, trainer_of
from srkit.engine.running import checkpoint
from srkit.engine.streams import streams_of
from srkit.errors import describe
from srkit.files import json_text
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover, installed
from srkit.plugin.registry import Entry, Origin
from srkit.plugin.settings import read_settings
from srkit.version import __version__

CPU = torch.device("cpu")
SCALE = 2
TINY = {"features": 4, "blocks": 1, "upsampling_features": 4}
SHORT = {"features": 16, "blocks": 4, "upsampling_features": 16}

# Of the largest value. Sums of float32 in another order change 1e-6 of it; TF32, with 10 bits, changes 6e-4 or more.
SAME_OUTPUT = 1e-4
# Of the norm of all gradients: rounding carries values to the other side of a ReLU, which on CPUs changes up to 3e-5.
SAME_GRADIENTS = 2e-4
# In 0..1, the last bit or two of a float32: CUDA multiplies by the reciprocal where the CPU divides by 255.
SAME_COLOUR = 2.0**-23

KILLED_AT = 18  # between the checkpoints of steps 16 and 24
OVERRIDES = (
    "architecture.features=4 architecture.blocks=1 architecture.upsampling_features=4 data.patch=12 data.batch=4 "
    "data.dataset.count=3 data.dataset.size=64 validate.0.dataset.count=1 validate.0.dataset.size=48 "
    "schedule.type=constant train.steps=24 train.clip=1.0 train.accumulate=2 train.log_every=3 "
    "train.validate_every=12 train.checkpoint_every=8 train.deterministic=run"
)  # of the recipe `quickstart`


class Failed(Exception):
    """Raised by a check that found a difference; the text says which."""


class Skipped(Exception):
    """Raised by a check that has nothing to look at here; the text says why."""


@attrs.frozen
class Setup:
    """Where all is computed, and how much of it. The folder is empty at first."""

    device: torch.device
    small: bool
    folder: Path


@attrs.frozen
class Line:
    """How a check ended: "passed", "failed" or "skipped", and what it found."""

    name: str
    outcome: str
    found: str
    seconds: float


Check = tuple[str, Callable[[], str]]  # its name; called, it says what it measured, or raises


def run_checks(checks: Sequence[Check]) -> list[Line]:
    """Run each check, whatever became of those before it, and name it on stderr when it has ended."""
    lines = []
    for name, check in checks:
        started = time.perf_counter()
        try:
            outcome, found = "passed", check()
        except Skipped as reason:
            outcome, found = "skipped", str(reason)
        except Failed as reason:
            outcome, found = "failed", str(reason)
        except Exception as error:
            outcome, found = "failed", placed(error)
        lines.append(Line(name, outcome, found, time.perf_counter() - started))
        print(f"{outcome}: {name}", file=sys.stderr, flush=True)
    return lines


def placed(error: BaseException) -> str:
    """Return an error as one line, with the last place that it came from outside torch."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename]
    return f"{describe(error)} ({'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})"


def require(condition: bool, otherwise: str) -> None:
    """Raise Failed unless a condition holds."""
    if not condition:
        raise Failed(otherwise)


def all_checks(setup: Setup) -> list[Check]:
    """Return the checks in their order."""
    part = functools.partial
    options: dict[str, dict[str, Any]] = {
        "a step": {},
        "a step with ema": {"ema": 0.9},
        "a step with clip": {"clip": 1.0},
        "a step with accumulate": {"accumulate": 2},
        "a step in float16": {"precision": torch.float16},
    }
    return [
        *(
            (f"network {entry.full_name.removeprefix('srkit:')}", part(network, setup, entry))
            for entry in installed().of_kind("architecture")
        ),
        *((f"batches from {where}", part(batches, setup, where)) for where in POOLS),
        ("MATLAB's resize", part(resize, setup)),
        ("metrics", part(metrics, setup)),
        *((f"ten steps in {name}", part(ten_steps, setup, name, compile=False)) for name in PRECISIONS),
        *((f"ten steps in {name}, compiled", part(ten_steps, setup, name, compile=True)) for name in PRECISIONS),
        *((f"{name} does not wait", part(no_waiting, setup, **given)) for name, given in options.items()),
        *((f"a batch from {where} does not wait", part(no_waiting_batch, setup, where)) for where in POOLS[:3]),
        *((f"a killed run continues in {name}", part(continues, setup, name)) for name in ("float32", "float16")),
        *((f"{name} as a graph", part(as_graph, setup, **given)) for name, given in options.items()),
        *((f"steps of a GAN{how}", part(gan, setup, graphs=bool(how))) for how in ("", " as graphs")),
        *((f"degradation of {name}", part(degradation, setup, name)) for name in ("realesrnet_x4", "bsrgan_x4")),
        ("a checkpoint beside training", part(saved_beside, setup)),
        ("float16 that overflows", part(overflow, setup)),
        ("upscale", part(upscale, setup)),
        ("upscale in tiles", part(tiles, setup)),
        ("eval", part(evaluate, setup)),
    ]


def network(setup: Setup, entry: Entry) -> str:
    """Forward and backward in float32 on the device, without TF32, against float64 on the CPU."""
    component = entry.component
    if component.missing:
        raise Skipped(component.missing)
    settings = read_settings(component.load(), KINDS["architecture"].given)
    needed = [name for name, setting in settings.items() if setting.required]
    if needed:
        raise Skipped(f"it has no default for {', '.join(needed)}")
    scales = component.facts.get("scales", (SCALE,))
    torch.manual_seed(0)
    made = Builder(installed()).network_of(entry.full_name, {}, SCALE if SCALE in scales else scales[0]).eval()
    side = 8 if setup.small else 24
    x = torch.rand(1, 3, side, side + 1)
    try:
        exact, sr, gradients = "float64", *passed_through(made, x, CPU, torch.float64)
    except RuntimeError:  # it makes tensors of float32 in its forward
        exact, sr, gradients = "float32", *passed_through(made, x, CPU, torch.float32)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found_sr, found_gradients = passed_through(made, x, setup.device, torch.float32)
    output = float((found_sr - sr).abs().max() / sr.abs().max())
    gradient = float((found_gradients - gradients).norm() / gradients.norm())
    text = f"output {output:.0e}, gradients {gradient:.0e} from {exact}"
    require(output <= SAME_OUTPUT and gradient <= SAME_GRADIENTS, text)
    return text


def passed_through(made: nn.Module, x: Tensor, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the output of a copy of a network, and the gradients of input and parameters in one row; float64."""
    there = copy.deepcopy(made).to(device, dtype)
    given = x.to(device, dtype).requires_grad_()
    sr = there(given)
    weights = torch.rand(sr.shape, generator=torch.Generator().manual_seed(1))
    (sr * weights.to(sr)).sum().backward()
    gradients = [given.grad, *(p.grad for p in there.parameters())]
    return sr.detach().cpu().double(), torch.cat([g.cpu().double().flatten() for g in gradients if g is not None])


class Deep:
    """A dataset whose images have 16 bits, with levels between those of 8."""

    def __init__(self, source: Any) -> None:
        self.source, self.name, self.size, self.fingerprint = source, source.name, source.size, source.fingerprint

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int, window: Any = None) -> Any:
        image = self.source.read(index, window).astype(np.uint16)
        return image * 257 - image // 2


@functools.cache
def drawn(*, count: int, size: int, deep: bool = False) -> Pairs:
    """Return drawn images with their LR."""
    source = srkit.create("dataset", "leaves", count=count, size=size)
    degradation = srkit.create("degradation", "bicubic", scale=SCALE)
    return Pairs(Deep(source) if deep else source, SCALE, degradation=degradation, made_by="bicubic", files=False)


POOLS = ("memory", "the device's memory", "a file", "memory in 16 bits")


def pool_of(setup: Setup, where: str) -> tuple[Pool, Pool]:
    """Return a pool, and one in memory of the same images."""
    pairs = drawn(count=3, size=64, deep="16" in where)
    packed = PackedPool(pairs, range(3), threads=1)
    if where == "the device's memory":
        return DevicePool(packed, setup.device), packed
    if where == "a file":
        path = Path(tempfile.mkdtemp(dir=setup.folder)) / "leaves.h5"
        writer = functools.partial(srkit.create, "writer", "h5")
        builder = Builder(installed())
        prepare(builder, pairs.source, path, lambda at: writer(path=at), format="h5", tiles=Tiles(), scales=[SCALE])
        from_file = srkit.create("dataset", "h5", path=str(path))
        return SourcePool(make_pairs(builder, from_file, SCALE, None, for_training=True), range(3)), packed
    return packed, packed


def plan(*, batch: int, patch: int) -> BatchPlan:
    """Return how batches are drawn, with augmentations."""
    names = ("hflip", "vflip", "rot90")
    turned = tuple(Augmentation(name, srkit.create("augmentation", name), 1) for name in names)
    return BatchPlan(seed=3, batch=batch, patch=patch, scale=SCALE, augmentations=turned)


def images_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return a batch's LR and HR."""
    return batch.lr, batch.hr


def batches(setup: Setup, where: str) -> str:
    """Augmented batches on the device against those from memory on the CPU, in order and out of it."""
    pool, packed = pool_of(setup, where)
    top, apart, drawing = 65535 if "16" in where else 255, 0.0, plan(batch=4, patch=12)
    with (
        contextlib.closing(Batches(packed, drawing, CPU)) as expected,
        contextlib.closing(Batches(pool, drawing, setup.device)) as found,
    ):
        for step in (0, 1, 2, 3, 9, 10, 4):
            for name, ours, theirs in zip(
                ("LR", "HR"), *(images_of(made[step]) for made in (found, expected)), strict=True
            ):
                require(ours.device.type == setup.device.type, f"{name} is on {ours.device}")
                ours = ours.cpu()
                levels = [(images.double() * top).round() for images in (ours, theirs)]
                require(torch.equal(*levels), f"{name} of step {step} has other levels")
                apart = max(apart, float((ours - theirs).abs().max()))
    require(apart <= SAME_COLOUR, f"the same levels, but {apart:.0e} apart in 0..1")
    return f"the same levels, {apart:.0e} apart in 0..1"


RESIZES = (("shrink", "enlarge"), (2, 3, 4), ("uint8", "double"), ("symmetric", "replicate"))


def resize(setup: Setup) -> str:
    """Integers to the bit, floats to what a sum in another order may change."""
    rng, count, apart = np.random.default_rng(0), 0, 0.0
    for dtype in (np.uint8, np.uint16):
        images = rng.integers(0, np.iinfo(dtype).max + 1, (2, 37, 50, 3)).astype(dtype)
        images[1] = np.where(images[1] % 2, np.iinfo(dtype).max, 0)  # sums beyond the levels, which are clamped
        there = torch.from_numpy(images).permute(0, 3, 1, 2).to(setup.device)
        for name, scale, mode, edge in itertools.product(*RESIZES):
            on_device, on_cpu = (getattr(where, name) for where in (srkit_resize.device, srkit_resize.matlab))
            found = on_device(there, scale, mode=mode, edge=edge).cpu().permute(0, 2, 3, 1).numpy()
            expected = np.stack([on_cpu(image, scale, mode=mode, edge=edge) for image in images])
            differ = int((found != expected).sum())
            require(differ == 0, f"{name} x{scale}, {mode}, {edge}, {images.dtype}: {differ} values differ")
            count += found.size
            if dtype == np.uint8 and mode == "double":
                floats = [on_device(x.double(), scale, mode=mode, edge=edge).cpu() for x in (there, there.cpu())]
                apart = max(apart, float((floats[0] - floats[1]).abs().max()))
    require(apart <= 1e-9, f"in float64 {apart:.0e} levels apart")
    bicubic, x = srkit.create("degradation", "bicubic"), torch.from_numpy(rng.random((2, 3, 37, 50), np.float32))
    x = (x * 255).round() / 255
    for size in ((37, 50), (19, 23), (30, 41)):
        found = (bicubic.batch(there, size).cpu() * 255 for there in (x.to(setup.device), x))
        require(torch.equal(*(levels.round() for levels in found)), f"a batch to {size}: other levels")
    return f"{count:,} integers the same, floats {apart:.0e} levels apart"


def metrics(setup: Setup) -> str:
    """Each of srkit's metrics of tensors on the device against that of arrays, in dB or 0..1."""
    hr = srkit.create("dataset", "leaves", count=1, size=192).read(0)
    noise = np.random.default_rng(0).normal(0, 8, hr.shape)
    sr = np.clip(hr + noise, 0, 255).astype(np.uint8)
    there = [torch.from_numpy(image).to(setup.device) for image in (sr, hr)]
    apart = {}
    for entry in installed().of_kind("metric"):
        component = entry.component
        if component.target.startswith("srkit_metrics.") and not component.facts.get("needs"):  # the others take arrays
            score = srkit.create("metric", entry.full_name)
            apart[entry.component.name] = abs(score(*there) - score(sr, hr))
    worst = max(apart, key=lambda name: apart[name])
    text = f"{len(apart)} metrics, at most {apart[worst]:.0e} apart ({worst})"
    require(apart[worst] <= 1e-9, text)  # sums of float64 in another order
    return text


def make_trainer(setup: Setup, size: dict[str, int], *, weight: float = 1.0, steps: int = 10, **given: Any) -> Trainer:
    """Return a trainer of an A2N with L1 and Adam, laid out as a run does it."""
    torch.manual_seed(0)
    made = srkit.create("architecture", "a2n", scale=SCALE, **size)
    made.to(setup.device, memory_format=torch.channels_last)
    losses = [Term("l1", srkit.create("loss", "l1"), weight, False)]
    optimizer = srkit.create("optimizer", "adam", made.parameters(), lr=1e-3)
    return trainer_of(
        made,
        losses,
        optimizer,
        lambda step: 1.0,
        setup.device,
        Options(steps=steps, seed=1, **given),
    )


def one_batch(setup: Setup) -> Batch:
    """Return a batch on the device."""
    drawing = plan(batch=4, patch=8 if setup.small else 16)
    with contextlib.closing(Batches(pool_of(setup, "memory")[0], drawing, setup.device)) as made:
        return made[0]


def flat(made: nn.Module) -> Tensor:
    """Return a copy of all parameters in one row."""
    return torch.cat([p.detach().flatten() for p in made.parameters()])


def ten_steps(setup: Setup, precision: str, *, compile: bool) -> str:
    """Ten updates on one batch, with ema, clip, accumulate and channels_last: the loss is finite and does not rise."""
    if compile and setup.small:
        raise Skipped("left out with --small: compiling takes long")
    given = {"precision": PRECISIONS[precision], "compile": compile, "ema": 0.9, "clip": 1.0, "accumulate": 2}
    trainer = make_trainer(setup, TINY if setup.small else SHORT, **given)
    batch, losses, first = one_batch(setup), [], flat(trainer.network)
    for _ in range(10):
        trainer.step(batch)
        losses.append(trainer.read_losses()["loss"])
    text = f"L1 {losses[0]:.4f} to {losses[-1]:.4f}"
    last, mean = flat(trainer.network), flat(trainer.averaged)
    require(all(map(math.isfinite, losses)) and losses[-1] <= losses[0], text)
    require(bool(last.isfinite().all() and mean.isfinite().all()), f"{text}, but weights are not finite")
    require(not torch.equal(last, first) and not torch.equal(last, mean), f"{text}, but weights or mean stand still")
    return text


def without_waiting(setup: Setup, do: Callable[[], object]) -> str:
    """Do it four times, the last two where torch raises an error for whatever waits for the device."""
    if setup.device.type != "cuda":
        raise Skipped("only CUDA tells what waits for it")
    for mode in ("default", "default", "error", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            do()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return "nothing waits for the device"


def no_waiting(setup: Setup, **given: Any) -> str:
    """Updates wait for nothing that the device computes."""
    trainer, batch = make_trainer(setup, TINY, **given), one_batch(setup)
    return without_waiting(setup, lambda: trainer.step(batch))


def as_graph(setup: Setup, **given: Any) -> str:
    """Updates that are recorded and replayed, beside plain ones."""
    if setup.device.type != "cuda":
        raise Skipped("only CUDA has graphs")
    batch, found, launched = one_batch(setup), [], 0
    for with_graphs in (False, True):
        trainer = make_trainer(setup, TINY, **given)
        if with_graphs:
            trainer.replaying = graphs = Graphs(trainer, CudaRecorder(setup.device), exact=False)
        else:
            trainer.learner.keep_rates_on_device()
        for _ in range(12):
            trainer.step(batch)
        finished(setup.device)
        found.append(flat(trainer.network))
        with torch.profiler.profile(activities=list(torch.profiler.supported_activities())) as profile:
            trainer.step(batch)
            finished(setup.device)
        launched = sum(event.count for event in profile.key_averages() if "Launch" in event.key)
    require(graphs.refusal == "", graphs.refusal)
    require(graphs.recorded == 1, f"{graphs.recorded} kinds of steps were recorded, and there is one")
    apart = float((found[0] - found[1]).abs().max())
    require(apart <= 1e-3, f"weights are {apart:.1e} apart after 12 updates")
    return f"weights {apart:.1e} apart after 12 updates, {launched} launches a step"


def gan(setup: Setup, *, graphs: bool) -> str:
    """Steps with an adversary and R1: what the network and the adversary learn is finite, and both change."""
    if graphs and setup.device.type != "cuda":
        raise Skipped("only CUDA has graphs")
    torch.manual_seed(0)
    made = srkit.create("architecture", "a2n", scale=SCALE, **TINY).to(setup.device)
    loss = srkit.create("loss", "adversarial", discriminator=srkit.create("discriminator", "patch"), r1=1.0, r1_every=4)
    terms = [Term("l1", srkit.create("loss", "l1"), 1.0, False), Term("gan", loss.to(setup.device), 0.1, False)]
    learners = [
        network_learner(made, terms, srkit.create("optimizer", "adam", made.parameters()), lambda step: 1.0),
        Learner(
            "gan", Opposing(terms[1]), srkit.create("optimizer", "adam", loss.adversary.parameters()), lambda _: 1.0
        ),
    ]
    trainer = Trainer(made, terms, learners, setup.device, Options(steps=40, seed=1, precision=torch.bfloat16))
    if graphs:
        trainer.replaying = replaying = Graphs(trainer, CudaRecorder(setup.device), exact=False)
    drawing = plan(batch=4, patch=16)
    with contextlib.closing(Batches(pool_of(setup, "memory")[0], drawing, setup.device)) as source:
        before = flat(made), flat(loss.adversary)
        for step in range(8 if setup.small else 40):
            trainer.step(source[step])
    losses, after = trainer.read_losses(), (flat(made), flat(loss.adversary))
    text = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
    require(all(map(math.isfinite, losses.values())), text)
    moved = [bool(now.isfinite().all()) and not torch.equal(now, then) for now, then in zip(after, before, strict=True)]
    require(all(moved), f"{text}, but weights stand still or are not finite")
    if graphs:
        require(
            replaying.refusal == "" and replaying.recorded == 2, replaying.refusal or "not both kinds were recorded"
        )
    return text


def degradation(setup: Setup, recipe: str) -> str:
    """LR of random degradations on the device and on the CPU, of the same draws; and how many samples a second."""
    size, count, scale = (32, 2, 4) if setup.small else (256, 32, 4)
    settings = srkit.load_recipe(recipe).data.degradation.settings
    chain = srkit.create("degradation", "chain", scale=scale, **settings)
    source = drawn(count=count, size=size).source
    hr = torch.stack([torch.from_numpy(source.read(index)).permute(2, 0, 1) for index in range(count)]).float() / 255

    def degraded(images: Tensor, step: int) -> Tensor:
        draws = stream(1, "degradation", step, np.arange(count), images.device)
        return chain(images, (size // scale,) * 2, draws)

    images = hr.to(setup.device)
    off = (degraded(images, 0).cpu() - degraded(hr, 0)).abs() * 255
    # JPEG rounds: what was a last bit before it may be a step of its tables after.
    share = float((off > 1).float().mean())
    finished(setup.device)
    started = time.perf_counter()
    for step in range(3):
        degraded(images, step)
    finished(setup.device)
    text = f"{share:.2%} of the values are more than a level apart, at most {float(off.max()):.0f}"
    require(share <= 0.02, text)
    return f"{text}; {3 * count / (time.perf_counter() - started):.0f} samples/s"


def no_waiting_batch(setup: Setup, where: str) -> str:
    """Batches are made ahead of what the device computes."""
    steps = iter(range(9))
    with contextlib.closing(Batches(pool_of(setup, where)[0], plan(batch=4, patch=12), setup.device)) as made:
        return without_waiting(setup, lambda: made[next(steps)])


class Killer:
    """An observer that ends its process as `kill -9` does, once a step is logged."""

    def logged(self, step: int, values: dict[str, float]) -> None:
        if step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)


def train(out: str, how: str, *overrides: str) -> None:
    """Train `quickstart` in this process, which does not live to the end where `how` is "killed"."""
    registry = discover()
    registry.add(srkit.Component("observer", "killer", f"{__name__}:Killer"), Origin("killer"))
    observers = ["killer"] if how == "killed" else []
    srkit.run("quickstart", out=out, set=overrides, registry=registry, observers=observers)


def continues(setup: Setup, precision: str) -> str:
    """A run that is killed and continued ends with the bits of one that is not, with `train.deterministic = "run"`."""
    if setup.small and precision != "float16":
        raise Skipped("left out with --small: float16 has more state")
    folder = Path(tempfile.mkdtemp(dir=setup.folder))
    overrides = [*OVERRIDES.split(), f"train.device={setup.device}", f"train.precision={precision}"]
    for out, how, code in (("straight", "whole", 0), ("killed", "killed", -signal.SIGKILL), ("killed", "whole", 0)):
        command = [sys.executable, __file__, "--train", str(folder / out), how, *overrides]
        done = subprocess.run(command, capture_output=True, text=True)
        told = " ".join(done.stderr.strip().splitlines()[-1:])
        require(done.returncode == code, f"{out}, {how}: exit code {done.returncode}, not {code}: {told}")
    events = [json.loads(line) for line in (folder / "killed/metrics.jsonl").read_text().splitlines()]
    begun = [event["step"] for event in events if event["event"] == "run_started"]
    require(begun == [0, 16], f"the run began at steps {begun}, not 0 and 16")
    last = folder / "straight/checkpoints/step_00000024"
    files = ["best.safetensors", "last.safetensors"]
    files += sorted(f"checkpoints/step_00000024/{path.name}" for path in last.iterdir())
    differ = [
        name for name in files if (folder / "straight" / name).read_bytes() != (folder / "killed" / name).read_bytes()
    ]
    require(not differ, f"other bits in {', '.join(differ)}")
    return f"killed at step {KILLED_AT}, continued from 16: {len(files)} files the same"


def saved_beside(setup: Setup) -> str:
    """A checkpoint that comes from the device while training goes on, beside one that training waits for."""
    trainer, batch = make_trainer(setup, TINY if setup.small else {}, ema=0.9), one_batch(setup)
    trainer.step(batch)
    at_once, beside = checkpoint.Snapshots(), checkpoint.Snapshots(streams_of(setup.device))
    seconds: dict[checkpoint.Snapshots, list[float]] = {at_once: [], beside: []}
    for _ in range(6):
        for snapshots, measured in seconds.items():
            finished(setup.device)
            started = time.perf_counter()
            whole = snapshots.take(trainer, {})
            if setup.device.type == "cuda":
                torch.cuda.current_stream(setup.device).synchronize()  # not what goes on beside it
            measured.append(time.perf_counter() - started)
            whole()
    expected, whole = checkpoint.contents(trainer, {}), beside.take(trainer, {})
    for _ in range(3):
        trainer.step(batch)
    files = whole()
    differ = [name for name in expected if files[name] != expected[name]]
    require(not differ, f"{', '.join(differ)} differ from those of a checkpoint that is waited for")
    waits = {snapshots: 1e3 * statistics.median(measured[1:]) for snapshots, measured in seconds.items()}
    return f"the same bytes; training waits {waits[beside]:.1f} ms, and {waits[at_once]:.1f} where it waits for all"


def overflow(setup: Setup) -> str:
    """Float16 whose gradients overflow at first: such updates are left out, each halves the scale, and it goes on."""
    # Sums over pixels overflow some ten times; the scale begins as 2**16, and below 2 it would be no cause any more.
    trainer = make_trainer(setup, TINY if setup.small else SHORT, weight=1e3, steps=30, precision=torch.float16)
    seen = [(2.0**16, flat(trainer.network))]

    def look() -> None:
        seen.append((trainer.learner.scaler.get_scale(), flat(trainer.network)))

    trainer.fit([one_batch(setup)] * 30, [Duty(1, look)], lambda: False)
    left_out = 0
    for step, ((scale, before), (scale_after, after)) in enumerate(itertools.pairwise(seen), 1):
        still = torch.equal(before, after)
        told = f"step {step}: the scale goes from {scale:g} to {scale_after:g}, weights {'stay' if still else 'change'}"
        require(scale_after == (scale / 2 if still else scale), told)
        left_out += still
    require(0 < left_out < 30, f"{left_out} of 30 updates were left out")
    require(bool(seen[-1][1].isfinite().all()), "weights are not finite")
    return f"{left_out} of 30 updates left out, scale {seen[-1][0]:g}"


def on_both(setup: Setup) -> tuple[nn.Module, nn.Module]:
    """Return one network on the CPU and on the device."""
    torch.manual_seed(0)
    made = srkit.create("architecture", "a2n", scale=SCALE, **(TINY if setup.small else {})).eval()
    return made, copy.deepcopy(made).to(setup.device)


def upscale(setup: Setup) -> str:
    """Images of 8 and of 16 bits within one of 256 levels."""
    apart = {}
    for deep, level in ((False, 1), (True, 257)):
        image = drawn(count=3, size=64, deep=deep).source.read(0)[:45, :61]
        on_cpu, on_device = (srkit.upscale(image, made) for made in on_both(setup))
        require(on_cpu.shape == on_device.shape and on_cpu.dtype == on_device.dtype, "another shape or dtype")
        apart[str(image.dtype)] = int(np.abs(on_cpu.astype(int) - on_device).max()) / level
    text = ", ".join(f"{name} {levels:.2g}" for name, levels in apart.items()) + " levels of 256 apart"
    require(max(apart.values()) <= 1, text)
    return text


def tiles(setup: Setup) -> str:
    """A large image in parts, as strips of stages and as tiles, beside the whole image: within one of 256 levels."""
    image = np.tile(drawn(count=1, size=64).source.read(0)[:64, :64], (4, 4, 1))
    apart = {}
    for name, given in (("a2n", TINY if setup.small else {}), ("edsr", {"features": 8, "blocks": 2})):
        torch.manual_seed(0)
        made = srkit.create("architecture", name, scale=SCALE, **given).to(setup.device).eval()
        whole, parts = srkit.upscale(image, made, forward="whole"), srkit.upscale(image, made, tile=96)
        apart[name] = int(np.abs(whole.astype(int) - parts).max())
    text = ", ".join(f"{name} {levels}" for name, levels in apart.items()) + " levels of 256 apart"
    require(max(apart.values()) <= 1, text)
    return text


def evaluate(setup: Setup) -> str:
    """Scores within 0.01 dB and 0.001 SSIM, of whole images and of the mean of eight symmetries in tiles."""
    folder = Path(tempfile.mkdtemp(dir=setup.folder))
    for index in range(2):
        srkit.save_image(folder / f"{index}.png", drawn(count=3, size=64).source.read(index))
    apart = dict.fromkeys(("psnr_y", "ssim_y"), 0.0)
    for how in ({"forward": "whole"}, {"forward": "tiles", "ensemble": "x8"}):
        tables = [srkit.evaluate({"a2n": made}, folder, **how)[0] for made in on_both(setup)]
        means = [table["rows"][0]["mean"] for table in tables]
        apart = {name: max(most, abs(means[0][name] - means[1][name])) for name, most in apart.items()}
    text = f"{apart['psnr_y']:.0e} dB and {apart['ssim_y']:.0e} SSIM apart"
    require(apart["psnr_y"] <= 0.01 and apart["ssim_y"] <= 1e-3, text)
    return text


@attrs.define
class Way:
    """One way to train, and what was measured of it."""

    name: str
    update: Callable[[], object]
    waited: Callable[[], float] = lambda: 0.0  # seconds that were spent on waiting for images, so far
    seconds: list[float] = attrs.field(factory=list)  # of each round
    waits: list[float] = attrs.field(factory=list)
    peak: int = 0
    error: str = ""

    def measure(self, device: torch.device, updates: int) -> None:
        """Take so many updates, up to when the device has done them."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        waited, started = self.waited(), time.perf_counter()
        for _ in range(updates):
            self.update()
        finished(device)
        self.seconds.append(time.perf_counter() - started)
        self.waits.append(self.waited() - waited)
        self.peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def finished(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def eager(setup: Setup, size: dict[str, int], lr: Tensor, hr: Tensor) -> Way:
    """The plain loop, in float32, on one batch that is on the device already."""
    torch.manual_seed(0)
    made = srkit.create("architecture", "a2n", scale=SCALE, **size).to(setup.device)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-3)

    def update() -> None:
        optimizer.zero_grad()
        F.l1_loss(made(lr), hr).backward()
        optimizer.step()

    return Way("eager PyTorch, float32", update)


def speed(setup: Setup) -> list[dict[str, Any]]:
    """Return the figures of each way, measured in turn; PyTorch's defaults, that is, with TF32 in convolutions."""
    size = TINY if setup.small else {}
    batch, patch, rounds, updates = (2, 8, 3, 2) if setup.small else (32, 48, 7, 30)
    pairs, drawing = drawn(count=4, size=64 if setup.small else 256), plan(batch=batch, patch=patch)
    sources: list[Batches] = []

    def ours(name: str, cache: str = "auto", *, graph: bool = False, **given: Any) -> Way:
        trainer = make_trainer(setup, size, **given)
        if graph:
            trainer.replaying = Graphs(trainer, CudaRecorder(setup.device), exact=False)
        pool = make_pool(pairs, range(len(pairs)), cache=cache, threads=2, device=setup.device)
        sources.append(made := Batches(pool, drawing, setup.device))
        return Way(f"srkit, {name}", lambda: trainer.step(made[trainer.done]), lambda: made.waited)

    half = {"precision": torch.bfloat16}
    ways = [ours(name, precision=precision) for name, precision in PRECISIONS.items()]
    ways.append(ours("bfloat16, images in memory", cache="memory", **half))
    if setup.device.type == "cuda":
        ways.append(ours("bfloat16, as a graph", graph=True, **half))
    if not setup.small:
        ways.append(ours("bfloat16, compiled", compile=True, **half))
        if setup.device.type == "cuda":
            ways.append(ours("bfloat16, compiled, as a graph", compile=True, graph=True, **half))
    ways.insert(0, eager(setup, size, *(images.contiguous() for images in images_of(sources[0][0]))))
    for _ in range(rounds + 1):
        for way in ways:
            try:
                if not way.error:
                    way.measure(setup.device, updates)
            except Exception as error:
                way.error = placed(error)
    for made in sources:
        made.close()
    return [figures(way, ways[0], updates) for way in ways]


def figures(way: Way, base: Way, updates: int) -> dict[str, Any]:
    """Return medians over the rounds; the ratio is of two in the same round. The first round only warmed up."""
    if way.error or base.error:
        return {"name": way.name, "error": way.error or f"nothing to compare with: {base.error}"}
    seconds, of_base, waits = way.seconds[1:], base.seconds[1:], way.waits[1:]
    return {
        "name": way.name,
        "updates_per_s": updates / statistics.median(seconds),
        "times_eager": statistics.median(b / a for a, b in zip(seconds, of_base, strict=True)),
        "data_share": statistics.median(w / s for w, s in zip(waits, seconds, strict=True)),
        "peak_bytes": way.peak,
    }


def rows(lines: Sequence[Line], found: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield the lines of the table."""
    for line in lines:
        yield [clean(line.name), line.outcome, clean(line.found)]
    for figure in found:
        if "error" in figure:
            yield [clean(figure["name"]), "failed", clean(figure["error"])]
            continue
        told = f"{figure['times_eager']:.2f} times eager, {figure['data_share']:.1%} waiting for images"
        if figure["peak_bytes"]:
            told += f", at most {figure['peak_bytes'] / 2**30:.2f} GiB"
        yield [clean(figure["name"]), f"{figure['updates_per_s']:.1f} updates/s", told]


def main() -> int:
    """Check, measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny networks and images, and nothing compiled")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all that was found")
    parser.add_argument("--train", nargs="+", help=argparse.SUPPRESS)  # the process that is killed
    given = parser.parse_args()
    if given.train:
        train(*given.train)
        return 0
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU for CUDA here; --device cpu shows that the command works")
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(torch.device(given.device), given.small, Path(folder))
        lines = run_checks(all_checks(setup))
        try:
            found = speed(setup)
        except Exception as error:
            found = [{"name": "speed", "error": placed(error)}]
    head = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "device": name,
        "torch": torch.__version__,
        "srkit": __version__,
        "small": given.small,
        "seconds": time.perf_counter() - started,
    }
    if given.json:
        given.json.write_text(json_text({**head, "lines": [attrs.asdict(line) for line in lines], "speed": found}))
    out = console()
    out.print(f"{name}, torch {torch.__version__}, {head['date']}, {head['seconds']:.0f} s\n")
    out.print(grid(list(rows(lines, found)), ("what", "", "")))
    return 1 if any(line.outcome == "failed" for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
