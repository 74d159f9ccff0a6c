"""Every state that a disk may be in after its power was cut: what was acknowledged is there, and all of it.

A log of operations is written down while the real code runs; then, for each moment, each legal state of the disk is
laid out and read by the real code. Two models of a disk: a "journal" keeps what happened to names in its order, and a
flush of anything flushes all of it; of "posix" nothing is promised but what was flushed, each name by the flush of its
directory. In both, the bytes of a file that was not flushed may be there, in part, or not at all.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srkit import files
from srkit.engine.data import preparing
from srkit.engine.running import checkpoint
from srkit.errors import InputRejected, RunFailed

pytestmark = pytest.mark.chaos

Content = bytes | None  # None: a directory


class Log:
    """Operations as they happen below a folder, and marks between them: what a caller was told is done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[tuple[str, Path, object]] = []

    def __call__(self, operation: files.Operation) -> None:
        kind, path, more = operation
        if kind == "remove" and not path.name.startswith(files.ASIDE):  # which nobody reads, whatever is left of it
            below = [
                Path(at, name) for at, folders, names in os.walk(path, topdown=False) for name in (*names, *folders)
            ]
            self.entries += [("remove", inner, None) for inner in (*below, path)]
        else:
            self.entries.append((kind, path, more))

    def mark(self, what: object) -> None:
        self.entries.append(("acknowledged", self.root, what))


class Disk:
    """Inodes, and what happened to names and bytes since the last flush of each."""

    def __init__(self, root: Path, model: str) -> None:
        self.root, self.model = root, model
        self.bytes: dict[int, Content] = {0: None}
        self.at: dict[Path, int] = {root: 0}  # as the running system sees it
        self.names: list[tuple[list[tuple[int, str, int | None]], bool]] = []  # changes, and whether they are flushed
        self.unsure: set[int] = set()  # files whose bytes were not flushed
        for path in sorted(root.rglob("*")):
            self.make(path, None if path.is_dir() else path.read_bytes())
        self.flush_all()

    def flush_all(self) -> None:
        self.names = [(changes, True) for changes, _ in self.names]
        self.unsure.clear()

    def make(self, path: Path, content: Content) -> None:
        if path not in self.at:
            self.at[path] = len(self.bytes)
            self.bytes[self.at[path]] = content
            self.names.append(([(self.at[path.parent], path.name, self.at[path])], False))
        else:
            self.bytes[self.at[path]] = content
        if content is not None:
            self.unsure.add(self.at[path])

    def apply(self, kind: str, path: Path, more: object) -> None:
        if kind == "make":
            self.make(path, None)
        elif kind == "write":
            assert isinstance(more, bytes)
            self.make(path, more)
        elif kind == "rename":
            assert isinstance(more, Path)
            changes = [(self.at[path.parent], path.name, None), (self.at[more.parent], more.name, self.at[path])]
            self.names.append((changes, False))
            moved = {p: inode for p, inode in self.at.items() if p == path or path in p.parents}
            for old, inode in moved.items():
                del self.at[old]
                self.at[more / old.relative_to(path)] = inode
        elif kind == "remove":
            if path in self.at:
                self.names.append(([(self.at[path.parent], path.name, None)], False))
                del self.at[path]
        elif kind == "sync":
            inode = self.at[path]
            self.unsure.discard(inode)
            if self.model == "journal":
                self.names = [(changes, True) for changes, _ in self.names]
            elif self.bytes[inode] is None:
                self.names = [(c, flushed or any(change[0] == inode for change in c)) for c, flushed in self.names]

    def states(self) -> Iterator[dict[Path, Content]]:
        """Yield what may be found after a cut now: the content of each path."""
        pending = [i for i, (_, flushed) in enumerate(self.names) if not flushed]
        if self.model == "journal":
            kept = [pending[:count] for count in range(len(pending) + 1)]
        else:
            kept = [list(c) for n in range(len(pending) + 1) for c in itertools.combinations(pending, n)]
        for chosen in kept:
            tree: dict[int, dict[str, int]] = {}
            for i, (changes, flushed) in enumerate(self.names):
                if flushed or i in chosen:
                    for directory, name, inode in changes:
                        tree.setdefault(directory, {}).pop(name, None)
                        if inode is not None:
                            tree[directory][name] = inode
            found: dict[Path, int] = {}

            def walk(inode: int, path: Path, tree=tree, found=found) -> None:
                for name, child in tree.get(inode, {}).items():
                    found[path / name] = child
                    if self.bytes[child] is None:
                        walk(child, path / name)

            walk(0, self.root)
            doubtful = sorted({inode for inode in found.values() if inode in self.unsure})
            for cuts in itertools.product(("whole", "half", "none"), repeat=len(doubtful)):
                cut = dict(zip(doubtful, cuts, strict=True))
                yield {path: self._cut(inode, cut.get(inode, "whole")) for path, inode in found.items()}

    def _cut(self, inode: int, how: str) -> Content:
        content = self.bytes[inode]
        if content is None:
            return None
        return {"whole": content, "half": content[: len(content) // 2], "none": b""}[how]


def lay_out(state: dict[Path, Content], root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()
    for path, content in state.items():
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)


Recover = Callable[[Path], object]  # what a new process finds; None: nothing that is whole


def cut_at_each_moment(
    root: Path, before: dict[Path, Content], log: Log, model: str, recover: Recover
) -> Iterator[tuple[object, object]]:
    """Yield what had been acknowledged in each state, and what is found there."""
    lay_out(before, root)
    disk, acknowledged = Disk(root, model), None
    seen: set[object] = set()
    for kind, path, more in [("start", root, None), *log.entries]:
        if kind == "acknowledged":
            acknowledged = more
        else:
            disk.apply(kind, path, more)
        for state in disk.states():
            key = (acknowledged, frozenset(state.items()))
            if key not in seen:
                seen.add(key)
                lay_out(state, root)
                yield acknowledged, recover(root)


def snapshot(root: Path) -> dict[Path, Content]:
    return {path: None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))}


