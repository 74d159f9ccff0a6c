"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import srkit
from srkit_trackers import naming


class WandB:
    """Sends a run to Weights & Biases; a continued run goes on there, by the id in `wandb.json` of the run directory.

    Args:
        project: the project that the run is part of.
        entity: the user or team; the one who is logged in where it is empty.
        mode: "online", "offline" (files in the run directory for `wandb sync`), or "auto": as WANDB_MODE says, and else
            online where somebody is logged in.
        pictures: whether the pictures of validations are sent, too.
    """

    def __init__(
        self,
        *,
        project: str = "srkit",
        entity: str = "",
        mode: Literal["auto", "online", "offline"] = "auto",
        pictures: bool = True,
    ) -> None:
        self._project, self._entity, self._pictures = project, entity, pictures
        self._mode: Any = mode

    def run_started(self, run: srkit.Run) -> None:
        """Begin a run, or go on with it."""
        import wandb

        if self._mode == "auto":
            self._mode = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        kept = naming.Kept(run.directory, "wandb")
        known = kept.read().get("id")
        self._run = wandb.init(
            project=self._project,
            entity=self._entity or None,
            id=known,
            name=run.directory.name,
            notes=run.title,
            resume="allow" if known else None,
            dir=str(run.directory),
            mode=self._mode,
            config=naming.settings(run),
            settings=wandb.Settings(silent=True),
        )
        self._run.define_metric("*", step_metric="step")  # steps that are trained again are sent again
        kept.write({"id": self._run.id, "project": self._project, "url": self._run.url})

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a log."""
        self._run.log({"step": step, **naming.scalars(values)})

    def validated(self, step: int, tables: Sequence[Mapping[str, Any]]) -> None:
        """Send the scores of a validation."""
        self._run.log({"step": step, **naming.scores(tables)})

    def pictured(self, step: int, pictures: Sequence[srkit.Picture]) -> None:
        """Send the pictures of a validation: bicubic, network and HR side by side."""
        import wandb

        if self._pictures:
            self._run.log({"step": step, **{name: wandb.Image(image) for name, image in naming.images(pictures)}})

    def run_ended(self, step: int, outcome: str) -> None:
        """End the run; it is not marked as finished where training was stopped or failed."""
        self._run.finish(exit_code=0 if outcome == "finished" else 1)
