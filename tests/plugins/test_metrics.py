"""PSNR and SSIM against values by hand, scikit-image and BasicSR."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import srkit_metrics
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity
from srkit_metrics.color import luma
from srkit_metrics.pair import Score
from srkit_metrics.psnr import psnr, psnr_y
from srkit_metrics.ssim import ssim, ssim_y
from srkit_resize.matlab import enlarge

REFERENCE = np.load(Path(__file__).parent.parent / "data" / "imresize_synthetic.npz")

SHARED = Path(os.environ.get("SRKIT_TEST_DATA", ""))
needs_data = pytest.mark.skipif("SRKIT_TEST_DATA" not in os.environ, reason="needs SRKIT_TEST_DATA")

METRICS = (psnr, psnr_y, ssim, ssim_y)
Uint8 = NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Uint8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(values: NDArray[np.integer]) -> Uint8:
    return values.astype(np.uint8)[..., None].repeat(3, 2)


def ssim_by_scikit_image(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    _, values = structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    return float(values[5:-5, 5:-5].mean())


def smooth(height: int, width: int) -> Uint8:
    """An image with gradients, edges and texture."""
    y, x = np.mgrid[:height, :width]
    bands = 120 + 60 * np.sin(x / 17) * np.cos(y / 23) + 40 * ((x // 31 + y // 27) % 2)
    return np.stack([bands, bands[::-1], 255 - bands], -1).astype(np.uint8)


def test_the_plugin_declares_four_components_that_load() -> None:
    components = list(srkit_metrics.srkit_components())
    assert {component.name: component.load() for component in components} == {
        "psnr": psnr,
        "psnr_y": psnr_y,
        "ssim": ssim,
        "ssim_y": ssim_y,
    }
    assert {component.name: component.facts["color"] for component in components} == {
        "psnr": "RGB",
        "psnr_y": "Y",
        "ssim": "RGB",
        "ssim_y": "Y",
    }
    assert {component.facts["better"] for component in components} == {"higher"}


def test_luma_of_the_primaries_is_that_of_bt601() -> None:
    colors = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(luma(colors), [[16, 235, 81.481, 144.553, 40.966]], rtol=1e-14)


def test_luma_refuses_an_image_without_three_channels() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared in full
        luma(np.zeros((4, 5, 1)))
    assert str(error.value) == "an RGB image is [height, width, 3], not [4, 5, 1]"


def test_psnr_of_a_difference_of_one_everywhere_is_that_of_a_mean_squared_error_of_one() -> None:
    assert psnr()(grey(np.full((4, 4), 8)), grey(np.full((4, 4), 9))) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_psnr_y_of_a_grey_step_is_that_of_its_luma() -> None:
    # A step of 1 in R, G and B is one of 219 / 255 in Y.
    expected = 20 * math.log10(255 / (219 / 255))
    assert psnr_y()(grey(np.full((4, 4), 8)), grey(np.full((4, 4), 9))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("metric", "weights"), [(psnr, None), (psnr_y, (65481, 128553, 24966))])
def test_psnr_is_exact_to_the_last_digits(metric: Callable[[], Score], weights: object) -> None:
    sr, hr = noise(37, 41, 1), noise(37, 41, 2)
    differences = (sr.astype(object) - hr.astype(object)).reshape(-1, 3)
    if weights is None:
        error = Fraction(int((differences**2).sum()), sr.size)
    else:
        error = Fraction(int(((differences * weights).sum(1) ** 2).sum()), 37 * 41 * 255_000**2)
    assert metric()(sr, hr) == pytest.approx(10 * math.log10(255**2 / error), rel=1e-15)


@pytest.mark.parametrize("metric", [psnr, psnr_y])
def test_psnr_of_identical_images_is_infinite_without_a_warning(metric: Callable[[], Score]) -> None:
    assert metric()(noise(12, 12), noise(12, 12)) == math.inf


@pytest.mark.parametrize("metric", [ssim, ssim_y])
def test_ssim_of_identical_images_is_one(metric: Callable[[], Score]) -> None:
    assert metric()(noise(70, 90), noise(70, 90)) == 1.0


@pytest.mark.parametrize("size", [(11, 11), (12, 40), (27, 26), (83, 91), (75, 523), (139, 538)])
def test_ssim_y_equals_scikit_image_at_every_size(size: tuple[int, int]) -> None:
    hr = smooth(*size)
    sr = np.clip(hr + np.random.default_rng(0).normal(0, 12, hr.shape), 0, 255).astype(np.uint8)
    # The metric keeps 1e-6 everywhere.
    assert ssim_y()(sr, hr) == pytest.approx(ssim_by_scikit_image(luma(sr), luma(hr)), abs=1e-6)


def test_ssim_is_the_mean_of_the_channels() -> None:
    sr, hr = noise(40, 50, 1), smooth(40, 50)
    channels = [ssim_by_scikit_image(sr[..., c].astype(float), hr[..., c].astype(float)) for c in range(3)]
    assert ssim()(sr, hr) == pytest.approx(sum(channels) / 3, abs=1e-7)


Y, X = np.mgrid[:90, :110]
STRIPES = X // 24 % 2
CHECKER = (X + Y) % 2


@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        pytest.param(0 * X + 100, 0 * X + 150, id="flat"),
        pytest.param(0 * X, 0 * X + 255, id="black and white"),
        pytest.param(0 * X + 254, 0 * X + 255, id="almost white"),
        pytest.param(255 * CHECKER, 255 - 255 * CHECKER, id="checker inverted"),
        pytest.param(100 + 100 * STRIPES, 200 - 100 * STRIPES, id="stripes inverted"),
        pytest.param(50 + 200 * STRIPES, 0 * X + 150, id="stripes on flat"),
        pytest.param(20 + 210 * STRIPES + 8 * CHECKER, 20 + 210 * STRIPES - 8 * CHECKER, id="texture inverted"),
    ],
)
def test_ssim_is_right_where_float32_alone_would_not_be(sr: NDArray[np.integer], hr: NDArray[np.integer]) -> None:
    # Filtered in float32, the last three are off by about 2e-5; what is still done in it may cost 4e-7.
    x, y = grey(sr), grey(hr)
    assert ssim_y()(x, y) == pytest.approx(ssim_by_scikit_image(luma(x), luma(y)), abs=4e-7)


@pytest.mark.parametrize("scale", [2, 3, 4])
@needs_data
def test_the_scores_of_the_synthetic_image_are_the_stored_ones(scale: int) -> None:
    stored = json.loads((SHARED / "golden" / "imresize_synthetic_metrics.json").read_text())[f"x{scale}"]
    inside = slice(scale, -scale), slice(scale, -scale)
    pair = REFERENCE[f"up{scale}_uint8"][inside], REFERENCE["img"][inside]
    scores = {"psnr_y": psnr_y()(*pair), "ssim_y": ssim_y()(*pair), "psnr_rgb": psnr()(*pair)}
    assert scores == pytest.approx(stored, abs=1e-6)


@needs_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("baboon", (20.419710, 0.391853, 22.441898, 0.453097)),
        ("comic", (20.239912, 0.567738, 21.720398, 0.585511)),
    ],
)
def test_the_scores_of_basicsr_files_are_those_of_basicsr(name: str, expected: tuple[float, ...]) -> None:
    hr, lr = (np.array(Image.open(SHARED / "data" / "basicsr" / kind / f"{name}.png")) for kind in ("gt", "lq"))
    sr = enlarge(lr, 4, mode="double")
    scores = [metric()(sr[4:-4, 4:-4], hr[4:-4, 4:-4]) for metric in (psnr, ssim, psnr_y, ssim_y)]
    # BasicSR works on the luma in float32: 1e-6 is its own accuracy, and that of the digits printed.
    assert scores == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_view_scores_like_its_copy(metric: Callable[[], Score]) -> None:
    sr, hr = noise(40, 50, 1)[3:-3, ::-1], noise(40, 50, 2)[3:-3, :, ::-1]
    assert metric()(sr, hr) == metric()(sr.copy(), hr.copy())


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_is_a_python_float(metric: Callable[[], Score]) -> None:
    assert type(metric()(noise(12, 12, 1), noise(12, 12, 2))) is float


@pytest.mark.parametrize("metric", METRICS)
def test_scoring_leaves_the_images_as_they_were(metric: Callable[[], Score]) -> None:
    sr, hr = noise(12, 12, 1), noise(12, 12, 2)
    metric()(sr, hr)
    np.testing.assert_array_equal(sr, noise(12, 12, 1))
    np.testing.assert_array_equal(hr, noise(12, 12, 2))


def test_scoring_needs_neither_opencv_nor_torch() -> None:
    program = (
        "import sys; sys.modules['cv2'] = sys.modules['torch'] = None\n"
        "import numpy as np; from srkit_metrics.psnr import psnr_y; from srkit_metrics.ssim import ssim_y\n"
        "image = np.full((16, 16, 3), 7, np.uint8); print(psnr_y()(image, image), ssim_y()(image, image))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "inf 1.0\n"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("sr", "hr", "message"),
    [
        (noise(12, 13), noise(12, 14), "SR and HR must be of one size, not 13x12 and 14x12"),
        (noise(12, 12)[..., :1], noise(12, 12), "SR must be uint8 [height, width, 3], not uint8 [12, 12, 1]"),
        (noise(12, 12)[..., 0], noise(12, 12), "SR must be uint8 [height, width, 3], not uint8 [12, 12]"),
        (noise(12, 12), noise(12, 12) / 255, "HR must be uint8 [height, width, 3], not float64 [12, 12, 3]"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(
    metric: Callable[[], Score], sr: Uint8, hr: Uint8, message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metric()(sr, hr)
    assert str(error.value) == message


@pytest.mark.parametrize("metric", [ssim, ssim_y])
def test_ssim_refuses_images_smaller_than_its_window(metric: Callable[[], Score]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metric()(noise(10, 40, 1), noise(10, 40, 2))
    assert str(error.value) == "images must be at least 11x11 pixels once the border is cut, not 40x10"


@pytest.mark.parametrize("metric", [psnr, psnr_y])
def test_psnr_refuses_empty_images(metric: Callable[[], Score]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metric()(noise(0, 4), noise(0, 4))
    assert str(error.value) == "images must be at least 1x1 pixels once the border is cut, not 4x0"
