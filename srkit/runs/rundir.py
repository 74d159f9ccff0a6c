"""A run directory: created, locked, reopened."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import filelock

from srkit import files
from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.recipe import toml
from srkit.recipe.recipe import Recipe

Images = Mapping[str, Mapping[str, str]]  # a text for each image, by the dataset's key and the image's name
SHOWN = 5  # images of a change
ANEW = "use --restart to rename it and start again, or --out DIR for another place"

# What may differ when a run is continued; `train.steps` may grow, and a dataset may have moved.
FREE = (
    "title",
    "train.device",
    "train.graph",
    "train.log_every",
    "train.keep",
    "data.threads",
    "data.cache",
    "observer",
)


@attrs.frozen
class RunDirectory:
    """The places of a run. Nothing of a user's is ever deleted here."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe, resolved: every default is written out."""
        return self.path / "recipe.toml"

    @property
    def environment(self) -> Path:
        """What the run was made with, as JSON."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """A line of JSON for each event."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, step_00001200 and so on."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of pictures, one for each validation set and validation."""
        return self.path / "samples"

    @property
    def best(self) -> Path:
        """The model file of the best weights."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """The model file of the last weights."""
        return self.path / "last.safetensors"

    def refuse_other_files(self) -> None:
        """Raise UsageError where there is something else than a run, or where none can be: a file, too long a name."""
        _refuse_place(self.path)
        if self.path.is_dir() and not self.recipe.exists():
            # Where a run was set aside, its lock stays with the runs that lay within it.
            others = _with_runs(self.path) if (self.path / ".lock").exists() else []
            strange = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(".") and p not in others)
            if strange:
                raise UsageError(
                    f"{self.path} is not a run directory and holds {strange[0]}; choose another with --out DIR"
                )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and hold its lock. Raises UsageError where another process does, RunFailed for a disk."""
        try:
            self.refuse_other_files()
            files.make_directory(self.path)
            lock = filelock.FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise UsageError(
                f"another process is training in {self.path}; wait for it, or choose another --out DIR"
            ) from None
        except OSError as error:
            raise RunFailed(f"{error.filename or self.path}: {error.strerror}; choose another --out DIR") from None
        try:
            yield
        finally:
            if os.listdir(self.path) == [".lock"]:  # nothing came of it
                with contextlib.suppress(OSError):
                    os.unlink(self.path / ".lock")
                    os.rmdir(self.path)
            lock.release()

    def reopen(
        self,
        recipe: Recipe,
        fingerprints: Mapping[str, str],
        images: Images | None = None,
        *,
        accept_dataset_change: bool = False,
    ) -> bool:
        """Make sure that a run that is here is this one, and say whether there is one.

        What a killed process left half-written is removed. Raises UsageError, naming the keys, where the directory
        holds a run of another recipe, or of other images unless that is accepted; `images` say which have changed.
        """
        continued = self.recipe.exists()
        if continued:
            self.refuse_another(recipe, fingerprints, images=images, accept_dataset_change=accept_dataset_change)
        below = [folder for folder in self.samples.rglob("*") if folder.is_dir()]  # observers may have folders there
        for folder in (self.path, self.checkpoints, self.samples, *below):
            files.clean(folder)
        return continued

    def open(
        self,
        recipe: Recipe,
        environment: Mapping[str, Any],
        fingerprints: Mapping[str, str],
        images: Images | None = None,
        step: int = 0,
    ) -> None:
        """Write what the run is and what it is made with. Raises RunFailed for a disk.

        Images that are not those of before are named in its history, with the step from which they are trained on.
        """
        try:
            files.write_file(self.recipe, recipe.to_toml().encode())
            files.make_directory(self.checkpoints)
            record = {**environment, "fingerprints": dict(fingerprints), **self._history(fingerprints, images, step)}
            files.write_file(self.environment, files.json_text(record).encode())
        except OSError as error:
            raise RunFailed(f"{error.filename or self.path}: {error.strerror}") from None

    def refuse_full(self, size: int) -> None:
        """Raise RunFailed where the directory cannot be written, or has no room for a checkpoint of so many bytes."""
        try:
            files.probe(self.path, size)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            what = f"has no room for a checkpoint, about {size:,} bytes" if full else "cannot be written"
            cure = "free some, or choose" if full else "choose"
            raise RunFailed(f"{self.path}: {what}: {error.strerror}; {cure} another --out DIR") from None

    def _history(self, fingerprints: Mapping[str, str], images: Images | None, step: int) -> dict[str, Any]:
        """Return what environment.json keeps of images: each one's text, and the changes that were accepted."""
        before = self._environment()
        changes = before["dataset_changes"]
        for key, value in fingerprints.items():
            if before["fingerprints"].get(key, value) != value:
                found = difference(before["images"].get(key), (images or {}).get(key))
                changes.append({"step": step, "dataset": key, **found})
        kept = {} if images is None else {"images": {key: dict(texts) for key, texts in images.items()}}
        return {**({"dataset_changes": changes} if changes else {}), **kept}

    def _environment(self) -> dict[str, Any]:
        """Return what the run's environment.json has of images, as far as that is whole."""
        found: dict[str, Any] = {"fingerprints": {}, "images": {}, "dataset_changes": []}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            read = json.loads(self.environment.read_bytes())
            found |= {key: read[key] for key, empty in found.items() if isinstance(read.get(key), type(empty))}
        return found

    def is_of(self, recipe: Recipe) -> bool:
        """Say whether the run that is here is of this recipe, with its images where they were."""
        try:
            self.refuse_another(recipe, {})
        except (InputRejected, UsageError):
            return False
        return True

    def refuse_another(
        self,
        recipe: Recipe,
        fingerprints: Mapping[str, str],
        advice: str = ANEW,
        *,
        images: Images | None = None,
        accept_dataset_change: bool = False,
    ) -> None:
        """Raise UsageError, naming the keys, where the run that is here is of another recipe or of other images."""
        try:
            old = toml.flat(tomllib.loads(self.recipe.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputRejected(self.recipe, f"is damaged: {error}; use --restart to set the run aside") from None
        new = toml.flat(recipe.to_tree())
        before = self._environment()
        seen = before["fingerprints"]
        same = [key for key, value in fingerprints.items() if accept_dataset_change or seen.get(key, value) == value]
        keys = []
        tables = [key.removesuffix("type") for key in old.keys() & new.keys() if key.endswith(".type")]
        swapped = [table for table in tables if old[f"{table}type"] != new[f"{table}type"]]
        for key in sorted({*old, *new}):
            if any(key.startswith(table) and key != f"{table}type" for table in swapped):
                continue  # a setting of another component
            if old.get(key) == new.get(key) or any(key == free or key.startswith(free + ".") for free in FREE):
                continue
            if key == "train.steps" and new.get(key, 0) > old.get(key, 0):
                continue
            if any(key.startswith(dataset + ".") for dataset in same):
                continue
            was, now = (repr(tree[key]) if key in tree else "not set" for tree in (old, new))
            more = f"; give {was} or more" if key == "train.steps" else ""
            keys.append(f"{key} was {was}, is {now}{more}")
        changed = [key for key in fingerprints if key not in same and not _moved(key, old, new)]
        if changed and not keys and advice == ANEW:
            advice += "\nto go on with them, which the run's environment.json will tell: --accept-dataset-change"
        for key in changed:
            found = difference(before["images"].get(key), (images or {}).get(key))
            keys.append(f"{key}: its images have changed{_told(found)}")
        if keys:
            raise UsageError(
                f"{self.path} holds a run that cannot be continued with this recipe:\n"
                + "".join(f"  {key}\n" for key in keys)
                + advice
            )


def difference(before: Any, now: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Return which images were added, removed and edited, by their names and texts; {} where that is not known."""
    if not isinstance(before, dict) or not before or now is None:
        return {}
    return {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "edited": [name for name in now if name in before and before[name] != now[name]],
    }


def _told(found: Mapping[str, Sequence[str]]) -> str:
    """Return ": 1 added (p9), 2 edited (p1, p2)", or nothing."""
    parts = []
    for what, names in found.items():
        if names:
            shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
            parts.append(f"{len(names):,} {what} ({shown})")
    return f": {', '.join(parts)}" if parts else ""


def _refuse_place(path: Path) -> None:
    """Raise UsageError where no directory can be."""
    try:
        for place in (path, *path.parents):
            if place.exists():
                if not place.is_dir():
                    reason = "File exists" if place == path else "Not a directory"
                    raise UsageError(f"{path}: {reason}; choose another --out DIR")
                return
    except (OSError, ValueError) as error:  # a name that is too long, or has a zero byte
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"{path}: {reason}; choose another --out DIR") from None


def set_aside(path: Path, now: float) -> Path | None:
    """Rename a run directory to a dated name beside it and return that; None where there is nothing to rename.

    Other runs that lie within it stay where they are: then all else goes into a new directory of that name.

    Raises UsageError where it is no run directory or another process is training in it, RunFailed for a disk.
    """
    _refuse_place(path)
    if not path.exists():
        return None
    if path.name in ("", ".."):  # "." has no name that a date could follow
        path = Path(os.path.abspath(path))
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    aside = path.with_name(f"{path.name}.{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{stamp}-{number}")
    with RunDirectory(path).locked():  # never from under a process that is training in it
        pass
    try:
        others = _with_runs(path)
        if others:
            aside.mkdir()
            for entry in sorted(path.iterdir()):
                if entry not in others and entry.name != ".lock":
                    files.rename(entry, aside / entry.name)
        else:
            files.rename(path, aside)
    except OSError as error:
        raise RunFailed(f"{path}: cannot be renamed to {aside.name}: {error.strerror}") from None
    return aside


def _with_runs(path: Path) -> list[Path]:
    """Return those folders right in a run directory that are runs, or hold some at any depth."""
    return [
        folder
        for folder in path.iterdir()
        if folder.is_dir()
        and any("recipe.toml" in names and "environment.json" in names for _, _, names in os.walk(folder))
    ]


def cut_lines(path: Path, after_step: int) -> set[int]:
    """Cut a metrics.jsonl so that it ends at a step, and return the steps whose saves it tells of.

    Lines that are not whole go, too. Raises RunFailed for a disk.
    """
    kept, saves = [], set()
    try:
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                if record["step"] <= after_step:
                    kept.append(line + b"\n")
                    if record.get("event") == "saved":
                        saves.add(record["step"])
        files.write_file(path, b"".join(kept))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunFailed(f"{path}: {error.strerror}") from None
    return saves


def _moved(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether a dataset's settings differ: then its keys are named already."""
    return any(k.startswith(key + ".") and old.get(k) != new.get(k) for k in {*old, *new})
