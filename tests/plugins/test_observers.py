"""What the observers write: to a terminal, to a pipe, to files, and to a disk that is full."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import math
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from srkit_observers import lines
from srkit_observers.console import Console
from srkit_observers.files import LineFile, Log, MetricsJsonl
from srkit_observers.samples import Samples

import srkit
from srkit import Run

VALUES = {"epoch": 3.24, "loss": 0.02134, "it_per_s": 5.12, "data_share": 0.021, "eta_s": 760.0}
LOGGED = "step 1200/5000  epoch 3.2  loss 0.0213  5.1 it/s  data 2 %  eta 00:12:40"
VALIDATED = "step 1200  Set5 x2  psnr_y 35.84 (bicubic 33.66, +2.18)  ssim_y 0.9501 (bicubic 0.9299, +0.0202)"


def table(data: str = "Set5", **protocol: Any) -> dict[str, Any]:
    return {
        "data": data,
        "scale": 2,
        "protocol": {"border": 2, **protocol},
        "rows": [
            {"model": "a2n", "mean": {"psnr_y": 35.84, "ssim_y": 0.9501}, "images": {"baby": {"psnr_y": 38.9}}},
            {"model": "bicubic", "mean": {"psnr_y": 33.66, "ssim_y": 0.9299}, "images": {"baby": {"psnr_y": 37.0}}},
        ],
    }


def run_of(directory: Path, *, title: str = "a2n_x2", first_step: int = 0) -> Run:
    return Run(title, directory, first_step, 5000, {"architecture": "a2n", "parameters": 1_036_443})


def tell_all(observer: Any, directory: Path) -> None:
    """Tell an observer each event once, as a run does."""
    observer.run_started(run_of(directory))
    observer.logged(1200, VALUES)
    observer.validated(1200, [table()])
    if hasattr(observer, "saved"):
        observer.saved(1200, directory / "checkpoints" / "step_00001200")
    observer.run_ended(5000, "finished")


# the text


def test_a_log_line_has_its_form() -> None:
    assert lines.logged(1200, 5000, VALUES) == LOGGED


def test_a_log_line_leaves_out_what_it_is_not_told() -> None:
    assert lines.logged(1200, 5000, {"loss": 0.5}) == "step 1200/5000  loss 0.500"


def test_a_validation_line_has_its_form() -> None:
    assert lines.validated(1200, table()) == VALIDATED


def test_a_validation_line_counts_exact_images_and_compares_the_others() -> None:
    told = table()
    for row, values in zip(told["rows"], ([40.0, math.inf], [37.0, math.inf]), strict=True):
        row |= {"mean": {"psnr_y": values[0]}, "exact": {"psnr_y": ["black"]}}
        row["images"] = {"baby": {"psnr_y": values[0]}, "black": {"psnr_y": values[1]}}
    shown = "step 7  Set5 x2  psnr_y 40.00 (bicubic 37.00, +3.00; 1 of 2 images exact)"
    assert lines.validated(7, told) == shown
    told["rows"][1] |= {"mean": {"psnr_y": 33.5}, "images": {"baby": {"psnr_y": 37.0}, "black": {"psnr_y": 30.0}}}
    del told["rows"][1]["exact"]
    assert lines.validated(7, told) == shown.replace("37.00", "33.50")
    for row in told["rows"]:
        row |= {"mean": {"psnr_y": math.inf}, "exact": {"psnr_y": ["black"]}, "images": {"black": {"psnr_y": math.inf}}}
    assert lines.validated(7, told) == "step 7  Set5 x2  psnr_y inf (bicubic inf; 1 of 1 images exact)"


def test_a_validation_line_without_a_baseline_has_the_scores_alone() -> None:
    alone = {**table(), "rows": table()["rows"][:1]}
    assert lines.validated(7, alone) == "step 7  Set5 x2  psnr_y 35.84  ssim_y 0.9501"


def test_a_validation_line_names_every_other_model() -> None:
    rows = [{"model": name, "mean": {"psnr": value}} for name, value in (("a", 30.0), ("b", 29.0), ("c", 31.0))]
    line = lines.validated(7, {**table(), "rows": rows})
    assert line == "step 7  Set5 x2  psnr 30.00 (b 29.00, +1.00; c 31.00, -1.00)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.02134, "0.0213"),
        (0.02, "0.0200"),
        (12.0, "12.0"),
        (99.96, "100"),
        (23456.7, "23457"),
        (0.0, "0.00"),
        (1.2e-7, "1.20e-07"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_loss_has_three_digits_that_matter(value: float, text: str) -> None:
    assert lines.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(5.12, "5.1"), (103.4, "103.4"), (0.951, "1.0"), (0.0421, "0.042")])
def test_a_slow_rate_keeps_two_digits(value: float, text: str) -> None:
    assert lines.rate(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00"), (59.6, "00:01:00"), (760, "00:12:40"), (400_000, "111:06:40"), (math.inf, "--:--:--")],
)
def test_a_duration_is_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert lines.duration(seconds) == text


def test_a_foreign_text_cannot_command_the_terminal() -> None:
    assert lines.clean("a\x1b[2Jb\x07\u202e c\n\td\x9b") == "a[2Jb c d"


def test_a_continued_run_says_from_where(tmp_path: Path) -> None:
    line = lines.started(run_of(tmp_path, first_step=300))
    assert line == f"a2n_x2  5000 steps  from step 300  {tmp_path}"


# the console


def test_a_pipe_gets_plain_lines_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tell_all(Console(), tmp_path)
    out, err = capfd.readouterr()
    assert err.splitlines() == [f"a2n_x2  5000 steps  {tmp_path}", LOGGED, VALIDATED, "step 5000  finished"]
    assert out == ""


class Terminal:
    """A real pseudo-terminal; within `with` it is stderr. `read` returns what was written to it since the last call."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self.stderr = open(slave, "w", encoding="utf-8")  # noqa: SIM115 - closed by the fixture
        self._redirect = contextlib.redirect_stderr(self.stderr)

    def __enter__(self) -> None:
        self._redirect.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._redirect.__exit__(*error)

    def read(self) -> str:
        self.stderr.flush()
        found = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._master, 65536):
                found += part
        return found.decode()

    def close(self) -> None:
        self.stderr.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    made = Terminal()
    yield made
    made.close()


