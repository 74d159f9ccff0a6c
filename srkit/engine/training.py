"""One run, from a checked recipe to its two model files."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

import srkit
from srkit import files, rundir
from srkit.contracts import Run
from srkit.engine import build, checkpoint, evaluate, model, picture
from srkit.engine.batches import Batches
from srkit.engine.pools import DevicePool, Pool, SourcePool, make_pool
from srkit.engine.rehearsal import rehearse
from srkit.engine.trainer import Duty, Trainer
from srkit.errors import ComponentError, RunFailed, Stopped
from srkit.layers import Origins
from srkit.observing import Observers
from srkit.plugins import provenance
from srkit.recipe import Recipe
from srkit.registry import Registry
from srkit.rundir import RunDirectory
from srkit.stopping import StopFlag

log = logging.getLogger("srkit")

ALWAYS = ("log", "metrics_jsonl")  # the observers of every run


@attrs.frozen
class Result:
    """How a run ended: where it is, its last step, and the tables of its last validation."""

    directory: Path
    step: int
    tables: list[dict[str, Any]]
    was_finished: bool = False


def environment(registry: Registry, device: torch.device) -> dict[str, Any]:
    """Return what a run was made with."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "srkit": srkit.__version__,
        "plugins": provenance(registry),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": gpu or str(device),
        "threads": torch.get_num_threads(),
    }


def train(
    recipe: Recipe,
    origins: Origins,
    registry: Registry,
    directory: Path,
    *,
    restart: bool = False,
    observers: Sequence[str] = (),
    weights: Path | None = None,
) -> Result:
    """Train a recipe in a run directory, or continue the run that is there, to the last step.

    `weights` are those that a new run starts from; without, they are what the recipe's `start.weights` names.
    Raises Stopped after a signal, with a checkpoint saved; Diverged; RunFailed for a disk that is full at the end;
    UsageError where the directory is in use or holds another run; InputRejected for images.
    """
    device = build.pick_device(recipe.train.device)
    data = inspect(recipe, origins, registry, device)
    home = RunDirectory(directory)
    started = ""
    if not restart and checkpoint.exists(home.checkpoints):
        network = build.make_network(registry, recipe)  # the weights that it started from may be gone by now
    else:
        network, started = build.make_started_network(registry, recipe, origins, weights)
        if started:
            log.info(started)
    if data.too_small:
        names = _some(data.too_small)
        log.warning(
            "%d of %d images left out, smaller than a patch: %s", len(data.too_small), len(data.training), names
        )
    if restart:
        aside = rundir.set_aside(directory, time.time())
        if aside is not None:
            log.info("the old run is now %s", aside)
    deterministic = recipe.train.deterministic == "run"
    with home.locked(), StopFlag() as stop, _torch_set(deterministic=deterministic, threads=recipe.train.threads):
        record = environment(registry, device)
        _warn_of_threads(home, record, recipe)
        # Every image is read before a new run leaves anything; one that is continued may turn out to be finished.
        pool = None if home.recipe.exists() else pack(recipe, data, device)
        home.open(recipe, record, data.fingerprints())
        session = Session(recipe, registry, home, network, data, device, observers, started)
        return session.run(stop, pool)


def inspect(
    recipe: Recipe, origins: Origins, registry: Registry, device: torch.device | None = None
) -> build.OpenedData:
    """Open a recipe's images and take a sample through its network and losses, so that what is wrong is told now.

    Raises RecipeError for the recipe, InputRejected for images.
    """
    data = build.open_data(registry, recipe, origins)
    rehearse(registry, recipe, origins, device or build.pick_device(recipe.train.device))
    metrics = build.make_metrics(registry, recipe.metric)
    for evaluation in data.validation:
        evaluate.refuse_too_small(evaluation, metrics)
    return data


def pack(recipe: Recipe, data: build.OpenedData, device: torch.device) -> Pool | DevicePool:
    """Return the pool that the recipe's batches come from, and say how long it took. Raises InputRejected."""
    started = time.monotonic()
    pool = make_pool(data.training, data.usable, cache=recipe.data.cache, threads=recipe.data.threads, device=device)
    if isinstance(pool, SourcePool):
        log.info("%d images, of which windows are read", len(data.usable))
    else:
        log.info("%d images packed in %.1f s", len(data.usable), time.monotonic() - started)
    return pool


