"""PSNR, SSIM, MS-SSIM and ZNCC as super-resolution papers report them, on the luma and on RGB."""

from collections.abc import Iterator

import srkit

_LUMA = "ITU-R BT.601 luma, as MATLAB's rgb2ycbcr"
_SSIM = "Wang et al. 2004, doi:10.1109/TIP.2003.819861"
_MS_SSIM = "Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216"


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "metric",
        "psnr_y",
        "srkit_metrics.psnr:psnr_y",
        summary="Peak signal-to-noise ratio of the luma, in dB",
        source=_LUMA,
        facts={"better": "higher", "color": "Y"},
    )
    yield srkit.Component(
        "metric",
        "ssim_y",
        "srkit_metrics.ssim:ssim_y",
        summary="Structural similarity of the luma",
        source=_SSIM,
        facts={"better": "higher", "color": "Y"},
    )
    yield srkit.Component(
        "metric",
        "ms_ssim_y",
        "srkit_metrics.ms_ssim:ms_ssim_y",
        summary="Structural similarity of the luma at five scales",
        source=_MS_SSIM,
        facts={"better": "higher", "color": "Y"},
    )
    yield srkit.Component(
        "metric",
        "zncc_y",
        "srkit_metrics.zncc:zncc_y",
        summary="Correlation of the luma, blind to brightness and contrast",
        source="Pearson's correlation; as zero-normalised cross-correlation, of whole images",
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
        "psnr_b",
        "srkit_metrics.psnr_b:psnr_b",
        summary="PSNR of the luma that counts the edges of JPEG's blocks, in dB",
        source="Yim and Bovik 2011, doi:10.1109/TIP.2010.2061859",
        facts={
            "better": "higher",
            "color": "Y",
            "symmetric": False,
            "border": False,
            "deviations": {"equal_images_score_best": "edges of HR where blocks would meet count as theirs"},
        },
    )
    yield srkit.Component(
        "metric",
        "ssim",
        "srkit_metrics.ssim:ssim",
        summary="Structural similarity, the mean of red, green and blue",
        source=_SSIM,
        facts={"better": "higher", "color": "RGB"},
    )
    yield srkit.Component(
        "metric",
        "ms_ssim",
        "srkit_metrics.ms_ssim:ms_ssim",
        summary="Structural similarity at five scales, the mean of red, green and blue",
        source=_MS_SSIM,
        facts={"better": "higher", "color": "RGB"},
    )
    yield srkit.Component(
        "metric",
        "zncc",
        "srkit_metrics.zncc:zncc",
        summary="Correlation of all RGB values, blind to brightness and contrast",
        source="Pearson's correlation; as zero-normalised cross-correlation, of whole images",
        facts={"better": "higher", "color": "RGB"},
    )
    yield srkit.Component(
        "metric",
        "niqe",
        "srkit_metrics.niqe:Niqe",
        summary="Distance from good photographs, without HR",
        source="Mittal et al. 2013, doi:10.1109/LSP.2012.2227726",
        facts={
            "better": "lower",
            "color": "Y",
            "reference": False,
            "needs": "parameters, a file that `srkit fit niqe FOLDER niqe.npz` makes of good photographs, or the "
            "published modelparameters.mat or niqe_pris_params.npz",
            "deviations": {"more_damage_scores_worse": "a blur may bring drawn images nearer to photographs"},
        },
    )
