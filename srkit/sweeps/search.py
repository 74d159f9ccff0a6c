"""Which combinations a sweep runs: all of a grid, or those that optuna chooses."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from srkit.errors import UsageError
from srkit.reports.texts import toml_value
from srkit.sweeps.grid import Point, Space, points, seeds_of
from srkit.sweeps.sweep import Sweep

if TYPE_CHECKING:
    import optuna

JOURNAL = "optuna.log"  # in the folder of a sweep: its trials
NAME = "sweep"


def run_grid(sweep: Sweep, space: Space, stop: Callable[[], bool], environment: Mapping[str, str]) -> bool:
    """Run each combination for each seed, and say whether all have been run. All are checked before."""
    found = points(space.axes, seeds_of(space, sweep.recipe.seed))
    sweep.add(found)
    return sweep.run([point.name for point in found], stop, environment)


def run_search(sweep: Sweep, space: Space, stop: Callable[[], bool], environment: Mapping[str, str]) -> bool:
    """Run the combinations that optuna chooses, and say whether all have been run.

    As many are chosen together as run beside each other. They are kept in the folder of the sweep, and the next call
    goes on with them. What is sought is the best mean over the seeds of the metric that decides in the recipe.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError("--optuna needs optuna: pip install -e '.[sweep]'") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    seeds = seeds_of(space, sweep.recipe.seed)
    sweep.check(_corners(space, seeds[0]))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep.make(sweep.folder)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(sweep.folder / JOURNAL))),
        study_name=NAME,
        direction="maximize" if sweep.higher_is_better() else "minimize",
        load_if_exists=True,
    )
    _refuse_others(study, space, sweep)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and len(trial.params) == len(_distributions(space)):
            sweep.add(_points(space, trial.params, seeds))
    together = max(1, sweep.processes // len(seeds))
    while chosen := _choose(study, space, together):
        runs = {number: _points(space, params, seeds) for number, params in chosen.items()}
        distinct = {point.name: point for group in runs.values() for point in group}
        sweep.add(list(distinct.values()))
        if not sweep.run(list(distinct), stop, environment):
            return False
        for number, group in runs.items():
            scores = sweep.deciding_scores([point.name for point in group])
            if scores:
                study.tell(number, statistics.fmean(scores))
            else:
                study.tell(number, state=optuna.trial.TrialState.FAIL)
    return True


def _choose(study: optuna.Study, space: Space, together: int) -> dict[int, Mapping[str, Any]]:
    """Return the settings of trials by their numbers: those that were stopped first, then new ones."""
    import optuna

    distributions = _distributions(space)
    trials = study.get_trials(deepcopy=False)
    chosen: dict[int, Mapping[str, Any]] = {}
    for trial in trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            if len(trial.params) < len(distributions):  # killed while it was chosen
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            else:
                chosen[trial.number] = trial.params
    chosen = dict(list(chosen.items())[:together])
    for number in range(len(trials), min(space.trials, len(trials) + together - len(chosen))):
        # Seeded by its number: a sweep that is continued chooses on, and does not choose the first ones again.
        study.sampler = optuna.samplers.TPESampler(seed=number)
        asked = study.ask(distributions)
        chosen[asked.number] = asked.params
    return chosen


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {axis.key: CategoricalDistribution(axis.values) for axis in space.axes}
    for one in space.ranges:
        if isinstance(one.low, int) and isinstance(one.high, int):
            found[one.key] = IntDistribution(one.low, one.high, log=one.log)
        else:
            found[one.key] = FloatDistribution(one.low, one.high, log=one.log)
    return found


def _refuse_others(study: optuna.Study, space: Space, sweep: Sweep) -> None:
    """Raise UsageError where there are trials of other settings."""
    known = _distributions(space)
    for trial in study.get_trials(deepcopy=False):
        if any(known.get(key) != distribution for key, distribution in trial.distributions.items()):
            raise UsageError(
                f"{sweep.folder / JOURNAL} has trials of other values; give those, or another place with --out DIR"
            )


def _points(space: Space, params: Mapping[str, Any], seeds: Sequence[int | None]) -> list[Point]:
    """Return the runs of a trial; the values of lists are TOML already."""
    listed = {axis.key for axis in space.axes}
    settings = {key: params[key] if key in listed else toml_value(params[key]) for key in _distributions(space)}
    return [Point(settings, seed) for seed in seeds]


def _corners(space: Space, seed: int | None) -> list[Point]:
    """Return points that have each listed value and each bound once: what is wrong with any of them is said before."""
    values = {axis.key: list(axis.values) for axis in space.axes}
    values |= {one.key: [toml_value(one.low), toml_value(one.high)] for one in space.ranges}
    longest = max(map(len, values.values()))
    return [Point({key: found[i % len(found)] for key, found in values.items()}, seed) for i in range(longest)]
