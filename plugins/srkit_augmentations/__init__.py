"""Changes to LR and HR alike: the symmetries of a square, samples mixed, and choices of augmentations.

Both mirrorings with the quarter turn, or with the transposition, give all eight symmetries.
"""

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
    mixed = {"deviations": {"batch_mates_do_not_matter": "a sample is mixed with the one before it in the batch"}}
    yield srkit.Component(
        "augmentation",
        "mixup",
        "srkit_augmentations.mixing:mixup",
        summary="The weighted mean of each sample with another",
        source="arXiv:1710.09412",
        facts=mixed,
    )
    yield srkit.Component(
        "augmentation",
        "cutmix",
        "srkit_augmentations.mixing:cutmix",
        summary="A rectangle of another sample in each",
        source="arXiv:1905.04899",
        facts=mixed,
    )
    yield srkit.Component(
        "augmentation",
        "cutblur",
        "srkit_augmentations.mixing:cutblur",
        summary="LR sharp in a rectangle, or around it",
        source="arXiv:2004.00448",
    )
    yield srkit.Component(
        "augmentation",
        "maybe",
        "srkit_augmentations.choosing:maybe",
        summary="An augmentation for a share of the samples",
    )
    yield srkit.Component(
        "augmentation",
        "one_of",
        "srkit_augmentations.choosing:one_of",
        summary="One of several augmentations for each sample",
    )
