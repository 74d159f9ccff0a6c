"""PSNR and SSIM as super-resolution papers report them, on the luma and on RGB."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    yield srkit.Component(
        "metric",
        "psnr_y",
        "srkit_metrics.psnr:psnr_y",
        summary="Peak signal-to-noise ratio of the luma, in dB",
        source="ITU-R BT.601 luma, as MATLAB's rgb2ycbcr",
        facts={"better": "higher", "color": "Y"},
    )
    yield srkit.Component(
        "metric",
        "ssim_y",
        "srkit_metrics.ssim:ssim_y",
        summary="Structural similarity of the luma",
        source="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
        facts={"better": "higher", "color": "Y"},
    )
    yield srkit.Component(
        "metric",
        "psnr",
        "srkit_metrics.psnr:psnr",
        summary="Peak signal-to-noise ratio of RGB, in dB",
        facts={"better": "higher", "color": "RGB"},
    )
    yield srkit.Component(
        "metric",
        "ssim",
        "srkit_metrics.ssim:ssim",
        summary="Structural similarity, the mean of red, green and blue",
        source="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
        facts={"better": "higher", "color": "RGB"},
    )
