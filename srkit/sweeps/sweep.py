"""The runs of a sweep: checked before any begins, run beside each other, continued, and put on one page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from srkit import files
from srkit.engine.builder import Builder
from srkit.engine.device import gpus
from srkit.engine.running.stages import Stage, load_stages, overrides_for
from srkit.engine.supervising import cores
from srkit.errors import InputRejected, RecipeError, RunFailed, UsageError
from srkit.recipe.recipe import Recipe
from srkit.reports.page import page
from srkit.reports.scores import best_step
from srkit.reports.sweeps import FINISHED, Member, document
from srkit.reports.texts import score_text
from srkit.runs import history
from srkit.runs.history import History
from srkit.sweeps.beside import Ended, Job, run_beside, shares
from srkit.sweeps.grid import Point

REPORT, OUTPUT = "report.html", "output"  # in the folder of a sweep: its page, and what each run has printed
ELSEWHERE = "choose another place for the sweep with --out DIR"


@attrs.define
class Sweep:
    """The runs of a recipe with these settings, each in a folder of its name in `folder`.

    `plugins` are the files and modules that each run is given by `-p`; `say` gets a line on each begin and end.
    """

    path: Path
    folder: Path
    builder: Builder
    overrides: Sequence[str] = ()
    plugins: Sequence[str] = ()
    processes: int = 1
    say: Callable[[str], None] = print
    states: dict[str, Member] = attrs.field(factory=dict, init=False)  # by name, in the order of the points
    _homes: dict[str, Path] = attrs.field(factory=dict, init=False)
    _points: dict[str, Point] = attrs.field(factory=dict, init=False)

    @property
    def recipe(self) -> Recipe:
        """The recipe that all runs come from. Raises RecipeError."""
        own = overrides_for(self.path, self.overrides, named=True)
        return self.builder.load(self.path, overrides=own, datasets=False).recipe

    def add(self, points: Sequence[Point]) -> None:
        """Note runs, and which of them are finished. Raises what `check` raises."""
        for point, own in zip(points, self.check(points), strict=True):
            self._homes[point.name], self._points[point.name] = own.home.path, point
            self._note(point.name, FINISHED if own.state == FINISHED else "waiting")

    def check(self, points: Sequence[Point]) -> list[Stage]:
        """Return what runs would train. Raises RecipeError with the problems of all of them, UsageError."""
        if (self.folder / history.RECIPE).exists():
            raise UsageError(f"{self.folder} is a run, not a folder for those of a sweep; {ELSEWHERE}")
        problems: dict[str, None] = {}
        notes: dict[str, None] = {}
        found = []
        # The runs that it starts from lie beside it, and have its settings: so each has a folder for itself.
        below = self.path.stem if self.recipe.start.recipe else ""
        for point in points:
            try:
                found.append(self._load(point, self.folder / point.name / below))
            except RecipeError as error:
                problems |= dict.fromkeys(error.problems)
                notes |= dict.fromkeys(error.notes)
        if problems:
            raise RecipeError(list(problems), list(notes))
        return found

    def _load(self, point: Point, home: Path) -> Stage:
        """Return a run's stage, checked; another one that is in its place is refused."""
        own = load_stages(self.path, self.builder, home, overrides=[*self.overrides, *point.overrides])[-1]
        if own.home.recipe.exists():
            own.home.refuse_another(own.recipe, {}, ELSEWHERE)
        return own

    def make(self, folder: Path) -> None:
        """Make a folder of the sweep's own. Raises RunFailed, as a run does, where that cannot be."""
        try:
            files.make_directory(folder)
        except OSError as error:
            raise RunFailed(f"{error.filename or folder}: {error.strerror}; choose another --out DIR") from None

    def run(self, names: Sequence[str], stop: Callable[[], bool], environment: Mapping[str, str]) -> bool:
        """Run those of these that are not finished, and say whether all have been; the page is written anew at each
        end."""
        self.make(self.folder / OUTPUT)
        jobs = [self._job(name) for name in names if self.states[name].state != FINISHED]
        total, done = len(names), len(names) - len(jobs)
        if done:
            self.say(f"{done} of {total} runs {'is' if done == 1 else 'are'} finished already")

        def ended(found: Ended) -> None:
            nonlocal done
            done += 1
            self._note(found.job.name, found.state, found.why)
            words = found.why if found.why else self._scores(found.job.name) if found.state == FINISHED else ""
            self.say(f"{found.job.name}  {found.state}{f'  {words}' if words else ''}  ({done} of {total})")
            self.write()

        places = shares(self.processes, cores(), gpus(), environment)
        return run_beside(
            jobs, self.processes, places, stop, started=lambda job: self.say(f"{job.name}  started"), ended=ended
        )

    def _note(self, name: str, state: str, why: str = "") -> None:
        point = self._points[name]
        self.states[name] = Member(name, point.settings, point.seed, str(self._homes[name]), state, why)

    def _job(self, name: str) -> Job:
        words = [word for plugin in self.plugins for word in ("-p", plugin)]
        given = [word for text in (*self.overrides, *self._points[name].overrides) for word in ("--set", text)]
        command = [sys.executable, "-m", "srkit", *words, "run", *given, "--out", str(self._homes[name]), "--"]
        return Job(name, [*command, str(self.path)], self.folder / OUTPUT / f"{name}.txt")

    def histories(self) -> dict[str, History]:
        """Return what there is of the runs, by name."""
        found = {}
        for name, home in self._homes.items():
            if (home / history.RECIPE).is_file():
                found[name] = history.read_history(home)
        return found

    def _scores(self, name: str) -> str:
        """Return the last score that decides, with bicubic's."""
        run = history.read_history(self._homes[name])
        if not run.validated:
            return ""
        table = list(run.validated.values())[-1][0]
        metric, value = next(iter(table.mean.items()))
        bicubic = (table.bicubic or {}).get(metric)
        if value is None:
            return ""
        beside = "" if bicubic is None else f" (bicubic {score_text(metric, bicubic)})"
        return f"{metric} {score_text(metric, value)}{beside}"

    def deciding_scores(self, names: Sequence[str]) -> list[float]:
        """Return the best score of each of these runs that is finished: of the first metric on the first set."""
        done = [self._homes[name] for name in names if self.states[name].state == FINISHED]
        found = []
        for run in map(history.read_history, done):
            step = best_step(run, self.builder.registry)
            value = None if step is None else next(iter(run.validated[step][0].mean.values()))
            found += [] if value is None else [value]
        return found

    def higher_is_better(self) -> bool:
        """Say which scores of the metric that decides are better. Raises UsageError where nothing is scored."""
        recipe = self.recipe
        if not recipe.validate:
            raise UsageError(f"{self.path} has no [[validate]]: nothing says which settings are better")
        return bool(self.builder.facts(recipe.metric[0]).get("better") != "lower")

    def document(self) -> dict[str, Any]:
        """Return the sweep so far as JSON's types."""
        members = list(self.states.values())
        return {
            "schema": 1,
            "recipe": str(self.path),
            "directory": str(self.folder),
            **document(members, self.histories(), self.builder.registry),
        }

    def write(self) -> Path | None:
        """Write the page of the sweep so far, and return its path; None where no run has begun. Raises RunFailed."""
        try:
            runs = self.histories()
        except InputRejected:  # one that is being written at this moment, say
            return None
        if not runs:
            return None
        path = self.folder / REPORT
        text = page(runs, self.builder.registry, sweep=list(self.states.values()), title=f"Sweep of {self.path.stem}")
        try:
            files.write_file(path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise RunFailed(f"{path}: {error.strerror}") from None
        return path
