"""A network exported: an exporter's ways, one after the other, until a file gives the SR that torch gives."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from srkit import files
from srkit.engine.builder import Builder
from srkit.engine.exporting.attempt import SIZES, Found, Job
from srkit.engine.exporting.opened import sides
from srkit.engine.networks.padding import sides_of
from srkit.engine.weights.model import Model, describe_converted, save_model
from srkit.errors import RunFailed, UsageError
from srkit.plugin.registry import Entry


@attrs.frozen
class Trial:
    """A way that was tried: its name, the only size that the file takes where it takes one, and what was found."""

    way: str
    size: tuple[int, int] | None
    found: Found
    log: str = ""  # what the process printed

    @property
    def name(self) -> str:
        """What people call it: "legacy", "dynamo at 64x64"."""
        return " ".join(filter(None, [self.way, f"at {self.size[0]}x{self.size[1]}" if self.size else ""]))


@attrs.frozen
class Outcome:
    """The files of an export, the trial that they are of, and those before it, which failed."""

    paths: Sequence[Path]
    trial: Trial
    failed: Sequence[Trial]


@attrs.frozen
class Words:
    """What a command says of an export: 16-bit weights, the only size of LR, and the plugins to load."""

    half: bool = False
    size: tuple[int, int] | None = None
    plugins: Sequence[str] = ()
    ambient: str = ""


def export(
    model: Model,
    entry: Entry,
    target: Path,
    words: Words,
    builder: Builder,
    say: Callable[[Trial], object] = lambda trial: None,
) -> Outcome:
    """Write a network to a path, and what belongs to it beside it, by the first way whose file is right.

    `say` hears of each way that failed. Raises UsageError for a size that the network does not take, and for a file
    that is there already; RunFailed where no way is right, and where the disk takes no file, at once where that shows.
    """
    refuse_size(model, words.size)
    refuse_place(target)
    failed: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="srkit-") as folder:
        source = Path(folder) / "model.safetensors"
        save_model(source, model.network.state_dict(), describe_converted(model, builder))
        for number, (way, size) in enumerate(_ways(model, entry, words.size)):
            home = Path(folder) / str(number)
            home.mkdir()
            job = Job(
                str(source),
                entry.full_name,
                str(home / "files" / target.name),
                str(home / "found.json"),
                [*words.plugins],
                words.ambient,
                way,
                words.half,
                size,
            )
            trial = _tried(job, home)
            if not trial.found.reason:
                return Outcome(_kept(home / "files", target.parent), trial, failed)
            failed.append(trial)
            say(trial)
    name = entry.component.name
    raise RunFailed(f"{model.reading.path} cannot be exported to {name}: no file gives the SR that torch gives")


def _ways(model: Model, entry: Entry, size: tuple[int, int] | None) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yield each way, first for LR of any size, then for one size alone."""
    facts = entry.component.facts
    ways = facts.get("ways", ("",))
    if size is None and facts.get("free_size", True):
        yield from ((way, None) for way in ways)
    yield from ((way, size or sides(*sides_of(model.network), SIZES[0])) for way in ways)


def refuse_size(model: Model, size: tuple[int, int] | None) -> None:
    """Raise UsageError for a scale that no file has, and for a size of LR that a network does not take."""
    if model.scale != int(model.scale):
        raise UsageError(f"a file has a whole scale, and not {model.scale:g}: give another --scale")
    least, multiple = sides_of(model.network)
    if size is not None and sides(least, multiple, size) != size:
        near = "x".join(map(str, sides(least, multiple, size)))
        raise UsageError(f"architecture '{model.architecture}' takes no LR of {size[0]}x{size[1]}: give --size {near}")


def _tried(job: Job, home: Path) -> Trial:
    """Try a job in a process."""
    (home / "files").mkdir()
    told, log = home / "job.json", home / "log.txt"
    told.write_text(json.dumps(attrs.asdict(job)), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "srkit.engine.exporting.attempt", str(told)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with open(log, "wb") as out:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment
        ).returncode
    text = log.read_text("utf-8", "replace")
    try:
        found = Found(**json.loads(Path(job.result).read_text("utf-8")))
    except (OSError, ValueError):  # it has not come so far, or was writing it
        found = Found(_end(code, text))
    return Trial(job.way, job.size, found, text)


def _end(code: int, log: str) -> str:
    """Return how a process ended that has not said what it found."""
    if code < 0:
        return f"the process that exports is ended by {signal.Signals(-code).name}"
    *_, last = ["it says nothing", *log.strip().splitlines()]
    return f"the process that exports ends with exit code {code}: {last}"


def _kept(folder: Path, home: Path) -> list[Path]:
    """Move what was written to its place, and return the paths, the largest last. Raises as `export` does."""
    made = sorted(folder.iterdir())
    for path in made:
        refuse_present(home / path.name)
    try:
        files.make_directory(home)
        for path in made:
            files.copy(path, home / path.name)
    except OSError as error:
        raise RunFailed(f"{home}: cannot be written: {error.strerror}") from None
    return [home / path.name for path in made]


def refuse_present(path: Path) -> None:
    """Raise UsageError where there is something already: nothing is replaced."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already; remove it first, or give another -o")


def refuse_place(path: Path) -> None:
    """Raise RunFailed where no file can be written, before the work: a file in the way, a folder that takes none.

    No folder is made: what comes of the work is not known yet.
    """
    there = next((place for place in path.parents if place.exists()), None)
    code = None
    if there is not None and not there.is_dir():
        code = errno.ENOTDIR
    elif there is not None and not os.access(there, os.W_OK | os.X_OK):
        code = errno.EACCES
    if code is not None:
        raise RunFailed(f"{path}: cannot be written: {os.strerror(code)}")
