"""The distortions of photographs and the chain of them, against Pillow, torch's own resizing, and sums by hand."""

from __future__ import annotations

import io
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from srkit_degradations.canvas import extended, normals
from srkit_degradations.kernels import filtered, gaussian
from srkit_degradations.libjpeg import decoded
from srkit_degradations.noise import counted

import srkit
from srkit.engine.data.sampling import stream
from srkit.errors import ComponentError
from srkit.plugin.discovery import installed
from srkit.testing import augmentation, distortion, parametrize_components
from srkit.testing.check import CheckFailed, Subject
from tests.conftest import photograph

KERNELS = ("blur", "motion_blur", "defocus", "sinc")
DISTORTIONS = [entry.component.name for entry in installed().of_kind("distortion")]
SECOND_ORDER = [
    {"type": "blur"},
    {"type": "resize", "factor": [0.15, 1.5], "shares": [0.2, 0.7, 0.1]},
    {"type": "one_of", "steps": ["gaussian_noise", "poisson_noise"]},
    {"type": "jpeg", "quality": [30, 95]},
    {"type": "maybe", "p": 0.8, "step": {"type": "blur", "sigma": [0.2, 1.5]}},
    {"type": "resize", "factor": [0.3, 1.2], "of": "lr"},
    {"type": "mosaic"},
    {"type": "sharpen"},
    {"type": "sinc"},
]
CPU = torch.device("cpu")


@parametrize_components("chain")
def test_the_chain_keeps_its_contract(check):
    check()


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_distortion_keeps_its_contract(name):
    registry = installed()
    subject = Subject(registry.find("distortion", name), registry)
    for check in distortion.CHECKS:
        check.run(subject)


def test_usm_keeps_the_contract_of_an_augmentation_but_for_what_it_states():
    registry = installed()
    subject = Subject(registry.find("augmentation", "usm"), registry)
    for check in augmentation.CHECKS:
        if check.name in subject.facts["deviations"]:
            with pytest.raises(CheckFailed):
                check.run(subject)
        else:
            check.run(subject)


def draws(n, step=0):
    return stream(1, "degradation", step, np.arange(n), CPU)


