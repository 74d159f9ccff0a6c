"""A run directory: begun, locked, continued, set aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srkit.errors import InputRejected, RunFailed, UsageError
from srkit.plugin.discovery import installed
from srkit.recipe import toml
from srkit.recipe.reading import read_recipe
from srkit.runs import rundir
from srkit.runs.rundir import RunDirectory, cut_lines, set_aside
from tests.conftest import TINY

IMAGES = {"data.dataset": "aaaa", "validate.0.dataset": "bbbb"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home():
    """A directory for a run, not there yet."""
    return RunDirectory(Path("runs/x"))


def recipe(*overrides, text=TINY):
    Path("x.toml").write_text(text)
    return read_recipe("x.toml", installed(), overrides=overrides)[0]


def begin(home, *overrides, images=IMAGES, text=TINY):
    """Open the directory as a run does, and say whether it is continued."""
    with home.locked():
        run = recipe(*overrides, text=text)
        continued = home.reopen(run, images)
        home.open(run, {"torch": "2"}, images)
        return continued


def refused(home, *overrides, images=IMAGES):
    """Return what is said of a run that cannot be continued, without the lines around the keys."""
    before = home.recipe.read_bytes(), home.environment.read_bytes()
    with pytest.raises(UsageError) as error:
        begin(home, *overrides, images=images)
    assert (home.recipe.read_bytes(), home.environment.read_bytes()) == before
    first, *keys, last = str(error.value).splitlines()
    assert first == f"{home.path} holds a run that cannot be continued with this recipe:"
    assert last == "use --restart to rename it and start again, or --out DIR for another place"
    return [key.removeprefix("  ") for key in keys]


def test_a_run_is_begun_and_then_continued(home):
    assert begin(home) is False
    assert begin(home) is True
    assert read_recipe(home.recipe, installed())[0] == recipe()
    assert json.loads(home.environment.read_text()) == {"torch": "2", "fingerprints": IMAGES}
    assert home.checkpoints.is_dir()


def test_a_run_that_was_killed_before_its_recipe_was_written_is_begun(home):
    home.path.mkdir(parents=True)
    (home.path / ".aside-1-recipe.toml").write_text("half")
    (home.path / ".lock").write_text("")
    assert begin(home) is False
    assert sorted(os.listdir(home.path)) == [".lock", "checkpoints", "environment.json", "recipe.toml"]


def test_what_a_kill_left_half_written_is_removed_wherever_it_is(home):
    begin(home)
    for folder in (home.path, home.checkpoints, home.samples, home.samples / "latest" / "Set5"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".aside-1-x").write_text("half")
        (folder / "whole").write_text("")
    begin(home)
    assert [path for path in home.path.rglob("*") if path.name.startswith(".aside-")] == []
    assert len(list(home.path.rglob("whole"))) == 4


def test_a_run_without_its_environment_is_continued(home):
    begin(home)
    home.environment.unlink()
    assert begin(home) is True
    assert home.environment.exists()


@pytest.mark.parametrize("text", ["", "half", "[]", "{}", '{"fingerprints": 5}', '{"fingerprints": ["x"]}', "\xff"])
def test_a_damaged_environment_is_written_anew(home, text):
    begin(home)
    home.environment.write_text(text, encoding="latin-1")
    assert begin(home) is True
    assert json.loads(home.environment.read_text())["fingerprints"] == IMAGES


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"scale = ", "Invalid value (at end of document)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_a_damaged_recipe_is_named(home, data, reason):
    begin(home)
    home.recipe.write_bytes(data)
    with pytest.raises(InputRejected) as error:
        begin(home)
    assert str(error.value) == f"runs/x/recipe.toml: is damaged: {reason}; use --restart to set the run aside"
    assert home.recipe.read_bytes() == data


@pytest.mark.parametrize(
    "override",
    [
        "title=other",
        "train.device=auto",
        "train.log_every=5",
        "train.keep=7",
        "data.threads=1",
        "data.cache=none",
        'observer=["log"]',
        "train.steps=7",
    ],
)
def test_what_may_change_may_change(home, override):
    begin(home)
    assert begin(home, override) is True
    assert read_recipe(home.recipe, installed())[0] == recipe(override)


@pytest.mark.parametrize(
    ("override", "keys"),
    [
        ("scale=3", ["scale was 2, is 3"]),
        ("seed=1", ["seed was 0, is 1"]),
        ("train.steps=5", ["train.steps was 6, is 5; give 6 or more"]),
        ("train.ema=0.5", ["train.ema was 0.0, is 0.5"]),
        ("train.validate_every=4", ["train.validate_every was 3, is 4"]),
        ("data.batch=5", ["data.batch was 4, is 5"]),
        ("data.degradation=pillow_bicubic", ["data.degradation.type was not set, is 'pillow_bicubic'"]),
        ("optimizer.betas=[0.5, 0.9]", ["optimizer.betas was [0.9, 0.999], is [0.5, 0.9]"]),
        ("loss.weight=2", ["loss.0.weight was 1.0, is 2.0"]),
        (
            'loss=["l1", "l2"]',
            [
                "loss.1.reduction was not set, is 'mean'",
                "loss.1.type was not set, is 'l2'",
                "loss.1.weight was not set, is 1.0",
            ],
        ),
        ('metric=["psnr_y"]', ["metric.1.type was 'ssim_y', is not set"]),
        ("validate.name=other", ["validate.0.name was 'photos', is 'other'"]),
        ("start.weights=x", ["start.weights was not set, is 'x'"]),
    ],
)
def test_any_other_key_is_refused_and_named(home, override, keys):
    begin(home)
    assert refused(home, override) == keys


def test_every_key_that_was_changed_is_named_and_no_other(home):
    begin(home)
    assert refused(home, "title=other", "seed=1", "data.patch=16", "train.steps=9") == [
        "data.patch was 8, is 16",
        "seed was 0, is 1",
    ]


def test_a_dataset_that_was_moved_is_the_same(home):
    begin(home)
    assert begin(home, "data.dataset.path=elsewhere", "validate.dataset.path=elsewhere") is True


def test_a_dataset_of_another_type_with_the_same_images_is_the_same(home):
    begin(home)
    assert begin(home, "data.dataset.type=leaves") is True


def test_changed_images_are_refused_and_it_is_said_what_to_do_where_they_were_mended(home):
    begin(home)
    with pytest.raises(UsageError) as error:
        begin(home, images={**IMAGES, "validate.0.dataset": "cccc"})
    assert str(error.value) == (
        "runs/x holds a run that cannot be continued with this recipe:\n"
        "  validate.0.dataset: its images have changed\n"
        "use --restart to rename it and start again, or --out DIR for another place\n"
        "to go on with them, which the run's environment.json will tell: --accept-dataset-change"
    )


TEXTS = {"data.dataset": {"a": "1", "b": "2", "c": "3"}, "validate.0.dataset": {"v": "9"}}
OTHERS = {"data.dataset": {"c": "3", "a": "1", "b": "5", "d": "4"}, "validate.0.dataset": {"v": "9"}}
OTHER_IMAGES = {**IMAGES, "data.dataset": "cccc"}


def begin_with(home, images, texts, **options):
    with home.locked():
        home.reopen(recipe(), images, texts, **options)
        home.open(recipe(), {"torch": "2"}, images, texts, step=30)


def test_changed_images_are_named_and_may_be_accepted_which_the_runs_history_keeps(home):
    begin_with(home, IMAGES, TEXTS)
    begin_with(home, IMAGES, TEXTS)
    with pytest.raises(UsageError) as error:
        begin_with(home, OTHER_IMAGES, OTHERS)
    assert str(error.value).splitlines()[1:] == [
        "  data.dataset: its images have changed: 1 added (d), 1 edited (b)",
        "use --restart to rename it and start again, or --out DIR for another place",
        "to go on with them, which the run's environment.json will tell: --accept-dataset-change",
    ]
    begin_with(home, OTHER_IMAGES, OTHERS, accept_dataset_change=True)
    begin_with(home, OTHER_IMAGES, OTHERS)  # from now on they are the run's
    told = {"step": 30, "dataset": "data.dataset", "added": ["d"], "removed": [], "edited": ["b"]}
    assert json.loads(home.environment.read_text())["dataset_changes"] == [told]
    assert json.loads(home.environment.read_text())["images"] == OTHERS
    begin_with(home, IMAGES, TEXTS, accept_dataset_change=True)
    back = {"step": 30, "dataset": "data.dataset", "added": [], "removed": ["d"], "edited": ["b"]}
    assert json.loads(home.environment.read_text())["dataset_changes"] == [told, back]


def test_of_a_large_change_the_first_names_are_said(home):
    many = {"data.dataset": {f"i{n}": "1" for n in range(2_000)}, "validate.0.dataset": {"v": "9"}}
    begin_with(home, IMAGES, TEXTS)
    with pytest.raises(UsageError) as error:
        begin_with(home, OTHER_IMAGES, many)
    assert str(error.value).splitlines()[1] == (
        "  data.dataset: its images have changed: 2,000 added (i0, i1, i2, i3, i4 and 1,995 more), 3 removed (a, b, c)"
    )


def test_a_dataset_that_was_moved_and_changed_is_named_by_its_path(home):
    begin(home)
    changed = {**IMAGES, "data.dataset": "cccc"}
    assert refused(home, "data.dataset.path=new", images=changed) == ["data.dataset.path was 'photos', is 'new'"]


def test_images_that_changed_in_between_are_compared_with_the_last_that_were_accepted(home):
    begin(home)
    assert begin(home, "data.dataset.path=new") is True
    assert refused(home, images={**IMAGES, "data.dataset": "cccc"}) == [
        "data.dataset.path was 'new', is 'photos'",
    ]


# the lock

HOLD = """
import sys
from pathlib import Path
from srkit.runs.rundir import RunDirectory

