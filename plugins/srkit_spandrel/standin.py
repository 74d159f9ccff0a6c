"""spandrel imported, also where there is no torchvision."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

# What spandrel 0.4 imports of torchvision, all of it here, and the families that call it.
HOME = "torchvision.transforms.functional"
FUNCTIONS = {"rotate": "LaMa", "normalize": "RestoreFormer"}


def import_spandrel() -> Any:
    """Return the module spandrel. Raises ImportError where it, or what it needs beside torchvision, is not there.

    Its distribution asks for torchvision, for two functions that no network for super-resolution calls. Where it is
    missing, a stand-in module replaces it during the import only, so that no other code takes it for torchvision.
    """
    if "spandrel" not in sys.modules:
        # Modules that look for torchvision must be imported before the stand-in is there.
        for needed in ("torch", "safetensors.torch", "einops", "numpy"):
            importlib.import_module(needed)
    with _torchvision():
        return importlib.import_module("spandrel")


@contextlib.contextmanager
def _torchvision() -> Iterator[None]:
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        yield
        return
    parts = HOME.split(".")
    modules = {name: ModuleType(name) for name in (".".join(parts[:end]) for end in range(1, len(parts) + 1))}
    for name, family in FUNCTIONS.items():
        setattr(modules[HOME], name, _lacking(name, family))
    vars(modules[HOME])["InterpolationMode"] = SimpleNamespace(BILINEAR="bilinear")
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _lacking(name: str, family: str) -> Callable[..., Any]:
    def lacking(*_: Any, **__: Any) -> Any:
        raise ImportError(f"spandrel's {family} calls {HOME}.{name}: install torchvision", name="torchvision")

    return lacking
