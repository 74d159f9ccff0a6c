"""srkit: super-resolution training with networks, losses, datasets and metrics as plugins.

The public names, and nothing else. Each is imported when it is first used, so that `import srkit` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srkit.api import components, create, evaluate, load, load_recipe, run, upscale
    from srkit.component import Component
    from srkit.contracts import Detected, Run, Window
    from srkit.errors import (
        ComponentError,
        InputRejected,
        RecipeError,
        RunFailed,
        SrkitError,
        Stopped,
        UsageError,
    )
    from srkit.hookspecs import hookimpl
    from srkit.imaging import decode_image, encode_image, image_size, list_images, read_image, save_image
    from srkit.manifest import ImageRecord, Manifest

__version__ = "0.1.0"

_HOME = {
    "Component": "component",
    "ComponentError": "errors",
    "Detected": "contracts",
    "ImageRecord": "manifest",
    "InputRejected": "errors",
    "Manifest": "manifest",
    "RecipeError": "errors",
    "Run": "contracts",
    "RunFailed": "errors",
    "SrkitError": "errors",
    "Stopped": "errors",
    "UsageError": "errors",
    "Window": "contracts",
    "components": "api",
    "create": "api",
    "decode_image": "imaging",
    "encode_image": "imaging",
    "evaluate": "api",
    "hookimpl": "hookspecs",
    "image_size": "imaging",
    "list_images": "imaging",
    "load": "api",
    "load_recipe": "api",
    "read_image": "imaging",
    "run": "api",
    "save_image": "imaging",
    "upscale": "api",
}

__all__ = [
    "Component",
    "ComponentError",
    "Detected",
    "ImageRecord",
    "InputRejected",
    "Manifest",
    "RecipeError",
    "Run",
    "RunFailed",
    "SrkitError",
    "Stopped",
    "UsageError",
    "Window",
    "components",
    "create",
    "decode_image",
    "encode_image",
    "evaluate",
    "hookimpl",
    "image_size",
    "list_images",
    "load",
    "load_recipe",
    "read_image",
    "run",
    "save_image",
    "upscale",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'srkit' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"srkit.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