with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(home):
    """The directory, locked by another process, which ends when its stdin does."""
    with subprocess.Popen([sys.executable, "-c", HOLD, home.path], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process


BUSY = "another process is training in runs/x; wait for it, or choose another --out DIR"


def test_a_second_process_is_refused(home, held):
    with pytest.raises(UsageError) as error, home.locked():
        pass
    assert str(error.value) == BUSY


def test_a_run_is_not_set_aside_from_under_a_process(home, held):
    with pytest.raises(UsageError) as error:
        set_aside(home.path, 0.0)
    assert str(error.value) == BUSY
    assert home.path.is_dir()


def test_runs_that_lie_within_one_that_is_set_aside_stay_where_they_are(home):
    begin(home)
    (home.path / "mine").mkdir()
    (home.path / "mine/notes.txt").write_text("of this run")
    within = [RunDirectory(home.path / name) for name in ("again", "sweep/1")]
    for each in within:
        begin(each)
    aside = set_aside(home.path, 0.0)
    assert sorted(os.listdir(aside)) == ["checkpoints", "environment.json", "mine", "recipe.toml"]
    assert (aside / "mine/notes.txt").read_text() == "of this run"
    assert all(each.recipe.is_file() and each.environment.is_file() for each in within)
    assert {"again", "sweep"} <= set(os.listdir(home.path)) <= {"again", "sweep", ".lock"}
    assert begin(home) is False
    assert begin(within[0]) is True


def test_the_lock_of_a_killed_process_is_no_lock(home, held):
    held.kill()
    held.wait()
    with home.locked():
        pass


def test_a_lock_is_given_back_after_an_error(home):
    with pytest.raises(ZeroDivisionError), home.locked():
        raise ZeroDivisionError
    with home.locked():
        pass


def test_a_directory_that_is_no_run_is_refused():
    home = RunDirectory(Path("photos"))
    home.path.mkdir()
    (home.path / "b.png").write_bytes(b"")
    (home.path / "a.png").write_bytes(b"")
    for attempt in (lambda: begin(home), lambda: set_aside(home.path, 0)):
        with pytest.raises(UsageError) as error:
            attempt()
        assert str(error.value) == "photos is not a run directory and holds a.png; choose another with --out DIR"
    assert sorted(os.listdir("photos")) == ["a.png", "b.png"]


def test_an_empty_directory_is_a_place_for_a_run(home):
    home.path.mkdir(parents=True)
    assert begin(home) is False


@pytest.mark.parametrize("path", ["file", "file/x"])
def test_a_place_that_cannot_be_a_directory_is_a_mistake_of_the_command(path):
    Path("file").write_bytes(b"x")
    with pytest.raises(UsageError) as error:
        begin(RunDirectory(Path(path)))
    reason = {"file": "File exists", "file/x": "Not a directory"}[path]
    assert (str(error.value), error.value.exit_code) == (f"{path}: {reason}; choose another --out DIR", 2)
    assert Path("file").read_bytes() == b"x"


def test_a_name_that_no_directory_can_have_is_a_mistake_of_the_command():
    name = "x" * 300
    for use in (lambda: begin(RunDirectory(Path(name))), lambda: rundir.set_aside(Path(name), 0.0)):
        with pytest.raises(UsageError) as error:
            use()
        assert str(error.value) == f"{name}: File name too long; choose another --out DIR"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_directory_that_may_not_be_written_fails_the_run(home, mode):
    home.path.mkdir(parents=True)
    home.path.chmod(mode)
    try:
        with pytest.raises(RunFailed, match="Permission denied") as error:
            begin(home)
    finally:
        home.path.chmod(0o700)
    assert error.value.exit_code == 1


def test_a_directory_in_the_place_of_a_file_fails_the_run(home):
    begin(home)
    home.environment.unlink()
    home.environment.mkdir()
    with pytest.raises(RunFailed) as error:
        begin(home)
    assert str(error.value).endswith("Is a directory")


# set aside

NOON = time.mktime((2024, 5, 6, 12, 0, 0, 0, 0, -1))


def test_a_run_is_set_aside_under_a_dated_name_whole(home):
    begin(home)
    home.best.write_bytes(b"weights")
    before = {path.name: path.read_bytes() for path in home.path.iterdir() if path.is_file()}
    aside = set_aside(home.path, NOON)
    assert aside == Path("runs/x.20240506-120000")
    assert not home.path.exists()
    assert {path.name: path.read_bytes() for path in aside.iterdir() if path.is_file()} == before
    assert (aside / "checkpoints").is_dir()


def test_runs_that_are_set_aside_within_a_second_are_all_kept(home):
    for number in range(3):
        begin(home)
        home.best.write_text(str(number))
        set_aside(home.path, NOON)
    names = ["x.20240506-120000", "x.20240506-120000-2", "x.20240506-120000-3"]
    assert sorted(os.listdir("runs")) == names
    assert [Path("runs", name, "best.safetensors").read_text() for name in names] == ["0", "1", "2"]


def test_there_may_be_nothing_to_set_aside(home):
    assert set_aside(home.path, NOON) is None


@pytest.mark.parametrize("name", [".", "../x", "../x/."])
def test_a_run_is_set_aside_by_any_of_its_names(home, monkeypatch, name):
    begin(home)
    monkeypatch.chdir(home.path)
    aside = set_aside(Path(name), NOON)
    assert aside.resolve() == Path.cwd()  # renamed with us in it
    assert Path.cwd().name == "x.20240506-120000"


def test_a_run_that_was_set_aside_can_be_continued_there(home):
    begin(home)
    assert begin(RunDirectory(set_aside(home.path, NOON))) is True


# metrics.jsonl


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', '{"step": 1}\n{"step": 2}\n'),
        ('{"step": 1}\n{"step": 2}', '{"step": 1}\n{"step": 2}\n'),
        ('{"step": 1}\n{"step": 2, "lo', '{"step": 1}\n'),
        ('{"step": 1}\n{"st\n{"step": 2}\n', '{"step": 1}\n{"step": 2}\n'),
        ('{"step": 1}\n\n{}\n[]\n5\nnull\n{"step": "x"}\n{"step": null}\n', '{"step": 1}\n'),
        ('{"step": 1}\n\x00\x00\x00\xff\n', '{"step": 1}\n'),
        ('{"step": 3}\n{"step": 1, "loss": "nan"}\n', '{"step": 1, "loss": "nan"}\n'),
        ("", ""),
    ],
)
def test_lines_after_a_step_and_half_lines_are_cut(text, kept):
    Path("metrics.jsonl").write_text(text, encoding="latin-1")
    cut_lines(Path("metrics.jsonl"), 2)
    assert Path("metrics.jsonl").read_text() == kept
    assert os.listdir() == ["metrics.jsonl"]


def test_there_may_be_no_lines_to_cut():
    cut_lines(Path("metrics.jsonl"), 2)
    assert os.listdir() == []


def test_lines_that_cannot_be_cut_fail_the_run():
    Path("metrics.jsonl").mkdir()
    with pytest.raises(RunFailed) as error:
        cut_lines(Path("metrics.jsonl"), 2)
    assert str(error.value) == "metrics.jsonl: Is a directory"


def test_the_keys_that_may_change_are_keys_of_a_recipe():
    tree = toml.flat(recipe('observer=["log"]').to_tree())
    for free in rundir.FREE:
        assert any(key == free or key.startswith(f"{free}.") for key in tree)
