"""What an observer must do."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srkit.errors import located, nearest
from srkit.plugin.contracts import Observer, Picture, Run
from srkit.plugin.kind import methods
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.samples import photograph

STEPS = 20
EVENTS = methods(Observer)


def no_event_is_misspelt(subject: Subject) -> None:
    """No public method has nearly the name of an event that it has not: it would never be called."""
    observer = subject.make()
    missing = [event for event in EVENTS if event not in _events(observer)]
    for name, _ in inspect.getmembers_static(observer, inspect.isroutine):  # no property is asked
        event = None if name.startswith("_") or name in EVENTS else nearest(name, missing)
        if event is not None and _takes(getattr(observer, name), _arguments(event)):
            fail(
                f"it has a method '{name}', which is never called",
                f"call it '{event}', or '_{name}' where it is no event",
            )


def events_take_what_is_told(subject: Subject) -> None:
    """Each event takes its values by position: `logged(step, values)`, say."""
    observer = subject.make()
    for event, method in _events(observer).items():
        if not _takes(method, _arguments(event)):
            told = ", ".join(_arguments(event))
            fail(f"{event}{inspect.signature(method)} cannot be called as {event}({told})", f"take ({told})")


def a_run_is_watched(subject: Subject) -> None:
    """It watches a run and its continuation in one run directory and raises nothing; nor where a run ends at
    once."""
    with _directory() as directory:
        for first_step, told in ((0, _story(directory)), (STEPS // 2, _story(directory)), (0, _failure(directory))):
            observer = _callable(subject)
            for event, arguments in [("run_started", (_run(directory, first_step),)), *told]:
                try:
                    _tell(observer, event, arguments)
                except Exception as error:
                    fail(f"{event} raises {located(error)}", "mend it there: an observer that raises is dropped")


def what_is_told_is_left_alone(subject: Subject) -> None:
    """It changes none of its values: other observers and metrics.jsonl get the same ones."""
    with _directory() as directory:
        observer = _callable(subject)
        for event, arguments in [("run_started", (_run(directory, 0),)), *_story(directory)]:
            before = _as_values(arguments)
            with contextlib.suppress(Exception):  # that is another check's
                _tell(observer, event, arguments)
            if _as_values(arguments) != before:
                fail(f"{event} changes what it is told", "work on a copy: dict(values)")


CHECKS = (
    Check(no_event_is_misspelt),
    Check(events_take_what_is_told),
    Check(a_run_is_watched),
    Check(what_is_told_is_left_alone),
)


def _events(observer: object) -> dict[str, Callable[..., Any]]:
    return {event: method for event in EVENTS if callable(method := getattr(observer, event, None))}


def _arguments(event: str) -> list[str]:
    """Return the names of an event's values, as the contract has them."""
    return list(inspect.signature(getattr(Observer, event)).parameters)[1:]


def _takes(method: Callable[..., Any], arguments: list[str]) -> bool:
    try:
        inspect.signature(method).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _callable(subject: Subject) -> Any:
    observer = subject.make()
    if not all(_takes(method, _arguments(event)) for event, method in _events(observer).items()):
        raise Inapplicable("its events do not take what is told")
    return observer


def _tell(observer: object, event: str, arguments: tuple[Any, ...]) -> None:
    """Tell an event where the observer has it; what it writes to the terminal is not shown."""
    method = _events(observer).get(event)
    if method is not None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            method(*arguments)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """Give a run directory with a checkpoint in it."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        (directory / "checkpoints" / f"step_{STEPS:08d}").mkdir(parents=True)
        yield directory


def _run(directory: Path, first_step: int) -> Run:
    facts = {"architecture": "tiny", "parameters": 1_000, "scale": 2, "images": 24, "device": "cpu"}
    return Run("a run that was made up", directory, first_step, STEPS, facts)


def _story(directory: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the values of each event of a run that goes well, from its start on."""
    values = {
        "loss": 0.0213,
        "charbonnier": 0.0213,
        "epoch": 3.2,
        "learning_rate": 2e-4,
        "it_per_s": 5.1,
        "images_per_s": 81.6,
        "data_share": 0.02,
        "eta_s": 760.0,
    }
    rows = [
        {"model": "tiny", "mean": {"psnr_y": 35.84}, "images": {"baby": {"psnr_y": 35.84}}},
        {"model": "bicubic", "mean": {"psnr_y": 33.66}, "images": {"baby": {"psnr_y": 33.66}}},
    ]
    protocol = {"scale": 2, "color": {"psnr_y": "Y"}, "border": {"psnr_y": 2}, "lr": "files", "images": 1}
    table = {"data": "Set5", "scale": 2, "protocol": protocol, "rows": rows}
    return [
        ("logged", (STEPS // 2, dict(values))),
        ("logged", (STEPS, dict(values))),
        ("validated", (STEPS, [table])),
        ("pictured", (STEPS, _pictures())),
        ("saved", (STEPS, directory / "checkpoints" / f"step_{STEPS:08d}")),
        ("run_ended", (STEPS, "finished")),
    ]


def _as_values(argument: Any) -> Any:
    """Return a copy of an event's values that can be compared: of an image, its bytes."""
    if isinstance(argument, np.ndarray):
        return argument.tobytes()
    if isinstance(argument, list | tuple):
        return [_as_values(member) for member in argument]
    return copy.deepcopy(argument)


def _pictures() -> list[Picture]:
    """Return one image with bicubic's and one without, which cannot be written to."""
    images = [photograph(48, 64, seed) for seed in range(3)]
    for image in images:
        image.flags.writeable = False
    plain, sr, hr = images
    return [Picture("Set5", "baby", plain, sr, hr), Picture("Set5", "bird", None, sr, hr)]


def _failure(directory: Path) -> list[tuple[str, tuple[Any, ...]]]:
    return [("run_ended", (0, "failed"))]
