"""MATLAB's bicubic, of images and of batches, against reference files; Pillow's against Pillow; the baseline."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
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
from srkit_resize import device
from srkit_resize.blurred import KnownKernel
from srkit_resize.kernel import Edge, Mode
from srkit_resize.matlab import Bicubic, enlarge, resize, shrink
from srkit_resize.network import Bicubic as Baseline
from srkit_resize.pillow import PillowBicubic

torch.set_num_threads(1)

# Made by an independent float64 program from the definition of imresize; uint8 mode checked against MATLAB's files.
REFERENCE = np.load(Path(__file__).parent.parent / "data" / "imresize_synthetic.npz")

SHARED = Path(os.environ.get("SRKIT_TEST_DATA", "")) / "data"
needs_data = pytest.mark.skipif("SRKIT_TEST_DATA" not in os.environ, reason="needs SRKIT_TEST_DATA")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]

MODES: tuple[Mode, ...] = ("uint8", "double")
EDGES: tuple[Edge, ...] = ("symmetric", "replicate")
PADDINGS = {"symmetric": "symmetric", "replicate": "edge"}  # what numpy calls them
SET5 = ("baby", "bird", "butterfly", "head", "woman")


def read(path: Path) -> NDArray[np.uint8]:
    return np.array(Image.open(path).convert("RGB"))


def hr_of_set5(name: str, scale: int) -> NDArray[np.uint8]:
    image = read(SHARED / "Set5" / "HR" / f"{name}.png")
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


def lr_of_set5(name: str, scale: int) -> NDArray[np.uint8]:
    return read(SHARED / "Set5" / "LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png")


def keys(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic convolution kernel by its definition: Keys 1981, a = -0.5."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def resized_plainly(image: NDArray[np.integer], ratio: float, mode: Mode, edge: Edge) -> NDArray[np.integer]:
    """imresize(image, ratio) by its definition in float64: the image is padded, and each output's window weighed."""
    peak = np.iinfo(image.dtype).max
    values = image.astype(np.float64)
    for axis in (0, 1):
        lines = np.moveaxis(values, axis, 0)
        widened = min(ratio, 1.0)
        centres = (np.arange(int(np.ceil(len(lines) * ratio - 1e-9))) + 0.5) / ratio - 0.5
        reach = int(np.ceil(2 / widened)) + 1
        padding = 2 * reach
        padded = np.pad(lines, [(padding, padding), (0, 0), (0, 0)], PADDINGS[edge])  # type: ignore[call-overload]
        positions = np.floor(centres).astype(int)[:, None] + np.arange(-reach, reach + 1)
        weights = keys((centres[:, None] - positions) * widened)
        weights /= weights.sum(1, keepdims=True)
        values = np.moveaxis(np.einsum("ok,okab->oab", weights, padded[positions + padding]), 0, axis)
        if mode == "uint8" or axis == 1:
            # Sums are multiples of more than 2e-9 at the scales here: so near below a half there is only a half.
            values = np.clip(np.floor(values + (0.5 + 1e-9)), 0, peak)
    return values.astype(image.dtype)


def batch(*images: NDArray[np.integer], on: str = "cpu") -> torch.Tensor:
    """Images [h, w, c] as a batch [n, c, h, w] of their dtype."""
    return torch.from_numpy(np.stack(images)).to(on).permute(0, 3, 1, 2)


def images(of: torch.Tensor) -> NDArray[np.integer]:
    """A batch as images, [n, h, w, c]."""
    return of.permute(0, 2, 3, 1).cpu().numpy()


def rounded(levels: torch.Tensor) -> torch.Tensor:
    """Levels to 8 bits as MATLAB's im2uint8 does it."""
    return torch.floor(levels + 0.5).clamp(0, 255).to(torch.uint8)


