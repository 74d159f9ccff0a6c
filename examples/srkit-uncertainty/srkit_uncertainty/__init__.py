"""Declares the loss `uncertainty_l1`. To list it imports this file: nothing heavy here."""

from collections.abc import Iterator

import srkit


@srkit.hookimpl
def srkit_components() -> Iterator[srkit.Component]:
    yield srkit.Component(
        "loss",
        "uncertainty_l1",
        "srkit_uncertainty.loss:UncertaintyL1",  # imported when it is first used
        summary="L1 with an uncertainty that is learnt for each colour",
        source="arXiv:1705.07115",
        # A mean over the batch, not a sum: training in parts has to know.
        facts={"reduction": "mean"},
    )
