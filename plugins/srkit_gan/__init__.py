"""Generative adversarial training: discriminators, and the loss that has one."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "discriminator",
        "vgg_like",
        "srkit_gan.discriminators:VGGLike",
        summary="Convolutions with batch normalisation, one logit an image of one size",
        source="arXiv:1609.04802, arXiv:1809.00219",
    )
    yield srkit.Component(
        "discriminator",
        "unet",
        "srkit_gan.discriminators:UNet",
        summary="U-Net with spectral normalisation, a logit a pixel",
        source="arXiv:2107.10833",
    )
    yield srkit.Component(
        "discriminator",
        "patch",
        "srkit_gan.discriminators:Patch",
        summary="Few convolutions with batch normalisation, a logit for each of many overlapping patches",
        source="arXiv:1611.07004",
    )
    yield srkit.Component(
        "loss",
        "adversarial",
        "srkit_gan.loss:Adversarial",
        summary="What a discriminator, trained against the network, takes for HR",
        source="arXiv:1406.2661, arXiv:1611.04076, arXiv:1705.02894, arXiv:1807.00734, arXiv:1801.04406 (R1)",
        facts={
            "deviations": {
                "hr_itself_is_best": "a discriminator that has learnt nothing yet takes anything for HR",
                "reduction_is_as_stated": "discriminators normalise over the batch, or change a little at each call",
            }
        },
    )