def enlarged_and_rounded(network: Baseline, image: NDArray[np.generic]) -> NDArray[np.uint8]:
    with torch.inference_mode():
        sr = network(torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    return np.clip(np.floor(sr + 0.5), 0, 255).astype(np.uint8)


def test_the_plugin_declares_four_components_that_load() -> None:
    components = {(c.kind, c.name): c for c in srkit_resize.srkit_components()}
    assert {key: component.load() for key, component in components.items()} == {
        ("degradation", "bicubic"): Bicubic,
        ("degradation", "pillow_bicubic"): PillowBicubic,
        ("degradation", "kernel"): KnownKernel,
        ("architecture", "bicubic"): Baseline,
    }
    assert components["degradation", "bicubic"].facts == {"deterministic": True}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_equals_the_reference_in_every_value(scale: int, mode: Mode) -> None:
    lr = Bicubic(scale=scale, mode=mode)(REFERENCE["img"])
    np.testing.assert_array_equal(lr, REFERENCE[f"down{scale}_{mode}"], strict=True)


@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_a_batch_equals_the_reference_in_every_value(scale: int, mode: Mode, on: str) -> None:
    hr = REFERENCE["img"]
    lr = device.shrink(batch(hr, hr[::-1], on=on), scale, mode=mode)
    expected = REFERENCE[f"down{scale}_{mode}"]
    np.testing.assert_array_equal(images(lr), np.stack([expected, expected[::-1]]), strict=True)
    assert lr.device.type == on


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_equals_the_reference_in_every_value(scale: int, mode: Mode) -> None:
    sr = enlarge(REFERENCE[f"down{scale}_{mode}"], scale, mode=mode)
    np.testing.assert_array_equal(sr, REFERENCE[f"up{scale}_{mode}"], strict=True)


@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_a_batch_equals_the_reference_in_every_value(scale: int, mode: Mode, on: str) -> None:
    sr = device.enlarge(batch(REFERENCE[f"down{scale}_{mode}"], on=on), scale, mode=mode)
    np.testing.assert_array_equal(images(sr)[0], REFERENCE[f"up{scale}_{mode}"], strict=True)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_odd_sizes_are_rounded_up_as_in_the_reference(scale: int) -> None:
    hr, expected = REFERENCE["img_odd"], REFERENCE[f"odd_down{scale}_double_ceil"]
    np.testing.assert_array_equal(shrink(hr, scale, mode="double"), expected)
    np.testing.assert_array_equal(images(device.shrink(batch(hr), scale, mode="double"))[0], expected)


@needs_data
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_is_shrunk_to_the_published_files_bit_by_bit(scale: int) -> None:
    for name in SET5:
        np.testing.assert_array_equal(Bicubic(scale=scale)(hr_of_set5(name, scale)), lr_of_set5(name, scale))


@needs_data
@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_in_batches_is_shrunk_to_the_published_files_bit_by_bit(scale: int, on: str) -> None:
    for name in SET5:
        lr = device.shrink(batch(hr_of_set5(name, scale), on=on), scale)
        np.testing.assert_array_equal(images(lr)[0], lr_of_set5(name, scale))


@needs_data
@pytest.mark.parametrize("name", ["baboon", "comic"])
def test_double_mode_makes_basicsr_files_bit_by_bit(name: str) -> None:
    gt, lq = (read(SHARED / "basicsr" / folder / f"{name}.png") for folder in ("gt", "lq"))
    np.testing.assert_array_equal(Bicubic(scale=4, mode="double")(gt), lq)
    np.testing.assert_array_equal(images(device.shrink(batch(gt), 4, mode="double"))[0], lq)
    # As floats, rounded afterwards: the levels themselves in float64, as the docstring advises.
    levels = device.shrink(batch(gt).double(), 4, mode="double")
    np.testing.assert_array_equal(images(rounded(levels))[0], lq)


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 6, 7])
def test_any_size_and_scale_equals_the_definition(scale: int, dtype: type[np.integer], mode: Mode, edge: Edge) -> None:
    rng = np.random.default_rng(scale)
    for height, width in ((1, 1), (3, 70), (41, 5), (64, 47)):
        image = rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype, endpoint=True)
        smaller, larger = resized_plainly(image, 1 / scale, mode, edge), resized_plainly(image, scale, mode, edge)
        assert smaller.shape == (-(-height // scale), -(-width // scale), 3)
        np.testing.assert_array_equal(shrink(image, scale, mode=mode, edge=edge), smaller, strict=True)
        np.testing.assert_array_equal(enlarge(image, scale, mode=mode, edge=edge), larger, strict=True)
        made = device.shrink(batch(image), scale, mode=mode, edge=edge)
        np.testing.assert_array_equal(images(made)[0], smaller, strict=True)
        made = device.enlarge(batch(image), scale, mode=mode, edge=edge)
        np.testing.assert_array_equal(images(made)[0], larger, strict=True)


def resized_to(image: NDArray[np.integer], size: tuple[int, int], mode: Mode, edge: Edge) -> NDArray[np.integer]:
    """imresize(image, size) as MATLAB's own file does it: in float64, the side that shrinks most first."""
    peak, values = np.iinfo(image.dtype).max, image.astype(np.float64)
    ratios = [outputs / length for outputs, length in zip(size, image.shape, strict=False)]
    for number, axis in enumerate(sorted((0, 1), key=lambda axis: ratios[axis])):
        ratio, lines = ratios[axis], np.moveaxis(values, axis, 0)
        widened, length = min(ratio, 1.0), len(lines)
        made = []
        for output in range(1, size[axis] + 1):
            centre = output / ratio + 0.5 * (1 - 1 / ratio)
            positions = np.floor(centre - 2 / widened) + np.arange(np.ceil(4 / widened) + 2)
            weights = keys((centre - positions) * widened)
            weights /= weights.sum()
            around = [*range(length), *reversed(range(length))]
            taken = [
                around[int(p - 1) % (2 * length)] if edge == "symmetric" else int(np.clip(p - 1, 0, length - 1))
                for p in positions
            ]
            made.append(np.tensordot(weights, lines[taken], 1))
        values = np.moveaxis(np.stack(made), 0, axis)
        if mode == "uint8" or number == 1:
            values = np.clip(np.floor(values + (0.5 + 1e-9)), 0, peak)
    return values.astype(image.dtype)


SIZES = [((50, 61), (19, 23)), ((48, 48), (31, 47)), ((27, 40), (73, 108)), ((40, 30), (41, 12)), ((9, 5), (1, 1))]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("of", "to"), SIZES)
def test_any_size_equals_matlabs_rule_in_float64(
    of: tuple[int, int], to: tuple[int, int], dtype: type[np.integer], mode: Mode, edge: Edge
) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*of, 3), dtype=dtype, endpoint=True)
    image[: of[0] // 2] = np.where(image[: of[0] // 2] % 2, np.iinfo(dtype).max, 0)  # sums beyond the levels
    expected = resized_to(image, to, mode, edge)
    np.testing.assert_array_equal(resize(image, to, mode=mode, edge=edge), expected, strict=True)
    np.testing.assert_array_equal(Bicubic(mode=mode, edge=edge)(image, to), expected, strict=True)


@pytest.mark.parametrize("on", DEVICES)
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("of", "to"), [*SIZES, ((60, 40), (30, 20)), ((60, 39), (20, 13)), ((48, 32), (12, 8))])
def test_the_lr_of_a_batch_is_that_of_its_images_whatever_the_size(
    of: tuple[int, int], to: tuple[int, int], mode: Mode, edge: Edge, on: str
) -> None:
    hr = [np.random.default_rng(seed).integers(0, 256, (*of, 3), dtype=np.uint8) for seed in range(2)]
    made = Bicubic(mode=mode, edge=edge)
    lr = made.batch(batch(*hr, on=on).float() / 255, to)
    assert (lr.dtype, lr.device.type) == (torch.float32, on)
    np.testing.assert_array_equal(images(rounded(lr * 255)), np.stack([made(image, to) for image in hr]))


