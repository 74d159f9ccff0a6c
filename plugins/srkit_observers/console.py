"""The observer of the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import srkit
from srkit_observers import lines

if TYPE_CHECKING:
    from srkit_observers.display import Display


class Console:
    """Shows a progress bar and tables where stderr is a terminal, plain lines elsewhere; stdout stays for results.

    A save is not shown: log.txt has it.

    Args:
        plain: write plain lines even to a terminal.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._steps = 0
        self._display: Display | None = None

    def run_started(self, run: srkit.Run) -> None:
        """Print title, steps and directory; begin the progress bar on a terminal that can redraw a line."""
        self._steps = run.steps
        if not self._plain and sys.stderr.isatty():
            from srkit_observers.display import Display  # slow to import, and a batch job has no use for it

            self._display = Display.on_stderr(run)
        if self._display is None:
            _print(lines.started(run))

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Redraw the bar with the values of a step, or print them as one line."""
        if self._display is not None:
            self._display.logged(step, values)
        else:
            _print(lines.logged(step, self._steps, values))

    def validated(self, step: int, tables: list[dict[str, Any]]) -> None:
        """Print the tables above the bar, or one line a table."""
        if self._display is not None:
            self._display.validated(step, tables)
        else:
            for table in tables:
                _print(lines.validated(step, table))

    def run_ended(self, step: int, outcome: str) -> None:
        """Stop the bar and print the outcome: "finished", "stopped" or "failed"."""
        if self._display is not None:
            self._display.stop()
        _print(lines.ended(step, outcome))


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
