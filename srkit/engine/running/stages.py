"""A run and the runs whose weights it starts from, one after the other."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from srkit.engine.builder import Builder, Loaded
from srkit.engine.data.opening import open_data
from srkit.engine.distributed import ALONE, World
from srkit.engine.running import checkpoint, run
from srkit.engine.running.session import Result
from srkit.engine.weights import model, transfer
from srkit.errors import InputRejected, RecipeError, SrkitError, Stopped, UsageError
from srkit.plugin.part import as_tree
from srkit.recipe.layers import Override, Problem, as_set
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
    overrides: tuple[str, ...] = ()

    @property
    def alone(self) -> str:
        """How to run it alone."""
        given = (word for text in self.overrides for word in ("--set", text))
        command = shlex.join(["srkit", "run", str(self.path), "--out", str(self.home.path), *given])
        files = any(entry.origin.is_file for entry in self.loaded.builder.registry)
        return f"alone, with the same -p: {command}" if files else f"alone: {command}"

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
    """Return the stages of a recipe, the recipe's own run last; one before another is only there where that is new.

    An earlier stage's run lies beside `directory`, named after its recipe. Overrides reach every stage, except `title`,
    `scale` and `start`; those of one stage, STAGE:KEY=VALUE, that one alone. Raises RecipeError with the problems of
    all stages, UsageError where a directory holds another run, and for an override of a stage that there is not.
    """
    _refuse_unknown_stages(path, builder, overrides)
    own = overrides_for(path, overrides, named=True)
    loaded = builder.load(path, overrides=own)
    home = RunDirectory(directory)
    if not restart:
        home.refuse_other_files()
        if not checkpoint.exists(home.checkpoints) and model.step_of(home.last) >= 0:
            raise UsageError(
                f"{home.path} holds a run that has ended, and none of its checkpoints, without which it would be "
                "trained anew over its models; use --restart to set it aside, or --out DIR for another place"
            )
    state: State = "new" if restart or not checkpoint.exists(home.checkpoints) else _progress(home, loaded.recipe)
    stages = [Stage(path, loaded, home, state, own)]
    while stages[0].recipe.start.recipe and stages[0].state == "new":
        after = stages[0]
        base = _find(after.loaded, [stage.path for stage in stages])
        home = RunDirectory(directory.parent / base.stem)
        if any(_same(home.path, stage.home.path) for stage in stages):
            raise UsageError(f"{home.path} would be the run of {base} and of {after.path}; give another --out DIR")
        try:
            home.refuse_other_files()
            stages.insert(0, _load(base, builder, home, overrides_for(base, overrides), stages))
        except RecipeError as error:
            note = f"({base.name}, from which {after.path.name} starts)"
            raise RecipeError(error.problems, [note, *error.notes]) from None
        except UsageError as error:
            is_override = str(error).startswith("--set")
            alone = f"; for one stage alone, write --set {after.path.stem}:KEY=VALUE" if is_override else ""
            raise UsageError(f"{after.path.name} starts from {base.name}: {error}{alone}") from None
    return stages


def overrides_for(path: Path, overrides: Sequence[str], *, named: bool = False) -> tuple[str, ...]:
    """Return those overrides that reach a recipe; `named` is the recipe that the command names."""
    parsed = [(text, Override.parse(text)) for text in overrides]
    return tuple(
        text for text, o in parsed if o.stage == path.stem or (not o.stage and (named or o.path[0] not in OWN))
    )


def _refuse_unknown_stages(path: Path, builder: Builder, overrides: Sequence[str]) -> None:
    """Raise UsageError for an override of a stage that there is not, those included that are needed no more."""
    seen = [path]
    given = [o for o in map(Override.parse, overrides) if o.stage not in ("", path.stem)]
    try:
        while given:
            loaded = builder.load(
                seen[-1], overrides=overrides_for(seen[-1], overrides, named=len(seen) == 1), datasets=False
            )
            if not loaded.recipe.start.recipe:
                break
            seen.append(_find(loaded, seen))
    except SrkitError:  # it is raised again, but for a recipe that is needed no more
        return
    for override in given:
        override.refuse_stage([path.stem for path in seen])


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


def _find(loaded: Loaded, seen: Sequence[Path]) -> Path:
    """Return the recipe that another starts from: beside the file that names it, or here, or a packaged one."""
    key, name = ("start", "recipe"), loaded.recipe.start.recipe
    written = loaded.origins.file(key)
    beside = Path(written.label).parent / name if written is not None else Path(name)
    try:
        path = beside if beside.is_file() else find_recipe(name)
    except UsageError as error:
        raise loaded.error(Problem(key, str(error))) from None
    if any(_same(path, other) for other in seen):
        raise loaded.error(Problem(key, f"'{name}' leads back to itself"))
    return path


def _load(
    path: Path, builder: Builder, home: RunDirectory, overrides: tuple[str, ...], later: Sequence[Stage]
) -> Stage:
    # A run that is finished needs its images no more, unless they are said to lie elsewhere now.
    loaded = builder.load(path, overrides=overrides, datasets=False)
    state = _progress(home, loaded.recipe)
    if state == "finished" and home.is_of(loaded.recipe):
        return Stage(path, loaded, home, "finished", overrides)
    loaded = builder.load(path, overrides=overrides)
    if not home.recipe.exists():
        return Stage(path, loaded, home, "new", overrides)
    fingerprints = open_data(loaded).fingerprints()
    try:
        home.refuse_another(loaded.recipe, fingerprints)
    except UsageError as error:
        advice = "\n".join(_cures(loaded, home, path, overrides, later, str(error)))
        home.refuse_another(loaded.recipe, fingerprints, advice)
    return Stage(path, loaded, home, state if checkpoint.exists(home.checkpoints) else "new", overrides)


def _cures(
    loaded: Loaded, home: RunDirectory, path: Path, overrides: Sequence[str], later: Sequence[Stage], refused: str
) -> Iterator[str]:
    """Yield what to do where a stage's directory holds another run; `refused` names the keys that differ."""
    keys = [line.split()[0].removesuffix(":") for line in refused.splitlines() if line.startswith("  ")]
    laid = sorted(overrides, key=lambda text: Override.parse(text).stage != "")  # as the recipe's layers are
    shared = [
        text
        for text, (where, _) in zip(laid, loaded.origins.overrides, strict=True)
        if not Override.parse(text).stage and any(f"{key}.".startswith(f"{'.'.join(map(str, where))}.") for key in keys)
    ]
    rest = [text for text in overrides if text not in shared]
    with contextlib.suppress(RecipeError):  # of what cannot be without them
        if shared and home.is_of(loaded.builder.load(path, overrides=rest, datasets=False).recipe):
            names = " and ".join(stage.name for stage in later)
            instead = shlex.join(word for text in shared for word in ("--set", text))
            alone = (word for stage in later for text in shared for word in ("--set", f"{stage.name}:{text}"))
            yield f"to change {names} alone, in place of {instead}: {shlex.join(alone)}"
    after = later[0].name
    weights = [as_set(f"{after}:start.recipe", ""), as_set(f"{after}:start.weights", str(home.path))]
    yield f"to start from that run as it is: {' '.join(weights)}"
    yield f"to train that stage anew: rename {home.path}, or give an --out DIR in another folder"


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


