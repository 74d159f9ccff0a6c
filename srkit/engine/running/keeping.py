"""What is kept of a run: its checkpoints, its best weights and its last."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
from torch import Tensor

from srkit import files
from srkit.engine.builder import Loaded
from srkit.engine.learning.trainer import Diverged, Trainer
from srkit.engine.running import checkpoint
from srkit.engine.running.saving import Saver
from srkit.engine.scoring.metrics import Metric
from srkit.engine.streams import streams_of
from srkit.engine.weights import model
from srkit.errors import InputRejected, RunFailed
from srkit.plugin.discovery import provenance
from srkit.runs import best
from srkit.runs.rundir import RunDirectory

log = logging.getLogger("srkit")


@attrs.frozen
class _Saving:
    """A checkpoint that is being written: its step, its place, and what is said of the best where it is that one."""

    step: int
    place: Path
    best: dict[str, Any] | None


class Keeper:
    """Writes what a trainer has come to, and reads it back.

    A disk that is full is a warning, and is tried again at the next save; only the last one must succeed. The best
    weights wait in memory until they are written. `tables` are those of the last validation, `started` is a line on the
    weights that the run began with.
    """

    def __init__(
        self,
        loaded: Loaded,
        home: RunDirectory,
        trainer: Trainer,
        metrics: Sequence[Metric],
        started: str,
    ) -> None:
        self.tables: list[dict[str, Any]] = []
        self.started = started
        self._loaded, self._recipe, self._home, self._trainer = loaded, loaded.recipe, home, trainer
        self._metrics = metrics  # the first decides what is best
        self._best: dict[str, Any] = {}
        self._safe: dict[str, Any] = {}  # the last best that the disk has, as a model file or in a checkpoint
        self._waiting: bytes | None = None  # the model file of the best, where it could not be written
        self._saved = -1
        self._saver, self._saving = Saver(), cast("_Saving | None", None)
        self._snapshots = checkpoint.Snapshots(streams_of(trainer.device))  # the last is written when one is taken
        self._unsaved: OSError | None = None

    def restore(self) -> bool:
        """Take up the newest checkpoint that is whole; say whether there is one. Raises RunFailed where none is.

        Where best.safetensors is not that of the best step, or not whole, it is written again from its checkpoint.
        """
        path, contents, damaged = checkpoint.newest(self._home.checkpoints)
        for line in damaged:
            log.warning("%s; the checkpoint before it is used", line)
        if path is None:
            return False
        progress = checkpoint.restore(contents, self._trainer)
        self._best, self.tables, self.started = progress["best"], progress["tables"], progress["started"]
        self._saved = self._trainer.done
        if self._best and math.isnan(self._best["value"]):  # srkit 0.1 kept such
            self._best = {}
        self._mend_best()
        self._safe = self._best
        return True

    def take(self, tables: Sequence[dict[str, Any]]) -> bool:
        """Take the tables of a validation, keep the weights where they are the best so far, and say whether they are.

        Weights and scores that are not finite are never the best.
        """
        self.tables = list(tables)
        if not tables:
            return False
        row = tables[0]["rows"][0]
        found = best.merit(row["images"], [metric.higher_is_better for metric in self._metrics])
        if found is None or (self._best and not best.is_better(found, self._merit_of_best())) or self._spoilt():
            return False
        metric = self._metrics[0].name
        value = best.mean([scores[metric] for scores in row["images"].values()])
        self._best = {
            "step": self._trainer.done,
            "metric": metric,
            "data": tables[0]["data"],
            "value": value,
            "merit": list(found),
        }
        self._waiting = self._model_of_trainer()
        self._write_best()
        return True

    def _merit_of_best(self) -> best.Merit:
        value = self._best["value"]
        one = value if self._metrics[0].higher_is_better else -value
        return tuple(self._best.get("merit", [one]))

    def save(self) -> None:
        """Begin to write a checkpoint of now, in a thread; `settle` waits for it. One is written at a time."""
        assert self._saving is None
        self._write_best()
        is_of_best = self._best.get("step") == self._trainer.done
        kept = self._best if self._waiting is None or is_of_best else self._safe
        progress = {"best": kept, "tables": self.tables, "started": self.started}
        taken = self._snapshots.take(self._trainer, progress)
        place = checkpoint.place(self._home.checkpoints, self._trainer.done)
        self._saving = _Saving(self._trainer.done, place, self._best if is_of_best else None)
        self._saver.begin(lambda: files.write_directory(place, taken()))

    def settle(self, *, wait: bool = True) -> tuple[int, Path] | None:
        """Return the step and the place of a checkpoint that has been written since, and remove those that are kept no
        more. None where there is none, where the disk was full, and without `wait` while it is being written.

        Raises what went wrong with it, but for the disk.
        """
        saving = self._saving
        if saving is None or not self._saver.is_due(wait=wait):
            return None
        self._saving = None
        try:
            self._saver.settle()
        except OSError as error:
            self._disk_failed(self._home.checkpoints, error)
            return None
        self._saved = saving.step
        if saving.best is not None:
            self._safe = saving.best
        if self._waiting is None:
            self._unsaved = None
        steps = {record["step"] for record in (self._best, self._safe) if record}
        try:
            checkpoint.prune(self._home.checkpoints, self._recipe.train.keep, self._saved, steps)
        except OSError as error:
            log.warning("%s: a checkpoint could not be removed: %s", self._home.checkpoints, error.strerror)
        return saving.step, saving.place

    @property
    def is_saved(self) -> bool:
        """Whether the newest checkpoint is of the last step."""
        return self._saved == self._trainer.done

    @property
    def newest(self) -> Path:
        """Where the checkpoint of the last step is, once that is saved."""
        return checkpoint.place(self._home.checkpoints, self._saved)

    def refuse_unsaved(self, by: str) -> None:
        """Raise RunFailed where a run that was stopped could not be saved."""
        if not self.is_saved:
            raise RunFailed(f"stopped by {by}, but no checkpoint could be saved: {self._reason()}")
        if self._waiting is not None and self._safe != self._best:
            step = self._best["step"]
            raise RunFailed(
                f"stopped by {by} with a checkpoint saved, but {self._home.best} could not be written: "
                f"{self._reason()}; the best weights, those of step {step}, are lost"
            )

    @property
    def is_finished(self) -> bool:
        """Whether its last and its best weights are there and whole, and not those of a run made longer since."""
        done, home = self._trainer.done, self._home
        if done < self._recipe.train.steps or self._waiting is not None:
            return False
        return model.step_of(home.last) == done and all(map(model.is_whole, (home.last, home.best)))

    def finish(self) -> None:
        """Write the last weights.

        Raises Diverged where these, or what the network makes, are not finite; RunFailed where they, the best or the
        last checkpoint could not be written.
        """
        step = self._trainer.done
        self._trainer.refuse_bad_end()
        spoilt = self._spoilt() or self._spoilt_output()
        if spoilt:
            raise Diverged(
                f"{spoilt} not finite at step {step}; try a lower optimizer.lr, or train.clip, with --restart"
            )
        # The last weights come last, since they say that all is there.
        if not self.is_saved:
            self._refuse_to_finish("the last step could not be saved")
        if not self._best:  # where nothing says which step is best, it is the last
            self._waiting = self._model_of_trainer()
        self._write_best()
        if self._waiting is not None:
            best_step = self._best.get("step", step)
            self._refuse_to_finish(f"the best weights, those of step {best_step}, could not be written")
        try:
            files.write_file(self._home.last, self._model_of_trainer())
        except OSError as error:
            self._disk_failed(self._home.last, error)
            self._refuse_to_finish("the last step could not be saved")

    def _refuse_to_finish(self, what: str) -> None:
        raise RunFailed(f"{self._home.path}: {what}: {self._reason()}; free some space and run again")

    def _reason(self) -> str:
        return (self._unsaved.strerror if self._unsaved is not None else None) or "unknown"

    def _write_best(self) -> None:
        """Write the best weights where they wait for it."""
        if self._waiting is None:
            return
        try:
            files.write_file(self._home.best, self._waiting)
        except OSError as error:
            self._disk_failed(self._home.best, error)
            return
        self._waiting, self._safe = None, self._best

    def _mend_best(self) -> None:
        """See to it that best.safetensors is that of the best step, and whole; its checkpoint has it, too."""
        path, step = self._home.best, self._best.get("step")
        whole = model.is_whole(path)
        if step is None or (whole and model.step_of(path) == step):
            return
        place = checkpoint.place(self._home.checkpoints, step)
        try:
            weights, progress = checkpoint.model_of(files.read_directory(place))
        except InputRejected:  # srkit 0.1 kept a checkpoint of the best step only where one was due
            if not whole:
                log.warning(
                    "%s is not whole, and there is no checkpoint of step %d, whose weights it had: those of a later "
                    "step take its place",
                    *(path, step),
                )
                self._best = {}
            return
        log.warning("%s is not that of step %d, or not whole; it is written again from %s", path, step, place)
        self._waiting = self._model(weights, step, progress["tables"], progress["started"])
        self._write_best()

    def _model_of_trainer(self) -> bytes:
        trainer = self._trainer
        return self._model(trainer.averaged.state_dict(), trainer.done, self.tables, self.started)

    def _model(
        self, weights: Mapping[str, Tensor], step: int, tables: Sequence[Mapping[str, Any]], started: str
    ) -> bytes:
        """Return a model file: weights with their description."""
        recipe, builder, architecture = self._recipe, self._loaded.builder, self._recipe.architecture
        described = {
            **model.description(builder, architecture.type, architecture.settings, recipe.scale),
            "recipe": recipe.title,
            "recipe_hash": recipe.hash,
            "seed": recipe.seed,
            "step": step,
            "started": started,
            "scores": [{"data": t["data"], "protocol": t["protocol"], "mean": t["rows"][0]["mean"]} for t in tables],
            "plugins": provenance(builder.registry),
        }
        return model.model_bytes(weights, described)

    def _spoilt(self) -> str:
        """Return "the weights are" where they are not finite. Buffers may have infinities: masks of attention do."""
        network = self._trainer.averaged
        parameters = all(bool(p.detach().isfinite().all()) for p in network.parameters())
        buffers = not any(bool(b.isnan().any()) for b in network.buffers() if b.is_floating_point())
        return "" if parameters and buffers else "the weights are"

    def _spoilt_output(self) -> str:
        """Return what of the last validation was not finite: an image of which every score is NaN."""
        for table in self.tables:
            for name, scores in table["rows"][0]["images"].items():
                if scores and all(map(math.isnan, scores.values())):
                    return f"what the network makes of {name} ({table['data']}) is"
        return ""

    def _disk_failed(self, path: Path, error: OSError) -> None:
        self._unsaved = error
        log.warning("%s could not be written: %s; the run goes on and tries again", path, error.strerror or error)
