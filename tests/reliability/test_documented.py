"""docs/reliability.md: the tests that it names are there, its code runs, its table is written by what it says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT
from tests.reliability import table

PAGE = ROOT / "docs" / "reliability.md"


def test_each_promise_names_tests_that_there_are():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`test" in line]
    assert len(rows) > 25
    for row in rows:
        path = None
        for name in re.findall(r"`(tests/[a-z_/0-9]+\.py|test_[a-z_0-9]+)`", row):
            if name.endswith(".py"):
                path = ROOT / name
                continue
            assert path is not None, row
            assert f"def {name}(" in path.read_text(), f"{path}: {name}"
        assert path is not None, row


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == "No space left on device\n"


def test_the_table_is_written_between_its_marks_and_keeps_what_was_not_counted(tmp_path):
    page = Path(tmp_path, "page.md")
    page.write_text(f"before\n{table.BEGIN}\n{table.END}\nafter\n")
    table.write(page, [("kills", 2_000, "passed", 61.4), ("faults", 34, "failed", 0.2)], seed=7)
    table.write(page, [("faults", 35, "passed", 0.2)], seed=8)
    lines = page.read_text().splitlines()
    assert (lines[:4], lines[-2:]) == (["before", table.BEGIN, *table.HEAD], [table.END, "after"])
    assert [re.sub(r"\d{4}-\d\d-\d\d \| srkit .*", "then", line) for line in lines[4:-2]] == [
        "| faults | 35 | none | 8 | then",
        "| kills | 2,000 | none | 7 | then",
    ]
