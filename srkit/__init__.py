"""srkit: super-resolution training with networks, losses, datasets and metrics as plugins.

The public names, and nothing else. Each is imported when it is first used, so that `import srkit` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from srkit.version import __version__ as __version__

if TYPE_CHECKING:
    from srkit.api import bench, components, create, evaluate, load, load_recipe, report, run, sweep, upscale
    from srkit.choosing import check_weights
    from srkit.errors import (
        ComponentError,
        InputRejected,
        RecipeError,
        RunFailed,
        SrkitError,
        Stopped,
        UsageError,
    )
    from srkit.images.listing import list_folder, list_images
    from srkit.images.manifest import ImageRecord, Manifest
    from srkit.images.reading import decode_image, image_size, read_image
    from srkit.images.writing import encode_image, save_image
    from srkit.matlab import read_matrices
    from srkit.plugin.component import Component, hookimpl
    from srkit.plugin.contracts import (
        Architecture,
        Augmentation,
        Dataset,
        Detected,
        DeterministicDegradation,
        Discriminator,
        Distortion,
        Draws,
        Exported,
        Exporter,
        Loss,
        Metric,
        OptimizerFactory,
        Picture,
        RandomDegradation,
        Run,
        Schedule,
        Stage,
        Window,
    )

_HOME = {
    "Architecture": "plugin.contracts",
    "Augmentation": "plugin.contracts",
    "Component": "plugin.component",
    "ComponentError": "errors",
    "Dataset": "plugin.contracts",
    "Detected": "plugin.contracts",
    "DeterministicDegradation": "plugin.contracts",
    "Discriminator": "plugin.contracts",
    "Distortion": "plugin.contracts",
    "Draws": "plugin.contracts",
    "Exported": "plugin.contracts",
    "Exporter": "plugin.contracts",
    "ImageRecord": "images.manifest",
    "InputRejected": "errors",
    "Loss": "plugin.contracts",
    "Manifest": "images.manifest",
    "Metric": "plugin.contracts",
    "OptimizerFactory": "plugin.contracts",
    "Picture": "plugin.contracts",
    "RandomDegradation": "plugin.contracts",
    "RecipeError": "errors",
    "Run": "plugin.contracts",
    "RunFailed": "errors",
    "Schedule": "plugin.contracts",
    "SrkitError": "errors",
    "Stage": "plugin.contracts",
    "Stopped": "errors",
    "UsageError": "errors",
    "Window": "plugin.contracts",
    "bench": "api",
    "check_weights": "choosing",
    "components": "api",
    "create": "api",
    "decode_image": "images.reading",
    "encode_image": "images.writing",
    "evaluate": "api",
    "hookimpl": "plugin.component",
    "image_size": "images.reading",
    "list_folder": "images.listing",
    "list_images": "images.listing",
    "load": "api",
    "load_recipe": "api",
    "read_image": "images.reading",
    "read_matrices": "matlab",
    "report": "api",
    "run": "api",
    "save_image": "images.writing",
    "sweep": "api",
    "upscale": "api",
}

__all__ = [
    "Architecture",
    "Augmentation",
    "Component",
    "ComponentError",
    "Dataset",
    "Detected",
    "DeterministicDegradation",
    "Discriminator",
    "Distortion",
    "Draws",
    "Exported",
    "Exporter",
    "ImageRecord",
    "InputRejected",
    "Loss",
    "Manifest",
    "Metric",
    "OptimizerFactory",
    "Picture",
    "RandomDegradation",
    "RecipeError",
    "Run",
    "RunFailed",
    "Schedule",
    "SrkitError",
    "Stage",
    "Stopped",
    "UsageError",
    "Window",
    "bench",
    "check_weights",
    "components",
    "create",
    "decode_image",
    "encode_image",
    "evaluate",
    "hookimpl",
    "image_size",
    "list_folder",
    "list_images",
    "load",
    "load_recipe",
    "read_image",
    "read_matrices",
    "report",
    "run",
    "save_image",
    "sweep",
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
