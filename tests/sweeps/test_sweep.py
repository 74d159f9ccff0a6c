"""A sweep as a whole: real runs, one of which fails; continued, stopped, chosen by optuna, on one page."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

import srkit
from srkit.cli import main
from tests.conftest import TINY, photograph

GRID = ("--grid", "optimizer.lr=[1e-3, 1e30]")
STEPS = ("--set", "train.validate_every=3", "--set", "train.steps=40", "--set", "train.log_every=10")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder where a sweep has run: one run is finished, one has diverged. What it printed, and its exit code."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "photos").mkdir()
    for i, (height, width) in enumerate([(48, 64), (64, 48)]):
        Image.fromarray(photograph(i, height, width)).save(folder / "photos" / f"p{i}.png")
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = main(["sweep", "tiny.toml", *GRID, *STEPS, "--processes", "2", "--seeds", "1", "--out", "sweep"])
    return folder, code


@pytest.fixture
def there(swept, tmp_path, monkeypatch):
    """The same in an empty folder of this test's."""
    shutil.copytree(swept[0], tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    return swept[1]


def sweep(*words):
    return main(["sweep", "tiny.toml", *words, *STEPS, "--out", "sweep"])


def test_a_run_that_fails_leaves_the_others_alone_and_the_table_says_why(there, capfd):
    assert there == 1
    assert json.loads(Path("sweep/optimizer.lr=0.001,seed=0/environment.json").read_text())["threads"] == 1
    output = Path("sweep/output/optimizer.lr=1e+30,seed=0.txt").read_text()
    assert "not finite" in output
    text = Path("sweep/report.html").read_text("utf-8")
    assert "<h2>The sweep</h2>" in text
    (failed,) = re.findall('<p class="bad">(.*)</p>', text)
    why = "the loss or its gradients were not finite for 10 updates in a row, up to step 11; "
    advice = "try a lower optimizer.lr, or train.clip, with --restart"
    assert failed == f"optimizer.lr=1e+30,seed=0: failed: {why}{advice}"


def test_the_same_command_uses_what_is_finished(there, capfd):
    before = Path("sweep/optimizer.lr=0.001,seed=0/metrics.jsonl").read_bytes()
    assert sweep("--grid", "optimizer.lr=[1e-3]", "--seeds", "1") == 0
    found = capfd.readouterr()
    assert found.err.splitlines()[-1] == "1 of 1 runs is finished already"
    assert Path("sweep/optimizer.lr=0.001,seed=0/metrics.jsonl").read_bytes() == before
    lines = [line.split() for line in found.out.splitlines()]
    assert lines[:3:1][1:] == [["photos", "x2"], ["optimizer.lr", "runs", "psnr_y", "ssim_y"]]
    assert lines[3][:2] == ["0.001", "1"]
    assert found.out.splitlines()[-1] == "the page: sweep/report.html"


def test_optuna_chooses_of_the_lists_and_goes_on_with_its_trials(there, capfd):
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    words = ("--grid", "optimizer.lr=[1e-3]", "--seeds", "1", "--optuna")
    assert sweep(*words, "2") == 0
    assert sweep(*words, "3") == 0
    study = optuna.load_study(study_name="sweep", storage=JournalStorage(JournalFileBackend("sweep/optuna.log")))
    assert [trial.params for trial in study.trials] == [{"optimizer.lr": "0.001"}] * 3
    rows = [json.loads(line) for line in Path("sweep/optimizer.lr=0.001,seed=0/metrics.jsonl").read_text().splitlines()]
    scores = [row["tables"][0]["rows"][0]["mean"]["psnr_y"] for row in rows if row["event"] == "validated"]
    assert study.best_value == max(scores)
    capfd.readouterr()
    assert sweep("--grid", "optimizer.lr=[1e-3, 2e-3]", "--seeds", "1", "--optuna", "4") == 2
    assert capfd.readouterr().err == (
        "srkit sweep: sweep/optuna.log has trials of other values; give those, or another place with --out DIR\n"
    )


class Signals(logging.Handler):
    """Sends this process a signal when it logs that a run was started."""

    def emit(self, record):
        if record.getMessage().endswith("  started"):
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_all_runs_with_exit_code_75(there, capfd):
    handler = Signals()
    logging.getLogger("srkit").addHandler(handler)
    try:
        code = sweep("--grid", "optimizer.lr=[2e-3, 3e-3]")
    finally:
        logging.getLogger("srkit").removeHandler(handler)
    assert code == 75
    assert capfd.readouterr().err.splitlines() == [
        "optimizer.lr=0.002  started",
        "optimizer.lr=0.002  stopped  (1 of 2)",
        "stopped by SIGINT; sweep/report.html has what there is",
        "to continue, run the same command again",
    ]


def test_mistakes_are_refused_before_any_run(tiny, capfd):
    assert main(["sweep", "tiny.toml", "--grid", "optimizer.lrr=[5e-4, 0.00051]", "--grid", "train.steps=[1]"]) == 2
    assert main(["sweep", "tiny.toml", "--grid", 'optimizer.lr=["a"]']) == 2
    assert main(["sweep", "tiny.toml", "--seeds", "2", "--processes", "0"]) == 2
    assert main(["sweep", "tiny.toml", "--seeds", "2", "--out", "photos/p0.png"]) == 2
    assert capfd.readouterr().err.splitlines() == [
        "srkit sweep: --grid optimizer.lrr=[5e-4, 0.00051]: unknown setting 'lrr' of optimizer 'adam'; did you mean "
        "'lr'?",
        'srkit sweep: --grid optimizer.lr=["a"]: \'lr\' must be a number, not "a"',
        "srkit sweep: the processes of a sweep are at least 1, not 0",
        "srkit sweep: photos/p0.png/seed=0: Not a directory; choose another --out DIR",
    ]
    assert not Path("runs").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="it is a folder that takes none, whoever asks")
