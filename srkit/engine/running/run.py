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

import torch

from srkit.engine import memory
from srkit.engine.builder import Loaded
from srkit.engine.data.opening import OpenedData, open_data
from srkit.engine.device import pick_device
from srkit.engine.running import checkpoint
from srkit.engine.running.rehearsal import rehearse
from srkit.engine.running.session import LESS, Result, Session, pack
from srkit.engine.scoring import evaluate
from srkit.engine.scoring.metrics import make_metrics
from srkit.engine.weights import starting
from srkit.plugin.discovery import provenance
from srkit.plugin.registry import Registry
from srkit.recipe.recipe import Recipe
from srkit.runs import rundir
from srkit.runs.rundir import RunDirectory
from srkit.runs.stopping import StopFlag
from srkit.version import __version__

log = logging.getLogger("srkit")


def environment(registry: Registry, device: torch.device) -> dict[str, Any]:
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
    }


def train(
    loaded: Loaded,
    directory: Path,
    *,
    restart: bool = False,
    observers: Sequence[str] = (),
    weights: Path | None = None,
    accept_dataset_change: bool = False,
) -> Result:
    """Train a recipe in a run directory, or continue the run that is there, to the last step.

    `weights` are those that a new run starts from; without, they are what the recipe's `start.weights` names.
    Raises Stopped after a signal, with a checkpoint saved, and Interrupted after one that came before; Diverged;
    RunFailed for a disk that is full at the end; UsageError where the directory is in use or holds another run;
    InputRejected for images.
    """
    with StopFlag() as stop:
        return _train(
            loaded,
            directory,
            stop,
            restart=restart,
            observers=observers,
            weights=weights,
            accept_dataset_change=accept_dataset_change,
        )


def _train(
    loaded: Loaded,
    directory: Path,
    stop: StopFlag,
    *,
    restart: bool,
    observers: Sequence[str],
    weights: Path | None,
    accept_dataset_change: bool,
) -> Result:
    recipe = loaded.recipe
    device = pick_device(recipe.train.device)
    stop.heed()
    data = inspect(loaded, device)
    stop.heed()
    home = RunDirectory(directory)
    if not restart and checkpoint.exists(home.checkpoints):
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
    if restart:
        aside = rundir.set_aside(directory, time.time())
        if aside is not None:
            log.info("the old run is now %s", aside)
    deterministic = recipe.train.deterministic == "run"
    with home.locked(), _torch_set(deterministic=deterministic, threads=recipe.train.threads):
        record = environment(loaded.builder.registry, device)
        _warn_of_threads(home, record, recipe)
        fingerprints, images = data.fingerprints(), data.images()
        home.reopen(recipe, fingerprints, images, accept_dataset_change=accept_dataset_change)
        session = Session(loaded, home, start, data, device, observers)
        finished = session.restore()
        if finished is not None:
            return finished
        home.refuse_full(checkpoint.size_of(session.trainer))
        pool = pack(recipe, data, device, stop)  # every image is read before a new run leaves anything
        stop.heed()
        home.open(recipe, record, fingerprints, images, session.trainer.done)
        return session.run(stop, pool)


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
    for key in ("threads", "torch", "device"):
        if before.get(key) != record[key]:
            log.warning(
                "%s was %s and is %s: the run will not end with the same bits", key, before.get(key), record[key]
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
