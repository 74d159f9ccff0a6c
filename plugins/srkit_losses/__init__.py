"""Losses by formula: of pixels, of spectra, of local structure, and of artifacts; of SR, or of every output."""

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
    yield srkit.Component(
        "loss",
        "fft",
        "srkit_losses.frequency:FFT",
        summary="Absolute difference of the spectra",
        source="arXiv:2108.05054",
    )
    yield srkit.Component(
        "loss",
        "focal_frequency",
        "srkit_losses.frequency:FocalFrequency",
        summary="Squared difference of the spectra, weighted most where it is largest",
        source="arXiv:2012.12821",
        facts={"deviations": {"gradient_is_the_slope": "no gradient flows through its weights, as in the paper"}},
    )
    yield srkit.Component(
        "loss",
        "ms_ssim",
        "srkit_losses.structure:MSSSIM",
        summary="One minus the structural similarity at five scales",
        source="Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216",
    )
    yield srkit.Component(
        "loss",
        "gradient",
        "srkit_losses.structure:Gradient",
        summary="Absolute difference of the slopes, by Sobel's operator",
    )
    yield srkit.Component(
        "loss",
        "ldl",
        "srkit_losses.artifacts:LDL",
        summary="Absolute difference where SR varies as artifacts do (wants a moving average)",
        source="arXiv:2203.09195",
        facts={"deviations": {"gradient_is_the_slope": "no gradient flows through its weights"}},
    )
