"""Whose weights a file's name says it holds, and what the table of published figures says of each."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests.conftest import ROOT

spec = importlib.util.spec_from_file_location("published", ROOT / "benchmarks" / "published.py")
published = importlib.util.module_from_spec(spec)
spec.loader.exec_module(published)

DATA = os.environ.get("SRKIT_TEST_DATA")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("aan_x2.pt", ("A2N", 2)),
        ("EDSR_x4.pt", ("EDSR", 4)),
        ("RCAN_BIX3.pt", ("RCAN", 3)),
        ("IMDN_x4.pth", ("IMDN", 4)),
        ("pan_x2.pth", ("PAN", 2)),
        ("001_classicalSR_DF2K_s64w8_SwinIR-M_x2.pth", ("SwinIR", 2)),
        ("002_lightweightSR_DIV2K_s64w8_SwinIR-S_x3.pth", ("SwinIR light", 3)),
        ("OmniSR_X2_DIV2K.safetensors", ("OmniSR", 2)),
        ("SPAN_x4.pth", ("SPAN", 4)),
        ("HAT_SRx4.pth", ("HAT", 4)),
        ("DAT_x3.pth", ("DAT", 3)),
        ("4x_HAT.pth", ("HAT", 4)),
        ("README.md", None),
        ("EDSR_x2.pt", None),
        ("data_x2.pt", None),
    ],
)
def test_a_file_is_known_by_its_name(name, found):
    assert published.known(Path(name)) == found


def test_a_row_has_the_difference_of_what_is_printed():
    line = "| Set5 x2 | PAN | 38.00 / .9605 | 38.01 / .9604 | +.01 / -.0001 | whole images |"
    assert published.row("Set5", "PAN", 2, "38.00 / .9605", (38.0067, 0.96041), "whole images") == line


def test_what_is_missing_is_said(tmp_path):
    (tmp_path / "Set5").mkdir()
    lines = list(published.missing(tmp_path, [Path("aan_x2.pt"), Path("other.pt")]))
    assert lines[:4] == [
        *(f"missing: {tmp_path / name}" for name in ("Set14", "B100", "Urban100")),
        "not known by its name: other.pt",
    ]
    assert "no weights: A2N x3, x4 (arXiv:2104.09497, tables 5 to 7)" in lines
    assert len([line for line in lines if line.startswith("no weights: ")]) == len(published.FAMILIES)


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")
def test_weights_that_are_there_reproduce_their_papers():
    data, weights = Path(DATA, "data"), Path(DATA, "golden/weights")
    rows = [line.split(" | ") for line in published.rows(data, sorted(weights.iterdir()))]
    apart = {(row[1], row[-1]): row[4] for row in rows if row[1] != "bicubic"}
    assert apart == {
        ("A2N", "in quarters, as its authors do |"): "+.00 / +.0000",
        ("A2N", "whole images |"): "+.00 / -.0001",
        ("PAN", "whole images |"): "+.00 / +.0000",
    }
