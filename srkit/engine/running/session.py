"""A run while it is going on."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import safetensors.numpy
import torch
from torch import nn

from srkit.engine import memory
from srkit.engine.builder import Loaded, numbered
from srkit.engine.data.batches import Batches
from srkit.engine.data.opening import OpenedData, make_plan
from srkit.engine.data.pools import Pool, make_pool
from srkit.engine.distributed import ALONE, World
from srkit.engine.learning.graphs import CudaRecorder, Graphs
from srkit.engine.learning.learner import make_learners
from srkit.engine.learning.objective import Term, make_terms
from srkit.engine.learning.trainer import Diverged, Duty, Options, Trainer
from srkit.engine.networks.calling import takes
from srkit.engine.reading import BadImages, Hung
from srkit.engine.running import checkpoint
from srkit.engine.running.keeping import Keeper
from srkit.engine.running.opponents import start_adversaries
from srkit.engine.running.validation import Validation
from srkit.engine.scoring import evaluate
from srkit.engine.weights.starting import Start
from srkit.errors import Elsewhere, InputRejected, RunFailed, Stopped
from srkit.plugin.component import making
from srkit.plugin.contracts import Picture, Run
from srkit.plugin.registry import Registry
from srkit.recipe.recipe import Recipe
from srkit.runs import rundir
from srkit.runs.observing import Observers
from srkit.runs.rundir import RunDirectory
from srkit.runs.stopping import StopFlag

log = logging.getLogger("srkit")

LESS = "try a smaller data.batch or data.patch, train.accumulate, or train.precision"  # memory
KEEP_LESS = 'data.cache = "none" keeps none of them; `srkit prepare` packs them so that windows are read'
ALWAYS = ("log", "metrics_jsonl", "samples", "report")  # the observers of every run


@attrs.frozen
class Result:
    """How a run ended: where it is, its last step, and the tables of its last validation."""

    directory: Path
    step: int
    tables: list[dict[str, Any]]
    was_finished: bool = False


def pack(recipe: Recipe, data: OpenedData, device: torch.device, stop: StopFlag, *, processes: int = 1) -> Pool:
    """Return the pool that the recipe's batches come from, and say how long it took. Raises InputRejected, Interrupted.

    The images to score on are read once, too, and let go: one that is damaged is reported now, and not after hours.
    So many `processes` share the machine's memory.
    """
    started = time.monotonic()
    with memory.reported("for the images", KEEP_LESS):
        pool = make_pool(
            data.training,
            data.usable,
            cache=recipe.data.cache,
            threads=recipe.data.threads,
            device=device,
            heed=stop.heed,
            bad=BadImages(recipe.data.on_bad_image, len(data.usable)),
            processes=processes,
        )
    count = f"{len(data.usable)} image{'' if len(data.usable) == 1 else 's'}"
    if pool.is_packed:
        log.info("%s packed in %.1f s", count, time.monotonic() - started)
    else:
        log.info("%s, of which windows are read", count)
    with memory.reported("for the images to score on", "they are read whole: take smaller ones"):
        evaluate.read_all(data.validation, recipe.data.threads, stop.heed)
    return pool


class Session:
    """The trainer, what is done between its steps, and its observers.

    Of several processes the first one alone reads and writes the run directory, and has observers.
    """

    def __init__(
        self,
        loaded: Loaded,
        home: RunDirectory,
        start: Start,
        data: OpenedData,
        device: torch.device,
        observers: Sequence[str],
        world: World = ALONE,
    ) -> None:
        self.world = world
        recipe, builder, network = loaded.recipe, loaded.builder, start.network
        self.loaded, self.recipe, self.home, self.data, self.device = loaded, recipe, home, data, device
        self.observers = _observers(loaded, observers) if world.is_first else Observers({})
        terms = make_terms(builder, recipe)
        network.to(device)
        for term in terms:
            if term.is_sum:
                log.info("loss '%s' is a sum over the pixels of the batch, not a mean", term.name)
            if isinstance(term.loss, nn.Module):
                term.loss.to(device)
                _say_what_it_trains(term)
        if start.is_new and world.is_first:
            for line in start_adversaries(loaded, terms):
                log.info(line)
        if recipe.train.channels_last:
            for module in (network, *(term.adversary for term in terms)):
                if module is not None:
                    _lay_out(module)
        self.parameters = sum(parameter.numel() for parameter in network.parameters())
        learners = make_learners(builder, recipe, network, terms)
        self.trainer = Trainer(network, terms, learners, device, Options.of(recipe), world)
        self.validation = Validation(loaded, data.validation, device, world)
        self.keeper = Keeper(loaded, home, self.trainer, self.validation.metrics, start.line)

    def restore(self) -> Result | None:
        """Take up where the run's newest checkpoint is; return its result where it is finished, or else None."""
        trainer, keeper, steps = self.trainer, self.keeper, self.recipe.train.steps
        if self.world.is_first and keeper.restore() and trainer.done < steps:
            log.info("continuing from step %d of %d", trainer.done, steps)
            self._warn_of_rise()
        self._share()
        if self.world.first(lambda: keeper.is_finished):
            return Result(self.home.path, trainer.done, keeper.tables, was_finished=True)
        return None

    def _share(self) -> None:
        """Give the other processes what the first one begins with: they need none of its files."""
        if self.world.size == 1:
            return
        contents = self.world.broadcast(
            lambda: safetensors.numpy.save(
                {
                    name: np.frombuffer(data, np.uint8)
                    for name, data in checkpoint.contents(self.trainer, {"tables": self.keeper.tables}).items()
                }
            )
        )
        if not self.world.is_first:
            files = {name: data.tobytes() for name, data in safetensors.numpy.load(contents).items()}
            self.keeper.tables = checkpoint.restore(files, self.trainer)["tables"]
            for learner in self.trainer.learners:
                learner.leave_to_first()

    def run(self, stop: StopFlag, pool: Pool) -> Result:
        """Train from where the run is to its end."""
        trainer, train, keeper, world = self.trainer, self.recipe.train, self.keeper, self.world
        with memory.reported("for the batches", LESS):
            plan = attrs.evolve(
                make_plan(self.loaded),
                with_draws=takes(trainer.network.forward, "draws"),
                slots=world.slots(self.recipe.data.batch),
            )
            batches = Batches(pool, plan, self.device, threads=self.recipe.data.threads)
        if world.is_first:
            self._begin()
        self._clock(batches)
        duties = [
            Duty(train.log_every, lambda: self._log(batches)),
            Duty(train.validate_every, self._validate),
            Duty(train.checkpoint_every, self._save),
        ]
        outcome = "failed"
        if self.device.type == "cuda" and train.graph == "auto":
            trainer.replaying = Graphs(trainer, CudaRecorder(self.device), exact=train.deterministic != "off")
        try:
            if trainer.done < train.steps:
                trainer.fit(batches, duties, self._watching(world.heard(stop)))
            elif not keeper.tables:
                self._validate()
            trainer.collect_losses()
            outcome = world.first(lambda: self._end(stop))
            for found in world.gather(pool.bad.found, lambda own: json.dumps(own).encode(), json.loads):
                pool.bad.join(found)
            if outcome == "stopped":
                world.wait()
                raise Stopped(self._stopped(stop)) if world.is_first else Elsewhere(Stopped.exit_code)
        except Diverged as error:  # in all processes at once
            if not world.is_first:
                raise Elsewhere(error.exit_code) from None
            raise
        except (MemoryError, RuntimeError) as error:
            if not memory.lacks_memory(error):
                raise
            advice = self._fitting(batches)
            if isinstance(error, torch.OutOfMemoryError):
                line = f"the device has too little memory at step {trainer.done}: {advice}"
            else:
                line = memory.shortage(error, f"at step {trainer.done}", advice)
            raise RunFailed(line) from error
        except (InputRejected, Hung):
            self._settle()
            if world.size == 1 and not keeper.is_saved:
                self.keeper.save()  # the image may be mended, and the run go on
            raise
        finally:
            with contextlib.suppress(Exception):  # what ended the run, if anything did, was before
                self._settle()
            batches.close()
            for line in pool.bad.lines():
                log.warning(line)
            self.observers.run_ended(trainer.done, outcome)
        return Result(self.home.path, trainer.done, keeper.tables)

    def _fitting(self, batches: Batches) -> str:
        """Return what to do where a step had too little memory: the largest part of its batch that fits, tried out."""
        trainer, count = self.trainer, self.recipe.data.batch
        if self.world.size > 1:
            return LESS
        for parts in range(self.recipe.train.accumulate + 1, count + 1):
            if count % parts == 0 and trainer.fits(batches, parts):
                fit = f"{count // parts} samples at once fit" if parts < count else "1 sample at once fits"
                return f"{fit}: train.accumulate = {parts}, begun anew (--restart), has the same batches"
        return LESS

    def _begin(self) -> None:
        """Say that the run goes on from here; what its metrics had beyond is cut off."""
        saves = rundir.cut_lines(self.home.metrics, self.trainer.done)
        self.observers.run_started(self._facts())
        if self.keeper.is_saved and self.trainer.done not in saves:  # it was killed between a save and its line
            self.observers.saved(self.trainer.done, self.keeper.newest)

    def _end(self, stop: StopFlag) -> str:
        """Write what a run leaves when it ends in order, and return how it has ended. Raises RunFailed."""
        self._settle()
        if not self.keeper.is_saved:
            self.keeper.save()
            self._settle()
        if self.trainer.done < self.recipe.train.steps:
            self.keeper.refuse_unsaved(stop.by or "a signal")
            return "stopped"
        self.keeper.finish()
        return "finished"

    def _stopped(self, stop: StopFlag) -> str:
        steps = f"step {self.trainer.done} of {self.recipe.train.steps}"
        return f"stopped by {stop.by or 'a signal'} at {steps}, with a checkpoint saved"

    def _warn_of_rise(self) -> None:
        """Warn where a run that was made longer has a higher learning rate from here on than it had."""
        trainer, schedule = self.trainer, self.recipe.schedule.type
        had = trainer.learner.current_rates[0]
        would_have_had, has = (trainer.learner.rates(step)[0] for step in (max(0, trainer.done - 1), trainer.done))
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
        } | ({"started": self.keeper.started} if self.keeper.started else {})
        return Run(recipe.title, self.home.path, self.trainer.done, recipe.train.steps, facts)

    def _clock(self, batches: Batches) -> None:
        self._since, self._waited, self._done = time.monotonic(), batches.waited, self.trainer.done
        self._aside = 0.0

    def _log(self, batches: Batches) -> None:
        self._settle()
        self.trainer.collect_losses()
        losses = self.trainer.read_losses()
        self.world.first(lambda: self._tell(losses, batches))

    def _tell(self, losses: Mapping[str, float], batches: Batches) -> None:
        trainer = self.trainer
        seconds = max(1e-9, time.monotonic() - self._since - self._aside)
        updates = trainer.done - self._done
        values = {
            **losses,
            "epoch": trainer.done * self.recipe.data.batch / len(self.data.usable),
            "learning_rate": trainer.learner.current_rates[0],
            "it_per_s": updates / seconds,
            "images_per_s": updates * self.recipe.data.batch / seconds,
            "data_share": min(1.0, (batches.waited - self._waited) / seconds),
            "eta_s": (self.recipe.train.steps - trainer.done) * seconds / max(1, updates),
        }
        self._clock(batches)
        with self.world.doing("showing the losses to the observers"):
            self.observers.logged(trainer.done, values)

    def _validate(self) -> None:
        """Score the validation sets and keep the best weights."""
        self._settle()
        started = time.monotonic()
        trainer, train = self.trainer, self.recipe.train
        advice = "they are read whole: take smaller ones"
        with memory.reported(f"to score images at step {trainer.done}", advice), trainer.scoring():
            tables, pictures = self.validation.tables(trainer.averaged)
        is_best = self.world.first(lambda: self._take(tables, pictures))
        if is_best and trainer.done % train.checkpoint_every and trainer.done < train.steps:
            self._save()  # so that the best weights are there twice
        self._aside += time.monotonic() - started

    def _take(self, tables: list[dict[str, Any]], pictures: list[Picture]) -> bool:
        with self.world.doing("showing a validation to the observers"):
            if tables:
                self.observers.validated(self.trainer.done, tables)
            if pictures:
                self.observers.pictured(self.trainer.done, pictures)
        with self.world.doing("saving the best weights"):
            return self.keeper.take(tables)

    def _save(self) -> None:
        started = time.monotonic()
        self._settle()
        self.trainer.collect_losses()
        self.world.first(self.keeper.save)
        self._aside += time.monotonic() - started

    def _settle(self, *, wait: bool = True) -> None:
        """Report the checkpoint that was begun, once it is written, before anything else is reported."""
        with self.world.doing("writing a checkpoint") if wait else contextlib.nullcontext():
            saved = self.keeper.settle(wait=wait)
        if saved is not None:
            self.observers.saved(*saved)

    def _watching(self, stopping: Callable[[], bool]) -> Callable[[], bool]:
        """Return what says whether to stop, and settles before each step what has been written."""

        def look() -> bool:
            self._settle(wait=False)
            return stopping()

        return look


