"""The table of docs/reliability.md, from what a run of the tests counted."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"


def write(path: Path, counted: Sequence[tuple[str, int, str, float]], *, seed: int, times: int) -> None:
    """Write [(what, cases, outcome, seconds)] between the marks of a file, with the date, the versions and the seed."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{table(counted, seed=seed, times=times)}{END}{after}", encoding="utf-8")


def table(counted: Sequence[tuple[str, int, str, float]], *, seed: int, times: int) -> str:
    """Return the table as Markdown."""
    import h5py
    import lmdb
    import numpy
    import PIL
    import torch

    from srkit.version import __version__

    versions = {
        "srkit": __version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "Pillow": PIL.__version__,
        "h5py": h5py.__version__,
        "lmdb": lmdb.__version__,
    }
    rows = [
        f"| {what} | {cases:,} | {'none' if outcome == 'passed' else 'FAILED'} | {seconds:,.0f} |"
        for what, cases, outcome, seconds in sorted(counted)
    ]
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join(
        [
            f"{time.strftime('%Y-%m-%d', time.gmtime())}, {platform.system()} {platform.machine()}: {said}.",
            f"`SRKIT_CHAOS_N={times} SRKIT_CHAOS_SEED={seed} pytest -m chaos --chaos-table docs/reliability.md`",
            "",
            "| what | cases | lost, different, crashed | seconds of its test |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
