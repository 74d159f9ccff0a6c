"""A2N against the published counts, names and activations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from srkit_a2n.network import A2N, TEMPERATURE
from torch import Tensor, nn

import srkit
from srkit.plugin.discovery import installed

torch.set_num_threads(1)

GOLDEN = Path(os.environ.get("SRKIT_TEST_DATA", "")) / "golden"
needs_golden = pytest.mark.skipif("SRKIT_TEST_DATA" not in os.environ, reason="needs SRKIT_TEST_DATA")
INPUT = "input_butterflyx4_y20x20_24_rgb255.npy"


def made_for_255(scale: int, weights: str) -> A2N:
    network = A2N(scale=scale, img_range=255).eval()
    network.load_state_dict(torch.load(GOLDEN / weights, weights_only=True))
    return network


def image() -> Tensor:
    """Return the golden input in 0..1."""
    return torch.from_numpy(np.load(GOLDEN / INPUT)) / 255


@pytest.mark.parametrize(
    ("scale", "kernel", "count"),
    [
        (2, 3, 1_036_443),
        (3, 3, 1_036_443),
        (4, 3, 1_047_459),
        (2, 1, 831_643),
        (3, 1, 831_643),
        (4, 1, 842_659),
    ],
)
def test_the_parameters_are_as_many_as_published(scale: int, kernel: Any, count: int) -> None:
    network = A2N(scale=scale, non_attention_kernel=kernel)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@needs_golden
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_names_and_shapes_are_those_of_the_authors(scale: int) -> None:
    published = json.loads((GOLDEN / f"a2n_state_dict_x{scale}.json").read_text())["state_dict"]
    assert {name: list(value.shape) for name, value in A2N(scale=scale).state_dict().items()} == published


def test_x4_has_every_tensor_of_x2_and_eleven_thousand_new_parameters() -> None:
    small, large = A2N(scale=2).state_dict(), A2N(scale=4).state_dict()
    assert all(large[name].shape == value.shape for name, value in small.items())
    new = {name: value.numel() for name, value in large.items() if name not in small}
    assert {name.split(".")[0] for name in new} == {"upconv2", "att2", "HRconv2"}
    assert sum(new.values()) == 11_016


@needs_golden
def test_the_authors_weights_give_the_golden_output_at_x2() -> None:
    with torch.inference_mode():
        out = made_for_255(2, "weights/aan_x2.pt")(image()) * 255
    # float32 and float64 differ by 5e-5 in 0..255
    np.testing.assert_allclose(out.numpy(), np.load(GOLDEN / "a2n_x2_out.npy"), rtol=0, atol=1e-3)


@needs_golden
def test_every_golden_activation_is_met_at_x2() -> None:
    network = made_for_255(2, "weights/aan_x2.pt")
    golden = dict(np.load(GOLDEN / "a2n_x2_acts.npz"))
    seen: dict[str, Tensor] = {}
    weights: list[Tensor] = []

    def remember(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen[name] = output

        return hook

    for name, module in network.named_modules():
        if name in golden:
            module.register_forward_hook(remember(name))
        elif name.endswith(".ADM"):
            module.register_forward_hook(lambda module, inputs, output: weights.append(output))
    with torch.inference_mode():
        network(image())
    seen["adm"] = torch.softmax(torch.cat(weights) / TEMPERATURE, dim=1)

    assert seen.keys() == golden.keys()
    for name, expected in golden.items():
        np.testing.assert_allclose(seen[name].numpy(), expected, rtol=0, atol=1e-3, err_msg=name)


@needs_golden
def test_the_wiring_of_x4_gives_the_golden_output() -> None:
    with torch.inference_mode():
        out = made_for_255(4, "a2n_x4_surrogate_from_x2.pt")(image()) * 255
    np.testing.assert_allclose(out.numpy(), np.load(GOLDEN / "a2n_x4_surrogate_out.npy"), rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(7, 10), (1, 1), (1, 9)])
def test_any_size_is_enlarged(scale: int, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        out = A2N(scale=scale, blocks=1)(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, size[0] * scale, size[1] * scale)
    assert torch.isfinite(out).all()


def test_an_image_does_not_depend_on_its_batch() -> None:
    network = A2N(scale=2, blocks=2)
    images = torch.rand(3, 3, 8, 8)
    with torch.inference_mode():
        together, alone = network(images), network(images[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_form_for_inference_differs_by_a_millionth_at_most(scale: int, kernel: Any) -> None:
    network = A2N(scale=scale, img_range=255, non_attention_kernel=kernel).eval()
    images = torch.rand(2, 3, 13, 10)
    with torch.inference_mode():
        form = network.for_inference()
        together, alone = form(images), form(images[:1])
        expected = network(images)
    assert (together - expected).abs().max() <= 1e-6
    assert (alone - expected[:1]).abs().max() <= 1e-6


@needs_golden
def test_bfloat16_in_the_form_for_inference_loses_at_most_five_thousandths_of_a_decibel() -> None:
    form, folder = made_for_255(2, "weights/aan_x2.pt").for_inference(), GOLDEN.parent / "data/Set5"
    lr, hr = (srkit.read_image(folder / name) for name in ("LR_bicubic/X2/butterflyx2.png", "HR/butterfly.png"))
    metric = installed().create("metric", "psnr_y")
    inside = (slice(2, -2), slice(2, -2))
    exact, quick = (
        metric(srkit.upscale(lr, form, precision=precision)[inside], hr[inside])
        for precision in ("float32", "bfloat16")
    )
    assert abs(quick - exact) <= 0.005
    assert exact > 35.5  # and quick is no other image


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 8}, "a2n has scales 2, 3 and 4, not 8"),
        ({"scale": 1}, "a2n has scales 2, 3 and 4, not 1"),
        ({"scale": 2, "features": 3}, "features must be at least 4, not 3"),
        ({"scale": 2, "blocks": 0}, "blocks must be at least 1, not 0"),
        ({"scale": 2, "upsampling_features": 0}, "upsampling_features must be at least 1, not 0"),
        ({"scale": 2, "img_range": 0.0}, "img_range must be above 0, not 0"),
        ({"scale": 2, "img_range": float("nan")}, "img_range must be above 0, not nan"),
    ],
)
def test_a_bad_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        A2N(**settings)
    assert str(error.value) == message
