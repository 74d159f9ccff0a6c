"""What a file says of its network, kept beside it as JSON where its format has no room for words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


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