def images(n, height, width):
    pixels = np.stack([photograph(i, height, width) for i in range(n)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def made(name, **settings):
    return srkit.create("distortion", name, **settings)


def chain(scale=4, **settings):
    return srkit.create("degradation", "chain", scale=scale, **settings)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_and_its_halves_agree_to_the_bit(shuffle):
    hr = images(8, 64, 72)
    degrade = chain(steps=SECOND_ORDER, shuffle=shuffle)
    whole = degrade(hr, (16, 18), draws(8))
    parts = [degrade(*given) for given in zip(hr.chunk(2), [(16, 18)] * 2, draws(8).chunk(2), strict=True)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, degrade(hr, (16, 18), draws(8, step=1)))


@pytest.mark.parametrize("shuffle", [False, True])
def test_images_on_a_canvas_become_what_each_becomes_alone(shuffle):
    """What a GPU computes, here: a batch as one, whose images have several sizes between the steps."""
    steps = [step for step in SECOND_ORDER if step["type"] != "jpeg"]  # which makes levels of the last bits
    hr, size = images(8, 61, 72), (15, 18)
    degrade = chain(steps=steps, shuffle=shuffle)
    together = degrade.together(hr, size, draws(8))
    assert (together - degrade(hr, size, draws(8))).abs().max() < 1e-3  # a quarter of a level: sums in another order
    halves = [degrade.together(part, size, own) for part, own in zip(hr.chunk(2), draws(8).chunk(2), strict=True)]
    assert (together - torch.cat(halves)).abs().max() < 1e-3


def test_jpeg_on_a_canvas_is_that_of_each_image():
    x, quality = images(4, 40, 56), torch.tensor([20, 50, 77, 95])
    sizes = torch.tensor([[40, 56], [39, 33], [17, 16], [24, 47]])
    found = decoded(x, quality, sizes)
    for i, (height, width) in enumerate(sizes.tolist()):
        alone = decoded(x[i : i + 1, :, :height, :width], quality[i : i + 1])
        assert torch.equal(found[i : i + 1, :, :height, :width], alone)


def by_pillow(image, quality):
    written = io.BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=quality)
    return np.asarray(Image.open(written))


def agreement(pictures):
    """Return the least, over pictures, of the mean over qualities of the share of values within a level of Pillow's."""
    found = []
    for image in pictures:
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
        near = []
        for quality in range(20, 96, 5):
            levels = (decoded(x, torch.tensor([quality]))[0] * 255).round().permute(1, 2, 0).numpy()
            near.append((abs(levels - by_pillow(image, quality)) <= 1).mean())
        found.append(np.mean(near))
    return min(found)


def test_jpeg_is_what_pillow_decodes_of_its_file():
    """0.95 is asked for; it is every value, by libjpeg's own integers, of odd sizes and of saturated colours too."""
    noise = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    assert agreement([photograph(i, *size) for i, size in enumerate([(64, 80), (61, 75), (50, 63)])]) >= 0.999
    assert agreement([noise]) >= 0.999


@pytest.mark.skipif(os.environ.get("SRKIT_TEST_DATA") is None, reason="SRKIT_TEST_DATA is not set")
def test_jpeg_of_photographs_is_what_pillow_decodes():
    files = sorted(Path(os.environ["SRKIT_TEST_DATA"], "data/BSDS200").glob("*.jpg"))[:3]
    assert len(files) == 3
    assert agreement([srkit.read_image(path) for path in files]) >= 0.999


def test_jpeg_of_both_ways_has_the_same_bits():
    """The way of other devices, and Pillow, which the CPU has; a quality a sample."""
    x = images(6, 40, 56)
    by_files = made("jpeg", quality=[30, 95])(x, draws(6))
    quality = [int(text.removeprefix("JPEG ")) for text in made("jpeg", quality=[30, 95]).describe(draws(6))]
    assert len(set(quality)) > 2
    assert torch.equal(decoded(x, torch.tensor(quality)), by_files)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_resizing_on_a_canvas_is_that_of_torch(mode):
    x = images(12, 40, 33)
    resize = made("resize", factor=[0.3, 1.7], modes=[mode])
    canvas, sizes = resize(x, draws(12))
    assert list(canvas.shape) == [12, 3, 68, 56]
    assert len(set(map(tuple, sizes.tolist()))) > 8
    for i, (height, width) in enumerate(sizes.tolist()):
        smooth = {"align_corners": False} if mode in ("bilinear", "bicubic") else {}
        expected = F.interpolate(x[i : i + 1], (height, width), mode=mode, **smooth)[0]
        torch.testing.assert_close(canvas[i, :, :height, :width], expected, atol=2e-5, rtol=0)
        alone, none = resize(x[i : i + 1], draws(12).at(torch.tensor([i])))
        assert none is None
        assert torch.equal(alone[0], expected)
    assert torch.equal(canvas, extended(canvas, sizes))


def test_the_factors_are_those_of_the_shares():
    texts = made("resize", factor=[0.2, 1.5], shares=[0.2, 0.7, 0.1]).describe(draws(4_000))
    factors = np.array([float(re.match(r"resize x([\d.]+) ", text)[1]) for text in texts])
    assert ((factors > 1.005).mean(), (factors < 0.995).mean()) == pytest.approx((0.2, 0.7), abs=0.025)
    assert factors.min() == pytest.approx(0.2, abs=0.02)
    assert factors.max() == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("name", KERNELS)
def test_a_blur_keeps_an_even_surface_and_the_mean(name):
    even = torch.full((6, 3, 30, 30), 0.3)
    torch.testing.assert_close(made(name)(even, draws(6)), even, atol=1e-5, rtol=0)
    dot = torch.zeros(6, 3, 61, 61)
    dot[..., 30, 30] = 1
    assert made(name)(dot, draws(6)).sum((2, 3)) == pytest.approx(1, abs=1e-3)


def test_filtering_is_the_weighted_sum_around_each_pixel():
    x, kernels = images(2, 12, 15), torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(1))
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    for i in range(2):
        expected = F.conv2d(padded[i][:, None], kernels[i][None, None])[:, 0]
        torch.testing.assert_close(filtered(x, kernels)[i], expected, atol=1e-5, rtol=0)