def _observers(loaded: Loaded, asked: Sequence[str]) -> Observers:
    """Return the observers of every run, those of the command, and the recipe's."""
    recipe, builder = loaded.recipe, loaded.builder
    names = numbered([*ALWAYS, *asked, *(part.type for part in recipe.observer)])
    of_recipe = names[len(names) - len(recipe.observer) :]
    return Observers(
        {name: _observer(builder.registry, name) for name in (*ALWAYS, *asked)}
        | {name: builder.make(part) for name, part in zip(of_recipe, recipe.observer, strict=True)},
        {name: loaded.origins.place(("observer", i))[2] for i, name in enumerate(of_recipe)},
    )


def _observer(registry: Registry, name: str) -> Any:
    with making(registry.find("observer", name).component):
        return registry.create("observer", name)


def _say_what_it_trains(term: Term) -> None:
    """Log which parameters of a loss are trained, and to what end."""
    adversary = term.adversary
    of_adversary = {id(p) for p in adversary.parameters()} if adversary is not None else set()
    own = [p for p in cast("nn.Module", term.loss).parameters() if p.requires_grad]
    helping = sum(p.numel() for p in own if id(p) not in of_adversary)
    opposing = sum(p.numel() for p in own if id(p) in of_adversary)
    if opposing:
        log.info("loss '%s': its adversary has %s parameters", term.name, f"{opposing:,}")
    if helping:
        text = (
            "loss '%s': its own %s parameters are trained with the network's optimizer to lower the loss; "
            "an adversary needs the opposite"
        )
        log.info(text, term.name, f"{helping:,}")


def _lay_out(network: nn.Module) -> None:
    """Lay the network's weights out as channels_last: those of images, since a Conv3d has no such layout."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
