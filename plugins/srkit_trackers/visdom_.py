"""Visdom."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import srkit
from srkit_trackers import naming

MOST = 1_000  # points of a curve


class Visdom:
    """Draws a run at a Visdom server, in an environment of the run's name: a window for each loss and score, and one
    for each picture, of bicubic, network and HR side by side.

    The curves of a continued run begin where the run did.

    Args:
        server: where the server is.
        port: its port.
        environment: the environment that is drawn in; the run directory's name where it is empty.
        pictures: whether the pictures of validations are drawn, too.
    """

    def __init__(
        self, *, server: str = "http://localhost", port: int = 8097, environment: str = "", pictures: bool = True
    ) -> None:
        self._server, self._port, self._environment, self._pictures = server, port, environment, pictures
        self._curves: dict[str, dict[int, float]] = {}

    def run_started(self, run: srkit.Run) -> None:
        """Connect, and take up what the run has logged before."""
        import visdom

        with contextlib.redirect_stdout(io.StringIO()):
            self._visdom = visdom.Visdom(
                self._server,
                port=self._port,
                env=self._environment or run.directory.name,
                raise_exceptions=True,
                use_incoming_socket=False,
            )
        for event, step, values in _events(run.directory / "metrics.jsonl"):
            if step <= run.first_step:
                self._take(step, naming.scalars(values) if event == "logged" else naming.scores(values["tables"]))

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Draw the curves of a log."""
        self._draw(step, naming.scalars(values))

    def validated(self, step: int, tables: Sequence[Mapping[str, Any]]) -> None:
        """Draw the curves of a validation."""
        self._draw(step, naming.scores(tables))

    def pictured(self, step: int, pictures: Sequence[srkit.Picture]) -> None:
        """Draw the pictures of a validation."""
        for name, image in naming.images(pictures) if self._pictures else ():
            options = {"title": f"{name}, step {step}"}
            self._visdom.image(image.transpose(2, 0, 1), win=name, opts=options)

    def _take(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._curves.setdefault(name, {})[step] = value

    def _draw(self, step: int, values: Mapping[str, float]) -> None:
        import numpy as np

        self._take(step, values)
        for name in values:
            points = list(self._curves[name].items())
            points = points[:: -(-len(points) // MOST)]
            x, y = (np.array(values) for values in zip(*points, strict=True))
            self._visdom.line(Y=y, X=x, win=name, opts={"title": name, "xlabel": "step"})


def _events(path: Path) -> list[tuple[str, int, dict[str, Any]]]:
    """Return the logs and validations of a metrics.jsonl; lines that are not whole are left out."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            event, step = record.pop("event"), record.pop("step")
            if event == "logged":
                found.append((event, step, {key: value for key, value in record.items() if value is not None}))
            elif event == "validated":
                found.append((event, step, record))
    return found