def moments(kernel):
    places = torch.arange(len(kernel)) - len(kernel) // 2
    x, y = places[None, :], places[:, None]
    return float((kernel * x * x).sum()), float((kernel * y * y).sum()), float((kernel * x * y).sum())


def test_an_anisotropic_gaussian_has_the_covariance_that_was_drawn():
    blur = made("blur", sigma=[1.0, 2.5], kinds={"anisotropic": 1.0}, side=[21, 21])
    for kernel, text in zip(blur.kernels(draws(8)), blur.describe(draws(8)), strict=True):
        wide, tall, degrees = map(float, re.match(r"blur anisotropic sigma (\S+) x (\S+) at (\d+)°", text).groups())
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        expected = (
            (wide * cos) ** 2 + (tall * sin) ** 2,
            (wide * sin) ** 2 + (tall * cos) ** 2,
            (wide**2 - tall**2) * sin * cos,
        )
        assert moments(kernel) == pytest.approx(expected, rel=0.03, abs=0.08)


def test_the_kinds_of_blur_come_as_often_as_their_weights_say():
    kinds = {"isotropic": 0.45, "generalized_anisotropic": 0.25, "plateau_isotropic": 0.3}
    texts = made("blur", kinds=kinds).describe(draws(4_000))
    for name, share in kinds.items():
        assert np.mean([text.startswith(f"blur {name.replace('_', ' ')} ") for text in texts]) == pytest.approx(
            share, abs=0.025
        )
    sides = {int(text.split(", ")[1].split()[0]) for text in texts}
    assert sides == {7, 9, 11, 13, 15, 17, 19, 21}


def test_generalized_gaussians_and_plateaus_are_their_formulas():
    settings = {"sigma": [2.0, 2.0], "side": [9, 9]}
    q = (torch.arange(9) - 4.0)[:, None] ** 2 / 4 + (torch.arange(9) - 4.0)[None, :] ** 2 / 4
    for kind, beta, formula in (
        ("isotropic", 1, lambda q: torch.exp(-q / 2)),
        ("generalized_isotropic", 3, lambda q: torch.exp(-(q**3) / 2)),
        ("plateau_isotropic", 2, lambda q: 1 / (1 + q**2)),
    ):
        betas = {"beta_generalized": [beta, beta], "beta_plateau": [beta, beta]}
        kernel = made("blur", kinds={kind: 1.0}, **settings, **betas).kernels(draws(1))[0]
        torch.testing.assert_close(kernel, formula(q) / formula(q).sum())


def test_sinc_takes_away_what_is_above_its_cutoff():
    stripes = (torch.arange(120) % 2).float().expand(1, 3, 120, 120)
    low = made("sinc", cutoff=[0.4, 0.4], side=[21, 21])(stripes, draws(1))[..., 30:90, 30:90]
    assert low.std() < 0.02
    wave = (0.5 + 0.4 * torch.sin(torch.arange(120) * 2 * math.pi / 20)).expand(1, 3, 120, 120)
    kept = made("sinc", cutoff=[0.4, 0.4], side=[21, 21])(wave, draws(1))
    assert (kept - wave)[..., 30:90, 30:90].abs().max() < 0.03


def test_the_noise_of_a_pixel_does_not_depend_on_the_canvas():
    small, large = (normals(draws(2), torch.zeros(2, 3, *sides)) for sides in ((70, 50), (200, 129)))
    assert torch.equal(small, large[:, :, :70, :50])
    for axis in (2, 3):  # no two rows or columns alike, of squares or within
        lines = large.movedim(axis, 0).flatten(1)
        assert len(torch.unique(lines, dim=0)) == len(lines)
    assert float(large.mean()) == pytest.approx(0, abs=0.02)
    assert float(large.std()) == pytest.approx(1, abs=0.02)


def test_gaussian_noise_has_its_sigma_and_grey_noise_one_channel():
    even = torch.full((40, 3, 64, 64), 0.5)
    noisy = made("gaussian_noise", sigma=[10, 10], grey=0.5)(even, draws(40)) - even
    assert float(noisy.std() * 255) == pytest.approx(10, rel=0.02)
    grey = (noisy == noisy[:, :1]).flatten(1).all(1)
    assert 8 < int(grey.sum()) < 32


