"""Slim containers lack the system's libGL, and so OpenCV: what must work there does."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from PIL import Image

import srkit
from srkit.images.encoding import encode_png
from tests.conftest import HANGS

HIDDEN = "import sys; sys.modules['cv2'] = None; from srkit.cli import main; sys.exit(main(sys.argv[1:]))"


def without_opencv(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDDEN, *arguments], capture_output=True, text=True, timeout=HANGS)


def test_training_evaluation_and_upscaling_work_without_opencv(tiny):
    run = without_opencv("run", str(tiny))
    assert (run.returncode, "Traceback" in run.stderr) == (0, False), run.stderr
    scored = without_opencv("eval", "runs/tiny", "--data", "photos", "--json")
    with_opencv = srkit.evaluate({"tiny": srkit.load("runs/tiny")}, "photos", scale=2)
    assert json.loads(scored.stdout)["tables"] == with_opencv
    assert without_opencv("upscale", "runs/tiny", "photos/p0.png", "-o", "out.png").returncode == 0


def test_where_opencv_is_needed_one_line_says_two_ways_to_mend_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr" / "deep.png").write_bytes(encode_png(np.full((16, 16, 3), 4000, np.uint16)))
    Image.new("RGB", (16, 16)).save("hr/plain.png")
    run = without_opencv("degrade", "bicubic", "hr", "lr", "--scale", "2")
    assert run.returncode == 3
    first, last = run.stderr.splitlines()
    assert first.startswith("hr/deep.png: ")
    assert "apt install libgl1" in first
    assert "pip uninstall opencv-python && pip install opencv-python-headless" in first
    assert last == "1 of 2 images downscaled by 2, in lr"
