"""Pixel losses: L1, L2 and Charbonnier; of SR, or of every output."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component("loss", "l1", "srkit_losses.pixel:L1", summary="Absolute difference")
    yield srkit.Component("loss", "l2", "srkit_losses.pixel:L2", summary="Squared difference")
    yield srkit.Component(
        "loss",
        "charbonnier",
        "srkit_losses.pixel:Charbonnier",
        summary="Absolute difference, smooth around zero",
        source="arXiv:1710.01992",
    )
    yield srkit.Component(
        "loss",
        "deep_supervision",
        "srkit_losses.supervision:DeepSupervision",
        summary="A loss of every output, against HR of its size",
        source="arXiv:1710.01992",
    )
