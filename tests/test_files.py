"""Durable writes: whole or not at all."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srkit import files
from srkit.errors import InputRejected
from tests.conftest import HANGS, calls

OLD = {"a": b"old" * 1000, "b": b""}
NEW = {"a": b"new" * 2000, "b": b"x", "c": b"y"}


@pytest.fixture
def folder(tmp_path):
    """An empty folder."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


def write_file(folder, contents):
    files.write_file(folder / "thing", contents["a"])


def write_directory(folder, contents):
    files.write_directory(folder / "thing", contents)


def read_file(folder):
    return next(contents for contents in (OLD, NEW) if contents["a"] == (folder / "thing").read_bytes())


def read_directory(folder):
    return files.read_directory(folder / "thing")


KINDS = pytest.mark.parametrize(
    ("write", "read"), [(write_file, read_file), (write_directory, read_directory)], ids=["file", "directory"]
)


@KINDS
def test_what_was_written_is_read(folder, write, read):
    write(folder, OLD)
    assert read(folder) == OLD
    write(folder, NEW)
    assert read(folder) == NEW
    assert os.listdir(folder) == ["thing"]


@KINDS
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("name", ["os.fsync", "os.replace", "builtins.open"])
def test_a_call_that_fails_leaves_what_was_there_and_no_remains(folder, monkeypatch, write, read, name, for_good):
    module, _, function = name.partition(".")
    real = getattr(sys.modules[module], function)
    for failing in itertools.count(1):
        write(folder, OLD)
        calls = itertools.count(1)

        def call(*arguments, failing=failing, calls=calls, **options):
            number = next(calls)
            if number == failing or (for_good and number > failing):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[module], function, call)
            try:
                write(folder, NEW)
            except OSError as error:
                number = error.errno
            else:
                break
        assert number == errno.ENOSPC
        assert not list(folder.glob(f"{files.ASIDE}*"))
        files.clean(folder)
        # Only the last flush, of the folder, comes after the renaming.
        assert read(folder) in ([OLD, NEW] if function == "fsync" else [OLD])
        assert os.listdir(folder) == ["thing"]
    assert failing > 1


def test_who_watches_is_told_of_each_operation_before_it_is_done(folder):
    told = []

    def watch(operation):
        told.append((operation.kind, operation.path.name.partition("-")[0], operation.path.exists()))

    with files.watched(watch):
        files.write_file(folder / "thing", b"x")
        files.write_directory(folder / "things", {"a": b"y"})
        files.remove_directory(folder / "things")
    files.write_file(folder / "unseen", b"x")
    assert told == [
        ("write", ".aside", False),
        ("sync", ".aside", True),
        ("rename", ".aside", True),
        ("sync", "folder", True),
        ("make", ".aside", False),
        *[(kind, name, kind == "sync") for name in ("a", "MANIFEST.json") for kind in ("write", "sync")],
        ("sync", ".aside", True),
        ("rename", ".aside", True),
        ("sync", "folder", True),
        ("rename", "things", True),
        ("remove", ".aside", True),
    ]


def test_an_error_of_who_watches_is_the_disks_answer(folder):
    def watch(operation):
        if operation.kind == "sync":
            raise OSError(errno.EIO, "Input/output error")

    with files.watched(watch), pytest.raises(OSError, match="Input/output error"):
        files.write_file(folder / "thing", b"x")
    assert os.listdir(folder) == []


def test_where_nobody_watches_an_operation_costs_a_call():
    path = Path("x")
    assert calls(lambda: files.about_to("sync", path)) == calls(lambda: None) + 2  # its beginning and its end


def test_a_probe_leaves_nothing_and_says_what_a_save_would(folder, tmp_path):
    files.probe(folder, 10_000)
    assert os.listdir(folder) == []
    with pytest.raises(FileNotFoundError):
        files.probe(tmp_path / "gone")
    program = (
        "import resource, sys; from pathlib import Path; from srkit import files; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); files.probe(Path(sys.argv[1]), 90_000)\n"
        "try: files.probe(Path(sys.argv[1]), 110_000)\nexcept OSError as error: print(error.strerror)"
    )
    run = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=HANGS)
    assert (run.stdout, run.stderr) == ("File too large\n", "")
    assert os.listdir(folder) == []


