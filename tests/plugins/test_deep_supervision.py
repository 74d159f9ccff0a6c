"""The loss of every output against sums by hand, and in training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from srkit.plugin.discovery import installed

SR = torch.tensor([0.5, 0.25, 1.0, 0.0]).view(1, 1, 2, 2)
HR = torch.tensor([0.0, 0.25, 0.0, 0.5]).view(1, 1, 2, 2)


def make(name: str, **settings: Any) -> Any:
    return installed().create("loss", name, **settings)


def test_deep_supervision_is_the_sum_over_every_output_against_hr_of_its_size() -> None:
    hr = torch.rand(2, 3, 16, 24)
    outputs = {scale: torch.rand(2, 3, 16 // scale, 24 // scale) for scale in (1, 2, 4)}
    by_hand = 0.0
    for scale, output in outputs.items():
        images = (torch.round(hr * 255) / 255).permute(0, 2, 3, 1).double().numpy()
        small = [shrink_by_hand(image, scale) for image in images]
        by_hand += abs(output.permute(0, 2, 3, 1).double().numpy() - np.stack(small)).mean() * {2: 0.5}.get(scale, 1)
    hr = torch.round(hr * 255) / 255
    extras = {"x2": outputs[4], "x4": outputs[2]}
    loss = make("deep_supervision", weights={"x4": 0.5})
    assert loss(outputs[1], hr, extras=extras).item() == pytest.approx(by_hand, rel=1e-5)


def shrink_by_hand(image: Any, scale: int) -> Any:
    """Return float64 [h, w, 3] smaller by bicubic: Keys' kernel, widened by the scale, of the pixels that there are."""
    for axis in (0, 1):
        length = image.shape[axis]
        made = []
        for i in range(length // scale):
            centre = (i + 0.5) * scale - 0.5
            taps = np.arange(math.floor(centre - 2 * scale), math.ceil(centre + 2 * scale) + 1)
            d = abs(taps - centre) / scale
            near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            weights = np.where(d <= 1, near, np.where(d <= 2, far, 0))
            inside = (taps >= 0) & (taps < length)
            pixels, weights = image.take(taps[inside], axis), weights[inside]
            made.append(np.tensordot(weights / weights.sum(), pixels, (0, axis)))
        image = np.stack(made, axis)
    return image


def test_deep_supervision_of_sr_alone_is_the_loss_itself() -> None:
    charbonnier = {"type": "charbonnier", "epsilon": 0.01, "reduction": "sum"}
    loss = make("deep_supervision", loss=charbonnier)
    assert loss(SR, HR, extras={}) == make("charbonnier", epsilon=0.01, reduction="sum")(SR, HR)
    assert loss.reduction == "sum"


def test_deep_supervision_reaches_each_output_and_shrinks_to_any_size() -> None:
    hr = torch.rand(1, 3, 15, 20)
    sr, lower = torch.rand(1, 3, 15, 20, requires_grad=True), torch.rand(1, 3, 6, 8, requires_grad=True)
    make("deep_supervision")(sr, hr, extras={"lower": lower}).backward()
    for output in (sr, lower):
        assert output.grad is not None
        assert (output.grad != 0).all()


@pytest.mark.parametrize(
    ("settings", "extras", "message"),
    [
        ({"weights": {"x2": -1.0}}, {}, "the weight of 'x2' must be at least 0, not -1"),
        ({"weights": {"x3": 1.0}}, {"x2": HR}, "a weight is of 'x3', and the network's outputs are sr, x2"),
        ({}, {"velocity": torch.zeros(1, 4)}, "'velocity' is [1, 4]: no image of HR's [1, 1, 2, 2], made smaller"),
        (
            {},
            {"x2": torch.zeros(1, 1, 4, 4)},
            "'x2' is [1, 1, 4, 4]: no image of HR's [1, 1, 2, 2], made smaller",
        ),
    ],
)
def test_deep_supervision_refuses_what_it_cannot_compare(settings: Any, extras: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("deep_supervision", **settings)(SR, HR, extras=extras)
    assert str(error.value) == message


def test_a_loss_that_wants_more_than_sr_and_hr_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^loss compares SR and HR alone, and this one wants ema, too$"):
        make("deep_supervision", loss="ldl")
