"""A run and the runs whose weights it starts from, one after the other."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs

from srkit.engine.builder import Builder, Loaded
from srkit.engine.data.opening import open_data
from srkit.engine.running import checkpoint, run
from srkit.engine.running.session import Result
from srkit.engine.weights import model, transfer
from srkit.errors import InputRejected, RecipeError, UsageError
from srkit.plugin.part import as_tree
from srkit.recipe.layers import Override, Problem
from srkit.recipe.packaged import find_recipe
from srkit.recipe.recipe import Recipe
from srkit.runs.rundir import RunDirectory
from srkit.runs.stopping import StopFlag

log = logging.getLogger("srkit")

OWN = ("title", "scale", "start")  # what --set changes of the run itself, and not of those that it starts from


State = Literal["new", "unfinished", "finished"]


@attrs.frozen
class Stage:
    """One run of several: its recipe, where it is, and how far it has come."""

    path: Path
    loaded: Loaded
    home: RunDirectory
    state: State

    @property
    def recipe(self) -> Recipe:
        """Its recipe."""
        return self.loaded.recipe

    @property
    def name(self) -> str:
        """What the recipe's file is called."""
        return self.path.stem


def load_stages(
    path: Path, builder: Builder, directory: Path, *, overrides: Sequence[str] = (), restart: bool = False
) -> list[Stage]:
    """Return the stages of a recipe, the recipe's own run last; those before it are only there where it has not begun.

    An earlier stage's run lies beside `directory`, named after its recipe. Overrides reach every stage, except `title`,
    `scale` and `start`. Raises RecipeError with the problems of all stages, UsageError where a directory holds
    another run.
    """
    loaded = builder.load(path, overrides=overrides)
    home = RunDirectory(directory)
    if not restart:
        home.refuse_other_files()
        if not checkpoint.exists(home.checkpoints) and model.step_of(home.last) >= 0:
            raise UsageError(
                f"{home.path} holds a run that has ended, and none of its checkpoints, without which it would be "
                "trained anew over its models; use --restart to set it aside, or --out DIR for another place"
            )
    state: State = "new" if restart or not checkpoint.exists(home.checkpoints) else _progress(home, loaded.recipe)
    stages = [Stage(path, loaded, home, state)]
    shared = [text for text in overrides if Override.parse(text).path[0] not in OWN]
    while stages[0].recipe.start.recipe and not (len(stages) == 1 and state != "new"):
        after = stages[0]
        base = _find(after, [stage.path for stage in stages])
        home = RunDirectory(directory.parent / base.stem)
        if any(_same(home.path, stage.home.path) for stage in stages):
            raise UsageError(f"{home.path} would be the run of {base} and of {after.path}; give another --out DIR")
        try:
            home.refuse_other_files()
            stages.insert(0, _load(base, builder, home, shared))
        except RecipeError as error:
            note = f"({base.name}, from which {after.path.name} starts)"
            raise RecipeError(error.problems, [note, *error.notes]) from None
        except UsageError as error:
            raise UsageError(f"{after.path.name} starts from {base.name}: {error}") from None
    return stages


def _progress(home: RunDirectory, recipe: Recipe) -> State:
    """Return how far a run that has begun has come."""
    ended = model.step_of(home.last) >= recipe.train.steps
    return "finished" if ended and all(map(model.is_whole, (home.last, home.best))) else "unfinished"


def can_continue(directories: Sequence[Path], *, restart: bool) -> bool:
    """Say whether the same command would continue one of the runs in these directories, the last one's being its own.

    With `restart` it would begin that one anew.
    """
    continued = directories[:-1] if restart else directories
    return any(checkpoint.exists(RunDirectory(path).checkpoints) for path in continued)


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _find(stage: Stage, seen: Sequence[Path]) -> Path:
    """Return the recipe that a stage starts from: beside the file that names it, or here, or a packaged one."""
    key, name = ("start", "recipe"), stage.recipe.start.recipe
    written = stage.loaded.origins.file(key)
    beside = Path(written.label).parent / name if written is not None else Path(name)
    try:
        path = beside if beside.is_file() else find_recipe(name)
    except UsageError as error:
        raise stage.loaded.error(Problem(key, str(error))) from None
    if any(_same(path, other) for other in seen):
        raise stage.loaded.error(Problem(key, f"'{name}' leads back to itself"))
    return path


