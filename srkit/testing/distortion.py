"""What a distortion must do, a step of a degradation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from srkit.errors import describe
from srkit.testing.check import Check, Subject, fail
from srkit.testing.samples import (
    EXTREMES,
    chance,
    draws,
    extreme,
    largest,
    photographs,
    refuse_batch_mates,
    refuse_chance,
    refuse_layout,
    replaced,
    row,
)

SIDES = (40, 51)  # pixels
SAMPLES = 12  # each with draws of its own: what is done to one in ten of them is likely to be seen
SAME = 1e-5  # sums of float32 in another order; a level of 8 bits is 4e-3


def gives_images(subject: Subject) -> None:
    """Called with images, float32 [n, 3, h, w], and draws, it returns images of that form, of any size; or (images,
    sizes), where sizes, int64 [n, 2], say which height and width of the canvas is each image's."""
    _samples(subject.make()(_images(), draws(subject, SAMPLES)))


def values_are_of_the_range(subject: Subject) -> None:
    """Its images are finite and within -1..2, for images of black and white, too: noise may overshoot, but a picture of
    0..255 would be white."""
    images = _images()
    for given in (images, (images > images.mean()).float()):
        made = _samples(subject.make()(given, draws(subject, SAMPLES)))
        if not all(bool(x.isfinite().all()) for x in made):
            fail("its images are not finite", "look at divisions by zero, and at logarithms of it")
        least, most = min(float(x.min()) for x in made), max(float(x.max()) for x in made)
        if least < -1 or most > 2:
            fail(
                f"its images have values from {least:.3g} to {most:.3g}", "return images in the range of its own, 0..1"
            )


def images_are_left_alone(subject: Subject) -> None:
    """The images that it is given are not written to."""
    images = _images()
    before = images.clone()
    subject.make()(images, draws(subject, SAMPLES))
    if not torch.equal(images, before):
        fail("it changes its images", "take no in-place operation (mul_, x[...] = y) on what it is given")


def chance_is_left_alone(subject: Subject) -> None:
    """The global random generators (Python's, numpy's, torch's) are neither drawn from nor seeded."""
    distort = subject.make()
    refuse_chance(lambda: distort(_images(), draws(subject, SAMPLES)))


def same_draws_give_same_images(subject: Subject) -> None:
    """The same images with the same draws become the same to the bit, with any state of the process's random
    generators."""
    distort = subject.make()
    with chance(1):
        first = _samples(distort(_images(), draws(subject, SAMPLES)))
    with chance(2):
        second = _samples(distort(_images(), draws(subject, SAMPLES)))
    off = max(_off(a, b) for a, b in zip(first, second, strict=True))
    if off:
        fail(f"the same draws give images that differ by {off:.2g}", "compute with `draws` alone, and keep nothing")


def some_draws_change_the_images(subject: Subject) -> None:
    """With some draws, an image is another than it was."""
    images = _images()
    made = _samples(subject.make()(images, draws(subject, SAMPLES)))
    if all(map(torch.equal, made, images)):
        fail(f"with none of {SAMPLES} draws it changes anything", "compute with `draws`, which are uniform in 0..1")


def extreme_draws_work(subject: Subject) -> None:
    """Draws of 0 and of 1, or as near to it as they come, give finite images."""
    distort = subject.make()
    for value, instead in EXTREMES.items():
        try:
            made = distort(_images(), extreme(subject, SAMPLES, value))
        except Exception as error:
            fail(f"draws of {value:.0f} raise {describe(error)}", instead)
        if not all(bool(x.isfinite().all()) for x in _samples(made)):
            fail(f"draws of {value:.0f} give images that are not finite", instead)


def batch_mates_do_not_matter(subject: Subject) -> None:
    """What becomes of a sample depends on it and on its own row of draws: not on how many others there are, nor on
    which."""
    distort = subject.make()
    given = _images(), draws(subject, SAMPLES)
    others = _images(seed=SAMPLES), draws(subject, SAMPLES, seed=1)
    together = _samples(distort(*given))
    for i in range(4):
        alone = _samples(distort(*(row(x, i) for x in given)))[0]
        among_others = _samples(distort(*(replaced(other, x, i) for other, x in zip(others, given, strict=True))))[i]
        off = max(_off(together[i], alone), _off(together[i], among_others))
        refuse_batch_mates(off, SAME)


def memory_layout_does_not_matter(subject: Subject) -> None:
    """With images in channels_last, as training has them, they become the same."""
    distort, images = subject.make(), _images()
    plain = _samples(distort(images, draws(subject, SAMPLES)))
    other = _samples(distort(images.contiguous(memory_format=torch.channels_last), draws(subject, SAMPLES)))
    off = max(_off(a, b) for a, b in zip(plain, other, strict=True))
    refuse_layout(off, SAME)


CHECKS = (
    Check(gives_images, first=True, demanded=True),
    Check(values_are_of_the_range),
    Check(images_are_left_alone),
    Check(chance_is_left_alone),
    Check(same_draws_give_same_images),
    Check(some_draws_change_the_images),
    Check(extreme_draws_work),
    Check(batch_mates_do_not_matter, needs=(chance_is_left_alone,)),
    Check(memory_layout_does_not_matter, needs=(chance_is_left_alone,)),
)


def _images(seed: int = 0) -> Tensor:
    return photographs(SAMPLES, *SIDES, seed)


def _off(a: Tensor, b: Tensor) -> float:
    """Return how far two images are from each other; infinite where they have other sizes."""
    return largest(a - b) if a.shape == b.shape else float("inf")


def _samples(made: Any) -> list[Tensor]:
    """Return each image alone, without what lies beyond it. Fails where these are no images."""
    images, sizes = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(images, Tensor):
        fail(f"it returns a {type(images).__name__}", "return a tensor of images, or (images, sizes)")
    if images.dtype != torch.float32:
        fail(f"it returns {str(images.dtype).removeprefix('torch.')}", "return float32")
    if images.requires_grad:
        fail("its images ask for a gradient", "hold what is constant in buffers or tensors, not in parameters")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        fail(f"it returns {list(images.shape)}", "return images [n, 3, height, width], as many as it was given")
    if sizes is None:
        return list(images)
    height, width = images.shape[2:]
    if not isinstance(sizes, Tensor) or sizes.dtype != torch.int64 or list(sizes.shape) != [len(images), 2]:
        fail("its sizes are no int64 [n, 2]", "return the height and width of each image on the canvas")
    if not bool(((sizes >= 1) & (sizes <= sizes.new_tensor([height, width]))).all()):
        fail(
            f"its sizes are not within 1 and the canvas, {height}x{width}",
            "return the height and width of each image on the canvas",
        )
    return [image[:, :tall, :wide] for image, (tall, wide) in zip(images, sizes.tolist(), strict=True)]