def screen(written: str) -> list[str]:
    """Return the lines that a terminal shows after a text with the few commands that rich uses."""
    shown, row = [""], 0
    for word in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\n|\r|[^\x1b\r\n]+", written):
        if word == "\n":
            row += 1
            shown += [""] * (row == len(shown))
        elif word.startswith("\x1b"):
            row -= word.endswith("A")
            shown[row] = "" if word.endswith("K") else shown[row]
        elif word != "\r":
            shown[row] += word
    return [line.rstrip() for line in shown]


def test_a_terminal_shows_a_bar_below_the_tables(terminal: Terminal) -> None:
    console = Console()
    with terminal:
        console.run_started(run_of(Path("runs/a2n_x2")))
        console.logged(1200, VALUES)
        console.validated(1200, [table("Set5", fingerprint="a"), table("Set14", fingerprint="b")])
        console.logged(2500, VALUES)
        console.run_ended(2500, "stopped")
    assert screen(terminal.read()) == [
        "a2n_x2  5000 steps  runs/a2n_x2",
        "",
        "step 1200  psnr_y  bicubic         ssim_y  bicubic",
        "Set5 x2     35.84    33.66  +2.18  0.9501   0.9299  +0.0202",
        "Set14 x2    35.84    33.66  +2.18  0.9501   0.9299  +0.0202",
        "━━━━╺━━━ step 2500/5000  loss 0.0213  psnr_y 35.84 (+2.18)  5.1 it/s  data 2 %  eta 00:12:40",
        "step 2500  stopped",
        "",
    ]


ALL = {**VALUES, "images_per_s": 81.92}


@pytest.mark.parametrize(
    ("columns", "bar", "text"),
    [
        (140, 24, "epoch 3.2  loss 0.0213  psnr_y 35.84 (+2.18)  5.1 it/s  81.9 images/s  data 2 %  eta 00:12:40"),
        (100, 8, "loss 0.0213  psnr_y 35.84 (+2.18)  81.9 images/s  data 2 %  eta 00:12:40"),
        (80, 8, "loss 0.0213  psnr_y 35.84 (+2.18)  eta 00:12:40"),
        (44, 8, "eta 00:12:40"),
    ],
)
def test_the_live_line_has_what_the_terminal_has_room_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int, bar: int, text: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    console = Console()
    with terminal:
        console.run_started(run_of(Path("runs/a2n_x2")))
        console.validated(1200, [table()])
        console.logged(2500, ALL)
        console.run_ended(2500, "stopped")
    drawn, _, beside = screen(terminal.read())[-3].partition(" ")
    assert (len(drawn), beside) == (bar, f"step 2500/5000  {text}")


