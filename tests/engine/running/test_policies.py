"""What a run does where its disk, its images or its memory fail it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

import srkit
from srkit.errors import InputRejected, RunFailed
from srkit.plugin.discovery import discover
from tests import forking
from tests.reliability.test_kills import contents

MANY = """
import os, signal, numpy as np, srkit

class Many:
    # 3,000 images, of which those of BAD cannot be read.
    def __init__(self, *, bad: str = "", windowed: bool = False):
        self.bad, self.windowed = [int(n) for n in bad.split()], windowed

    def __len__(self): return 3_000
    def name(self, index): return f"image{index}"
    def size(self, index): return 32, 40
    def lr(self, scale): return None
    def fingerprint(self): return "many"

    def read(self, index, window=None):
        if index in self.bad:
            raise srkit.InputRejected(f"image{index}", "is damaged")
        top, left, height, width = window or (0, 0, 32, 40)
        y, x = np.mgrid[top : top + height, left : left + width]
        return np.stack([(x * 5 + index) % 256, (y * 7 + index) % 256, (x + y) % 256], -1).astype(np.uint8)

class Killer:
    def logged(self, step, values):
        if step == 6 and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("dataset", "many", f"{__name__}:Many")
    yield srkit.Component("observer", "killer", f"{__name__}:Killer")
"""

# Windows that this run would draw of images 8 and 2,995, were these whole: the next test says so.
BAD = "1 2 3"
SETTINGS = [
    *("train.deterministic=run", "train.steps=8", "train.checkpoint_every=4", "train.log_every=1", "validate=[]"),
    *("data.batch=16", "data.on_bad_image=replace", "data.degradation=bicubic"),
]


def drawn(tiny, places=((1, 3), (2, 0), (6, 5))):
    """Images of the run's first steps, by step and slot, so that they can be spoilt."""
    import numpy as np

    from srkit.engine.data import sampling

    sizes = np.full((3_000, 2), (16, 20), np.int64)
    images = [sampling.windows(0, step, np.arange(16, dtype=np.int64), sizes, 8)[0] for step in range(8)]
    return [int(images[step][slot]) for step, slot in places]


def test_bad_images_are_replaced_alike_in_each_cache_and_after_a_kill(tiny, srkit_command, caplog):
    Path("many.py").write_text(MANY)
    bad = drawn(tiny)
    dataset = f"data.dataset={{type='many', bad='{' '.join(map(str, bad))}'}}"
    registry = discover(["many.py"])
    for cache in ("memory", "none"):
        srkit.run("tiny.toml", out=cache, set=[*SETTINGS, dataset, f"data.cache={cache}"], registry=registry)
        lines = [f"  image{index}: is damaged" for index in sorted(bad)]
        assert [m for m in caplog.messages if "took their place" in m or m.startswith("  ")] == [
            "3 of 3,000 images could not be read, and others took their place:",
            *lines,
        ]
        caplog.clear()
    command = ["-p", "many.py", "run", "tiny.toml", "--out", "none2"]
    for text in (*SETTINGS, dataset, "data.cache=none", "observer=['killer']"):
        command += ["--set", text]
    assert [srkit_command(*command).returncode for _ in range(2)] == [-9, 0]
    weights = [Path(p, "last.safetensors").read_bytes() for p in ("memory", "none")]
    assert weights[0][8:] != b""
    found = [contents(Path(p)) for p in ("memory", "none", "none2")]
    names = [
        name for name in found[0] if name.startswith("step_") and "progress" not in name and "MANIFEST" not in name
    ]
    assert len(names) >= 2
    assert all(found[0][name] == other[name] for other in found[1:] for name in names)
    # And it is not what the whole images give.
    whole = srkit.run("tiny.toml", out="whole", set=[*SETTINGS, "data.dataset=many"], registry=registry)
    assert contents(whole.directory)["step_00000008/weights.safetensors"] != found[0][names[0]]


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_bad_image_ends_a_run_that_is_not_asked_to_replace_it_and_so_do_too_many(tiny, cache):
    Path("many.py").write_text(MANY)
    registry, bad = discover(["many.py"]), [*drawn(tiny), 5]
    dataset = f"data.dataset={{type='many', bad='{' '.join(map(str, bad[:3]))}'}}"
    settings = [*SETTINGS, dataset, f"data.cache={cache}", "data.on_bad_image=fail"]
    with pytest.raises(InputRejected, match=r"^image\d+: is damaged"):
        srkit.run("tiny.toml", out="run", set=settings, registry=registry)
    if cache == "memory":  # which reads all of them
        dataset = f"data.dataset={{type='many', bad='{' '.join(map(str, bad))}'}}"
        with pytest.raises(InputRejected) as error:
            srkit.run("tiny.toml", out="run2", set=[*SETTINGS, dataset, "data.cache=memory"], registry=registry)
        assert "4 of 3,000 images cannot be read: more than 0.1% are not replaced" in str(error.value)


