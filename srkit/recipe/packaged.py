"""The recipes that come with srkit, found by name."""

from __future__ import annotations

import contextlib
import importlib.metadata
from pathlib import Path

from srkit.errors import UsageError, did_you_mean, nearest


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
    """Return the file of that path, or else the packaged recipe of that name. Raises UsageError where neither is.

    A packaged recipe may be called a2n_x2, a2n_x2.toml or, as in a clone, recipes/a2n_x2.toml.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = packaged_recipes()
    if path.stem in known and path.suffix in ("", ".toml") and str(path.parent) in (".", "recipes"):
        return known[path.stem]  # also where a run of that name lies here
    if path.is_dir():
        own = path / "recipe.toml"
        what = f"a run; its recipe is {own}" if own.is_file() else "a folder, not a recipe"
        raise UsageError(f"{name} is {what}")
    beside = {file.stem: file for file in path.parent.glob("*.toml")}
    near = nearest(path.stem, beside)
    meant = f"; did you mean '{beside[near]}'?" if near is not None else did_you_mean(path.stem, known)
    raise UsageError(f"there is no recipe {name}, neither a file nor a packaged one{meant}")