def test_a_terminal_that_is_too_narrow_for_a_table_shows_whole_numbers(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    console = Console()
    with terminal:
        console.run_started(run_of(Path("runs/a2n_x2")))
        console.validated(1200, [table()])
        console.run_ended(1200, "stopped")
    assert screen(terminal.read())[1:4] == [
        "step 1200  Set5 x2  psnr_y 35.84 (bicubic",
        "33.66, +2.18)  ssim_y 0.9501 (bicubic",
        "0.9299, +0.0202)",
    ]


def scored(value: float) -> list[dict[str, Any]]:
    """Return the tables of a validation with this PSNR."""
    found = table()
    found["rows"][0]["mean"]["psnr_y"] = value
    return [found]


def tell_scores(console: Console, directory: Path) -> None:
    console.run_started(run_of(directory))
    for step, value in ((1000, 32.66), (2000, 34.66), (5000, 35.66)):
        console.validated(step, scored(value))
    console.run_ended(5000, "finished")


def test_the_end_of_a_run_shows_its_scores_as_a_curve_with_bicubics_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    with terminal:
        tell_scores(Console(), tmp_path)
    written = terminal.read()
    assert screen(written)[-11:-1] == [
        "psnr_y, Set5 x2, by step",
        "35.66 │                    ⢀⣀⣀⠤⠤⠒⠒⠊⠉",
        "      │           ⣀⣀⡠⠤⠔⠒⠒⠉⠉⠁",
        "      │      ⢀⠖⠊⠉⠉",
        "      │     ⡔⠁",
        "      │╌╌╌⡠⠊╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ bicubic 33.66",
        "      │ ⢀⠔⠁",
        "32.66 │⡠⠃",
        "       1000                     5000",
        "step 5000  finished",
    ]
    assert "\x1b[36m" in written


def test_no_color_leaves_the_colours_out(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal:
        tell_scores(Console(), tmp_path)
    assert not re.findall(r"\x1b\[[0-9;]*3[0-7]m", terminal.read())


PLAIN_CURVE = """\
psnr_y, Set5 x2, by step
35.66 |                                             ***********
      |                         ********************
      |             ************
      |         ****
      |------***----------------------------------------------- bicubic 33.66
      |  ****
32.66 |**
       1000                                                5000
"""


def test_a_pipe_gets_the_curve_in_plain_characters(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tell_scores(Console(), tmp_path)
    lines_ = capfd.readouterr().err.splitlines()
    assert lines_[4:] == [*PLAIN_CURVE.splitlines(), "step 5000  finished"]
    assert all(line.isascii() for line in lines_)


def test_a_terminal_of_a_code_page_without_braille_gets_the_curve_in_plain_characters(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.stderr.reconfigure(encoding="cp1252")  # type: ignore[attr-defined]
    with terminal:
        tell_scores(Console(), tmp_path)
    assert screen(terminal.read())[-11:-2] == PLAIN_CURVE.splitlines()


def test_the_curve_of_a_continued_run_begins_with_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    observers = [MetricsJsonl(), Console()]
    for observer in observers:
        observer.run_started(run_of(tmp_path))
        for step, value in ((1000, 32.66), (2000, 34.66)):
            observer.validated(step, scored(value))
    console = Console()
    capfd.readouterr()
    console.run_started(run_of(tmp_path, first_step=2000))
    console.validated(5000, scored(35.66))
    console.run_ended(5000, "finished")
    assert capfd.readouterr().err.splitlines()[2:-1] == PLAIN_CURVE.splitlines()


def test_one_score_is_no_curve_and_neither_are_those_that_are_not_finite(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    console = Console()
    console.run_started(run_of(tmp_path))
    console.validated(1000, scored(32.0))
    console.validated(2000, scored(math.nan))
    console.validated(3000, scored(math.inf))
    console.run_ended(3000, "finished")
    assert capfd.readouterr().err.splitlines()[4:] == ["step 3000  finished"]


def test_scores_of_two_protocols_stand_in_two_tables_below_what_differs(terminal: Terminal, tmp_path: Path) -> None:
    console = Console()
    with terminal:
        console.run_started(run_of(tmp_path))
        console.validated(1200, [table("Set5", color="Y"), table("Set5", color="RGB")])
        console.run_ended(1200, "stopped")
    assert [line for line in screen(terminal.read()) if line.startswith(("color", "step 1200  psnr"))] == [
        "color Y",
        "step 1200  psnr_y  bicubic         ssim_y  bicubic",
        "color RGB",
        "step 1200  psnr_y  bicubic         ssim_y  bicubic",
    ]


def test_a_terminal_shows_foreign_names_as_they_are(terminal: Terminal, tmp_path: Path) -> None:
    console = Console()
    with terminal:
        console.run_started(run_of(tmp_path, title="[bold]x[/]\x1b[2J"))
        console.validated(1, [table("[red]Set5[/nothing]")])
        console.run_ended(1, "stopped")
    written = terminal.read()
    assert "\x1b[2J" not in written
    assert screen(written)[0].startswith("[bold]x[/][2J  5000 steps")
    assert any(line.startswith("[red]Set5[/nothing] x2") for line in screen(written))


def test_a_warning_during_the_display_stands_above_the_bar(terminal: Terminal, tmp_path: Path) -> None:
    console = Console()
    with terminal:
        console.run_started(run_of(tmp_path))
        print("a warning", file=sys.stderr)
        console.run_ended(0, "stopped")
    shown = screen(terminal.read())
    assert shown[-4:-2] == ["a warning", "━" * 8 + " step 0/5000"]


def test_a_console_that_is_dropped_gives_the_terminal_back(terminal: Terminal, tmp_path: Path) -> None:
    console = Console()
    with terminal:
        console.run_started(run_of(tmp_path))
        assert sys.stderr is not terminal.stderr
        del console
        gc.collect()
        assert sys.stderr is terminal.stderr
    assert terminal.read().endswith("\x1b[?25h")  # the cursor is shown again


@pytest.mark.parametrize(("plain", "term"), [(True, "xterm-256color"), (False, "dumb")])
def test_a_terminal_gets_plain_lines_where_it_is_dumb_or_they_are_asked_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain: bool, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    with terminal:
        tell_all(Console(plain=plain), tmp_path)
    assert terminal.read().splitlines()[1:] == [LOGGED, VALIDATED, "step 5000  finished"]


def test_plain_lines_do_not_import_rich() -> None:
    program = (
        "import sys, srkit\nfrom pathlib import Path\nfrom srkit_observers.console import Console\n"
        "Console().run_started(srkit.Run('t', Path(), 0, 1, {}))\nprint('rich' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


# the files


def test_metrics_jsonl_has_an_object_for_each_event(tmp_path: Path) -> None:
    tell_all(MetricsJsonl(), tmp_path)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {
            "event": "run_started",
            "step": 0,
            "title": "a2n_x2",
            "steps": 5000,
            "facts": {"architecture": "a2n", "parameters": 1_036_443},
        },
        {"event": "logged", "step": 1200, **VALUES},
        {"event": "validated", "step": 1200, "tables": [table()]},
        {"event": "saved", "step": 1200, "path": "checkpoints/step_00001200"},
        {"event": "run_ended", "step": 5000, "outcome": "finished"},
    ]


def test_a_number_that_is_not_finite_is_null_in_json(tmp_path: Path) -> None:
    observer = MetricsJsonl()
    observer.run_started(run_of(tmp_path))
    observer.logged(1, {"loss": math.nan, "l1": math.inf, "eta_s": 1.5})
    observer.validated(1, [{"rows": [{"mean": {"psnr": -math.inf}}]}])
    written = (tmp_path / "metrics.jsonl").read_text().splitlines()[1:]
    assert written == [
        '{"event": "logged", "step": 1, "loss": null, "l1": null, "eta_s": 1.5}',
        '{"event": "validated", "step": 1, "tables": [{"rows": [{"mean": {"psnr": null}}]}]}',
    ]


def test_a_second_start_appends(tmp_path: Path) -> None:
    for first_step in (0, 700):
        MetricsJsonl().run_started(run_of(tmp_path, first_step=first_step))
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 700]


@pytest.mark.parametrize(("before", "after"), [(b'{"a": 1}\n{"b"', b'{"a": 1}\n'), (b'{"b"', b""), (b"", b"")])
def test_a_line_that_a_killed_run_left_unfinished_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before)
    LineFile(path).write("next")
    assert path.read_bytes() == after + b"next\n"


def test_log_txt_has_the_plain_lines_with_their_time(tmp_path: Path) -> None:
    tell_all(Log(), tmp_path)
    written = (tmp_path / "log.txt").read_text().splitlines()
    times, texts = zip(*(line.split("  ", 1) for line in written), strict=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", time) for time in times)
    assert list(texts) == [
        f"a2n_x2  5000 steps  {tmp_path}",
        LOGGED,
        VALIDATED,
        "step 1200  saved checkpoints/step_00001200",
        "step 5000  finished",
    ]


def test_a_title_that_is_no_utf_8_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    LineFile(path).write("a\udcff")
    assert path.read_bytes() == b"a\\udcff\n"


needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")


@needs_dev_full
def test_lines_wait_in_memory_while_the_disk_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.symlink_to("/dev/full")
    observer = MetricsJsonl()
    observer.run_started(run_of(tmp_path))
    observer.logged(1, {"loss": 0.5})
    path.unlink()
    observer.logged(2, {"loss": 0.25})
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["step"]) for line in written] == [("run_started", 0), ("logged", 1), ("logged", 2)]


@needs_dev_full
def test_a_full_disk_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.txt"
    path.symlink_to("/dev/full")
    tell_all(Log(), tmp_path)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            f"{path} cannot be written (No space left on device); its lines are kept in memory and tried again",
        )
    ]


