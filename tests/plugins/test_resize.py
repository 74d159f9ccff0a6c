"""MATLAB's bicubic against reference files, Pillow's against Pillow, and the baseline against the papers."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import srkit_resize
import torch
from numpy.typing import NDArray
from PIL import Image
from srkit_metrics.color import luma
from srkit_metrics.psnr import psnr, psnr_y
from srkit_metrics.ssim import ssim, ssim_y
from srkit_resize.matlab import Bicubic, Mode, enlarge, keys, shrink
from srkit_resize.network import Bicubic as Baseline
from srkit_resize.pillow import PillowBicubic

torch.set_num_threads(1)

# Made by an independent float64 program from the definition of imresize; uint8 mode checked against MATLAB's files.
REFERENCE = np.load(Path(__file__).parent.parent / "data" / "imresize_synthetic.npz")

SHARED = Path(os.environ.get("SRKIT_TEST_DATA", "")) / "data"
needs_data = pytest.mark.skipif("SRKIT_TEST_DATA" not in os.environ, reason="needs SRKIT_TEST_DATA")

MODES: tuple[Mode, ...] = ("uint8", "double")
SET5 = ("baby", "bird", "butterfly", "head", "woman")


def read(path: Path) -> NDArray[np.uint8]:
    return np.array(Image.open(path).convert("RGB"))


def hr_of_set5(name: str, scale: int) -> NDArray[np.uint8]:
    image = read(SHARED / "Set5" / "HR" / f"{name}.png")
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


def lr_of_set5(name: str, scale: int) -> NDArray[np.uint8]:
    return read(SHARED / "Set5" / "LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png")


def resized_plainly(
    image: NDArray[np.integer], outputs: tuple[int, int], scale: float, mode: Mode
) -> NDArray[np.integer]:
    """imresize by its definition, one dense matrix an axis: outputs (height, width), scale below 1 to shrink."""
    peak = np.iinfo(image.dtype).max
    values = image.astype(np.float64)
    for axis in (0, 1):
        length, widened = values.shape[axis], min(scale, 1.0)
        centres = (np.arange(outputs[axis]) + 0.5) / scale - 0.5
        reach = int(np.ceil(2 / widened)) + 1
        matrix = np.zeros((outputs[axis], length))
        for offset in range(-reach, reach + 1):
            positions = np.floor(centres).astype(int) + offset
            mirrored = positions % (2 * length)
            mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
            np.add.at(matrix, (np.arange(outputs[axis]), mirrored), keys((centres - positions) * widened))
        matrix /= matrix.sum(1, keepdims=True)
        values = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
        if mode == "uint8" or axis == 1:
            values = np.clip(np.floor(values + 0.5), 0, peak)
    return values.astype(image.dtype)


def enlarged_and_rounded(network: Baseline, image: NDArray[np.generic]) -> NDArray[np.uint8]:
    with torch.inference_mode():
        sr = network(torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    return np.clip(np.floor(sr + 0.5), 0, 255).astype(np.uint8)


def test_the_plugin_declares_three_components_that_load() -> None:
    components = {(c.kind, c.name): c for c in srkit_resize.srkit_components()}
    assert {key: component.load() for key, component in components.items()} == {
        ("degradation", "bicubic"): Bicubic,
        ("degradation", "pillow_bicubic"): PillowBicubic,
        ("architecture", "bicubic"): Baseline,
    }
    assert components["degradation", "bicubic"].facts == {"deterministic": True}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_equals_the_reference_in_every_value(scale: int, mode: Mode) -> None:
    lr = Bicubic(scale=scale, mode=mode)(REFERENCE["img"])
    assert lr.dtype == np.uint8
    np.testing.assert_array_equal(lr, REFERENCE[f"down{scale}_{mode}"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_equals_the_reference_in_every_value(scale: int, mode: Mode) -> None:
    sr = enlarge(REFERENCE[f"down{scale}_{mode}"], scale, mode=mode)
    np.testing.assert_array_equal(sr, REFERENCE[f"up{scale}_{mode}"])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_odd_sizes_are_rounded_up_as_in_the_reference(scale: int) -> None:
    lr = shrink(REFERENCE["img_odd"], scale, mode="double")
    np.testing.assert_array_equal(lr, REFERENCE[f"odd_down{scale}_double_ceil"])


@needs_data
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_is_shrunk_to_the_published_files_bit_by_bit(scale: int) -> None:
    for name in SET5:
        np.testing.assert_array_equal(Bicubic(scale=scale)(hr_of_set5(name, scale)), lr_of_set5(name, scale))


@needs_data
@pytest.mark.parametrize("name", ["baboon", "comic"])
def test_double_mode_makes_basicsr_files_bit_by_bit(name: str) -> None:
    lr = Bicubic(scale=4, mode="double")(read(SHARED / "basicsr" / "gt" / f"{name}.png"))
    np.testing.assert_array_equal(lr, read(SHARED / "basicsr" / "lq" / f"{name}.png"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 7])
def test_any_size_and_scale_equals_the_definition(scale: int, dtype: type[np.integer], mode: Mode) -> None:
    rng = np.random.default_rng(scale)
    for height, width in ((1, 1), (3, 70), (41, 5), (64, 47)):
        image = rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype, endpoint=True)
        smaller = -(-height // scale), -(-width // scale)
        np.testing.assert_array_equal(
            shrink(image, scale, mode=mode), resized_plainly(image, smaller, 1 / scale, mode), strict=True
        )
        larger = height * scale, width * scale
        np.testing.assert_array_equal(
            enlarge(image, scale, mode=mode), resized_plainly(image, larger, scale, mode), strict=True
        )


def test_an_image_of_many_strips_equals_the_definition() -> None:
    image = np.random.default_rng(0).integers(0, 256, (600, 401, 3), dtype=np.uint8)
    np.testing.assert_array_equal(shrink(image, 4), resized_plainly(image, (150, 101), 0.25, "uint8"))


def test_sixteen_bits_are_rounded_to_sixteen_bits_between_the_passes() -> None:
    image = (
        16_384 + REFERENCE["img"].astype(np.uint16) * 128
    )  # far from 0 and 65535, where the first pass would saturate
    once, twice = shrink(image, 2, mode="double"), shrink(image, 2, mode="uint8")
    assert 0 < np.abs(once.astype(int) - twice).max() <= 2


def test_a_view_is_shrunk_like_its_copy() -> None:
    view = REFERENCE["img"][::-1, 4:-4, ::-1]
    np.testing.assert_array_equal(shrink(view, 4), shrink(view.copy(), 4))


def test_threads_share_one_degradation() -> None:
    bicubic = Bicubic(scale=4)
    with ThreadPoolExecutor(4) as pool:
        for lr in pool.map(bicubic, [REFERENCE["img"]] * 32):
            np.testing.assert_array_equal(lr, REFERENCE["down4_uint8"])


def test_shrinking_needs_neither_opencv_nor_torch() -> None:
    program = (
        "import sys; sys.modules['cv2'] = sys.modules['torch'] = None\n"
        "import numpy as np; from srkit_resize.matlab import Bicubic\n"
        "print(Bicubic(scale=2)(np.full((4, 4, 3), 7, np.uint8)).tolist() == [[[7] * 3] * 2] * 2)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "True\n"


@pytest.mark.parametrize("made", [Bicubic, PillowBicubic, Baseline])
def test_a_scale_below_one_is_refused(made: type) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared in full
        made(scale=0)
    assert str(error.value) == "scale must be at least 1, not 0"


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Bicubic(scale=2, mode="float")  # type: ignore[arg-type]
    assert str(error.value) == 'mode must be "uint8" or "double", not "float"'


def test_an_image_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        shrink(np.zeros((4, 4), np.float32), 2)
    assert str(error.value) == "an image is uint8 or uint16 [height, width, channels], not float32 [4, 4]"


def test_pillow_bicubic_is_pillows() -> None:
    image = REFERENCE["img_odd"]
    expected = np.asarray(Image.fromarray(image).resize((24, 31), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(PillowBicubic(scale=2)(image), expected)


def test_pillow_bicubic_refuses_sixteen_bits() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        PillowBicubic(scale=2)(np.zeros((4, 4, 3), np.uint16))
    assert str(error.value) == "pillow_bicubic resizes images of 8 bits, not uint16; bicubic resizes both"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_baseline_equals_the_reference_once_rounded(scale: int) -> None:
    sr = enlarged_and_rounded(Baseline(scale=scale), REFERENCE[f"down{scale}_double"])
    np.testing.assert_array_equal(sr, REFERENCE[f"up{scale}_double"])


@needs_data
@pytest.mark.parametrize(("scale", "row"), [(2, "33.66/0.9299"), (3, "30.39/0.8682"), (4, "28.42/0.8104")])
def test_the_baseline_gives_the_papers_rows_by_their_protocol(scale: int, row: str) -> None:
    # Theirs: the luma of HR rounded to 8 bits is shrunk, not rounded, enlarged, and rounded. It is kept here in 1/256.
    scores = []
    for name in SET5:
        hr = np.floor(luma(hr_of_set5(name, scale)) + 0.5).astype(np.uint8)[..., None].repeat(3, 2)
        lr = shrink(hr.astype(np.uint16) * 256, scale, mode="double") / 256
        sr = enlarged_and_rounded(Baseline(scale=scale), lr)
        pair = sr[scale:-scale, scale:-scale], hr[scale:-scale, scale:-scale]
        scores.append((psnr()(*pair), ssim()(*pair)))
    assert "{:.2f}/{:.4f}".format(*np.mean(scores, 0)) == row


@needs_data
@pytest.mark.parametrize(("scale", "row"), [(2, "33.68/0.9304"), (3, "30.40/0.8690"), (4, "28.43/0.8113")])
def test_the_baseline_from_the_published_lr_files_stays_close_to_the_papers_rows(scale: int, row: str) -> None:
    scores = []
    for name in SET5:
        sr = enlarged_and_rounded(Baseline(scale=scale), lr_of_set5(name, scale))
        pair = sr[scale:-scale, scale:-scale], hr_of_set5(name, scale)[scale:-scale, scale:-scale]
        scores.append((psnr_y()(*pair), ssim_y()(*pair)))
    assert "{:.2f}/{:.4f}".format(*np.mean(scores, 0)) == row


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 1e-3), (torch.bfloat16, 8e-3), (torch.float32, 1e-6), (torch.float64, 1e-15)],
)
def test_the_baseline_keeps_its_inputs_dtype_and_accuracy(dtype: torch.dtype, tolerance: float) -> None:
    # Sums are made in float32 at least, so the result is off by about one rounding to the dtype.
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)
    sr = Baseline(scale=3)(x)
    assert sr.dtype == dtype
    torch.testing.assert_close(sr.double(), Baseline(scale=3)(x.double()), rtol=0, atol=tolerance)


def test_the_baseline_leaves_its_input_as_it_was() -> None:
    x = torch.rand(1, 3, 6, 6)
    before = x.clone()
    Baseline(scale=2)(x)
    assert torch.equal(x, before)


def test_the_baseline_has_no_parameters() -> None:
    assert not list(Baseline(scale=2).state_dict())


def test_the_baseline_keeps_its_bits_under_autocast() -> None:
    x = torch.rand(1, 3, 6, 6)
    expected = Baseline(scale=2)(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Baseline(scale=2)(x), expected)


def test_the_baseline_knows_its_output_on_the_meta_device() -> None:
    sr = Baseline(scale=4)(torch.empty(1, 3, 9, 8, device="meta"))
    assert sr.shape == (1, 3, 36, 32)
    assert sr.is_meta


def test_gradients_pass_through_the_baseline() -> None:
    x = torch.rand(1, 1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Baseline(scale=2), x)