CONTENTS = [{"a": bytes([step]) * 40, "b": bytes([step]) * 7} for step in range(5)]


def direct(path: Path, contents: dict[str, bytes]) -> None:
    """What most trainers do: files written where they are read."""
    files.about_to("make", path)
    path.mkdir()
    for name, data in contents.items():
        files.about_to("write", path / name, data)
        (path / name).write_bytes(data)


def two_saves(root: Path, log: Log, save: Callable[..., None] = files.write_directory) -> None:
    with files.watched(log):
        for step in (2, 3):
            save(checkpoint.place(root, step), CONTENTS[step])
            log.mark(step)
            checkpoint.prune(root, 1, step, [])


def newest(root: Path) -> object:
    """The step that a run goes on from; it must be whole."""
    files.clean(root)
    try:
        path, found, _ = checkpoint.newest(root)
    except RunFailed:
        return None
    assert path is None or found == CONTENTS[int(path.name[5:])]
    return None if path is None else int(path.name[5:])


@pytest.fixture
def root(tmp_path):
    """A folder with the checkpoint of step 1, on the disk."""
    path = tmp_path / "disk"
    path.mkdir()
    files.write_directory(checkpoint.place(path, 1), CONTENTS[1])
    return path


MODELS = pytest.mark.parametrize("model", ["journal", "posix"])


@MODELS
def test_of_two_saves_no_acknowledged_one_is_ever_lost(root, tally, model):
    before, log = snapshot(root), Log(root)
    two_saves(root, log)
    outcomes = list(cut_at_each_moment(root, before, log, model, newest))
    assert all(found is not None and found >= (acknowledged or 1) for acknowledged, found in outcomes)
    assert {found for _, found in outcomes} == {1, 2, 3}
    tally(f"power-loss states of two saves ({model})", len(outcomes))


