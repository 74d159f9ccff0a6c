"""Losses against values worked out by hand, and against the formulas of their papers in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from srkit.plugin.discovery import installed
from tests.conftest import photograph

SR = torch.tensor([0.5, 0.25, 1.0, 0.0]).view(1, 1, 2, 2)
HR = torch.tensor([0.0, 0.25, 0.0, 0.5]).view(1, 1, 2, 2)  # differences 0.5, 0, 1, -0.5


def make(name: str, **settings: Any) -> Any:
    return installed().create("loss", name, **settings)


@pytest.mark.parametrize(("name", "total"), [("l1", 2.0), ("l2", 1.5)])
def test_l1_and_l2_are_the_sums_and_means_by_hand(name: str, total: float) -> None:
    assert make(name, reduction="sum")(SR, HR).item() == total
    assert make(name)(SR, HR).item() == total / 4


def test_charbonnier_adds_epsilon_as_it_is_under_the_root() -> None:
    total = math.sqrt(0.25 + 0.01) + math.sqrt(0.01) + math.sqrt(1 + 0.01) + math.sqrt(0.25 + 0.01)
    assert make("charbonnier", epsilon=0.01, reduction="sum")(SR, HR).item() == pytest.approx(total, rel=1e-6)
    assert make("charbonnier", epsilon=0.01)(SR, HR).item() == pytest.approx(total / 4, rel=1e-6)


def test_charbonnier_of_equal_images_is_the_root_of_epsilon() -> None:
    assert make("charbonnier")(HR, HR).item() == pytest.approx(1e-3, rel=1e-6)


def test_the_gradient_of_charbonnier_is_finite_at_equal_images_and_the_least_epsilon() -> None:
    sr = HR.clone().requires_grad_()
    make("charbonnier", epsilon=1e-12)(sr, HR).backward()
    assert sr.grad is not None
    assert torch.equal(sr.grad, torch.zeros_like(sr))


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_says_its_reduction(name: str, reduction: str) -> None:
    assert make(name, reduction=reduction).reduction == reduction


@pytest.mark.parametrize("name", ["l1", "l2", "charbonnier"])
def test_the_reduction_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make(name, reduction="none")
    assert str(error.value) == 'reduction must be "mean" or "sum", not "none"'


@pytest.mark.parametrize("epsilon", [0.0, 1e-13, math.inf, math.nan])
def test_an_epsilon_that_would_break_the_gradient_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("charbonnier", epsilon=epsilon)
    assert str(error.value) == f"epsilon must be at least 1e-12, not {epsilon:g}"


# The losses below are compared in float64 with the formulas of their papers, written with numpy.
def pair(seed: int = 0, size: tuple[int, int] = (14, 17)) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.random((2, 3, *size)), rng.random((2, 3, *size))


def value(loss: Any, *images: Any, **words: Any) -> float:
    words = {name: torch.from_numpy(image) for name, image in words.items()}
    return float(loss(*(torch.from_numpy(image) for image in images), **words))


def spectral_difference(sr: Any, hr: Any) -> Any:
    return np.fft.fft2(sr) / math.sqrt(14 * 17) - np.fft.fft2(hr) / math.sqrt(14 * 17)


def test_fft_is_the_mean_of_real_and_imaginary_parts() -> None:
    sr, hr = pair()
    difference = spectral_difference(sr, hr)
    expected = (np.abs(difference.real) + np.abs(difference.imag)).mean() / 2
    assert value(make("fft"), sr, hr) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_focal_frequency_weights_each_frequency_by_its_own_distance(alpha: float) -> None:
    sr, hr = pair()
    planes = []
    for plane in np.abs(spectral_difference(sr, hr)).reshape(6, 14, 17):  # an image's and a colour's
        weights = plane**alpha / (plane**alpha).max()
        planes.append((weights * plane**2).mean())
    assert value(make("focal_frequency", alpha=alpha), sr, hr) == pytest.approx(np.mean(planes), rel=1e-12)


def test_no_gradient_flows_through_the_weights_of_focal_frequency() -> None:
    sr, hr = map(torch.from_numpy, pair())
    gradients = []
    for alpha in (0.0, 1.0):
        image = sr.clone().requires_grad_()
        make("focal_frequency", alpha=alpha)(image, hr).backward()
        assert image.grad is not None
        gradients.append(torch.view_as_real(torch.fft.fft2(image.grad, norm="ortho")))
    # With constant weights, the gradient's spectrum is the difference's times the weights.
    distance = torch.fft.fft2(sr - hr, norm="ortho").abs()
    weights = distance / distance.amax((2, 3), keepdim=True)
    torch.testing.assert_close(gradients[1], gradients[0] * weights[..., None])


@pytest.mark.parametrize("size", [(176, 176), (181, 203)])
def test_ms_ssim_is_one_minus_the_metric_of_that_name(size: tuple[int, int]) -> None:
    hr = photograph(1, *size)
    sr = np.clip(hr + np.random.default_rng(0).normal(0, 12, hr.shape), 0, 255).round().astype(np.uint8)
    images = [image.transpose(2, 0, 1)[None] / 255 for image in (sr, hr)]
    measured = installed().create("metric", "ms_ssim")(sr, hr)
    assert value(make("ms_ssim"), *images) == pytest.approx(1 - measured, rel=1e-9)
    similarity = installed().create("metric", "ssim")(sr, hr)
    assert value(make("ms_ssim", weights=[1.0]), *images) == pytest.approx(1 - similarity, rel=1e-9)


def test_ms_ssim_of_several_images_is_the_mean_of_each() -> None:
    sr, hr = pair(size=(88, 90))
    loss = make("ms_ssim", weights=[0.1, 0.4, 0.3, 0.2])
    each = [value(loss, sr[i : i + 1], hr[i : i + 1]) for i in range(2)]
    assert value(loss, sr, hr) == pytest.approx(sum(each) / 2, rel=1e-12)


def test_the_gradient_of_ms_ssim_is_finite_where_sr_is_the_negative_of_hr() -> None:
    hr = torch.from_numpy(photograph(2, 176, 176).transpose(2, 0, 1)[None] / 255).float()
    sr = (1 - hr).requires_grad_()
    loss = make("ms_ssim")(sr, hr)
    loss.backward()
    assert loss.item() > 0.5
    assert sr.grad is not None
    assert bool(sr.grad.isfinite().all())


def test_patches_too_small_for_ms_ssim_are_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("ms_ssim")(torch.zeros(1, 3, 176, 128), torch.zeros(1, 3, 176, 128))
    assert str(error.value) == (
        "ms_ssim with 5 weights wants patches of at least 176x176 HR pixels, not 128x176: let data.patch be larger, or "
        "name fewer weights"
    )


@pytest.mark.parametrize("weights", [[], [0.5, 0.0], [math.nan]])
def test_weights_of_ms_ssim_that_are_no_powers_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("ms_ssim", weights=weights)
    assert str(error.value) == f"weights must be numbers above 0, one a scale, not {weights}"


def test_gradient_compares_what_sobels_operator_finds() -> None:
    sr, hr = pair()
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    slopes = []
    for kernel in (across, across.T):
        found = [(sliding_window_view(image, (3, 3), (2, 3)) * kernel).sum((-1, -2)) for image in (sr, hr)]
        slopes.append(np.abs(found[0] - found[1]).mean())
    assert value(make("gradient"), sr, hr) == pytest.approx(np.mean(slopes), rel=1e-12)


def test_the_gradient_of_a_ramp_is_its_slope() -> None:
    ramp = np.broadcast_to(np.arange(9) * 0.1, (1, 3, 8, 9))
    assert value(make("gradient"), ramp.copy(), np.zeros_like(ramp)) == pytest.approx(0.1 / 2)  # across alone


@pytest.mark.parametrize("window", [3, 7])
def test_ldl_weights_pixels_by_the_variances_of_their_residual(window: int) -> None:
    (sr, hr), (ema, _) = pair(), pair(1)
    expected = []
    for image, goal, average in zip(sr, hr, ema, strict=True):
        residual = np.abs(image - goal).sum(0)
        padded = np.pad(residual, window // 2, mode="reflect")
        local = sliding_window_view(padded, (window, window)).var((-1, -2), ddof=1)
        weights = residual.var(ddof=1) ** 0.2 * local
        weights[residual < np.abs(average - goal).sum(0)] = 0
        assert 0 < np.count_nonzero(weights) < weights.size
        expected.append((weights * np.abs(image - goal)).mean())
    assert value(make("ldl", window=window), sr, hr, ema=ema) == pytest.approx(np.mean(expected), rel=1e-12)


def test_ldl_has_a_finite_gradient_where_sr_is_hr() -> None:
    sr = HR.expand(1, 3, 2, 2).repeat(1, 1, 4, 4).requires_grad_()
    loss = make("ldl")(sr, sr.detach(), ema=sr.detach() + 0.1)
    loss.backward()
    assert loss.item() == 0
    assert sr.grad is not None
    assert torch.equal(sr.grad, torch.zeros_like(sr))


def test_ldl_without_a_moving_average_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("ldl")(HR, HR, ema=None)
    assert str(error.value) == "ldl wants the moving average of the network: set train.ema, to 0.999 say"


@pytest.mark.parametrize("window", [1, 4])
def test_a_window_of_ldl_without_a_middle_or_a_variance_is_refused(window: int) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("ldl", window=window)
    assert str(error.value) == f"window must be odd and at least 3, not {window}"


def test_an_alpha_below_zero_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make("focal_frequency", alpha=-1.0)
    assert str(error.value) == "alpha must be 0 at least, not -1"
