"""Metrics against values by hand, scikit-image, BasicSR and plain implementations, of arrays and of tensors."""

from __future__ import annotations

import io
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
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from srkit_metrics.color import luma
from srkit_metrics.ms_ssim import ms_ssim, ms_ssim_y
from srkit_metrics.pair import Score
from srkit_metrics.psnr import psnr, psnr_y
from srkit_metrics.psnr_b import psnr_b
from srkit_metrics.ssim import ssim, ssim_y
from srkit_metrics.zncc import zncc, zncc_y
from srkit_resize.matlab import enlarge
from torchmetrics.functional.image import peak_signal_noise_ratio_with_blocked_effect

from srkit.plugin.discovery import installed
from srkit.testing.check import Subject
from srkit.testing.running import results

REFERENCE = np.load(Path(__file__).parent.parent / "data" / "imresize_synthetic.npz")

SHARED = Path(os.environ.get("SRKIT_TEST_DATA", ""))
needs_data = pytest.mark.skipif("SRKIT_TEST_DATA" not in os.environ, reason="needs SRKIT_TEST_DATA")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

torch.set_num_threads(1)

METRICS = (psnr, psnr_y, psnr_b, ssim, ssim_y, ms_ssim, ms_ssim_y, zncc, zncc_y)
SMALL = tuple(metric for metric in METRICS if metric not in (ms_ssim, ms_ssim_y))  # those for images of 11 pixels
SYMMETRIC = tuple(metric for metric in SMALL if metric is not psnr_b)
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


def tensors(*images: Uint8, on: str = "cpu") -> list[torch.Tensor]:
    return [torch.from_numpy(image.copy()).to(on) for image in images]


