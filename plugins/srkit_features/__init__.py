"""Distances by the features of networks that were trained to classify: a loss and a metric."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
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
        summary="Relative difference of the deep features of EfficientNet-Lite0",
        facts={
            "better": "lower",
            "color": "RGB",
            "deviations": {
                "color_is_as_stated": "the network looks at colour, and less than at lightness where it changes finely"
            },
        },
    )
