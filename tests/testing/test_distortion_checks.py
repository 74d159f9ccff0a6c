"""Each check of distortions can fail: distortions that break one promise each, and what is told of them."""

from __future__ import annotations

import pytest

from srkit.testing import distortion

KIND = "distortion"
PLUGIN = """
import numpy as np
import srkit
import torch


def column(draws):
    return draws.uniform().view(-1, 1, 1, 1)


def dimmed(images, draws):
    return images * (0.5 + 0.5 * column(draws))


def cropped(images, draws):
    sizes = torch.tensor(images.shape[2:]) - (4 * draws.uniform()).long()
    return images * (0.5 + 0.5 * column(draws)), sizes


def clamps(images, draws):
    return dimmed(images.clamp_(0.3, 0.7), draws)


def seeds(images, draws):
    torch.manual_seed(1)
    return dimmed(images, draws)


def by_chance(images, draws):
    return dimmed(images, draws) * (0.5 + 0.25 * float(np.random.get_state()[1][0] % 2))


def divides(images, draws):
    return dimmed(images, draws) + 0 / (1 - 2.0**-24 - column(draws))


def by_layout(images, draws):
    return dimmed(images, draws) / (2 if images.stride(1) == 1 else 1)


def with_sizes(sizes):
    return lambda images, draws: (dimmed(images, draws), sizes(len(images)))


DISTORTIONS = {
    "good": dimmed,
    "cropped": cropped,
    "array": lambda images, draws: images.numpy(),
    "half": lambda images, draws: dimmed(images, draws).half(),
    "learns": lambda images, draws: dimmed(images, draws) * torch.ones(1, requires_grad=True),
    "grey": lambda images, draws: dimmed(images, draws)[:, :1],
    "floats": with_sizes(lambda n: torch.ones(n, 2)),
    "beyond": with_sizes(lambda n: torch.full((n, 2), 41)),
    "levels": lambda images, draws: 255 * dimmed(images, draws),
    "infinite": lambda images, draws: dimmed(images, draws) + 0 / (1 - images),
    "clamps": clamps,
    "seeds": seeds,
    "by_chance": by_chance,
    "nothing": lambda images, draws: images,
    "logarithm": lambda images, draws: dimmed(images, draws) + 0 * column(draws.of("more")).log(),
    "divides": divides,
    "mixes": lambda images, draws: (dimmed(images, draws) + images.mean(0)) / 2,
    "of_the_longest": lambda images, draws: dimmed(images, draws)[..., len(images):],
    "by_layout": by_layout,
}
for _name, _distortion in DISTORTIONS.items():
    globals()[f"make_{_name}"] = lambda _distortion=_distortion: _distortion


@srkit.hookimpl
def srkit_components():
    for name in DISTORTIONS:
        yield srkit.Component("distortion", name, f"{__name__}:make_{name}", summary="a distortion")
"""

ROWS = "take row i of what is drawn for sample i alone, and no mean or roll over the batch"
BROKEN = {
    "levels": (
        distortion.values_are_of_the_range,
        "its images have values from 30 to 179",
        "return images in the range of its own, 0..1",
    ),
    "clamps": (
        distortion.images_are_left_alone,
        "it changes its images",
        "take no in-place operation (mul_, x[...] = y) on what it is given",
    ),
    "seeds": (
        distortion.chance_is_left_alone,
        "it draws from the global random generator of torch, or seeds it",
        "compute with `draws`, which give as many numbers as it needs",
    ),
    "by_chance": (
        distortion.same_draws_give_same_images,
        "the same draws give images that differ by 0.18",
        "compute with `draws` alone, and keep nothing",
    ),
    "nothing": (
        distortion.some_draws_change_the_images,
        "with none of 12 draws it changes anything",
        "compute with `draws`, which are uniform in 0..1",
    ),
    "logarithm": (
        distortion.extreme_draws_work,
        "draws of 0 give images that are not finite",
        "keep away from a logarithm of zero or a division by it: draws.clamp(min=1e-6)",
    ),
    "divides": (
        distortion.extreme_draws_work,
        "draws of 1 give images that are not finite",
        "limit what is made of them: (draws * count).long().clamp(max=count - 1)",
    ),
    "mixes": (distortion.batch_mates_do_not_matter, "a sample changes by 0.14 with its batch", ROWS),
    "of_the_longest": (distortion.batch_mates_do_not_matter, "a sample changes by inf with its batch", ROWS),
    "by_layout": (
        distortion.memory_layout_does_not_matter,
        "in channels_last the images differ by 0.35",
        "use reshape or permute, and no as_strided that takes a layout for granted",
    ),
}
NO_IMAGES = {
    "array": ("it returns a ndarray", "return a tensor of images, or (images, sizes)"),
    "half": ("it returns float16", "return float32"),
    "learns": ("its images ask for a gradient", "hold what is constant in buffers or tensors, not in parameters"),
    "grey": ("it returns [12, 1, 40, 51]", "return images [n, 3, height, width], as many as it was given"),
    "floats": ("its sizes are no int64 [n, 2]", "return the height and width of each image on the canvas"),
    "beyond": (
        "its sizes are not within 1 and the canvas, 40x51",
        "return the height and width of each image on the canvas",
    ),
}


@pytest.mark.parametrize("name", ["good", "cropped"])
def test_a_distortion_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_its_own_check_alone(failures, name):
    check, found, instead = BROKEN[name]
    assert failures(name) == {check.__name__: (found, instead)}


def test_values_that_are_not_finite_are_found(failures):
    told = failures("infinite")["values_are_of_the_range"]
    assert told == ("its images are not finite", "look at divisions by zero, and at logarithms of it")


@pytest.mark.parametrize("name", NO_IMAGES)
def test_a_distortion_that_gives_no_images_fails_the_first_check(failures, name):
    assert failures(name)["gives_images"] == NO_IMAGES[name]


def test_each_check_of_distortions_is_seen_to_fail():
    seen = {distortion.gives_images, *(check for check, *_ in BROKEN.values())}
    assert {check.run for check in distortion.CHECKS} == seen
