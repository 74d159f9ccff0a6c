"""One run, from a checked recipe to its two model files."""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from srkit.engine import memory
from srkit.engine.builder import Loaded
from srkit.engine.data.opening import OpenedData, open_data
from srkit.engine.device import pick_device
from srkit.engine.distributed import ALONE, World
from srkit.engine.learning.learner import make_learners
from srkit.engine.learning.objective import make_terms
from srkit.engine.learning.trainer import Options, Trainer
from srkit.engine.running import checkpoint
from srkit.engine.running.opponents import start_adversaries
from srkit.engine.running.rehearsal import rehearse
from srkit.engine.running.session import LESS, Result, Session, pack
from srkit.engine.scoring import evaluate
from srkit.engine.scoring.metrics import make_metrics
from srkit.engine.weights import starting
from srkit.errors import RunFailed, UsageError
from srkit.plugin.discovery import provenance
from srkit.plugin.registry import Registry
from srkit.recipe.recipe import Recipe
from srkit.runs import rundir
from srkit.runs.rundir import RunDirectory
from srkit.runs.stopping import StopFlag
from srkit.version import __version__

log = logging.getLogger("srkit")


def environment(registry: Registry, device: torch.device, world: World = ALONE) -> dict[str, Any]:
    """Return what a run was made with."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "srkit": __version__,
        "plugins": provenance(registry),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": gpu or str(device),
        "threads": torch.get_num_threads(),
        **({"processes": world.size} if world.size > 1 else {}),
    }


def train(
    loaded: Loaded,
    directory: Path,
    *,
    restart: bool = False,
    observers: Sequence[str] = (),
    weights: Path | None = None,
    accept_dataset_change: bool = False,
    world: World = ALONE,
) -> Result:
    """Train a recipe in a run directory, or continue the run that is there, to the last step.

    `weights` are those that a new run starts from; without, they are what the recipe's `start.weights` names. Of
    several processes only the first one has the directory and the weights.
    Raises Stopped after a signal, with a checkpoint saved, and Interrupted after one that came before; Diverged;
    RunFailed for a disk that is full at the end; UsageError where the directory is in use or holds another run, and for
    processes that cannot share the batch; InputRejected for images; Elsewhere where another process ended.
    """
    with StopFlag() as stop:
        return _train(
            loaded,
            directory,
            stop,
            world,
            restart=restart,
            observers=observers,
            weights=weights,
            accept_dataset_change=accept_dataset_change,
        )


def _train(
    loaded: Loaded,
    directory: Path,
    stop: StopFlag,
    world: World,
    *,
    restart: bool,
    observers: Sequence[str],
    weights: Path | None,
    accept_dataset_change: bool,
) -> Result:
    recipe = loaded.recipe
    refuse_uneven(recipe, world)
    device = world.device(pick_device(recipe.train.device))
    stop.heed()
    data = inspect(loaded, device)
    stop.heed()
    home = RunDirectory(directory)
    if not world.is_first or (not restart and checkpoint.exists(home.checkpoints)):
        start = starting.fresh(loaded)  # the weights that it started from may be gone by now
    else:
        start = starting.started(loaded, weights)
        if start.line:
            log.info(start.line)
    if data.too_small:
        names = _some(data.too_small)
        log.warning(
            "%d of %d images left out, smaller than a patch: %s", len(data.too_small), len(data.training), names
        )
    for note in data.notes:
        log.warning(note)
    stop.heed()
    if restart and world.is_first:
        aside = rundir.set_aside(directory, time.time())
        if aside is not None:
            log.info("the old run is now %s", aside)
    deterministic = recipe.train.deterministic != "off"
    locked = home.locked() if world.is_first else contextlib.nullcontext()
    with locked, _torch_set(deterministic=deterministic, threads=recipe.train.threads):
        record = environment(loaded.builder.registry, device, world)
        fingerprints, images = data.fingerprints(), data.images()
        _refuse_others(world, recipe, fingerprints)
        if world.is_first:
            _warn_of_threads(home, record, recipe)
            home.reopen(recipe, fingerprints, images, accept_dataset_change=accept_dataset_change)
        session = Session(loaded, home, start, data, device, observers, world)
        finished = session.restore()
        if finished is not None:
            return finished
        if world.is_first:
            home.refuse_full(checkpoint.size_of(session.trainer))
        # Every image is read before a new run leaves anything.
        pool = pack(recipe, data, device, stop, processes=world.local_size)
        stop.heed()
        world.wait()
        if world.is_first:
            home.open(recipe, record, fingerprints, images, session.trainer.done)
        return session.run(stop, pool)


def refuse_uneven(recipe: Recipe, world: World) -> None:
    """Raise UsageError where the processes cannot take equal parts of a batch."""
    batch, accumulate, size = recipe.data.batch, recipe.train.accumulate, world.size
    if recipe.train.deterministic == "elastic" and accumulate % size:
        text = f"train.accumulate is {accumulate}, and {size} processes share these parts of a batch"
        raise UsageError(f"{text}: start 1, 2, 4... of them, {accumulate} at most")
    parts = size * -(-accumulate // size)
    if batch % parts:
        more = f", in {parts // size} parts each" if parts > size else ""
        raise UsageError(
            f"data.batch is {batch}, and {size} processes take equal shares of it{more}: give a multiple of {parts}"
        )


def _refuse_others(world: World, recipe: Recipe, fingerprints: Mapping[str, str]) -> None:
    """Raise RunFailed where another process has another recipe or other images: on another machine, say."""
    own = {"recipe": recipe.hash, **fingerprints}
    first, *_ = world.gather(own, lambda tree: json.dumps(tree).encode(), json.loads)
    differ = [key for key in own if own[key] != first.get(key)]
    if differ:
        what = " and ".join(differ)
        raise RunFailed(f"process {world.rank} of {world.size} has another {what} than process 0: give all the same")


def inspect(loaded: Loaded, device: torch.device | None = None) -> OpenedData:
    """Open a recipe's images and take a sample through its network and losses, so that what is wrong is reported now.

    Raises RecipeError for the recipe, InputRejected for images.
    """
    recipe = loaded.recipe
    data = open_data(loaded)
    with memory.reported("for an update", LESS):
        rehearse(loaded, device or pick_device(recipe.train.device))
    metrics = make_metrics(loaded.builder, recipe.metric)
    with memory.reported("for the images to score on", "they are read whole: take smaller ones"):
        for evaluation in data.validation:
            evaluate.refuse_too_small(evaluation, metrics)
    return data


def inspect_state(loaded: Loaded, home: RunDirectory, *, is_new: bool) -> list[str]:
    """Take up what a new run's adversaries start from, or where a run is, for a look; return a line on each adversary.

    Raises RecipeError and InputRejected for files of weights, RunFailed for what a run cannot be continued with.
    """
    recipe, builder = loaded.recipe, loaded.builder
    terms = make_terms(builder, recipe)
    if is_new:
        return start_adversaries(loaded, terms)
    network = builder.network(recipe.architecture, recipe.scale)
    learners = make_learners(builder, recipe, network, terms)
    options = attrs.evolve(Options.of(recipe), compile=False)
    _, contents, _ = checkpoint.newest(home.checkpoints)
    checkpoint.restore(contents, Trainer(network, terms, learners, torch.device("cpu"), options))
    return []


@contextlib.contextmanager
def _torch_set(*, deterministic: bool, threads: int) -> Iterator[None]:
    """Set what torch keeps for a whole process, and set it back when a run has ended."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    if deterministic:  # only operations that give the same bits each time
        torch.use_deterministic_algorithms(True)
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])


def _warn_of_threads(home: RunDirectory, record: Mapping[str, Any], recipe: Recipe) -> None:
    """Warn where a continued run cannot give the same bits: the sums of torch depend on the number of threads."""
    if recipe.train.deterministic == "off" or not home.environment.is_file():
        return
    try:
        before = json.loads(home.environment.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    if not isinstance(before, dict):
        return
    for key in ("threads", "torch", "device", *(["processes"] if recipe.train.deterministic == "run" else [])):
        was, now = ({"processes": 1, **tree}.get(key) for tree in (before, record))
        if was != now:
            log.warning("%s was %s and is %s: the run will not end with the same bits", key, was, now)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
