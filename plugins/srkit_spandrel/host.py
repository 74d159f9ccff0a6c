"""srkit's self-describing files in programs that open networks by spandrel's ModelLoader."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import safetensors

import srkit
from srkit_spandrel.bridge import Facts
from srkit_spandrel.standin import import_spandrel


def install() -> None:
    """See `srkit_spandrel.install`."""
    spandrel = import_spandrel()
    loader = spandrel.ModelLoader
    foreign = loader.load_from_file
    if hasattr(foreign, "srkit"):
        return

    @functools.wraps(foreign)
    def load_from_file(self: Any, path: str | os.PathLike[str]) -> Any:
        described = _description(path)
        if described is None:
            return foreign(self, path)
        try:
            network = srkit.load(path)
        except srkit.ComponentError as error:  # not installed here: spandrel may know it by its weights
            try:
                return foreign(self, path)
            except spandrel.UnsupportedModelError:
                raise spandrel.UnsupportedModelError(str(error)) from error
        return _descriptor(spandrel, network, described).to(self.device)

    changed: Any = load_from_file
    changed.srkit = True
    loader.load_from_file = changed


def _description(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what a file of srkit's says of its network, or None for any other file."""
    if not os.fspath(path).lower().endswith(".safetensors"):
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("srkit")
        found = None if text is None else json.loads(text)
    except (OSError, ValueError, safetensors.SafetensorError):
        return None  # spandrel's own words for it
    return found if isinstance(found, dict) else None


def _descriptor(spandrel: Any, network: Any, described: dict[str, Any]) -> Any:
    """Return a network as spandrel's programs know networks."""
    scale = int(described["scale"])
    found = getattr(network, "facts", None)
    facts = found if isinstance(found, Facts) else None  # of a network that is spandrel's own
    return spandrel.ImageModelDescriptor(
        network,
        network.state_dict(),
        architecture=_architecture(spandrel, described["architecture"]) if facts is None else facts.architecture,
        purpose="Restoration" if scale == 1 else "SR",
        tags=["srkit"],
        # Nothing is known of a network that is not spandrel's: full precision is always right.
        supports_half=facts is not None and facts.supports_half,
        supports_bfloat16=facts is not None and facts.supports_bfloat16,
        scale=scale,
        input_channels=3,
        output_channels=3,
        size_requirements=None if facts is None else facts.size_requirements,
        tiling=spandrel.ModelTiling.SUPPORTED if facts is None else facts.tiling,
    )


def _architecture(spandrel: Any, name: str) -> Any:
    """Return an architecture that is no more than its name: what detects weights has no part in such a file."""

    def load(self: Any, state: Any) -> Any:
        raise spandrel.UnsupportedModelError(f"'{name}' is made from a file that describes itself, not from weights")

    own = type("Described", (spandrel.Architecture,), {"load": load})
    return own(id=f"srkit/{name}", name=name, detect=lambda state: False)
