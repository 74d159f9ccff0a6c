"""A network of one image: a recipe's, trained on that image alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from srkit import api
from srkit.images.reading import image_size
from srkit.plugin.registry import Registry
from srkit.recipe.packaged import packaged_recipes
from srkit.recipe.recipe import Recipe


def recipe_of(model: str) -> Path | None:
    """Return the recipe that a MODEL is: a file, or the name of a packaged one where no file has that name; or None."""
    path = Path(model)
    if path.suffix == ".toml" and path.is_file():
        return path
    return None if path.exists() else packaged_recipes().get(model.removesuffix(".toml"))


def load(recipe: Path, overrides: Sequence[str], registry: Registry) -> Recipe:
    """Return a recipe, checked whole but for its images. Raises RecipeError."""
    from srkit.engine.builder import Builder

    return Builder(registry).load(recipe, overrides=overrides, datasets=False).recipe


def trained_on(image: Path, recipe: Path, overrides: Sequence[str], registry: Registry) -> Path:
    """Train a recipe on an image, or go on with the run that is there; return the run directory.

    It is named by the recipe, by its hash and by that of the image and its name. Where the image is smaller than a
    patch, patches are as large as it allows. Raises what `srkit.run` raises, and InputRejected for the image.
    """
    loaded = load(recipe, overrides, registry)
    # Its name is part of what a run calls its images by, so that a copy of another name is another one.
    digest = hashlib.sha256(os.fsencode(image.name) + b"\0" + image.read_bytes()).hexdigest()
    own = [f'data.dataset={{type="folder", path={json.dumps(str(image), ensure_ascii=False)}}}']
    largest = int(min(image_size(image)) // loaded.scale)
    if 0 < largest < loaded.data.patch:
        own.append(f"data.patch={largest}")
    out = Path("runs") / f"{recipe.stem}-{loaded.hash[:8]}-{digest[:8]}"
    api.run(recipe, out=out, set=[*overrides, *own], observers=["console"], registry=registry)
    return out