def test_directories_are_made_with_those_above_and_their_names_are_flushed(folder):
    synced = []
    with files.watched(lambda operation: synced.append(operation.path) if operation.kind == "sync" else None):
        files.make_directory(folder / "a" / "b")
        files.make_directory(folder / "a" / "b")
    assert synced == [folder, folder / "a"]
    (folder / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.make_directory(folder / "file")


KILLS = """
import os, random, signal, sys
from pathlib import Path
from srkit import files

folder, rng = Path(sys.argv[1]), random.Random(0)


def write(number):
    data = bytes([number % 256]) * 300_000
    files.write_directory(folder / "directory", {"a": data, "b": data, "c": data})
    files.write_file(folder / "file", data)


def write_for_ever(last):
    calls, number = 0, 0

    def call(frame, event, argument):
        nonlocal calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(call)
    while True:
        number += 1
        write(number)


write(0)
remains = 0
for _ in range(40):
    child = os.fork()
    if not child:
        write_for_ever(rng.randrange(1, 1_000))  # calls of Python's and of C: a write makes some hundred
    os.waitpid(child, 0)
    assert len(set((folder / "file").read_bytes())) == 1
    remains += len(os.listdir(folder)) > 2
    files.clean(folder)
    assert sorted(os.listdir(folder)) == ["directory", "file"]
    assert len({bytes(set(data)) for data in files.read_directory(folder / "directory").values()}) == 1
    assert (folder / "file").stat().st_size == 300_000
print(remains)
"""


def test_a_process_killed_at_any_moment_leaves_everything_whole(folder):
    run = subprocess.run([sys.executable, "-c", KILLS, folder], capture_output=True, text=True, timeout=HANGS)
    assert run.stderr == ""
    assert int(run.stdout) > 5  # kills that came in the middle of a write


def test_a_directory_that_another_was_about_to_replace_comes_back(folder):
    write_directory(folder, OLD)
    os.rename(folder / "thing", folder / f"{files.REPLACED}thing")  # killed here
    files.clean(folder)
    assert read_directory(folder) == OLD


def test_what_a_killed_process_left_does_not_stop_the_next(folder):
    for name in (f"{files.REPLACED}thing", f"{files.ASIDE}{os.getpid()}-thing"):
        (folder / name).mkdir()
        (folder / name / "x").write_text("x")
    write_directory(folder, OLD)
    write_directory(folder, NEW)
    files.clean(folder)
    assert os.listdir(folder) == ["thing"]
    assert read_directory(folder) == NEW


LIMITED = """
import resource, sys
from pathlib import Path
from srkit import files

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write, contents in ((files.write_file, bytes(200_000)), (files.write_directory, {"a": b"x", "b": bytes(200_000)})):
    try:
        write(Path(sys.argv[1]) / "thing", contents)
    except OSError as error:
        print(error.strerror)
"""


@KINDS
def test_a_file_that_the_disk_does_not_take_leaves_what_was_there(folder, write, read):
    write(folder, OLD)
    run = subprocess.run([sys.executable, "-c", LIMITED, folder], capture_output=True, text=True, timeout=HANGS)
    assert (run.stdout, run.stderr) == ("File too large\nFile too large\n", "")
    assert read(folder) == OLD
    assert os.listdir(folder) == ["thing"]


def test_permissions_follow_the_umask(folder):
    before = os.umask(0o027)
    try:
        files.write_file(folder / "file", b"")
        files.write_directory(folder / "directory", {"a": b""})
    finally:
        os.umask(before)
    modes = [(folder / name).stat().st_mode & 0o777 for name in ("file", "directory", "directory/a")]
    assert modes == [0o640, 0o750, 0o640]


def garble(path, **changes):
    """Change the first entry of a manifest."""
    manifest = json.loads(path.read_bytes())
    manifest["files"]["a"] |= changes
    path.write_text(json.dumps(manifest))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DIFFERENT = "is damaged: its size or its sha256 is not the manifest's"
MANIFEST = files.MANIFEST


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (lambda path: (path / "a").write_bytes(OLD["a"][:-1]), "a", DIFFERENT),
        (lambda path: (path / "a").write_bytes(OLD["a"] + b"x"), "a", DIFFERENT),
        (lambda path: (path / "a").write_bytes(b""), "a", DIFFERENT),
        (lambda path: (path / "b").write_bytes(b"x"), "b", DIFFERENT),
        (lambda path: flip(path / "a"), "a", DIFFERENT),
        (lambda path: (path / "a").unlink(), "a", "cannot be read: No such file or directory"),
        (lambda path: ((path / "b").unlink(), (path / "b").mkdir()), "b", "cannot be read: Is a directory"),
        (lambda path: (path / MANIFEST).unlink(), MANIFEST, "cannot be read: No such file or directory"),
        (lambda path: (path / MANIFEST).write_bytes(b""), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b"\xff"), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b"[]"), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b"5"), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b'{"files": []}'), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b'{"files": {"a": 5}}'), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b'{"files": {"a": {"bytes": 1}}}'), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes(b"[" * 100_000), MANIFEST, "is damaged"),
        (lambda path: (path / MANIFEST).write_bytes((path / MANIFEST).read_bytes()[:-20]), MANIFEST, "is damaged"),
        (lambda path: garble(path / MANIFEST, bytes=5), "a", DIFFERENT),
        (lambda path: garble(path / MANIFEST, sha256="0" * 64), "a", DIFFERENT),
        *(
            (
                lambda path, name=name: (path / MANIFEST).write_text(
                    json.dumps({"files": {name: {"bytes": 0, "sha256": ""}}})
                ),
                MANIFEST,
                "is damaged",
            )
            for name in ("../thing/a", "/etc/passwd", "a\0", ".")
        ),
    ],
)
def test_each_damage_of_a_directory_is_noticed_and_its_file_named(folder, damage, name, reason):
    write_directory(folder, OLD)
    damage(folder / "thing")
    with pytest.raises(InputRejected) as error:
        read_directory(folder)
    assert (error.value.path, error.value.reason) == (str(folder / "thing" / name), reason)


