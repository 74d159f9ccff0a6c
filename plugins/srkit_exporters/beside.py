"""What stands beside a file: its weights, and as JSON, where its format has no room for words, what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import srkit

WEIGHTS = ".bin"  # of the formats of two files


def refuse_alone(path: Path) -> None:
    """Raise InputRejected where a file lacks the one of its weights: "x2.bin" beside "x2.param"."""
    weights = path.with_suffix(WEIGHTS)
    if not weights.is_file():
        raise srkit.InputRejected(path, f"needs {weights.name} beside it, which is not there")


def write(path: Path, words: Mapping[str, str]) -> None:
    """Keep words beside a file: "x2.json" beside "x2.pte". Raises OSError."""
    path.with_suffix(".json").write_text(json.dumps(dict(words), indent=2), encoding="utf-8")


def read(path: Path) -> dict[str, str]:
    """Return the words beside a file; none where there are none. Raises ValueError for a file of anything else."""
    try:
        found = json.loads(path.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict) or not all(isinstance(word, str) for word in found.values()):
        raise ValueError(f"{path.with_suffix('.json').name} beside it says nothing of a network")
    return found
