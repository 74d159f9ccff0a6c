"""The events of a run as a live display, made with rich."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column, Table
from rich.text import Text

import srkit
from srkit_observers import lines
from srkit_observers.curve import Scores, draw

STARVED = 0.2  # of the time spent waiting for data: worth a colour
OF_THE_DATA = ("images", "fingerprint", "padding")  # keys of a protocol that say what was measured, not how
STATE_WIDTH = 116  # columns, of all that can stand beside the bar
LEAST_BAR, MOST_BAR = 8, 32  # columns
GAP = "  "  # between what stands beside the bar
# What stands beside the bar where the terminal is too narrow for all, the first of them first.
RANKS = ("step", "eta", "loss", "score", "images/s", "data", "it/s", "epoch")


class Display:
    """A bar with the state of a run beside it; tables pass above it.

    It is redrawn on each event, without a thread, and releases the terminal when it is stopped or dropped, or when the
    process exits.
    """

    def __init__(self, run: srkit.Run, console: Console) -> None:
        bar = max(LEAST_BAR, min(MOST_BAR, console.width - STATE_WIDTH))
        self._progress = Progress(
            BarColumn(bar, "bright_black", "cyan", "cyan"),
            _State(lambda: console.width - bar - 1),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,  # it would move results to stderr
        )
        console.print(Text(lines.started(run), "dim"))
        self._task = self._progress.add_task("", total=run.steps, completed=run.first_step, values={}, score="")
        self._progress.start()
        self.stop = weakref.finalize(self, self._progress.stop)

    @classmethod
    def on_stderr(cls, run: srkit.Run) -> Display | None:
        """Return a display, or None where the terminal cannot draw a line again."""
        console = Console(stderr=True, highlight=False)
        return None if console.is_dumb_terminal else cls(run, console)

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Redraw the bar at a step with the values beside it, as far as the terminal is wide enough."""
        self._progress.update(self._task, completed=step, values=values, refresh=True)

    def validated(self, step: int, tables: Sequence[Mapping[str, Any]], score: str) -> None:
        """Print the tables of a validation above the bar; `score` stands beside it from now on."""
        self._progress.update(self._task, score=score)
        console = self._progress.console
        found = list(scores(step, tables))
        if any(
            console.measure(part, options=console.options.update(max_width=10_000)).maximum > console.width
            for part in found
        ):
            # Cut to this width, numbers would be other numbers.
            found = [Text(lines.validated(step, table)) for table in tables]
        for part in found:
            console.print(part)

    def curve(self, scores: Scores) -> None:
        """Stop the bar, and draw the scores of the run below it, in Braille where the terminal can show it."""
        self.stop()
        console = self._progress.console
        found = draw(scores, width=console.width, unicode=not console.options.ascii_only)
        for line in found:
            text = Text(line, "dim" if line in (found[0], found[-1]) else "", no_wrap=True)
            text.highlight_regex("[\u2801-\u28ff]+|[*]+", "cyan")
            text.highlight_regex("[│|╌-]+|bicubic.*", "dim")
            console.print(text, soft_wrap=True)


class _State(ProgressColumn):
    """What stands beside the bar, its labels dimmed: as much as there is room for, by rank."""

    def __init__(self, room: Callable[[], int]) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._room = room

    def render(self, task: Task) -> Text:
        """Return the text beside the bar of a task."""
        fields = _fields(task)
        left, kept = self._room() + len(GAP), []
        for name in sorted(fields, key=lambda name: RANKS.index(name) if name in RANKS else len(RANKS)):
            if len(GAP) + fields[name].cell_len <= left:
                kept.append(name)
                left -= len(GAP) + fields[name].cell_len
        return Text(GAP).join(fields[name] for name in fields if name in kept)


def _fields(task: Task) -> dict[str, Text]:
    """Return what can stand beside the bar, by what it is; the share of waiting is yellow above `STARVED`."""
    values, score = task.fields["values"], task.fields["score"]
    step = Text.assemble(("step ", "dim"), f"{int(task.completed)}", (f"/{int(task.total or 0)}", "dim"))
    found = {"step": step}
    for first, second in lines.parts(values):
        if first == "data":
            found["data"] = Text.assemble(("data ", "dim"), (second, "yellow" if _is_starved(values) else ""))
        elif second == "it/s":
            found["it/s"] = Text.assemble(first, (" it/s", "dim"))
        else:
            found[first] = Text.assemble((f"{first} ", "dim"), second)
        if first == "loss" and score:
            name, _, number = score.partition(" ")
            found["score"] = Text.assemble((f"{name} ", "dim"), number)
        if second == "it/s" and "images_per_s" in values:
            found["images/s"] = Text.assemble(lines.rate(values["images_per_s"]), (" images/s", "dim"))
    return found


def _is_starved(values: Mapping[str, float]) -> bool:
    return values["data_share"] > STARVED


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
