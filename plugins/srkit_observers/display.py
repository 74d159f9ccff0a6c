"""The events of a run as a live display, made with rich."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column, Table
from rich.text import Text

import srkit
from srkit_observers import lines

STARVED = 0.2  # of the time spent waiting for data: worth a colour
OF_THE_DATA = ("images", "fingerprint", "padding")  # keys of a protocol that say what was measured, not how
STATE_WIDTH = 72  # columns, of "step 120000/200000  loss 0.0213  5.1 it/s  data 2 %  eta 100:12:40" and a margin
EPOCH_WIDTH = 14  # columns more, of "epoch 1234.5"; it is left out on narrower terminals


class Display:
    """A bar with the state of a run beside it; tables pass above it.

    It is redrawn on each event, without a thread, and releases the terminal when it is stopped or dropped, or when the
    process exits.
    """

    def __init__(self, run: srkit.Run, console: Console) -> None:
        epoch = console.width >= STATE_WIDTH + EPOCH_WIDTH + 4
        width = STATE_WIDTH + (EPOCH_WIDTH if epoch else 0)
        self._epoch = epoch
        self._progress = Progress(
            BarColumn(max(4, min(32, console.width - width)), "bright_black", "cyan", "cyan"),
            _State(table_column=Column(no_wrap=True)),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,  # it would move results to stderr
        )
        console.print(Text(lines.started(run), "dim"))
        self._task = self._progress.add_task("", total=run.steps, completed=run.first_step, values={})
        self._progress.start()
        self.stop = weakref.finalize(self, self._progress.stop)

    @classmethod
    def on_stderr(cls, run: srkit.Run) -> Display | None:
        """Return a display, or None where the terminal cannot draw a line again."""
        console = Console(stderr=True, highlight=False)
        return None if console.is_dumb_terminal else cls(run, console)

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Redraw the bar at a step with the values beside it; the epoch only where the terminal is wide enough."""
        shown = {name: value for name, value in values.items() if name != "epoch" or self._epoch}
        self._progress.update(self._task, completed=step, values=shown, refresh=True)

    def validated(self, step: int, tables: Sequence[Mapping[str, Any]]) -> None:
        """Print the tables of a validation above the bar."""
        for part in scores(step, tables):
            self._progress.console.print(part)


class _State(ProgressColumn):
    """What stands beside the bar: the plain line with its labels dimmed."""

    def render(self, task: Task) -> Text:
        """Return the text beside the bar of a task; the data share is yellow above `STARVED`."""
        text = Text.assemble(("step ", "dim"), f"{int(task.completed)}", (f"/{int(task.total or 0)}", "dim"))
        values = task.fields["values"]
        for first, second in lines.parts(values):
            text.append("  ")
            if first == "data":
                text.append("data ", "dim").append(second, "yellow" if values["data_share"] > STARVED else "")
            elif second == "it/s":
                text.append(first).append(" it/s", "dim")
            else:
                text.append(f"{first} ", "dim").append(second)
        return text


def scores(step: int, tables: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Yield what to print of a validation: a row a data set, a column a metric with the gain over each other model.

    Neighbours share a table where protocol, models and metrics are the same; scores of two protocols never do, and
    then each table is headed by what is special to its protocol.
    """
    groups = [list(group) for _, group in groupby(tables, _columns)]
    protocols = [_protocol(group[0]) for group in groups]
    for group, protocol in zip(groups, protocols, strict=True):
        apart = [word for key, word in protocol.items() if any(other.get(key) != word for other in protocols)]
        yield Text("\n" + ", ".join(apart) if apart else "", "dim")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column(Text(f"step {step}", "not dim"))
        own, *others = group[0]["rows"] or [{"mean": {}}]
        for metric in own["mean"]:
            table.add_column(Text(lines.clean(metric)), justify="right", style="bold", no_wrap=True)
            for row in others:
                table.add_column(Text(lines.clean(row["model"])), justify="right", style="dim", no_wrap=True)
                table.add_column(justify="right", no_wrap=True)
        for member in group:
            table.add_row(Text(lines.data(member)), *_cells(member["rows"]))
        yield table


def _columns(table: Mapping[str, Any]) -> tuple[Any, ...]:
    rows = table["rows"]
    return _protocol(table), [row["model"] for row in rows], [list(row["mean"]) for row in rows]


def _protocol(table: Mapping[str, Any]) -> dict[str, str]:
    """Return how a table was measured, {key: "key value"}, without what it was measured on."""
    how = {key: value for key, value in table["protocol"].items() if key not in OF_THE_DATA}
    return {key: lines.clean(f"{key} {_word(value)}") for key, value in how.items()}


def _word(value: Any) -> str:
    return ", ".join(f"{key} {member}" for key, member in value.items()) if isinstance(value, Mapping) else str(value)


def _cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    own, *others = rows or [{"mean": {}}]
    for metric, value in own["mean"].items():
        yield Text(lines.score(metric, value))
        for row in others:
            if metric not in row["mean"]:
                yield from (Text("-"), Text("-"))
                continue
            gain = lines.gain(own, row, metric)
            yield Text(lines.score(metric, row["mean"][metric]))
            if gain is None:
                yield Text("-")
            else:
                yield Text(lines.score(metric, gain, sign=True), "green" if gain > 0 else "red" if gain < 0 else "")
