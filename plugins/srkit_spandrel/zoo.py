"""Which networks spandrel has, read from its folder without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

INSTALL = "pip install --no-deps spandrel einops"

# Families that enlarge but cannot be trained or compared as networks from LR to SR.
LEFT_OUT = {
    "AuraSR": "adds random noise, so that its output differs each time",
    "IPT": "takes patches of one size, in 0..255",
}

# The scales of networks that do not take any: those that spandrel reads from weights, or that they are built for.
SCALES = {
    "ESRGAN": (1, 2, 4, 8),
    "MMRealSR": (4,),
    "SwiftSRGAN": (1, 2, 4, 8),
    "UpCunet2x": (2,),
    "UpCunet2x_fast": (2,),
    "UpCunet3x": (3,),
    "UpCunet4x": (4,),
}

# Where the output for a window is the window of the output; windows of attention and means over the image prevent it.
TILEABLE = {"Compact", "ESRGAN", "MMRealSR", "MoSR", "PLKSR", "SPAN", "SwiftSRGAN"}

# Where the networks deviate from srkit's contract. Most do not describe all of their settings.
DESCRIBED = {"Compact", "GRL", "SwiftSRGAN", "Swin2SR", "UpCunet2x_fast"}
_ALONE = "in evaluation it takes one image at a time"
DEVIATIONS = {
    "FDAT": {"every_parameter_learns": "half of its gates are not used, by turns"},
    "SPAN": {"every_parameter_learns": "its fused convolutions are used in evaluation, and made of others"},
    "SwiftSRGAN": {"every_parameter_learns": "an activation of each block is not used"},
    "SeemoRe": dict.fromkeys(
        (
            "returns_one_tensor",
            "input_is_left_alone",
            "batch_mates_do_not_matter",
            "channels_last_is_the_same",
        ),
        _ALONE,
    ),
}

# `__all__ = ["PLKSRArch", "PLKSR", "RealPLKSR"]`: what detects a family's weights, and its networks.
_ALL = re.compile(r"^__all__ = \[([^\]]*)\]", re.M)
_TITLE = re.compile(r'^ +name="([^"]+)",$', re.M)


@attrs.frozen
class Network:
    """A network of spandrel's: `attribute` of the module spandrel.architectures.`family`."""

    family: str
    attribute: str
    title: str

    @property
    def name(self) -> str:
        """The component's name."""
        return f"spandrel/{self.attribute.lower()}"

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales that it has; empty where it has any."""
        return SCALES.get(self.attribute, ())

    @property
    def facts(self) -> dict[str, Any]:
        """The component's facts: `scales` where limited, `tileable`, and `deviations` from srkit's contract."""
        deviations = dict(DEVIATIONS.get(self.attribute, {}))
        if self.attribute not in DESCRIBED:
            deviations["says_what_it_is"] = "spandrel does not describe all of its settings"
        stated = {"tileable": self.attribute in TILEABLE, "deviations": deviations}
        return {"scales": self.scales, **stated} if self.scales else stated

    @property
    def summary(self) -> str:
        """The component's summary, "SwinIR, of spandrel's zoo"."""
        return f"{self.title}, of spandrel's zoo"


@attrs.frozen
class Zoo:
    """The networks there are, or what is missing; `source` is spandrel with its version."""

    networks: tuple[Network, ...] = ()
    source: str = ""
    missing: str = ""


def find() -> Zoo:
    """Return the networks for super-resolution of the spandrel that is installed. Nothing is imported, or raised."""
    folder = _folder("spandrel")
    if folder is None:
        return Zoo(missing=f"it needs spandrel: {INSTALL}")
    if _folder("einops") is None:
        return Zoo(missing="spandrel needs einops: pip install --no-deps einops")
    networks = tuple(_networks(folder / "architectures"))
    if not networks:
        return Zoo(missing=f"no networks were found in {folder}; known is the layout of spandrel 0.4")
    return Zoo(networks, f"spandrel {_version()}".rstrip())


def _folder(package: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a module in sys.modules without a spec
        return None
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def _version() -> str:
    try:
        return importlib.metadata.version("spandrel")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _networks(folder: Path) -> Iterator[Network]:
    for path in sorted(folder.glob("*/__init__.py")):
        family, text = path.parent.name, path.read_text(encoding="utf-8", errors="replace")
        names = _ALL.search(text)
        # A family says what it is for: one whose text lacks "SR" is for denoising, faces, holes and the like alone.
        if names is None or family in LEFT_OUT or '"SR"' not in text:
            continue
        attributes = [name for name in re.findall(r'"(\w+)"', names[1]) if name != f"{family}Arch"]
        title = _TITLE.search(text)
        for attribute in attributes:
            yield Network(family, attribute, title[1] if title and len(attributes) == 1 else attribute)