READER = """
import os, sys, threading
from pathlib import Path
import srkit
from srkit.cli import main
from srkit.engine import reading
reading.PATIENCE = 1.0
Path("odd.py").write_text('''
import os, signal, sys, threading, srkit

class Odd:
    def __init__(self, *, path: str, does: str):
        self.source, self.does, self.reads = srkit.create("dataset", "folder", path=path), does, 0
    def __getattr__(self, name): return getattr(self.source, name)
    def __len__(self): return len(self.source)
    def read(self, index, window=None):
        self.reads += 1
        if self.reads > 20 and index == 2:
            if self.does == "hang": threading.Event().wait()
            if self.does == "exit": sys.exit(4)
            if self.does == "raise": raise KeyError("x")
            if self.does == "kill": os.kill(os.getpid(), signal.SIGKILL)
            if self.does == "die": os._exit(9)
        return self.source.read(index, window)

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("dataset", "odd", f"{__name__}:Odd")
''')
sys.exit(main(["-p", "odd.py", "run", "tiny.toml", "--out", "run", "--set", "data.cache=none",
    "--set", "train.steps=400", "--set", "train.checkpoint_every=2", "--set", "train.log_every=50",
    "--set", "validate=", "--set", f"data.dataset={{type='odd', path='photos', does='{sys.argv[1]}'}}"]))
"""


@pytest.mark.parametrize(
    ("does", "code", "text"),
    [
        ("hang", 1, "srkit run: p2: has been read for 1 s, and nothing came; look at its disk, and at what reads it"),
        ("exit", 3, "srkit run: p2: cannot be read: SystemExit: 4 (odd.py:13)"),
        ("raise", 3, "srkit run: p2: cannot be read: KeyError: 'x' (odd.py:14)"),
        ("kill", -9, ""),
        ("die", 9, ""),
    ],
)
def test_a_reader_that_hangs_ends_or_dies_ends_the_run_and_the_same_command_goes_on(tiny, does, code, text):
    done = forking.run("-c", READER, does)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if text:
        assert done.stderr.splitlines()[-1] == text
    # What was saved before is whole, and the run goes on from it.
    steps = sorted(int(path.name[5:]) for path in Path("run/checkpoints").glob("step_*"))
    assert steps
    done = forking.run("-c", READER, does)
    assert f"continuing from step {steps[-1]} of 400" in done.stderr


def test_a_disk_without_room_for_a_checkpoint_is_told_before_anything_is_read(tiny):
    script = """
        import resource, sys
        from srkit.cli import main
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
        sys.exit(main(["run", "tiny.toml", "--out", "run"]))
    """
    done = forking.run("-c", textwrap.dedent(script))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("srkit run: run: has no room for a checkpoint, about ")
    assert done.stderr.splitlines()[-1].endswith(": File too large; free some, or choose another --out DIR")
    assert not Path("run/recipe.toml").exists()
    assert "packed" not in done.stderr


@pytest.mark.parametrize("answer", ["EROFS", "EACCES", "EIO", "EDQUOT"])
def test_a_disk_that_cannot_be_written_is_told_before_the_first_step(tiny, answer):
    import errno
    import os

    from srkit import files

    number = getattr(errno, answer)

    def refuse(operation):
        if operation.kind == "write":
            raise OSError(number, os.strerror(number), str(operation.path))

    with files.watched(refuse), pytest.raises(RunFailed) as error:
        srkit.run("tiny.toml", out="run")
    text = "run: has no room for a checkpoint, about" if answer == "EDQUOT" else "run: cannot be written"
    assert str(error.value).startswith(text)
    assert os.strerror(number) in str(error.value)
    assert not Path("run").exists()


SLIM = """
import srkit, torch

def hungry(*, most: int = 2, always: bool = False):
    # As a GPU would answer from step 3 on: no more than so many samples fit.
    calls = [0]
    def loss(sr, hr):
        calls[0] += len(sr)
        if calls[0] > 200 and (len(sr) > most or always):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return (sr - hr).abs().mean()
    return loss

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("loss", "hungry", f"{__name__}:hungry")
"""


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ("most=2", "2 samples at once fit: train.accumulate = 4, begun anew (--restart), has the same batches"),
        ("most=1", "1 sample at once fits: train.accumulate = 8, begun anew (--restart), has the same batches"),
        ("always=true", "try a smaller data.batch or data.patch, train.accumulate, or train.precision"),
    ],
)
def test_too_little_memory_in_training_says_what_would_fit(tiny, settings, advice):
    Path("slim.py").write_text(SLIM)
    registry = discover(["slim.py"])
    changes = [f"loss=[{{type='hungry', {settings}}}]", "data.batch=8", "train.steps=60", "validate=[]"]
    with pytest.raises(RunFailed) as error:
        srkit.run("tiny.toml", out="run", set=changes, registry=registry)
    step = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert str(error.value) == f"the device has too little memory at step {step}: {advice}"
    checkpoints = sorted(Path("run/checkpoints").iterdir())
    assert checkpoints