def smooth(height: int, width: int) -> Uint8:
    """An image with gradients, edges and texture."""
    y, x = np.mgrid[:height, :width]
    bands = 120 + 60 * np.sin(x / 17) * np.cos(y / 23) + 40 * ((x // 31 + y // 27) % 2)
    return np.stack([bands, bands[::-1], 255 - bands], -1).astype(np.uint8)


def noisy(image: Uint8, deviation: float = 12) -> Uint8:
    return np.clip(image + np.random.default_rng(0).normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


def terms_by_definition(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the means of SSIM and of its contrast and structure term, each window by itself."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("hwij,ij->hw", values, window)

    xs, ys = (sliding_window_view(plane, (11, 11)) for plane in (x, y))
    mean_x, mean_y = means(xs), means(ys)
    from_x, from_y = xs - mean_x[..., None, None], ys - mean_y[..., None, None]
    contrast = (2 * means(from_x * from_y) + c2) / (means(from_x**2) + means(from_y**2) + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def ms_ssim_by_definition(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """As the authors' code has it: filtered by 2x2 means with a symmetric edge, and every second pixel taken."""
    score = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        similarity, contrast = terms_by_definition(x, y)
        score *= max(similarity if scale == 4 else contrast, 0) ** weight
        x, y = (
            sliding_window_view(np.pad(plane, ((0, 1), (0, 1)), "symmetric"), (2, 2)).mean((2, 3))[::2, ::2]
            for plane in (x, y)
        )
    return score


def test_the_plugin_declares_each_metric_on_rgb_and_on_the_luma() -> None:
    components = [component for component in srkit_metrics.srkit_components() if component.name != "niqe"]
    assert {component.name: component.load() for component in components} == {m.__name__: m for m in METRICS}
    colors = {component.name: component.facts["color"] for component in components}
    assert colors == {m.__name__: "Y" if m.__name__.endswith(("_y", "_b")) else "RGB" for m in METRICS}
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
    assert metric()(*tensors(noise(12, 12), noise(12, 12))) == math.inf


def jpeg(image: Uint8, quality: int) -> Uint8:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


@pytest.mark.parametrize(("height", "width", "block"), [(96, 128, 8), (61, 83, 8), (64, 80, 16), (9, 30, 8)])
@pytest.mark.parametrize("quality", [5, 40])
def test_psnr_b_is_that_of_torchmetrics(height: int, width: int, block: int, quality: int) -> None:
    hr = smooth(height, width)
    sr = jpeg(hr, quality)
    planes = [torch.from_numpy(luma(image))[None, None] for image in (sr, hr)]
    expected = peak_signal_noise_ratio_with_blocked_effect(*planes, data_range=255.0, block_size=block).item()
    assert psnr_b(block=block)(sr, hr) == pytest.approx(expected, rel=1e-6)  # its logarithm is one of float32


def test_psnr_b_by_hand_takes_the_excess_of_the_edges_of_blocks() -> None:
    hr = grey(np.full((16, 16), 100))
    sr = hr.copy()
    sr[:, 8:] += 20  # one edge between blocks, and nothing else
    step = 20 * 219 / 255
    edges = 2 * (16 * 16 / 8 - 1)  # as many as the paper's formula has
    expected = 10 * math.log10(255**2 / (step**2 / 2 + 3 / 4 * 16 * step**2 / edges))  # log2(8) / log2(16)
    assert psnr_b()(sr, hr) == pytest.approx(expected, rel=1e-12)
    moved = np.roll(sr, 1, axis=1)
    assert psnr_b()(moved[:, 1:], hr[:, 1:]) < psnr_y()(moved[:, 1:], hr[:, 1:])
    assert psnr_b()(sr[:, 1:], hr[:, 1:]) == psnr_y()(sr[:, 1:], hr[:, 1:])  # no longer an edge of blocks


def test_psnr_b_refuses_images_without_an_edge_of_blocks_and_blocks_that_are_none() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        psnr_b()(noise(8, 40), noise(8, 40))
    assert str(error.value) == "images must be at least 9x9 pixels once the border is cut, not 40x8"
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        psnr_b(block=1)
    assert str(error.value) == "block must be at least 2 pixels, not 1"


def test_the_contract_of_psnr_b_is_kept_but_for_what_it_states() -> None:
    registry = installed()
    outcomes = {r.check.name: r.outcome for r in results(Subject(registry.find("metric", "psnr_b"), registry))}
    assert {name for name, outcome in outcomes.items() if outcome != "passed"} == {"equal_images_score_best"}
    assert outcomes["equal_images_score_best"] == "declared"


@pytest.mark.parametrize("metric", [ssim, ssim_y, ms_ssim, ms_ssim_y, zncc, zncc_y])
def test_a_similarity_of_identical_images_is_one(metric: Callable[[], Score]) -> None:
    assert metric()(noise(181, 190), noise(181, 190)) == 1.0
    assert metric()(*tensors(noise(181, 190), noise(181, 190))) == 1.0


# Heights and widths around the steps in which an image is looked at.
@pytest.mark.parametrize("size", [(11, 11), (12, 40), (27, 26), (47, 91), (48, 92), (49, 93), (58, 266), (139, 538)])
def test_ssim_y_equals_scikit_image_at_every_size(size: tuple[int, int]) -> None:
    hr = smooth(*size)
    sr = noisy(hr)
    assert ssim_y()(sr, hr) == pytest.approx(ssim_by_scikit_image(luma(sr), luma(hr)), abs=1e-12)


def test_ssim_is_the_mean_of_the_channels() -> None:
    sr, hr = noise(70, 50, 1), smooth(70, 50)
    channels = [ssim_by_scikit_image(sr[..., c].astype(float), hr[..., c].astype(float)) for c in range(3)]
    assert ssim()(sr, hr) == pytest.approx(sum(channels) / 3, abs=1e-12)


def test_the_definition_in_this_file_is_that_of_scikit_image() -> None:
    x, y = noise(30, 40, 1)[..., 0].astype(float), smooth(30, 40)[..., 0].astype(float)
    assert terms_by_definition(x, y)[0] == pytest.approx(ssim_by_scikit_image(x, y), abs=1e-12)


Y, X = np.mgrid[:90, :110]
FLAT = 0 * X
STRIPES = X // 24 % 2
CHECKER = (X + Y) % 2
ODD = (X == 50) & (Y == 40)
SPECKS = np.random.default_rng(0).integers(0, 8, X.shape)


@pytest.mark.parametrize("metric", [ssim, ssim_y])
@pytest.mark.parametrize("as_tensors", [False, True], ids=["arrays", "tensors"])
@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        pytest.param(FLAT + 100, FLAT + 150, id="flat"),
        pytest.param(FLAT, FLAT + 255, id="black and white"),
        pytest.param(FLAT + 254, FLAT + 255, id="almost white"),
        pytest.param(FLAT + 255 - ODD, FLAT + 255, id="one odd pixel on white"),
        pytest.param(255 * ODD, FLAT + 255, id="one white pixel"),
        pytest.param(255 - SPECKS, FLAT + 255, id="white with specks"),
        pytest.param(255 - SPECKS, 255 - SPECKS[::-1], id="specks on white"),
        pytest.param(X, 255 - X, id="gradients"),
        pytest.param(X + Y, X + Y + CHECKER, id="checker on a gradient"),
        pytest.param(254 + CHECKER, 255 - CHECKER, id="faint checker inverted"),
        pytest.param(255 * CHECKER, 255 - 255 * CHECKER, id="checker inverted"),
        pytest.param(100 + 100 * STRIPES, 200 - 100 * STRIPES, id="stripes inverted"),
        pytest.param(50 + 200 * STRIPES, FLAT + 150, id="stripes on flat"),
        pytest.param(20 + 210 * STRIPES + 8 * CHECKER, 20 + 210 * STRIPES - 8 * CHECKER, id="texture inverted"),
    ],
)
def test_ssim_is_right_where_float32_would_not_be(
    metric: Callable[[], Score], sr: NDArray[np.integer], hr: NDArray[np.integer], as_tensors: bool
) -> None:
    # Filtered in float32, flat parts are off by up to 2e-5.
    x, y = grey(sr), grey(hr)
    planes = (luma(x), luma(y)) if metric is ssim_y else (sr.astype(float), hr.astype(float))
    score = metric()(*tensors(x, y)) if as_tensors else metric()(x, y)
    assert score == pytest.approx(ssim_by_scikit_image(*planes), abs=1e-10)


@pytest.mark.parametrize("size", [(176, 180), (193, 187)])
def test_ms_ssim_is_that_of_its_definition(size: tuple[int, int]) -> None:
    hr = smooth(*size)
    sr = noisy(hr, 40)
    assert ms_ssim_y()(sr, hr) == pytest.approx(ms_ssim_by_definition(luma(sr), luma(hr)), abs=1e-12)


def test_ms_ssim_of_rgb_is_the_mean_of_the_channels() -> None:
    sr, hr = noise(180, 177, 1), smooth(180, 177)
    channels = [ms_ssim_by_definition(sr[..., c].astype(float), hr[..., c].astype(float)) for c in range(3)]
    assert ms_ssim()(sr, hr) == pytest.approx(sum(channels) / 3, abs=1e-12)


@pytest.mark.parametrize("metric", [ms_ssim, ms_ssim_y])
def test_ms_ssim_of_a_negative_is_zero_and_no_complex_number(metric: Callable[[], Score]) -> None:
    hr = noise(176, 176)
    assert metric()(255 - hr, hr) == 0.0
    assert metric()(*tensors(255 - hr, hr)) == 0.0


def test_ms_ssim_forgives_fine_noise_more_than_ssim_does() -> None:
    hr = smooth(200, 200)
    assert ms_ssim_y()(noisy(hr), hr) > ssim_y()(noisy(hr), hr)


def pairs() -> st.SearchStrategy[tuple[Uint8, Uint8]]:
    """Images of few levels as often as of many, so that flat ones and equal ones occur."""
    sides = st.integers(11, 40)
    made = st.tuples(sides, sides, st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 8, 255]), st.integers(0, 255))

    def images(values: tuple[int, int, int, int, int]) -> tuple[Uint8, Uint8]:
        height, width, seed, spread, least = values
        rng = np.random.default_rng(seed)
        sr, hr = rng.integers(0, spread, (2, height, width, 3), endpoint=True)
        return np.minimum(sr + least, 255).astype(np.uint8), np.minimum(hr + least, 255).astype(np.uint8)

    return made.map(images)


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_tensors_score_like_arrays(pair: tuple[Uint8, Uint8]) -> None:
    scores = {metric.__name__: metric()(*pair) for metric in SMALL}
    assert {metric.__name__: metric()(*tensors(*pair)) for metric in SMALL} == pytest.approx(scores, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_a_score_is_the_same_either_way_round(pair: tuple[Uint8, Uint8]) -> None:
    scores = {metric.__name__: metric()(*pair) for metric in SYMMETRIC}
    assert {metric.__name__: metric()(*pair[::-1]) for metric in SYMMETRIC} == pytest.approx(scores, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_ssim_equals_scikit_image_whatever_the_images(pair: tuple[Uint8, Uint8]) -> None:
    expected = ssim_by_scikit_image(*(luma(image) for image in pair))
    assert ssim_y()(*pair) == pytest.approx(expected, abs=1e-10)


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_zncc_is_the_correlation_that_numpy_finds(pair: tuple[Uint8, Uint8]) -> None:
    for metric, values in ((zncc, [image.astype(float) for image in pair]), (zncc_y, [luma(image) for image in pair])):
        if all(np.ptp(image) for image in values):
            expected = np.corrcoef(values[0].ravel(), values[1].ravel())[0, 1]
            assert metric()(*pair) == pytest.approx(expected, abs=1e-10)


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_zncc_lies_between_minus_one_and_one(pair: tuple[Uint8, Uint8]) -> None:
    assert all(-1 <= metric()(*pair) <= 1 for metric in (zncc, zncc_y))


@pytest.mark.parametrize("metric", [zncc, zncc_y])
def test_zncc_is_blind_to_brightness_and_contrast(metric: Callable[[], Score]) -> None:
    hr = noise(40, 50) // 3
    assert metric()(2 * hr + 30, hr) == 1.0
    assert metric()(255 - 3 * hr, hr) == -1.0


@pytest.mark.parametrize("metric", [zncc, zncc_y])
def test_zncc_of_two_flat_images_is_one_and_of_one_of_them_zero(metric: Callable[[], Score]) -> None:
    assert metric()(grey(FLAT + 3), grey(FLAT + 200)) == 1.0
    assert metric()(grey(FLAT + 3), grey(X)) == 0.0
    assert metric()(grey(X), grey(FLAT + 3)) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_tensors_of_several_steps_score_like_arrays(metric: Callable[[], Score]) -> None:
    sr, hr = noisy(smooth(195, 301)), smooth(195, 301)
    assert metric()(*tensors(sr, hr)) == pytest.approx(metric()(sr, hr), abs=1e-12)


@needs_cuda
@pytest.mark.parametrize("metric", METRICS)
def test_tensors_on_a_gpu_score_like_arrays(metric: Callable[[], Score]) -> None:
    sr, hr = noisy(smooth(195, 301)), smooth(195, 301)
    assert metric()(*tensors(sr, hr, on="cuda")) == pytest.approx(metric()(sr, hr), abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_tensors_score_the_same_under_autocast(metric: Callable[[], Score]) -> None:
    pair = tensors(noise(176, 180, 1), noise(176, 180, 2))
    expected = metric()(*pair)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert metric()(*pair) == expected


@pytest.mark.parametrize("scale", [2, 3, 4])
@needs_data
def test_the_scores_of_the_synthetic_image_are_the_stored_ones(scale: int) -> None:
    stored = json.loads((SHARED / "golden" / "imresize_synthetic_metrics.json").read_text())[f"x{scale}"]
    inside = slice(scale, -scale), slice(scale, -scale)
    pair = REFERENCE[f"up{scale}_uint8"][inside], REFERENCE["img"][inside]
    scores = {"psnr_y": psnr_y()(*pair), "ssim_y": ssim_y()(*pair), "psnr_rgb": psnr()(*pair)}
    assert scores == pytest.approx(stored, abs=1e-6)


@pytest.mark.parametrize("as_tensors", [False, True], ids=["arrays", "tensors"])
@needs_data
@pytest.mark.parametrize("name", ["baboon", "comic"])
def test_the_scores_of_photographs_are_those_of_scikit_image(name: str, as_tensors: bool) -> None:
    hr, lr = (np.array(Image.open(SHARED / "data" / "basicsr" / kind / f"{name}.png")) for kind in ("gt", "lq"))
    sr = enlarge(lr, 4, mode="double")
    x, y = luma(sr), luma(hr)
    channels = [ssim_by_scikit_image(sr[..., c].astype(float), hr[..., c].astype(float)) for c in range(3)]
    expected = [
        peak_signal_noise_ratio(hr, sr, data_range=255),
        sum(channels) / 3,
        peak_signal_noise_ratio(y, x, data_range=255),
        ssim_by_scikit_image(x, y),
    ]
    pair = tensors(sr, hr) if as_tensors else (sr, hr)
    assert [metric()(*pair) for metric in (psnr, ssim, psnr_y, ssim_y)] == pytest.approx(expected, abs=1e-10)


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
    sr, hr = noise(190, 200, 1)[3:-3, ::-1], noise(190, 200, 2)[3:-3, :, ::-1]
    assert metric()(sr, hr) == metric()(sr.copy(), hr.copy())


@pytest.mark.parametrize("metric", METRICS)
def test_a_view_of_a_tensor_scores_like_its_copy(metric: Callable[[], Score]) -> None:
    sr, hr = (
        tensor.permute(2, 1, 0)[3:-3, 2:] for tensor in tensors(*(noise(3, 190, s).repeat(66, 2) for s in (1, 2)))
    )
    sr, hr = sr[..., :3], hr[..., :3]
    assert metric()(sr, hr) == metric()(sr.clone(), hr.clone())


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_is_a_python_float(metric: Callable[[], Score]) -> None:
    assert type(metric()(noise(176, 176, 1), noise(176, 176, 2))) is float
    assert type(metric()(*tensors(noise(176, 176, 1), noise(176, 176, 2)))) is float


@pytest.mark.parametrize("metric", METRICS)
def test_scoring_leaves_the_images_as_they_were(metric: Callable[[], Score]) -> None:
    sr, hr = noise(176, 176, 1), noise(176, 176, 2)
    metric()(sr, hr)
    metric()(torch.from_numpy(sr), torch.from_numpy(hr))
    np.testing.assert_array_equal(sr, noise(176, 176, 1))
    np.testing.assert_array_equal(hr, noise(176, 176, 2))


SCORES = """
import numpy as np
import srkit_metrics
sr, hr = np.random.default_rng(0).integers(0, 256, (2, 180, 190, 3), dtype=np.uint8)
components = [component for component in srkit_metrics.srkit_components() if "needs" not in component.facts]
print({component.name: component.load()()(sr, hr) for component in components})
"""


def test_scoring_needs_neither_opencv_nor_torch() -> None:
    program = f"import sys; sys.modules['cv2'] = sys.modules['torch'] = None\n{SCORES}"
    sr, hr = np.random.default_rng(0).integers(0, 256, (2, 180, 190, 3), dtype=np.uint8)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    scores = {metric.__name__: metric()(sr, hr) for metric in METRICS}
    assert json.loads(found.replace("'", '"')) == pytest.approx(scores, abs=1e-12)


def test_scoring_arrays_imports_no_torch() -> None:
    program = f"{SCORES}\nimport sys; print('torch' in sys.modules, 'cv2' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert found.splitlines()[-1] == "False False"


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


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("sr", "hr", "message"),
    [
        (
            torch.zeros(12, 13, 3, dtype=torch.uint8),
            torch.zeros(12, 14, 3, dtype=torch.uint8),
            "SR and HR must be of one size, not 13x12 and 14x12",
        ),
        (
            torch.zeros(12, 12, 3, dtype=torch.uint8),
            torch.zeros(3, 12, 12),
            "HR must be uint8 [height, width, 3], not float32 [3, 12, 12]",
        ),
        (
            torch.zeros(12, 12, 3, dtype=torch.uint8),
            noise(12, 12),
            "SR and HR must be arrays, or tensors on one device, not a tensor on cpu and an array",
        ),
        (
            torch.zeros(12, 12, 3, dtype=torch.uint8, device="meta"),
            torch.zeros(12, 12, 3, dtype=torch.uint8),
            "SR and HR must be arrays, or tensors on one device, not a tensor on meta and a tensor on cpu",
        ),
    ],
)
def test_tensors_that_cannot_be_compared_are_refused(
    metric: Callable[[], Score], sr: torch.Tensor, hr: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metric()(sr, hr)
    assert str(error.value) == message


@pytest.mark.parametrize("metric", [ssim, ssim_y])
def test_ssim_refuses_images_smaller_than_its_window(metric: Callable[[], Score]) -> None:
    for sr, hr in ((noise(10, 40, 1), noise(10, 40, 2)), tensors(noise(10, 40, 1), noise(10, 40, 2))):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            metric()(sr, hr)
        assert str(error.value) == "images must be at least 11x11 pixels once the border is cut, not 40x10"


@pytest.mark.parametrize("metric", [ms_ssim, ms_ssim_y])
def test_ms_ssim_refuses_images_whose_smallest_scale_has_no_window(metric: Callable[[], Score]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metric()(noise(175, 400, 1), noise(175, 400, 2))
    assert str(error.value) == "images must be at least 176x176 pixels once the border is cut, not 400x175"


@pytest.mark.parametrize("metric", [psnr, psnr_y, zncc, zncc_y])
def test_a_score_refuses_empty_images(metric: Callable[[], Score]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metric()(noise(0, 4), noise(0, 4))
    assert str(error.value) == "images must be at least 1x1 pixels once the border is cut, not 4x0"
