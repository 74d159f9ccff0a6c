"""`srkit report`: where the page goes, and what it is not made of."""

import subprocess
import sys
from pathlib import Path

import srkit
from srkit.cli import main
from tests.cli.test_main import loaded_by


def test_the_page_of_a_run_is_in_its_directory_and_its_path_is_printed(tiny, capsys):
    srkit.run("tiny.toml", out="run", set=["train.steps=1"])
    Path("run/report.html").unlink()
    assert main(["report", "run"]) == 0
    assert capsys.readouterr().out == "run/report.html\n"
    assert Path("run/report.html").read_text("utf-8").startswith("<!doctype html>")
    assert main(["report", "run/best.safetensors", "-o", "page.html"]) == 0
    assert Path("page.html").read_bytes() == Path("run/report.html").read_bytes()
    assert main(["report", "run", "-o", "new/below/page.html"]) == 0
    assert Path("new/below/page.html").read_bytes() == Path("page.html").read_bytes()
    assert "torch" not in loaded_by("report", "run", names=("torch", "srkit"))


def test_what_is_no_run_or_has_no_place_is_refused(tiny, capsys):
    srkit.run("tiny.toml", out="run", set=["train.steps=1"])
    srkit.run("tiny.toml", out="other", set=["train.steps=1"])
    capsys.readouterr()
    assert main(["report", "nowhere"]) == 3
    assert main(["report", "run", "other"]) == 2
    assert main(["report", "nowhere", "-o", "missing/page.html"]) == 3
    assert not Path("missing").exists()
    assert main(["report", "run", "-o", "tiny.toml/page.html"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "srkit report: nowhere: there is no such file or folder",
        "srkit report: a report on several runs needs a place: -o FILE, or out=FILE from Python",
        "srkit report: nowhere: there is no such file or folder",
        "srkit report: tiny.toml/page.html: Not a directory",
    ]


def test_a_name_that_is_no_utf_8_is_on_the_page(tiny):
    name = "run\udcff"
    srkit.run("tiny.toml", out=name, set=["train.steps=1"])
    done = subprocess.run([sys.executable, "-m", "srkit", "report", name], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"run\\udcff" in (Path(name) / "report.html").read_bytes()
