"""What is kept of a run: its checkpoints, its best weights and its last."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srkit.engine.builder import Loaded
from srkit.engine.learning.trainer import Trainer
from srkit.engine.running import checkpoint
from srkit.engine.scoring.metrics import Metric
from srkit.engine.weights import model
from srkit.errors import RunFailed
from srkit.plugin.discovery import provenance
from srkit.runs.rundir import RunDirectory

log = logging.getLogger("srkit")


class Keeper:
    """Writes what a trainer has come to, and reads it back.

    A disk that is full is a warning, and is tried again at the next save; only the last one must succeed. `tables` are
    those of the last validation, `started` is a line on the weights that the run began with.
    """

    def __init__(
        self,
        loaded: Loaded,
        home: RunDirectory,
        trainer: Trainer,
        metric: Metric,
        started: str,
    ) -> None:
        self.tables: list[dict[str, Any]] = []
        self.started = started
        self._loaded, self._recipe, self._home, self._trainer = loaded, loaded.recipe, home, trainer
        self._metric = metric  # which decides what is best
        self._best: dict[str, Any] = {}
        self._saved = -1
        self._unsaved: OSError | None = None

    def restore(self) -> bool:
        """Take up the newest checkpoint that is whole; say whether there is one. Raises RunFailed where none is."""
        path, contents, damaged = checkpoint.newest(self._home.checkpoints)
        for line in damaged:
            log.warning("%s; the checkpoint before it is used", line)
        if path is None:
            return False
        progress = checkpoint.restore(contents, self._trainer)
        self._best, self.tables, self.started = progress["best"], progress["tables"], progress["started"]
        self._saved = self._trainer.done
        return True

    def take(self, tables: Sequence[dict[str, Any]]) -> None:
        """Take the tables of a validation, and keep the weights where they are the best so far."""
        self.tables = list(tables)
        if not tables:
            return
        metric = self._metric
        value = tables[0]["rows"][0]["mean"][metric.name]
        if self._best and not math.isnan(self._best["value"]):
            before = self._best["value"]
            if not (value > before if metric.higher_is_better else value < before):
                return
        best = {"step": self._trainer.done, "metric": metric.name, "data": tables[0]["data"], "value": value}
        if self._write_model(self._home.best):
            self._best = best

    def save(self) -> Path | None:
        """Write a checkpoint and remove those that are kept no more; return where it is, or None for a full disk."""
        try:
            progress = {"best": self._best, "tables": self.tables, "started": self.started}
            path = checkpoint.save(self._home.checkpoints, self._trainer, progress)
        except OSError as error:
            self._disk_failed(self._home.checkpoints, error)
            return None
        self._saved, self._unsaved = self._trainer.done, None
        try:
            checkpoint.prune(self._home.checkpoints, self._recipe.train.keep, self._saved, self._best.get("step"))
        except OSError as error:
            log.warning("%s: a checkpoint could not be removed: %s", self._home.checkpoints, error.strerror)
        return path

    @property
    def is_saved(self) -> bool:
        """Whether the newest checkpoint is of the last step."""
        return self._saved == self._trainer.done

    def refuse_unsaved(self, by: str) -> None:
        """Raise RunFailed where a run that was stopped could not be saved."""
        if self._unsaved is not None:
            raise RunFailed(f"stopped by {by}, but no checkpoint could be saved: {self._unsaved.strerror}")

    @property
    def is_finished(self) -> bool:
        """Whether its last weights are there, and not those of a run that has been made longer since."""
        done = self._trainer.done
        return done >= self._recipe.train.steps and model.step_of(self._home.last) == done and self._home.best.is_file()

    def finish(self) -> None:
        """Write the last weights. Raises RunFailed where these, or the checkpoint before, could not be written."""
        # The best, where nothing says which that is, are the last; these come last, since they say that all is there.
        without_best = not self._recipe.validate or not self._home.best.is_file()
        paths = [self._home.best, self._home.last] if without_best else [self._home.last]
        if not all(map(self._write_model, paths)) or not self.is_saved:
            reason = self._unsaved.strerror if self._unsaved is not None else "unknown"
            raise RunFailed(
                f"{self._home.path}: the last step could not be saved: {reason}; free some space and run again"
            )

    def _write_model(self, path: Path) -> bool:
        """Write the network with its description."""
        try:
            model.save_model(path, self._trainer.averaged.state_dict(), self._description())
        except OSError as error:
            self._disk_failed(path, error)
            return False
        return True

    def _description(self) -> dict[str, Any]:
        recipe, builder, architecture = self._recipe, self._loaded.builder, self._recipe.architecture
        return {
            **model.description(builder, architecture.type, architecture.settings, recipe.scale),
            "recipe": recipe.title,
            "recipe_hash": recipe.hash,
            "seed": recipe.seed,
            "step": self._trainer.done,
            "started": self.started,
            "scores": [
                {"data": t["data"], "protocol": t["protocol"], "mean": t["rows"][0]["mean"]} for t in self.tables
            ],
            "plugins": provenance(builder.registry),
        }

    def _disk_failed(self, path: Path, error: OSError) -> None:
        self._unsaved = error
        log.warning("%s could not be written: %s; the run goes on and tries again", path, error.strerror or error)
