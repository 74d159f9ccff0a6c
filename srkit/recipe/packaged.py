"""The recipes that come with srkit, found by name."""

from __future__ import annotations

import contextlib
import importlib.metadata
from pathlib import Path

from srkit.errors import UsageError, did_you_mean


def packaged_recipes() -> dict[str, Path]:
    """Return the packaged recipes by name; those of a checkout, or those that an installed distribution brought."""
    folder = Path(__file__).resolve().parents[2] / "recipes"
    found = sorted(folder.glob("*.toml"))
    if not found:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.distribution("srkit").files or ():
                if file.parts[-3:-1] == ("srkit", "recipes") and file.suffix == ".toml":
                    found.append(Path(str(file.locate())).resolve())
    return {path.stem: path for path in sorted(found)}


def find_recipe(name: str) -> Path:
    """Return the file of that path, or else the packaged recipe of that name. Raises UsageError where neither is."""
    if Path(name).is_file():
        return Path(name)
    known = packaged_recipes()
    stem = Path(name).stem
    if stem in known:  # also where a run of that name lies here
        return known[stem]
    if Path(name).is_dir():
        raise UsageError(f"{name} is a folder, not a recipe")
    raise UsageError(f"there is no recipe {name}, neither a file nor a packaged one{did_you_mean(stem, known)}")
