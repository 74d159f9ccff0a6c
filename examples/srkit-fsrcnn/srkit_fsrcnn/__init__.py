"""Declares the architecture `fsrcnn`. To list it imports this file: nothing heavy here."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    yield srkit.Component(
        "architecture",
        "fsrcnn",
        "srkit_fsrcnn.network:FSRCNN",  # imported when it is first used
        summary="Convolutions on few channels, then one large deconvolution",
        source="arXiv:1608.00367",
        # Those of the paper. And the output for a tile is that tile of the output: it looks at no whole image.
        facts={"scales": (2, 3, 4), "tileable": True},
    )
