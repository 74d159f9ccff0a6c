"""The observer of the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import srkit
from srkit_observers import lines
from srkit_observers.curve import Scores, draw

if TYPE_CHECKING:
    from srkit_observers.display import Display

PLAIN_WIDTH = 80  # columns of a curve where there is no terminal


class Console:
    """Shows a progress bar and tables where stderr is a terminal, plain lines elsewhere; stdout stays for results.

    At the end the scores are drawn as a small curve, those of an earlier part of the run among them. A save is not
    shown: log.txt has it.

    Args:
        plain: write plain lines even to a terminal.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._steps, self._scores = 0, Scores()
        self._display: Display | None = None

    def run_started(self, run: srkit.Run) -> None:
        """Print title, steps and directory; begin the progress bar on a terminal that can redraw a line."""
        self._steps, self._scores = run.steps, Scores()
        self._scores.read(run.directory / "metrics.jsonl", run.first_step)
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
        self._scores.add(step, tables)
        if self._display is not None:
            self._display.validated(step, tables, self._scores.last)
        else:
            for table in tables:
                _print(lines.validated(step, table))

    def run_ended(self, step: int, outcome: str) -> None:
        """Stop the bar, draw the curve and print the outcome: "finished", "stopped" or "failed"."""
        if self._display is not None:
            self._display.curve(self._scores)
        else:
            for line in draw(self._scores, width=PLAIN_WIDTH, unicode=False):
                _print(line)
        _print(lines.ended(step, outcome))


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