@pytest.mark.parametrize(("size", "scale"), [((13, 20), 2.7), ((31, 12), 3.5), ((20, 20), 1.0)])
def test_the_baseline_serves_any_size(size: tuple[int, int], scale: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    to = tuple(int(side * scale + 0.5) for side in size)
    expected = resized_to(image, to, "double", "symmetric")
    sr = Baseline()(batch(image).double(), to)
    np.testing.assert_array_equal(images(rounded(sr + 1e-9))[0], expected)  # a half may come to a little less


def test_a_whole_scale_by_its_size_has_the_same_bits() -> None:
    hr = REFERENCE["img"][:48, :36]
    for scale in (2, 3, 4):
        np.testing.assert_array_equal(Bicubic()(hr, (48 // scale, 36 // scale)), shrink(hr, scale))
        large, x = (48 * scale, 36 * scale), batch(hr).float()
        np.testing.assert_array_equal(resize(hr, large), enlarge(hr, scale))
        assert torch.equal(Baseline()(x, large), Baseline(scale=scale)(x))


def test_pillow_bicubic_takes_any_size() -> None:
    hr = REFERENCE["img"]
    expected = np.array(Image.fromarray(hr).resize((21, 33), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(PillowBicubic()(hr, (33, 21)), expected)


def test_a_scale_that_is_no_whole_number_needs_a_size() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared in full
        Bicubic(scale=2.7)(REFERENCE["img"])
    assert str(error.value) == "scale 2.7 is no whole number: give the size that the image is resized to"
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared in full
        resize(REFERENCE["img"], (0, 3))
    assert str(error.value) == "an image cannot be resized to 3x0"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [4, 6])  # at 6 no float holds the weights, and some sums are halves all the same
def test_an_image_of_many_strips_equals_the_definition(scale: int, mode: Mode) -> None:
    image = np.random.default_rng(0).integers(0, 256, (600, 401, 3), dtype=np.uint8)
    expected = resized_plainly(image, 1 / scale, mode, "symmetric")
    np.testing.assert_array_equal(shrink(image, scale, mode=mode), expected)
    np.testing.assert_array_equal(images(device.shrink(batch(image), scale, mode=mode))[0], expected)


def test_the_edge_is_seen_at_the_edge_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 72, 3), dtype=np.uint8)
    mirrored, repeated = (shrink(image, 4, edge=edge) for edge in EDGES)
    differs = (mirrored != repeated).any(-1)
    assert differs[0].any()
    assert differs[:, -1].any()
    assert not differs[2:-2, 2:-2].any()  # 16 taps: an output two from the edge has none beyond it


def test_the_degradation_takes_its_edge() -> None:
    image = REFERENCE["img"]
    np.testing.assert_array_equal(Bicubic(scale=3, edge="replicate")(image), shrink(image, 3, edge="replicate"))


def test_sixteen_bits_are_rounded_to_sixteen_bits_between_the_passes() -> None:
    image = (
        16_384 + REFERENCE["img"].astype(np.uint16) * 128
    )  # far from 0 and 65535, where the first pass would saturate
    once, twice = shrink(image, 2, mode="double"), shrink(image, 2, mode="uint8")
    assert 0 < np.abs(once.astype(int) - twice).max() <= 2


def test_a_view_is_shrunk_like_its_copy() -> None:
    view = REFERENCE["img"][::-1, 4:-4, ::-1]
    np.testing.assert_array_equal(shrink(view, 4), shrink(view.copy(), 4))


@pytest.mark.parametrize("resize", [device.shrink, device.enlarge])
def test_a_batch_of_any_strides_is_resized_like_its_copy(resize: Callable[..., torch.Tensor]) -> None:
    view = batch(REFERENCE["img"], REFERENCE["img"][::-1])[:, :, 4:-4, ::2]
    assert torch.equal(resize(view, 4), resize(view.contiguous(), 4))


def test_a_batch_may_be_empty() -> None:
    lr = device.shrink(torch.empty((0, 3, 8, 6), dtype=torch.uint8), 2)
    assert (lr.shape, lr.dtype) == ((0, 3, 4, 3), torch.uint8)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32])
def test_a_batch_on_the_meta_device_has_its_size_and_dtype(dtype: torch.dtype) -> None:
    lr = device.shrink(torch.empty((2, 3, 9, 8), dtype=dtype, device="meta"), 4, mode="double")
    assert (lr.shape, lr.dtype, lr.is_meta) == ((2, 3, 3, 2), dtype, True)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_levels_in_float64_are_matlabs_once_rounded(scale: int) -> None:
    lr = device.shrink(batch(REFERENCE["img"]).double(), scale, mode="double")
    np.testing.assert_array_equal(images(rounded(lr))[0], REFERENCE[f"down{scale}_double"])


def test_floats_are_neither_rounded_nor_clamped_whatever_their_range() -> None:
    levels = torch.tensor([0.0, 0, 255, 255]).repeat(8, 1).repeat(1, 4)[None, None]
    larger = device.enlarge(levels, 2, mode="double")
    assert larger.min() < -1
    assert larger.max() > 256
    torch.testing.assert_close(device.enlarge(levels / 255, 2, mode="double") * 255, larger, rtol=0, atol=1e-4)


def test_neither_autocast_nor_short_matrix_products_change_a_bit() -> None:
    whole, floats = batch(REFERENCE["img"]), torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    expected = device.shrink(whole, 4), device.shrink(floats, 4, mode="double")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = device.shrink(whole, 4), device.shrink(floats, 4, mode="double")
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


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


def test_an_unknown_edge_is_refused() -> None:
    for refuse in (
        lambda: Bicubic(scale=2, edge="mirror"),  # type: ignore[arg-type]
        lambda: shrink(REFERENCE["img"], 2, edge="mirror"),  # type: ignore[arg-type]
        lambda: device.shrink(batch(REFERENCE["img"]), 2, edge="mirror"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            refuse()
        assert str(error.value) == 'edge must be "symmetric" or "replicate", not "mirror"'


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4), np.float32), "float32 [4, 4]"),
        (np.zeros((4, 4, 3), np.int64), "int64 [4, 4, 3]"),
        (np.zeros((0, 4, 3), np.uint8), "uint8 [0, 4, 3]"),
    ],
)
def test_an_image_of_another_form_is_refused(image: NDArray[np.generic], found: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        shrink(image, 2)
    assert str(error.value) == f"an image is uint8 or uint16 [height, width, channels], not {found}"


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(3, 4, 4), "float32 [3, 4, 4]"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), "int64 [1, 3, 4, 4]"),
        (torch.zeros(1, 3, 4, 0, dtype=torch.uint8), "uint8 [1, 3, 4, 0]"),
    ],
)
def test_a_batch_of_another_form_is_refused(images: torch.Tensor, found: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        device.shrink(images, 2)
    assert str(error.value) == f"images are uint8, uint16 or floats [n, channels, height, width], not {found}"


def test_floats_in_the_mode_of_integers_are_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        device.shrink(torch.zeros(1, 3, 4, 4), 2)
    assert str(error.value) == 'floats are resized in mode "double"; mode "uint8" is for images of uint8 and uint16'


def test_sums_that_would_overflow_are_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        device.shrink(torch.zeros(1, 3, 4, 4, dtype=torch.uint16), 26, mode="double")
    assert str(error.value) == 'images of 16 bits need sums of more than 64 at this scale; use mode "uint8"'


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
