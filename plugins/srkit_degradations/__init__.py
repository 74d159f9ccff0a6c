"""Random degradations of photographs: what a camera, a lens and the ways of storing and sending pictures do to them."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "degradation",
        "chain",
        "srkit_degradations.chain:Chain",
        summary="Random distortions one after another, then LR's exact size",
        source="arXiv:2107.10833, arXiv:2103.14006",
        facts={"deterministic": False},
    )
    for name, target, summary, source in (
        ("blur", "kernels:Blur", "Gaussian blur, or one of its relatives", "arXiv:2107.10833"),
        ("motion_blur", "kernels:MotionBlur", "A straight movement of the camera", ""),
        ("defocus", "kernels:Defocus", "A disc, as of a lens out of focus", ""),
        ("sinc", "kernels:Sinc", "A low-pass filter that rings", "arXiv:2107.10833"),
        ("resize", "resizing:Resize", "Another size: nearest, bilinear, bicubic or area", ""),
        ("gaussian_noise", "noise:GaussianNoise", "Noise that is the same everywhere", ""),
        ("poisson_noise", "noise:PoissonNoise", "Noise of counted photons", ""),
        ("mosaic", "sensor:Mosaic", "A Bayer sensor, and a plain demosaicing", ""),
        ("quantise", "sensor:Quantise", "Fewer levels", ""),
        ("sharpen", "sensor:Sharpen", "Unsharp masking", "arXiv:2107.10833"),
        ("jpeg", "compression:Jpeg", "JPEG as libjpeg writes and reads it", "ITU-T T.81; libjpeg"),
        ("webp", "compression:Webp", "WebP, by Pillow", ""),
        ("maybe", "choosing:Maybe", "A distortion for a share of the samples", ""),
        ("one_of", "choosing:OneOf", "One of several distortions for each sample", ""),
        ("sequence", "choosing:Sequence", "Several distortions as one", ""),
    ):
        yield srkit.Component("distortion", name, f"srkit_degradations.{target}", summary=summary, source=source)
    yield srkit.Component(
        "augmentation",
        "usm",
        "srkit_degradations.sensor:usm",
        summary="HR sharpened, LR as it was",
        source="arXiv:2107.10833",
        facts={
            "draws": 0,
            "deviations": {
                "lr_and_hr_stay_aligned": "it sharpens HR alone: that is what it is for",
            },
        },
    )
