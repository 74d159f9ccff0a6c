"""Three networks that every comparison knows: SRCNN, ESPCN and EDSR."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "architecture",
        "srcnn",
        "srkit_networks.srcnn:SRCNN",
        summary="Three convolutions on the bicubic enlargement",
        source="arXiv:1501.00092",
        facts={"tileable": True},
    )
    yield srkit.Component(
        "architecture",
        "espcn",
        "srkit_networks.espcn:ESPCN",
        summary="Three convolutions on LR, then a sub-pixel shuffle",
        source="arXiv:1609.05158",
        facts={"tileable": True},
    )
    yield srkit.Component(
        "architecture",
        "edsr",
        "srkit_networks.edsr:EDSR",
        summary="Enhanced deep residual network, the baseline size",
        source="arXiv:1707.02921",
        facts={"scales": (2, 3, 4), "tileable": True},
    )
