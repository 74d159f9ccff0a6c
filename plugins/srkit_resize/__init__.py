"""Bicubic resizing: MATLAB's, by which the field makes its LR images, and Pillow's; known kernels; the baseline."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "degradation",
        "bicubic",
        "srkit_resize.matlab:Bicubic",
        summary="MATLAB's bicubic imresize, to the bit",
        source="MATLAB imresize; Keys 1981, doi:10.1109/TASSP.1981.1163711",
        facts={"deterministic": True},
    )
    yield srkit.Component(
        "degradation",
        "pillow_bicubic",
        "srkit_resize.pillow:PillowBicubic",
        summary="Pillow's bicubic, 8-bit images only",
        source="Pillow Image.resize",
        facts={"deterministic": True},
    )
    yield srkit.Component(
        "degradation",
        "kernel",
        "srkit_resize.blurred:KnownKernel",
        summary="A known blur kernel, from a file, then every scale-th pixel or bicubic",
        facts={"deterministic": True},
    )
    yield srkit.Component(
        "architecture",
        "bicubic",
        "srkit_resize.network:Bicubic",
        summary="MATLAB's bicubic enlarging; nothing to train",
        source="MATLAB imresize; Keys 1981, doi:10.1109/TASSP.1981.1163711",
        facts={
            "tileable": True,
            "deviations": {"compiles": "its kernel is made by numpy in each call, which torch.compile cannot trace"},
        },
    )