@pytest.mark.parametrize("mean", [1.0, 3.0, 10.0, 100.0])
def test_counts_have_the_mean_and_the_variance_of_poissons(mean):
    normal = draws(1).normal(400_000)
    counts = counted(torch.full_like(normal, mean), normal)
    assert torch.equal(counts, counts.floor())
    assert float(counts.mean()) == pytest.approx(mean, rel=0.02)
    assert float(counts.var()) == pytest.approx(mean, rel=0.03)
    share = np.bincount(counts.long().flatten().numpy())[: int(mean) + 1] / 400_000
    exact = [math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(int(mean) + 1)]
    assert np.abs(share - exact).max() < 0.015


def test_poisson_noise_grows_with_the_light_and_black_has_none():
    steps = torch.tensor([0.0, 0.25, 1.0]).repeat_interleave(50)[None, None, :, None].expand(1, 3, 150, 150)
    noise = made("poisson_noise", photons=[100, 100], scale=[1, 1], grey=0.0)(steps, draws(1)) - steps
    deviations = noise.unflatten(2, (3, 50)).std((0, 1, 3, 4))
    assert deviations[0] == 0
    assert float(deviations[1]) == pytest.approx(0.05, rel=0.03)
    assert float(deviations[2]) == pytest.approx(0.1, rel=0.03)


def test_mosaic_keeps_what_a_sensor_sees_and_even_colours():
    x = torch.rand(4, 3, 9, 10, generator=torch.Generator().manual_seed(1))
    mosaic = made("mosaic")
    kept = (mosaic(x, draws(4)) == x).sum((2, 3))
    assert kept.sum(1).tolist() == [90] * 4  # a value of each pixel
    assert len(set(mosaic.describe(draws(40)))) == 4
    even = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(4, 3, 9, 10)
    torch.testing.assert_close(mosaic(even, draws(4)), even)


def test_quantise_rounds_to_levels():
    ramp = torch.linspace(-0.1, 1.1, 300).expand(1, 3, 2, 300)
    found = made("quantise", bits=[3, 3])(ramp, draws(1))
    assert torch.unique(found).tolist() == pytest.approx([k / 7 for k in range(8)])
    assert (found - ramp.clamp(0, 1)).abs().max() <= 0.5 / 7 + 1e-6


def test_sharpening_is_unsharp_masking_where_it_exceeds_the_threshold():
    """By sums: a step that is sharpened, and one that is below the threshold, which is left as it was."""
    faint = torch.where(torch.arange(80) < 40, 0.5, 0.52).expand(1, 3, 80, 80)
    strong = torch.where(torch.arange(80) < 40, 0.3, 0.7).expand(1, 3, 80, 80)
    sharpen = made("sharpen", amount=[0.5, 0.5], sigma=3.0)
    torch.testing.assert_close(sharpen(faint, draws(1)), faint, atol=1e-5, rtol=0)
    blurred = filtered(strong, gaussian(19, 3.0, CPU))
    full = strong + 0.5 * (strong - blurred)
    found = sharpen(strong, draws(1))
    assert ((found - strong).abs() <= (full - strong).abs() + 1e-5).all()
    assert float((found - strong)[0, 0, 40, 39]) == pytest.approx(float((full - strong)[0, 0, 40, 39]), rel=0.2)


def test_usm_sharpens_hr_alone_and_the_chain_its_hr():
    lr, hr = images(2, 20, 20), images(2, 80, 80)
    small, large = srkit.create("augmentation", "usm")(lr, hr, torch.empty(2, 0))
    assert torch.equal(small, lr)
    torch.testing.assert_close(large, made("sharpen")(hr, draws(2)), atol=1e-6, rtol=0)
    shrink = {"steps": [{"type": "resize", "factor": [1, 1]}], "modes": ["area"]}
    torch.testing.assert_close(
        chain(**shrink, usm=0.5)(hr, (20, 20), draws(2)), chain(**shrink)(large, (20, 20), draws(2))
    )


def test_webp_is_pillows():
    x = images(1, 32, 40)
    written = io.BytesIO()
    Image.fromarray(photograph(0, 32, 40)).save(written, "WEBP", quality=50)
    found = made("webp", quality=[50, 50])(x, draws(1))[0].permute(1, 2, 0) * 255
    assert np.array_equal(found.round().byte().numpy(), np.asarray(Image.open(written).convert("RGB")))