def stages_of_first(found: Sequence[Stage], builder: Builder, world: World) -> Sequence[Stage]:
    """Return the stages that the first process has found; the others read their recipes, and no run directory."""
    told: list[Any] = world.first(lambda: [[str(s.path), str(s.home.path), s.state, s.overrides] for s in found])
    if world.is_first:
        return found
    stages = []
    for path, home, state, overrides in told:
        loaded = builder.load(path, overrides=overrides, datasets=state != "finished")
        stages.append(Stage(Path(path), loaded, RunDirectory(Path(home)), state, tuple(overrides)))
    return stages


def train_stages(
    stages: Sequence[Stage],
    *,
    restart: bool = False,
    observers: Sequence[str] = (),
    accept_dataset_change: bool = False,
    world: World = ALONE,
) -> Result:
    """Train each stage that is not finished, from the best weights of the one before it; return the last one's result.

    Everything that can be wrong with a later stage is looked at before the first one trains. `restart` and
    `accept_dataset_change` are of the last stage alone. Raises what `run.train` does.
    """
    with StopFlag() as stop:
        return _train_stages(stages, stop, world, restart=restart, observers=observers, accept=accept_dataset_change)


def _train_stages(
    stages: Sequence[Stage], stop: StopFlag, world: World, *, restart: bool, observers: Sequence[str], accept: bool
) -> Result:
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
            try:
                result = run.train(
                    stage.loaded,
                    stage.home.path,
                    restart=restart and last,
                    observers=observers,
                    weights=weights,
                    accept_dataset_change=accept and last,
                    world=world,
                )
            except SrkitError as error:
                if not last and not isinstance(error, Stopped):  # --restart, which may be advised, is of the last alone
                    error.add_note(f"that was stage {number} of {len(stages)}; {stage.alone}")
                raise
        weights = stage.home.best
    assert result is not None  # the last stage's
    return result