def _load(path: Path, builder: Builder, home: RunDirectory, overrides: Sequence[str]) -> Stage:
    # A run that is finished needs its images no more, unless they are said to lie elsewhere now.
    loaded = builder.load(path, overrides=overrides, datasets=False)
    state = _progress(home, loaded.recipe)
    if state == "finished" and home.is_of(loaded.recipe):
        return Stage(path, loaded, home, "finished")
    loaded = builder.load(path, overrides=overrides)
    if not home.recipe.exists():
        return Stage(path, loaded, home, "new")
    advice = (
        "give an --out DIR in another folder, where its stages are trained anew beside it, "
        f"or rename {home.path}, and that stage is trained anew; to start from that run as it is, "
        f"--set start.recipe= --set start.weights={home.path}"
    )
    home.refuse_another(loaded.recipe, open_data(loaded).fingerprints(), advice)
    return Stage(path, loaded, home, state)


def rehearse_start(stage: Stage, before: Stage) -> transfer.Transfer:
    """Return what a stage takes of the one before it, which need not be trained yet.

    Raises InputRejected where that does not fit.
    """
    own, found = (_shapes(s.loaded) for s in (stage, before))
    what = f"'{stage.recipe.architecture.type}' at scale {stage.recipe.scale}"
    source = before.home.best
    try:
        return transfer.plan(own, found, source, what, fresh=stage.recipe.start.fresh)
    except InputRejected as error:
        ours, theirs = stage.recipe.architecture, before.recipe.architecture
        told = [
            f"{key} = {as_tree(theirs.settings.get(key))}, not {as_tree(value)}"
            for key, value in ours.settings.items()
            if ours.type == theirs.type and theirs.settings.get(key) != value
        ]
        lines = [f"  {before.path} has {', '.join(told)}"] if told else []
        raise InputRejected(source, "\n".join([error.reason, *lines])) from None


def _shapes(loaded: Loaded) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the network's tensors, by its name in the state dict."""
    network = loaded.builder.sketch(loaded.recipe.architecture, loaded.recipe.scale)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def train_stages(stages: Sequence[Stage], *, restart: bool = False, observers: Sequence[str] = ()) -> Result:
    """Train each stage that is not finished, from the best weights of the one before it; return the last one's result.

    Everything that can be wrong with a later stage is looked at before the first one trains. `restart` is of the last
    stage alone. Raises what `run.train` does.
    """
    with StopFlag() as stop:
        return _train_stages(stages, stop, restart=restart, observers=observers)


def _train_stages(stages: Sequence[Stage], stop: StopFlag, *, restart: bool, observers: Sequence[str]) -> Result:
    if len(stages) > 1:
        for stage in stages:
            if stage.state != "finished" or stage is stages[-1]:
                run.inspect(stage.loaded)
                stop.heed()
        for before, stage in itertools.pairwise(stages):
            rehearse_start(stage, before)
    weights: Path | None = None
    result = None
    for number, stage in enumerate(stages, 1):
        last = number == len(stages)
        if len(stages) > 1:
            does = {"new": "is trained in", "unfinished": "is continued in", "finished": "is finished: used from"}
            log.info("stage %d of %d: %s %s %s", number, len(stages), stage.name, does[stage.state], stage.home.path)
        if last or stage.state != "finished":
            result = run.train(
                stage.loaded,
                stage.home.path,
                restart=restart and last,
                observers=observers,
                weights=weights,
            )
        weights = stage.home.best
    assert result is not None  # the last stage's
    return result