class Session:
    """A run while it is going on: the trainer, what is done between its steps, and what is kept of it."""

    def __init__(
        self,
        recipe: Recipe,
        registry: Registry,
        home: RunDirectory,
        network: torch.nn.Module,
        data: build.OpenedData,
        device: torch.device,
        observers: Sequence[str],
        started: str,
    ) -> None:
        self.recipe, self.registry, self.home, self.data, self.device = recipe, registry, home, data, device
        self.started = started  # a line on the weights that the run began with
        self.metrics = build.make_metrics(registry, recipe.metric)
        self.best: dict[str, Any] = {}
        self.tables: list[dict[str, Any]] = []
        self.baselines: dict[str, dict[str, dict[str, float]]] = {}
        self.saved = -1
        self.unsaved: OSError | None = None
        self.observers = Observers(
            {name: registry.create("observer", name) for name in (*ALWAYS, *observers)}
            | {f"{part.type} of the recipe": build.make(registry, part) for part in recipe.observer}
        )
        losses = build.make_losses(registry, recipe.loss)
        network.to(device)
        if recipe.train.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for loss in losses:
            if isinstance(loss.function, torch.nn.Module):
                loss.function.to(device)
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        self.trainer = Trainer(
            network,
            losses,
            build.make(registry, recipe.optimizer, build.trainable(network, losses)),
            build.make(registry, recipe.schedule, steps=recipe.train.steps),
            device,
            build.make_options(recipe),
        )

    def run(self, stop: StopFlag, pool: Pool | DevicePool | None) -> Result:
        """Train from where the run is to its end."""
        trainer, train = self.trainer, self.recipe.train
        self._restore()
        if trainer.done >= train.steps and self.home.last.is_file() and self.home.best.is_file():
            return Result(self.home.path, trainer.done, self.tables, was_finished=True)
        rundir.cut_lines(self.home.metrics, trainer.done)
        pool = pool or pack(self.recipe, self.data, self.device)
        batches = Batches(
            pool, build.make_plan(self.registry, self.recipe), self.device, threads=self.recipe.data.threads
        )
        self.observers.run_started(self._facts())
        self._clock(batches)
        duties = [
            Duty(train.log_every, lambda: self._log(batches)),
            Duty(train.validate_every, self._validate),
            Duty(train.checkpoint_every, self._save),
        ]
        outcome = "failed"
        try:
            if trainer.done < train.steps:
                trainer.fit(batches, duties, stop)
            elif not self.tables:
                self._validate()
            if trainer.done < train.steps:
                self._stop(stop.by or "a signal")
                outcome = "stopped"
                raise Stopped(f"stopped by {stop.by} at step {trainer.done} of {train.steps}, with a checkpoint saved")
            self._finish()
            outcome = "finished"
        finally:
            batches.close()
            self.observers.run_ended(trainer.done, outcome)
        return Result(self.home.path, trainer.done, self.tables)

    def _restore(self) -> None:
        path, contents, damaged = checkpoint.newest(self.home.checkpoints)
        for line in damaged:
            log.warning("%s; the checkpoint before it is used", line)
        if path is None:
            return
        progress = checkpoint.restore(contents, self.trainer)
        self.best, self.tables, self.started = progress["best"], progress["tables"], progress["started"]
        self.saved = self.trainer.done
        if self.trainer.done < self.recipe.train.steps:
            log.info("continuing from step %d of %d", self.trainer.done, self.recipe.train.steps)
            self._warn_of_rise()

    def _warn_of_rise(self) -> None:
        """Warn where a run that was made longer has a higher learning rate from here on than it had."""
        trainer, schedule = self.trainer, self.recipe.schedule.type
        had = float(trainer.optimizer.param_groups[0]["lr"])
        would_have_had, has = (trainer.learning_rates(step)[0] for step in (trainer.done - 1, trainer.done))
        if has > had and not math.isclose(had, would_have_had):
            end = self.recipe.train.steps
            log.warning("the learning rate rises from %.2g to %.2g: '%s' now ends at step %d", had, has, schedule, end)

    def _facts(self) -> Run:
        recipe = self.recipe
        facts = {
            "architecture": recipe.architecture.type,
            "parameters": self.parameters,
            "scale": recipe.scale,
            "images": len(self.data.usable),
            "device": str(self.device),
        } | ({"started": self.started} if self.started else {})
        return Run(recipe.title, self.home.path, self.trainer.done, recipe.train.steps, facts)

    def _clock(self, batches: Batches) -> None:
        self._since, self._waited, self._done = time.monotonic(), batches.waited, self.trainer.done
        self._aside = 0.0

    def _log(self, batches: Batches) -> None:
        trainer = self.trainer
        losses = trainer.read_losses()
        seconds = max(1e-9, time.monotonic() - self._since - self._aside)
        updates = trainer.done - self._done
        values = {
            **losses,
            "epoch": trainer.done * self.recipe.data.batch / len(self.data.usable),
            "learning_rate": float(trainer.optimizer.param_groups[0]["lr"]),
            "it_per_s": updates / seconds,
            "images_per_s": updates * self.recipe.data.batch / seconds,
            "data_share": min(1.0, (batches.waited - self._waited) / seconds),
            "eta_s": (self.recipe.train.steps - trainer.done) * seconds / max(1, updates),
        }
        self._clock(batches)
        self.observers.logged(trainer.done, values)

    def _validate(self) -> None:
        """Score the validation sets, write the pictures, and keep the best weights."""
        started = time.monotonic()
        trainer = self.trainer
        network = trainer.network if trainer.ema is None else trainer.ema.module
        self.tables = [self._score(network, evaluation) for evaluation in self.data.validation]
        if self.tables:
            self.observers.validated(trainer.done, self.tables)
            self._keep_best()
        self._aside += time.monotonic() - started

    def _score(self, network: torch.nn.Module, evaluation: evaluate.EvaluationSet) -> dict[str, Any]:
        sample = picture.Sample(evaluation.pairs.scale)
        images = evaluate.score(network, evaluation, self.metrics, self.device, look=sample.network)
        rows = [evaluate.row(self.recipe.architecture.type, images)]
        bicubic = self._baseline()
        if bicubic is not None:
            if evaluation.name not in self.baselines:
                self.baselines[evaluation.name] = evaluate.score(bicubic, evaluation, self.metrics, self.device)
            rows.append(evaluate.row(evaluate.BASELINE, self.baselines[evaluation.name]))
            label = f"{self.recipe.architecture.type}, step {self.trainer.done}"
            name = f"step_{self.trainer.done:08d}_{_safe(evaluation.name)}.png"
            try:
                self.home.samples.mkdir(exist_ok=True)
                files.write_file(self.home.samples / name, sample.png(bicubic, self.device, label))
            except OSError as error:
                log.warning("%s could not be written: %s", self.home.samples / name, error.strerror)
        return evaluate.table(evaluation, self.metrics, rows)

    def _baseline(self) -> torch.nn.Module | None:
        try:
            return build.make_baseline(self.registry, self.recipe.scale)
        except ComponentError:  # a registry without srkit's own plugins
            return None

    def _keep_best(self) -> None:
        metric = self.metrics[0]
        value = self.tables[0]["rows"][0]["mean"][metric.name]
        if self.best and not math.isnan(self.best["value"]):
            before = self.best["value"]
            if not (value > before if metric.higher_is_better else value < before):
                return
        best = {"step": self.trainer.done, "metric": metric.name, "data": self.tables[0]["data"], "value": value}
        if self._write_model(self.home.best):
            self.best = best

    def _write_model(self, path: Path) -> bool:
        """Write the network with its description; a disk that is full is a warning here and is tried again later."""
        try:
            model.save_model(path, checkpoint.weights_of(self.trainer), self._description())
        except OSError as error:
            self._disk_failed(path, error)
            return False
        return True

    def _description(self) -> dict[str, Any]:
        recipe = self.recipe
        entry = self.registry.find("architecture", recipe.architecture.type)
        return {
            "format": 1,
            "architecture": entry.full_name if ":" in recipe.architecture.type else entry.component.name,
            "settings": dict(recipe.architecture.settings),
            "scale": recipe.scale,
            "distribution": entry.origin.distribution,
            "version": entry.origin.version,
            "recipe": recipe.title,
            "recipe_hash": recipe.hash,
            "seed": recipe.seed,
            "step": self.trainer.done,
            "started": self.started,
            "scores": [
                {"data": t["data"], "protocol": t["protocol"], "mean": t["rows"][0]["mean"]} for t in self.tables
            ],
            "plugins": provenance(self.registry),
        }

    def _save(self) -> None:
        started = time.monotonic()
        try:
            progress = {"best": self.best, "tables": self.tables, "started": self.started}
            path = checkpoint.save(self.home.checkpoints, self.trainer, progress)
            checkpoint.prune(self.home.checkpoints, self.recipe.train.keep, self.best.get("step"))
        except OSError as error:
            self._disk_failed(self.home.checkpoints, error)
        else:
            self.saved, self.unsaved = self.trainer.done, None
            self.observers.saved(self.trainer.done, path)
        self._aside += time.monotonic() - started

    def _disk_failed(self, path: Path, error: OSError) -> None:
        self.unsaved = error
        log.warning("%s could not be written: %s; the run goes on and tries again", path, error.strerror or error)

    def _stop(self, by: str) -> None:
        if self.saved != self.trainer.done:
            self._save()
        if self.unsaved is not None:
            raise RunFailed(f"stopped by {by}, but no checkpoint could be saved: {self.unsaved.strerror}")

    def _finish(self) -> None:
        if not self._write_model(self.home.last) or self.saved != self.trainer.done:
            reason = self.unsaved.strerror if self.unsaved is not None else "unknown"
            raise RunFailed(
                f"{self.home.path}: the last step could not be saved: {reason}; free some space and run again"
            )
        if not self.data.validation or not self.home.best.is_file():
            self._write_model(self.home.best)  # nothing to validate on: the last is the best there is


@contextlib.contextmanager
def _torch_set(*, deterministic: bool, threads: int) -> Iterator[None]:
    """Set what torch keeps for a whole process, and set it back when a run has ended."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    if deterministic:  # only operations that give the same bits each time
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
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
    except ValueError:
        return
    for key in ("threads", "torch", "device"):
        if before.get(key) != record[key]:
            log.warning(
                "%s was %s and is %s: the run will not end with the same bits", key, before.get(key), record[key]
            )


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