def test_a_folder_that_cannot_be_made_is_told_as_a_run_tells_it(tiny, capfd):
    for command in (["run", "tiny.toml"], ["sweep", "tiny.toml", "--seeds", "1"]):
        capfd.readouterr()
        assert main([*command, "--out", "/proc/srkit"]) == 1
        told = "/proc/srkit: No such file or directory; choose another --out DIR"
        assert capfd.readouterr().err.splitlines()[-1] == f"srkit {command[0]}: {told}"


def test_another_recipe_in_the_place_of_a_run_is_refused(there, capfd):
    assert sweep("--grid", "optimizer.lr=[1e-3]", "--seeds", "1", "--set", "data.batch=2") == 2
    assert capfd.readouterr().err == (
        "sweep/optimizer.lr=0.001,seed=0 holds a run that cannot be continued with this recipe:\n"
        "  data.batch was 4, is 2\n"
        "choose another place for the sweep with --out DIR\n"
    )


def test_the_page_of_many_runs_has_a_row_a_run_of_what_differs(there):
    for i in (1, 2, 3):
        shutil.copytree("sweep/optimizer.lr=0.001,seed=0", f"copy{i}")
        text = Path(f"copy{i}/recipe.toml").read_text()
        Path(f"copy{i}/recipe.toml").write_text(text.replace("seed = 0", f"seed = {i}"))
    path = srkit.report("sweep/optimizer.lr=0.001,seed=0", "copy1", "copy2", "copy3", out="page.html")
    differs = path.read_text("utf-8").partition("What differs")[2].partition("</table>")[0]
    rows = [re.findall("<t[dh][^>]*>([^<]*)<", row) for row in differs.split("<tr>")[1:]]
    assert rows == [["run", "seed"], ["optimizer.lr=0.001,seed=0", "0"], *([f"copy{i}", f"{i}"] for i in (1, 2, 3))]


def test_the_document_of_python_has_means_and_spreads(there):
    """Runs of three seeds, of which two are copies: their spread is known."""
    home = Path("sweep/optimizer.lr=0.001,seed=0")
    for seed in (1, 2):
        copy = Path(f"sweep/optimizer.lr=0.001,seed={seed}")
        shutil.copytree(home, copy)
        text = (copy / "recipe.toml").read_text()
        (copy / "recipe.toml").write_text(text.replace("seed = 0", f"seed = {seed}"))
        records = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
        for record in records:
            for table in record.get("tables", ()):
                table["rows"][0]["mean"]["psnr_y"] += 3 * seed
        (copy / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    overrides = [word for word in STEPS if word != "--set"]
    found = srkit.sweep("tiny.toml", {"optimizer.lr": [1e-3]}, seeds=3, out="sweep", set=overrides)
    assert [run["state"] for run in found["runs"]] == ["finished"] * 3
    (row,) = found["tables"][0]["rows"]
    assert row["settings"] == {"optimizer.lr": "0.001"}
    assert (row["runs"], row["of"], row["best"]) == (3, 3, False)
    assert row["spread"]["psnr_y"] == pytest.approx(3)  # of 0, 3 and 6 above the first
    assert row["spread"]["ssim_y"] == pytest.approx(0, abs=1e-12)


def test_runs_of_several_stages_have_a_folder_for_each_combination(tiny):
    from srkit.engine.builder import Builder
    from srkit.plugin.discovery import installed
    from srkit.sweeps.grid import Point
    from srkit.sweeps.sweep import Sweep

    Path("next.toml").write_text('extends = "tiny.toml"\nstart = { recipe = "tiny.toml" }\n')
    points = [Point({"optimizer.lr": rate}) for rate in ("0.001", "0.002")]
    short = ["train.steps=1", "tiny:train.steps=2"]
    sweep = Sweep(Path("next.toml"), Path("sweep"), Builder(installed()), overrides=short)
    sweep.add(points)
    homes = [Path(member.path) for member in sweep.states.values()]
    assert homes == [Path(f"sweep/optimizer.lr={rate}/next") for rate in ("0.001", "0.002")]
    srkit.run("next.toml", out=homes[0], set=[*short, "optimizer.lr=0.001"])
    assert Path("sweep/optimizer.lr=0.001/tiny/best.safetensors").exists()
    sweep.add(points)
    assert [member.state for member in sweep.states.values()] == ["finished", "waiting"]
