"""Observers that write files of the run directory, and go on where the disk is full."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import srkit
from srkit_observers import lines

logger = logging.getLogger(__name__)


class LineFile:
    """A file that grows by whole lines.

    Each line is with the operating system when `write` returns. Where it cannot be written (a full disk), it is kept
    in memory and written before the next one; that is warned of once and never raised. An unfinished last line, left by
    a run that was killed, is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = b""
        self._warned = False
        try:
            _cut_unfinished_line(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._warn(error)

    def write(self, line: str) -> None:
        """Append a line, given without its end."""
        self._waiting += line.encode("utf-8", "backslashreplace") + b"\n"
        try:
            with self._path.open("ab", buffering=0) as file:  # a buffer would hide how much of a line was written
                while self._waiting:
                    self._waiting = self._waiting[file.write(self._waiting) :]
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s cannot be written (%s); its lines are kept in memory and tried again", self._path, error.strerror
            )


def _cut_unfinished_line(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


class MetricsJsonl:
    """Appends one JSON object a line to metrics.jsonl in the run directory.

    Each has "event" (the name of the observer's method) and "step", then the event's values: `title`, `steps` and
    `facts` of a start; the values of a log; the `tables` of a validation; the `path` of a save, relative to the run
    directory; the `outcome` of an end. JSON has no nan or inf: they are written as null.
    """

    def run_started(self, run: srkit.Run) -> None:
        """Append the start to metrics.jsonl, after the lines of an earlier part of the run."""
        self._directory = run.directory
        self._file = LineFile(run.directory / "metrics.jsonl")
        self._write("run_started", run.first_step, {"title": run.title, "steps": run.steps, "facts": run.facts})

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of a step."""
        self._write("logged", step, values)

    def validated(self, step: int, tables: list[dict[str, Any]]) -> None:
        """Append the tables of a validation."""
        self._write("validated", step, {"tables": tables})

    def saved(self, step: int, path: Path) -> None:
        """Append the path of a checkpoint, relative to the run directory where it is inside."""
        self._write("saved", step, {"path": lines.inside(path, self._directory)})

    def run_ended(self, step: int, outcome: str) -> None:
        """Append the outcome: "finished", "stopped" or "failed"."""
        self._write("run_ended", step, {"outcome": outcome})

    def _write(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        record = {"event": event, "step": step, **_finite(values)}
        self._file.write(json.dumps(record, allow_nan=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(member) for key, member in value.items()}
    return [_finite(member) for member in value] if isinstance(value, list | tuple) else value


class Log:
    """Appends the console's plain lines to log.txt in the run directory, each after its local time in ISO 8601.

    So it does with what is logged to "srkit.faults": why the process ends at once, without an end of the run.
    """

    def run_started(self, run: srkit.Run) -> None:
        """Append the start to log.txt, after the lines of an earlier part of the run."""
        self._run = run
        self._file = LineFile(run.directory / "log.txt")
        self._faults = _Faults(self._write)
        logging.getLogger("srkit.faults").addHandler(self._faults)
        self._write(lines.started(run))

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line with the values of a step."""
        self._write(lines.logged(step, self._run.steps, values))

    def validated(self, step: int, tables: list[dict[str, Any]]) -> None:
        """Append a line for each table of a validation."""
        for table in tables:
            self._write(lines.validated(step, table))

    def saved(self, step: int, path: Path) -> None:
        """Append a line with the path of a checkpoint, relative to the run directory where it is inside."""
        self._write(lines.saved(step, path, self._run.directory))

    def run_ended(self, step: int, outcome: str) -> None:
        """Append a line with the outcome: "finished", "stopped" or "failed"."""
        self._write(lines.ended(step, outcome))
        logging.getLogger("srkit.faults").removeHandler(self._faults)

    def _write(self, line: str) -> None:
        self._file.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')}  {line}")


class _Faults(logging.Handler):
    """Passes each message on."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage())
