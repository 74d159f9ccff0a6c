"""How a score is measured: two scores are comparable where their protocols are the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import attrs

from srkit.errors import UsageError, did_you_mean

Fit = Literal["crop", "resize"]
Forward = Literal["whole", "chop", "tiles"]
Ensemble = Literal["none", "x8", "median"]
Precision = Literal["float32", "bfloat16", "float16"]


_WORDS = {"fit": Fit, "forward": Forward, "ensemble": Ensemble, "precision": Precision}


@attrs.frozen
class Method:
    """A way to measure any network.

    `fit`: HR whose size is no multiple of the scale is cropped to one, or resized. `degradation`: what makes LR; ""
    for the files beside HR, or else MATLAB's bicubic. `forward`: the whole image at once, in quarters as EDSR's
    --chop, or in overlapping tiles. `ensemble`: "x8" is the mean over the eight symmetries,
    "median" their median. `whole_border`: the metrics that
    see the border; for the others as many pixels as the scale are cut from every side. `precision`: what networks
    compute in; a part whose output is not finite is computed again in float32.
    """

    fit: Fit = "crop"
    degradation: str = ""
    forward: Forward = "whole"
    ensemble: Ensemble = "none"
    whole_border: tuple[str, ...] = ()
    precision: Precision = "float32"

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for a word that means nothing: it would stand in the protocol of scores."""
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value not in get_args(words):
                raise UsageError(f"unknown {name} '{value}'{did_you_mean(str(value), get_args(words))}")

    def border(self, metric: str, scale: float) -> int:
        """Return how many pixels are cut from each side before a metric looks."""
        return 0 if metric in self.whole_border else math.ceil(scale)


PAPER = Method()
# What a widely read account of training A2N measures. HR is resized to a multiple of the scale, which makes an easier
# image of it, and SSIM counts the border. Its numbers are higher than those of the papers, and are to be compared with
# its own alone. (Its luma has 25.046 of 256 for blue where BT.601 has 25.064. That is not imitated: it changes the PSNR
# of bicubic on Set5 x2 by less than 0.001 dB.)
BLOG = Method(
    fit="resize",
    degradation="srkit:pillow_bicubic",
    whole_border=("ssim_y", "ssim"),
)
METHODS: Mapping[str, Method] = {"paper": PAPER, "blog": BLOG}


def find_method(name: str) -> Method:
    """Return the method of a name. Raises UsageError where there is none."""
    if name not in METHODS:
        raise UsageError(f"unknown protocol '{name}'{did_you_mean(name, METHODS)}")
    return METHODS[name]


ALONE = "files alone"  # what LR is, where there is no HR
OF_NETWORKS = ("padding",)  # the keys that say something of the networks, not of how all of them are measured


@attrs.frozen(kw_only=True)
class Protocol:
    """Everything that a score depends on beside the network.

    `border`: pixels cut from each side, and `color`: what is looked at, "Y" or "RGB", by metric. `lr`: "files", "files
    alone" where there is no HR, or the degradation with its settings. `fingerprint`: of the images, HR and LR.
    `padding`: what LR was padded to, by the name of the network, "multiples of 8", for those that do not take all of
    the images as they are. It is the networks' own, so that scores are comparable all the same; where nothing was
    padded, nothing is stored of it. Of float32, the `precision` of most, nothing is stored either.
    """

    scale: float
    color: Mapping[str, str]
    border: Mapping[str, int]
    rounding: str = "8 bits"
    fit: Fit = "crop"
    lr: str
    forward: Forward = "whole"
    ensemble: Ensemble = "none"
    precision: Precision = "float32"
    images: int
    fingerprint: str
    padding: Mapping[str, str] = attrs.field(factory=dict)

    def to_tree(self) -> dict[str, Any]:
        """Return the protocol as JSON's types, as it is stored with every score."""
        return {
            field.name: dict(value) if isinstance(value, Mapping) else value
            for field in attrs.fields(Protocol)
            for value in [getattr(self, field.name)]
            if (field.name not in OF_NETWORKS or value) and (field.name != "precision" or value != field.default)
        }

    @staticmethod
    def from_tree(tree: Mapping[str, Any]) -> Protocol:
        """Return the protocol of `to_tree`. Raises TypeError for another form."""
        return Protocol(**tree)

    def of(self, metric: str) -> Protocol:
        """Return the protocol of one metric's scores: what is said of the others is left out."""
        return attrs.evolve(
            self,
            color={name: value for name, value in self.color.items() if name == metric},
            border={name: value for name, value in self.border.items() if name == metric},
        )

    @property
    def _images(self) -> list[str]:
        """What HR and LR are."""
        if self.lr == ALONE:
            return ["LR from files, without HR"]
        fit = "cropped" if self.fit == "crop" else "resized"
        multiple = "a multiple of scale" if self.scale == int(self.scale) else "the nearest to a multiple of scale"
        return [f"HR {fit} to {multiple}", "LR from files" if self.lr == "files" else f"LR by {self.lr}"]

    @property
    def caption(self) -> str:
        """The protocol as a line of prose."""
        borders = set(self.border.values())
        border = (
            f"border {borders.pop()} cut"
            if len(borders) == 1
            else "border cut: " + ", ".join(f"{metric} {pixels}" for metric, pixels in self.border.items())
        )
        return "; ".join(
            [
                f"{self.images} image{'' if self.images == 1 else 's'}",
                ", ".join(f"{metric} on {color}" for metric, color in self.color.items()),
                f"SR rounded to {self.rounding}",
                border,
                *self._images,
                *(f"LR padded to {sides} by reflection for {model}" for model, sides in self.padding.items()),
                f"forward {self.forward}" + ("" if self.ensemble == "none" else f", ensemble {self.ensemble}"),
                *([] if self.precision == "float32" else [f"networks in {self.precision}"]),
                f"data {self.fingerprint}",
            ]
        )
