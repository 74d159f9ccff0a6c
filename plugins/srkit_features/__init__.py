"""Distances by the features of networks that were trained to classify: a loss, and metrics."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    from srkit_features import packages

    yield srkit.Component(
        "loss",
        "perceptual",
        "srkit_features.loss:Perceptual",
        summary="Difference of the features of VGG19 or EfficientNet-Lite0",
        source="arXiv:1609.04802, arXiv:1809.00219 (before the activation)",
    )
    yield srkit.Component(
        "metric",
        "features",
        "srkit_features.metric:features",
        missing=packages.EFFICIENTNET.missing,
        summary="Relative difference of the deep features of EfficientNet-Lite0",
        facts={
            "better": "lower",
            "color": "RGB",
            "deviations": {
                "color_is_as_stated": "the network looks at colour, and less than at lightness where it changes finely"
            },
        },
    )
    yield srkit.Component(
        "metric",
        "lpips",
        "srkit_features.lpips:Lpips",
        missing=packages.LPIPS.missing,
        summary="Distance of deep features, learnt from people's judgements",
        source="arXiv:1801.03924",
        facts={
            "better": "lower",
            "color": "RGB",
            "needs": "weights, a file of torchvision's: alexnet-owt-7be5be79.pth, vgg16-397923af.pth or "
            "squeezenet1_1-b8a52dc0.pth, from https://download.pytorch.org/models/",
        },
    )
    yield srkit.Component(
        "metric",
        "dists",
        "srkit_features.dists:Dists",
        missing=packages.DISTS.missing,
        summary="Distance of texture and structure of deep features, learnt from people's judgements",
        source="arXiv:2004.07728",
        facts={
            "better": "lower",
            "color": "RGB",
            "needs": "weights, a file of torchvision's: vgg16-397923af.pth, from https://download.pytorch.org/models/",
        },
    )