@MODELS
@pytest.mark.parametrize(
    "control",
    ["no file is flushed", "no directory is flushed", "nothing is flushed", "files are written in place"],
)
def test_the_same_without_one_of_its_precautions_loses_something(root, model, control):
    before, log = snapshot(root), Log(root)
    two_saves(root, log, direct if control == "files are written in place" else files.write_directory)
    directories = {path for kind, path, _ in log.entries if kind == "make"} | {root}
    dropped = {
        "no file is flushed": lambda path: path not in directories,
        "no directory is flushed": lambda path: path in directories,
        "nothing is flushed": lambda path: True,
        "files are written in place": lambda path: False,
    }[control]
    log.entries = [entry for entry in log.entries if entry[0] != "sync" or not dropped(entry[1])]

    def read(root: Path) -> object:
        if control != "files are written in place":
            return newest(root)
        whole = [n for n in (1, 2, 3) if snapshot(place := checkpoint.place(root, n)) and _is(place, CONTENTS[n])]
        latest = max((int(path.name[5:]) for path in root.glob("step_*")), default=None)  # as those trainers choose
        return latest if latest in whole else None

    outcomes = cut_at_each_moment(root, before, log, model, read)
    # The first loss is enough: without any flush, the states of "posix" are very many.
    assert any(found is None or found < (acknowledged or 1) for acknowledged, found in outcomes)


def _is(place: Path, contents: dict[str, bytes]) -> bool:
    return all((place / name).is_file() and (place / name).read_bytes() == data for name, data in contents.items())


@MODELS
def test_a_step_that_is_saved_again_is_the_old_one_or_the_new(root, tally, model):
    before, log = snapshot(root), Log(root)
    with files.watched(log):
        files.write_directory(checkpoint.place(root, 1), CONTENTS[4])
        log.mark(4)

    def which(root: Path) -> object:
        files.clean(root)
        found = files.read_directory(checkpoint.place(root, 1))
        return next(step for step in (1, 4) if found == CONTENTS[step])

    outcomes = list(cut_at_each_moment(root, before, log, model, which))
    assert all(found >= (acknowledged or 1) for acknowledged, found in outcomes)
    tally(f"power-loss states of a save over another ({model})", len(outcomes))


@MODELS
def test_a_model_file_is_the_old_one_or_the_new(root, tally, model):
    (root / "best").write_bytes(b"old" * 9)
    before, log = snapshot(root), Log(root)
    with files.watched(log):
        files.write_file(root / "best", b"new" * 10)
        log.mark(b"new" * 10)
    outcomes = list(cut_at_each_moment(root, before, log, model, lambda root: (root / "best").read_bytes()))
    assert all(found == (acknowledged or found) for acknowledged, found in outcomes)
    assert {found for _, found in outcomes} == {b"old" * 9, b"new" * 10}
    tally(f"power-loss states of a model file ({model})", len(outcomes))


@MODELS
def test_a_prepared_set_is_whole_or_not_there(root, tally, model):
    before, log = snapshot(root), Log(root)
    contents = {"HR/a.png": b"image" * 4, "MANIFEST.json": b"{}"}
    with files.watched(log), preparing.whole_or_nothing(root / "set") as temporary:
        files.make_directory(temporary / "HR")
        for name, data in contents.items():
            files.about_to("write", temporary / name, data)
            (temporary / name).write_bytes(data)
        files.sync_tree(temporary)
    log.mark(True)

    def is_whole(root: Path) -> object:
        return (root / "set").exists() and all((root / "set" / n).read_bytes() == d for n, d in contents.items())

    outcomes = list(cut_at_each_moment(root, before, log, model, is_whole))
    assert all(found is not False or not acknowledged for acknowledged, found in outcomes)
    assert {found for _, found in outcomes} == {True, False}
    tally(f"power-loss states of srkit prepare ({model})", len(outcomes))


def test_a_half_of_a_directory_is_refused(root):
    """That states are laid out and read at all: one with half a file is no checkpoint."""
    state = snapshot(root)
    place = checkpoint.place(root, 1)
    state[place / "a"] = CONTENTS[1]["a"][:20]
    lay_out(state, root)
    with pytest.raises(InputRejected):
        files.read_directory(place)