def test_maybe_and_one_of_take_their_shares():
    x = images(400, 8, 8)
    coarse = {"type": "quantise", "bits": [1, 1]}
    changed = (made("maybe", p=0.3, step=coarse)(x, draws(400))[0] != x).flatten(1).any(1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.07)
    steps = [coarse, {"type": "quantise", "bits": [8, 8]}, "blur"]
    one = made("one_of", steps=steps, weights=[1, 3, 0])
    texts = one.describe(draws(400))
    assert {*texts} == {"1 bits", "8 bits"}
    assert np.mean([text == "1 bits" for text in texts]) == pytest.approx(0.25, abs=0.07)
    few = (one(x, draws(400))[0].flatten(1).sort(1).values.diff(dim=1) > 0).sum(1) <= 1
    assert few.tolist() == [text == "1 bits" for text in texts]


def test_a_step_that_is_skipped_or_added_changes_no_draw_of_the_others():
    noise = {"type": "gaussian_noise", "sigma": [1, 30]}
    alone = chain(steps=[noise]).describe(draws(3))
    after = chain(steps=["blur", noise]).describe(draws(3))
    assert [text.splitlines()[0] for text in alone] == [text.splitlines()[1] for text in after]


def test_two_steps_alike_draw_apart():
    first, second, _ = chain(steps=["jpeg", "jpeg"]).describe(draws(64))[0].splitlines()
    assert chain(steps=["jpeg", "jpeg"]).describe(draws(64)) != [f"{first}\n{first}"] * 64
    assert first != second


def test_shuffled_steps_are_described_in_their_order():
    orders = {
        tuple(line.split()[0] for line in text.splitlines()[:3])
        for text in chain(steps=["blur", "jpeg", "mosaic"], shuffle=True).describe(draws(60))
    }
    assert len(orders) == 6


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("blur", {"sigma": [3.0, 0.2]}, "sigma must be two numbers from 0.01 to 100, the smaller first, not 3 and 0.2"),
        ("blur", {"side": [7, 20]}, "side must be two odd numbers from 1 to 101, the smaller first, not 7 and 20"),
        (
            "blur",
            {"kinds": {"iso": 1.0}},
            "kinds has 'iso'; there are isotropic, anisotropic, generalized_isotropic, generalized_anisotropic, "
            "plateau_isotropic, plateau_anisotropic",
        ),
        ("blur", {"kinds": {"isotropic": 0.0}}, "kinds must be weights of 0 at least, and one above it"),
        ("resize", {"modes": []}, "modes must name some of nearest, bilinear, bicubic, area, not none"),
        ("resize", {"shares": [0, 0, 0]}, "shares must be three numbers of 0 at least: larger, smaller, kept"),
        ("jpeg", {"quality": [0, 50]}, "quality must be two numbers from 1 to 100, the smaller first, not 0 and 50"),
        ("gaussian_noise", {"grey": 1.5}, "grey must be from 0 to 1, not 1.5"),
        (
            "gaussian_noise",
            {"sigma": [0.01, 0.05]},
            "sigma is in levels of 0 to 255, not of 0 to 1, and noise of 0.05 vanishes; did you mean [2.55, 12.75]?",
        ),
        ("maybe", {"p": -1.0}, "p must be from 0 to 1, not -1"),
        ("one_of", {"steps": []}, "steps must name one at least"),
        ("one_of", {"weights": [1.0]}, "weights must be one for each of the 2 steps, not 1"),
        ("one_of", {"weights": [0.0, 0.0]}, "weights must be 0 at least, and one above it, not 0, 0"),
    ],
)
def test_settings_outside_their_range_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        made(name, **settings)


def test_a_step_of_another_kind_is_refused():
    with pytest.raises(ComponentError, match="unknown distortion 'bicubic'"):
        chain(steps=["bicubic"])


def test_a_size_of_lr_without_lr_is_refused():
    with pytest.raises(ValueError, match=r'^of = "lr" is for a step of the degradation `chain`: it has no LR alone$'):
        made("resize", of="lr")(images(2, 8, 8), draws(2))