def test_a_line_of_which_half_was_written_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    file = LineFile(path)
    file.write("x" * 9)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (15, before[1]))
        file.write("y" * 9)
        half = path.read_bytes()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.write("z")
    assert half == b"xxxxxxxxx\nyyyyy"
    assert path.read_bytes() == b"xxxxxxxxx\nyyyyyyyyy\nz\n"


def test_a_run_goes_on_where_its_directory_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tell_all(MetricsJsonl(), tmp_path / "gone")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'gone' / 'metrics.jsonl'} cannot be written (No such file or directory); "
        "its lines are kept in memory and tried again"
    ]


def test_each_loss_of_several_is_in_the_line_and_one_alone_is_not_there_twice():
    values = {"l1": 0.02, "loss": 0.025, "epoch": 1.0}
    assert lines.logged(5, 9, values) == "step 5/9  epoch 1.0  loss 0.0250"
    values = {"l1": 0.02, "edges": 0.05, "loss": 0.025, "epoch": 1.0}
    assert lines.logged(5, 9, values) == "step 5/9  epoch 1.0  loss 0.0250  l1 0.0200  edges 0.0500"


def pictures(count: int, *, baseline: bool = True) -> list[srkit.Picture]:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (70, 90, 3), np.uint8) for _ in range(3)]
    plain = images[0] if baseline else None
    return [srkit.Picture("Set5", f"image{i}", plain, *images[1:]) for i in range(count)]


def test_each_picture_of_a_validation_is_a_file(tmp_path: Path) -> None:
    observer = Samples()
    observer.run_started(run_of(tmp_path))
    observer.pictured(600, [*pictures(2), srkit.Picture("a/b", "other", *pictures(1)[0][2:])])
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["step_00000600_Set5+2.png", "step_00000600_Set5.png", "step_00000600_a_b-c14cddc0.png"]
    assert srkit.read_image(tmp_path / "samples" / names[0]).shape == (358, 1320, 3)


def test_a_picture_without_bicubic_is_not_written(tmp_path: Path) -> None:
    observer = Samples()
    observer.run_started(run_of(tmp_path))
    observer.pictured(600, pictures(1, baseline=False))
    assert not (tmp_path / "samples").exists()


def test_a_picture_that_cannot_be_written_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    observer = Samples()
    observer.run_started(run_of(tmp_path))
    (tmp_path / "samples").write_text("")
    observer.pictured(600, pictures(1))
    path = tmp_path / "samples" / "step_00000600_Set5.png"
    (tmp_path / "samples").unlink()
    path.mkdir(parents=True)
    observer.pictured(600, pictures(1))
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} could not be written: File exists",
        f"{path}: cannot be written: Is a directory",
    ]
