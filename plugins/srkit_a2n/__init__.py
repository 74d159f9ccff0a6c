"""A2N: Attention in Attention Network."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    """Yield this plugin's components."""
    yield srkit.Component(
        "architecture",
        "a2n",
        "srkit_a2n.network:A2N",
        summary="Attention in Attention Network",
        source="arXiv:2104.09497",
        # The attention weights of each block come from the mean over the whole input.
        facts={"scales": (2, 3, 4), "tileable": False},
    )
