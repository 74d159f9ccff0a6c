"""Symmetries of a square: both mirrorings with the quarter turn, or with the transposition, give all eight."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    for name, summary in (
        ("hflip", "Mirror left and right, half of the time"),
        ("vflip", "Mirror top and bottom, half of the time"),
        ("rot90", "A quarter turn anticlockwise, half of the time"),
        ("transpose", "Swap height and width, half of the time"),
    ):
        yield srkit.Component(
            "augmentation", name, f"srkit_augmentations.symmetries:{name}", summary=summary, facts={"draws": 1}
        )
