"""Networks that every comparison knows, from SRCNN to PAN; pyramids, any scale, and one image."""

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
        facts={"scales": (1, 2, 3, 4, 8), "tileable": True},
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
    yield srkit.Component(
        "architecture",
        "lapsrn",
        "srkit_networks.lapsrn:LapSRN",
        summary="Laplacian pyramid; a network for x4 gives x2, too",
        source="arXiv:1710.01992",
        facts={"scales": (2, 4, 8), "tileable": True},
    )
    yield srkit.Component(
        "architecture",
        "liif",
        "srkit_networks.liif:LIIF",
        summary="Local implicit image function: any scale, from an EDSR trunk",
        source="arXiv:2012.09161",
        facts={"tileable": True},
    )
    yield srkit.Component(
        "architecture",
        "metasr",
        "srkit_networks.metasr:MetaSR",
        summary="Predicted weights: any scale, from an EDSR trunk",
        source="arXiv:1903.00875",
        facts={"tileable": True},
    )
    yield srkit.Component(
        "architecture",
        "zssr",
        "srkit_networks.zssr:ZSSR",
        summary="Bicubic and eight convolutions, for training on one image",
        source="arXiv:1712.06087",
        facts={"tileable": True},
    )
