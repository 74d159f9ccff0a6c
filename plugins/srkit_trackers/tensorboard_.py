"""TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import srkit
from srkit_trackers import naming


class TensorBoard:
    """Writes event files to `tensorboard/` in the run directory: `tensorboard --logdir runs` shows all runs.

    Where a run is continued, what was written of later steps is taken back (TensorBoard's `purge_step`).

    Args:
        pictures: whether the pictures of validations are written, too.
    """

    def __init__(self, *, pictures: bool = True) -> None:
        self._pictures = pictures

    def run_started(self, run: srkit.Run) -> None:
        """Open an event file."""
        from torch.utils.tensorboard import SummaryWriter

        # A restart repeats the steps after its checkpoint.
        self._writer: Any = SummaryWriter(str(run.directory / "tensorboard"), purge_step=run.first_step + 1)

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a log."""
        self._write(step, naming.scalars(values))

    def validated(self, step: int, tables: Sequence[Mapping[str, Any]]) -> None:
        """Write the scores of a validation."""
        self._write(step, naming.scores(tables))

    def pictured(self, step: int, pictures: Sequence[srkit.Picture]) -> None:
        """Write the pictures of a validation: bicubic, network and HR side by side."""
        for name, image in naming.images(pictures) if self._pictures else ():
            self._writer.add_image(name, image, step, dataformats="HWC")
        self._writer.flush()

    def run_ended(self, step: int, outcome: str) -> None:
        """Close the event file."""
        self._writer.close()

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()
