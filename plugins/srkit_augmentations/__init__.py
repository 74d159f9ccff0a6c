"""The mirrorings and the quarter turn, which together give the eight symmetries of a square."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    for name, summary in (
        ("hflip", "Mirror left and right, half of the time"),
        ("vflip", "Mirror top and bottom, half of the time"),
        ("rot90", "A quarter turn anticlockwise, half of the time"),
    ):
        yield srkit.Component(
            "augmentation", name, f"srkit_augmentations.symmetries:{name}", summary=summary, facts={"draws": 1}
        )
