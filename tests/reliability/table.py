"""The table of docs/reliability.md, from what runs of the tests counted."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
HEAD = ["| what | cases | lost, different, crashed | seed | date | of |", "|---|---|---|---|---|---|"]


def write(path: Path, counted: Sequence[tuple[str, int, str, float]], *, seed: int) -> None:
    """Write [(what, cases, outcome, seconds)] into the table between the marks of a file, with seed, date and versions.

    Rows of what was not counted now stay.
    """
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ") and line not in HEAD}
    for what, cases, outcome, _ in counted:
        result = "none" if outcome == "passed" else "FAILED"
        date = time.strftime("%Y-%m-%d", time.gmtime())
        rows[what] = f"| {what} | {cases:,} | {result} | {seed} | {date} | {versions()} |"
    table = "\n".join([*HEAD, *(rows[what] for what in sorted(rows))])
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def versions() -> str:
    """Return what the tests ran on, in a line."""
    import h5py
    import PIL
    import torch

    from srkit.version import __version__

    found = {"srkit": __version__, "Python": platform.python_version(), "torch": torch.__version__}
    found |= {"Pillow": PIL.__version__, "h5py": h5py.__version__, platform.system(): platform.machine()}
    return ", ".join(f"{name} {version}" for name, version in found.items())
