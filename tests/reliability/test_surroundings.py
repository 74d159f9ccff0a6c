"""Names, links and variables that were made to harm: nothing outside is touched, and no code runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import srkit
from srkit import files
from srkit.cli import main
from srkit.errors import InputRejected
from tests.conftest import photograph
from tests.plugins.test_h5 import noise, pack

pytestmark = pytest.mark.chaos

NAMES = [
    *("../canary/new", "../../canary/new", "/tmp/srkit-canary", "a/../../canary/new", "..", ".", "", "/", "//", "a//b"),
    *("a/", "/a", "./a", "a/./b", "a/..", "...", ".hidden", "a\0b", "\0", "a\nb", "a\rb", "\x1b[31m", "\u202egnp", "~"),
    *(
        "~root",
        "$HOME",
        "${HOME}",
        "$(touch canary)",
        "`touch canary`",
        "; touch canary",
        "| touch canary",
        "-rf",
        "--",
    ),
    *("*", "a?b", "CON", "nul.png", "x" * 300, "a\tb", "é", "e\u0301", "a:b", "a\\b", "%2e%2e%2f", "a b "),
]


@pytest.fixture
def canaries(tmp_path, monkeypatch):
    """A folder to work in, and one beside it that nobody is to touch."""
    work, canary = tmp_path / "work", tmp_path / "canary"
    for folder in (work, canary):
        folder.mkdir()
    (canary / "old").write_text("sings")
    monkeypatch.chdir(work)
    yield canary
    assert [(path.name, path.read_text()) for path in canary.iterdir()] == [("old", "sings")]
    assert not (work / "canary").exists()
    assert not Path("/tmp/srkit-canary").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "work"]


@pytest.mark.parametrize("kind", ["folder", "h5", "lmdb"])
def test_a_name_never_leads_out_of_the_folder(canaries, tally, kind):
    tried = 0
    for number, name in enumerate(NAMES):
        path = Path(f"set{number}.{kind}" if kind != "folder" else f"set{number}")
        image = noise(6, 7, seed=number)
        try:
            pack(kind, path, {name: image}, scales=())
        except InputRejected:
            tried += 1
            continue
        source = srkit.create("dataset", kind, path=str(path))
        assert np.array_equal(source.read(0), image)
        tried += 1
    assert tried == len(NAMES) >= 40
    tally(f"names of images in {kind}", tried)


def test_a_link_in_the_place_of_a_result_is_replaced_and_not_followed(canaries):
    for name in ("file", "image.png"):
        os.symlink(canaries / "old", name)
    files.write_file(Path("file"), b"new")
    srkit.save_image("image.png", photograph(0, 8, 8))
    assert not Path("file").is_symlink()
    assert not Path("image.png").is_symlink()
    os.symlink(canaries, f"{files.ASIDE}1-x")
    os.symlink(canaries, f"{files.REPLACED}y")
    Path("y").mkdir()
    files.clean(Path("."))
    assert sorted(os.listdir()) == ["file", "image.png", "y"]
    os.symlink(canaries, "gone")
    files.remove(Path("gone"))
    assert not Path("gone").is_symlink()


PAYLOADS = [
    "$(touch canary)",
    "`touch canary`",
    "; touch canary #",
    "| touch canary",
    "& touch canary",
    "\ntouch canary",
]
PAYLOADS += ["${IFS}touch${IFS}canary", "node[1-$(touch canary)]", "x'; import os; os.mknod('canary') #", "%n" * 50]
VARIABLES = [
    *("SLURM_NODELIST", "SLURM_JOB_NODELIST", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NNODES"),
    *("SLURM_LOCALID", "SLURM_JOB_ID", "MASTER_ADDR", "MASTER_PORT", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "LANG", "TZ"),
    *("LC_ALL", "COLUMNS", "EDITOR", "PAGER", "BROWSER", "TERM"),
]


@pytest.mark.parametrize("first", range(3))
def test_variables_of_schedulers_and_terminals_reach_no_shell_and_change_no_run(tiny, monkeypatch, capsys, first):
    one = ["run", "tiny.toml", "--set", "train.steps=1", "--set", "validate=", "--set", "train.deterministic=run"]
    assert main([*one, "--out", "straight"]) == 0
    for number, name in enumerate(VARIABLES):
        monkeypatch.setenv(name, PAYLOADS[(number + first) % len(PAYLOADS)])
    assert main([*one, "--out", "run"]) == 0, capsys.readouterr().err
    assert not Path("canary").exists()
    assert [Path(p, "last.safetensors").read_bytes() for p in ("run", "straight")] == (
        [Path("straight/last.safetensors").read_bytes()] * 2
    )


def test_in_a_plain_locale_under_a_narrow_umask_a_run_is_the_same_and_nobody_elses(tiny, srkit_command):
    words = ["run", "tiny.toml", "--set", "train.steps=1", "--set", "train.deterministic=run"]
    plain = {
        **os.environ,
        "LC_ALL": "C",
        "LANG": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TZ": "Etc/GMT+12",
    }
    before = os.umask(0o077)
    try:
        done = srkit_command(*words, "--out", "plain", env=plain)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_mode & 0o077 for path in Path("plain").rglob("*")} == {0}
    srkit.run("tiny.toml", out="usual", set=["train.steps=1", "train.deterministic=run"])
    models = [Path(p, "last.safetensors").read_bytes() for p in ("plain", "usual")]
    assert models[0] == models[1]
