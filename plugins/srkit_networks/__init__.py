"""Networks that every comparison knows, from SRCNN to PAN."""

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
        facts={"tileable": True, "weights_fit_any_scale": True},
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
    yield srkit.Component(
        "architecture",
        "srresnet",
        "srkit_networks.srresnet:SRResNet",
        summary="SRGAN's generator; normalisation, upsampler and its place are settings",
        source="arXiv:1609.04802",
        facts={"scales": (2, 3, 4, 8), "tileable": True},
    )
    yield srkit.Component(
        "architecture",
        "rcan",
        "srkit_networks.rcan:RCAN",
        summary="Residual groups with channel attention",
        source="arXiv:1807.02758",
        facts={"scales": (2, 3, 4, 8), "tileable": False},
    )
    yield srkit.Component(
        "architecture",
        "cbam",
        "srkit_networks.srresnet:CBAM",
        summary="Residual blocks with channel and spatial attention",
        source="arXiv:1807.06521",
        facts={"scales": (2, 3, 4, 8), "tileable": False},
    )
    yield srkit.Component(
        "architecture",
        "pan",
        "srkit_networks.pan:PAN",
        summary="Pixel attention network",
        source="arXiv:2010.01073",
        facts={"scales": (2, 3, 4), "tileable": True},
    )
