"""Real things that several tests use: distributions to install, images to train on, the command as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from srkit.plugin.discovery import installed
from tests import forking
from tests.forking import HANGS

ROOT = Path(__file__).parent.parent

# What drawn kills and damages are drawn by; each run of the tests draws the same ones. And how many times as many there
# are: `SRKIT_CHAOS_N=20 pytest -m chaos --chaos-table=docs/reliability.md` is the long mode.
CHAOS_SEED = int(os.environ.get("SRKIT_CHAOS_SEED", "1"))
CHAOS_N = int(os.environ.get("SRKIT_CHAOS_N", "1"))

# How long an example takes is the machine's business, and others may use it too.
hypothesis.settings.register_profile("srkit", deadline=None, derandomize=True)
hypothesis.settings.load_profile("srkit")

# Several processes on few cores wait for each other when each takes all of them.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that starts the tests in the background has SIGINT ignored, and what they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--chaos-table", metavar="FILE", help="write what `tally` counted into a file, between its marks")


COUNTED: list[tuple[str, int, str, float]] = []


def pytest_runtest_logreport(report):
    if report.when == "call":
        for name, value in report.user_properties:
            if name == "chaos":
                COUNTED.append((*value, report.outcome, report.duration))


def pytest_sessionfinish(session):
    path = session.config.getoption("--chaos-table")
    if path and COUNTED and not hasattr(session.config, "workerinput"):
        from tests.reliability.table import write

        write(Path(path), COUNTED, seed=CHAOS_SEED)


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Tests speak to nobody: a connection to anywhere but this machine is an error."""
    connect = socket.socket.connect

    def local(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test speaks to {address}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local)
        yield


@pytest.fixture(autouse=True, scope="session")
def forks():
    """End what forks processes with the tests that asked for them."""
    yield
    forking.stop()


@pytest.fixture
def tally(record_property):
    """Count the cases that a test of chaos tried, by what they are: for the table of the long mode."""

    def count(what: str, cases: int) -> None:
        record_property("chaos", (what, cases))

    return count


def calls(function: Callable[[], object]) -> int:
    """Return how many calls, of Python's and of C, a function makes: its work, on however fast a machine."""
    count = 0

    def call(*event: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(call)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


class Sites:
    """A folder on sys.path, into which small distributions are written as pip would install them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        name: str,
        files: dict[str, str],
        entry_points: str,
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> None:
        for path, text in files.items():
            (self.folder / path).write_text(textwrap.dedent(text))
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needed = "".join(f"Requires-Dist: {text}\n" for text in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}")
        (info / "entry_points.txt").write_text(f"[srkit]\n{entry_points}\n")


@pytest.fixture
def sites(tmp_path, monkeypatch):
    """A place to install distributions into, seen by this process and by `srkit` as a process."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    before = set(sys.modules)
    yield Sites(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def installed_names(kind: str) -> str:
    """The names of a kind's components as messages list them."""
    return ", ".join(entry.component.name for entry in installed().of_kind(kind) if not entry.component.missing)


def plugin(components: str) -> str:
    """The text of a plugin that yields components, given as the arguments of each, a line each."""
    lines = "\n".join(f"    yield srkit.Component({line.strip()})" for line in components.strip().splitlines())
    return f"import srkit\n\n@srkit.hookimpl\ndef srkit_components():\n{lines}\n"


@pytest.fixture
def srkit_command(tmp_path, monkeypatch):
    """Run `srkit ...` as a process in an empty folder, and return it with its output as text."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "srkit", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANGS, **options)  # type: ignore[call-overload]

    return run


@pytest.fixture
def srkit_forked(tmp_path, monkeypatch):
    """The same as a forked process, for commands that need torch: it starts in a moment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return forking.run("-m", "srkit", *arguments)

    return run


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """A small image with edges and gradients, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([(x * 5 + seed * 40) % 256, (y * 7) % 256, (x + y) * 3 % 256], axis=-1).astype(np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, height - 4), rng.integers(0, width - 4)
        image[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = rng.integers(0, 256, 3)
    return image


@pytest.fixture
def photographs(tmp_path):
    """A folder of four PNGs, 40 to 64 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, (height, width) in enumerate([(48, 64), (64, 48), (40, 41), (51, 63)]):
        Image.fromarray(photograph(i, height, width)).save(folder / f"p{i}.png")
    return folder


TINY = """\
title = "Tiny"
scale = 2

[architecture]
type = "a2n"
features = 4
blocks = 1
upsampling_features = 4

[data]
dataset = { type = "folder", path = "photos" }
augment = ["hflip", "vflip", "rot90"]
patch = 8
batch = 4

[[validate]]
name = "photos"
dataset = { type = "folder", path = "photos" }

[optimizer]
type = "adam"
lr = 1e-3

[train]
steps = 6
device = "cpu"
log_every = 2
validate_every = 3
checkpoint_every = 3
"""


@pytest.fixture
def tiny(tmp_path, photographs, monkeypatch):
    """A recipe that trains in about a second, in an empty folder with its photographs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path
