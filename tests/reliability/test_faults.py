"""Each operation on the disk fails, or is the last one of its process: what was there is whole, the next try works."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit import files
from srkit.cli import main
from srkit.engine.running import checkpoint
from srkit.errors import RunFailed
from tests.conftest import CHAOS_N, CHAOS_SEED
from tests.engine.running.test_checkpoint import Made, trainer
from tests.reliability.test_kills import contents

pytestmark = pytest.mark.chaos

ANSWERS = ["ENOSPC", "EIO", "EACCES", "EROFS"]  # a real EACCES or EROFS answers each operation from then on
DEATH = 86


class Disk:
    """Counts operations, and lets the n-th one fail, or all from that on, or the process die there."""

    def __init__(self, at: int = 0, answer: str = "", *, for_good: bool = False) -> None:
        self.count, self.at, self.answer, self.for_good = 0, at, answer, for_good

    def __call__(self, operation: files.Operation) -> None:
        self.count += 1
        if self.count == self.at or (self.for_good and self.count > self.at > 0):
            if self.answer == "death":
                os._exit(DEATH)
            number = getattr(errno, self.answer)
            raise OSError(number, os.strerror(number), os.fspath(operation.path))


def faults(write: Callable[[], object], check: Callable[[], object], reset: Callable[[], object]) -> int:
    """Try each fault at each operation of `write`; `check` after each, then once more after a try that works."""
    reset()
    counting = Disk()
    with files.watched(counting):
        write()
    check()
    cases = [(n, a, g) for n in range(1, counting.count + 1) for a in ANSWERS for g in (False, True)]
    for at, answer, for_good in cases:
        if for_good != (answer in ("EACCES", "EROFS")) and CHAOS_N == 1:
            continue  # a disk that is full, or has a bad block, may take the next
        reset()
        with files.watched(Disk(at, answer, for_good=for_good)):
            write()
        check()
        write()
        check()
    for at in range(1, counting.count + 1):
        reset()
        child = os.fork()
        if child == 0:
            with files.watched(Disk(at, "death")):
                write()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DEATH
        check()
        write()
        check()
    return len(cases) + counting.count


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


def test_a_save_and_a_prune_survive_each_fault(here, tally):
    of_step = {}
    learning, made = trainer(), Made()
    for step in range(3):
        learning.step(made[step])
        of_step[step + 1] = checkpoint.contents(learning, {})
    folder = Path("run/checkpoints")
    acknowledged = Path("acknowledged")

    def reset():
        shutil.rmtree("run", ignore_errors=True)
        folder.mkdir(parents=True)
        for step in (1, 2):
            files.write_directory(checkpoint.place(folder, step), of_step[step])

    def write():
        acknowledged.unlink(missing_ok=True)
        try:
            files.clean(folder)
            files.write_directory(checkpoint.place(folder, 3), of_step[3])
            acknowledged.touch()
            checkpoint.prune(folder, 1, 3, [])
        except OSError:
            pass

    def check():
        files.clean(folder)
        path, found, damaged = checkpoint.newest(folder)
        assert (damaged, found) == ([], of_step[int(path.name[5:])])
        assert path.name == "step_00000003" or not acknowledged.exists()
        assert path.name >= "step_00000002"

    tally("faults of a save and a prune", faults(write, check, reset))
    write()
    assert [p.name for p in folder.iterdir()] == ["step_00000003"]


def test_a_checkpoint_that_is_written_again_survives_each_fault(here, tally):
    folder = Path("folder")
    old, new = {"a": b"old" * 50, "b": b""}, {"a": b"new" * 60}

    def reset():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files.write_directory(folder / "thing", old)

    def write():
        try:
            files.clean(folder)
            files.write_directory(folder / "thing", new)
        except OSError:
            pass

    def check():
        files.clean(folder)
        assert files.read_directory(folder / "thing") in (old, new)
        assert os.listdir(folder) == ["thing"]

    tally("faults of a save over another", faults(write, check, reset))


def test_a_save_in_place_does_not_survive_them(here):
    """That the loop finds anything at all."""
    path = Path("thing")

    def write():
        try:
            for name in ("a", "b"):
                files.about_to("write", path / name)
                (path / name).write_bytes(b"new" * 9)
        except OSError:
            pass

    def reset():
        path.mkdir(exist_ok=True)
        for name in ("a", "b"):
            (path / name).write_bytes(b"old" * 9)

    def check():
        assert len({(path / name).read_bytes() for name in ("a", "b")}) == 1

    with pytest.raises(AssertionError):
        faults(write, check, reset)


@pytest.mark.parametrize(("format_", "target"), [("folder", "set"), ("h5", "set.h5"), ("lmdb", "set.lmdb")])
def test_prepare_survives_each_fault(here, photographs, tally, capsys, format_, target):
    path = Path(target)
    for name in ("p1", "p3"):
        (photographs / f"{name}.png").unlink()

    def reset():
        for left in (path, Path(f"{files.ASIDE}{target}")):  # the second is what a death after the renaming leaves
            shutil.rmtree(left, ignore_errors=True)
            left.unlink(missing_ok=True)

    def write():
        if path.exists():
            return
        code = main(["prepare", "photos", target, "--threads", "1"])
        error = capsys.readouterr().err
        assert code in (0, 1)
        assert "Traceback" not in error
        assert path.exists() or code == 1
        assert not path.exists() or "nothing of it was kept" not in error

    def check():
        if path.exists():
            source = srkit.create("dataset", format_, path=target)
            assert [np.array_equal(source.read(i), np.asarray(Image.open(photographs / f"p{2 * i}.png")))
                    for i in range(2)] == [True, True]  # fmt: skip

    srkit.create("dataset", format_, path=str(photographs)) if format_ == "folder" else None
    tally(f"faults of srkit prepare to {format_}", faults(write, check, reset))
    write()
    assert path.exists()


def test_upscale_and_convert_survive_each_fault(here, photographs, tally, capsys):
    torch.manual_seed(0)
    network = srkit.create("architecture", "espcn", scale=2)
    torch.save(network.state_dict(), "w.pt")
    asked = {
        "convert": ["convert", "w.pt", "w.safetensors", "--architecture", "espcn", "--scale", "2"],
        "upscale": [
            "upscale",
            "w.pt",
            "photos/p0.png",
            "photos/p2.png",
            "-o",
            "large/",
            "--architecture",
            "espcn",
            "--scale",
            "2",
        ],
    }
    assert main(asked["convert"]) == 0
    assert main(asked["upscale"]) == 0
    expected = {path: path.read_bytes() for path in [Path("w.safetensors"), *sorted(Path("large").iterdir())]}
    capsys.readouterr()

    def reset():
        Path("w.safetensors").unlink(missing_ok=True)
        shutil.rmtree("large", ignore_errors=True)

    def check():
        assert all(path.read_bytes() == data for path, data in expected.items() if path.exists())

    for command, words in asked.items():

        def write(words=words):
            if words[0] == "convert" and Path("w.safetensors").exists():
                return
            code = main(words)
            assert code in (0, 1)
            assert "Traceback" not in capsys.readouterr().err

        tally(f"faults of srkit {command}", faults(write, check, reset))
        write()
        made = [path for path in expected if path.exists()]
        assert len(made) == {"convert": 1, "upscale": 2}[command]
        assert all(path.read_bytes() == expected[path] for path in made)


def test_a_whole_run_survives_faults_and_ends_with_the_same_bits(tiny, tally):
    settings = ["train.deterministic=run", "train.steps=4", "train.checkpoint_every=2", "train.validate_every=2"]
    settings += ["train.keep=1", "validate.0.dataset.names=['p2']"]

    def run(out, **options):
        return srkit.run("tiny.toml", out=out, set=settings, **options)

    counting = Disk()
    with files.watched(counting):
        run("straight")
    straight = contents(Path("straight"))
    every = max(1, counting.count // (6 * CHAOS_N))
    places = range(1 + CHAOS_SEED % every, counting.count + 1, every)
    cases = [(at, answer) for at in places for answer in (*ANSWERS, "death")]
    for at, answer in cases:
        shutil.rmtree("run", ignore_errors=True)
        child = os.fork()
        if child == 0:
            code = 0
            with files.watched(Disk(at, answer, for_good=answer == "EROFS")):
                try:
                    run("run")
                except RunFailed:
                    code = 1
                except BaseException as error:
                    print(repr(error))
                    code = 2
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 1, DEATH), (at, answer)
        assert (code == DEATH) == (answer == "death")
        run("run")
        found = contents(Path("run"))
        assert [name for name in straight if straight[name] != found.get(name)] == [], (at, answer)
    tally("faults of a whole run", len(cases))