def test_any_flipped_bit_is_noticed(folder):
    files.write_directory(folder / "thing", {"a": b"0123"})
    for bit in range(32):
        data = bytearray(b"0123")
        data[bit // 8] ^= 1 << bit % 8
        (folder / "thing" / "a").write_bytes(data)
        with pytest.raises(InputRejected):
            read_directory(folder)


def test_a_file_that_the_manifest_does_not_name_is_ignored(folder):
    write_directory(folder, OLD)
    (folder / "thing" / ".DS_Store").write_bytes(b"x")
    assert read_directory(folder) == OLD


def test_a_directory_that_is_not_there_is_named(folder):
    with pytest.raises(InputRejected) as error:
        read_directory(folder)
    assert error.value.path == str(folder / "thing" / MANIFEST)


def test_clean_leaves_what_is_not_srkits(folder):
    names = [".hidden", "aside-1", "x.aside-1"]
    for name in names:
        (folder / name).write_bytes(b"")
    (folder / f"{files.ASIDE}1-x").write_bytes(b"")
    files.clean(folder)
    assert sorted(os.listdir(folder)) == names


def test_json_has_no_numbers_that_others_cannot_read():
    values = {"a": [float("inf"), float("-inf"), float("nan"), 1.5], "b": ("é", None, True)}
    assert json.loads(files.json_text(values)) == {"a": ["inf", "-inf", "nan", 1.5], "b": ["é", None, True]}


def test_the_remains_of_dead_processes_are_removed_from_a_folder_of_other_files(folder):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(HANGS)
    names = [f".aside-{os.getpid()}-0a", ".aside-x-0a", ".aside-1-0a", "photo.png"]
    for name in [*names, f".aside-{dead.pid}-0a"]:
        (folder / name).touch()
    (folder / f".aside-{dead.pid}-link").symlink_to("photo.png")
    files.remove_remains(folder)
    files.remove_remains(folder / "gone")
    assert sorted(os.listdir(folder)) == sorted([*names, f".aside-{dead.pid}-link"])
