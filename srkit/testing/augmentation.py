"""What an augmentation must do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from srkit.errors import describe
from srkit.testing.check import Check, Subject, fail
from srkit.testing.samples import (
    EXTREMES,
    MANY,
    call,
    chance,
    draws,
    extreme,
    largest,
    many_draws,
    photographs,
    refuse_batch_mates,
    refuse_chance,
    refuse_layout,
    replaced,
    row,
)

SCALES = (2, 3)
SIDE = 12  # LR pixels
SAMPLES = 16  # each with draws of its own
SAME = 1e-5  # sums of float32 in another order; a level of 8 bits is 4e-3


def gives_lr_and_hr(subject: Subject) -> None:
    """Called with square patches LR and HR, float32 [n, 3, h, w], and draws, it returns both, of the same size and
    dtype, at scales 2 and 3."""
    change = subject.make()
    for scale in SCALES:
        lr, hr = _pair(scale)
        changed = call(subject, change, lr, hr)
        if not isinstance(changed, tuple) or len(changed) != 2:
            what = f"{len(changed)} values" if isinstance(changed, tuple) else f"a {type(changed).__name__}"
            fail(f"it returns {what}", "return the tuple (lr, hr)")
        _refuse_other_form(changed, (lr, hr))


def values_stay_in_range(subject: Subject) -> None:
    """Values stay within 0..1, of black and white, too: nothing clamps them afterwards."""
    change = subject.make()
    lr, hr = _pair(2)
    contrast = [(images > images.mean()).float() for images in (lr, hr)]
    for images in ((lr, hr), contrast):
        for name, x in zip(("LR", "HR"), change(*images, draws(subject, SAMPLES)), strict=True):
            least, most = float(x.min()), float(x.max())
            if not -SAME <= least <= most <= 1 + SAME:
                fail(f"{name} has values from {least:.3g} to {most:.3g}", "end with clamp(0, 1)")


def lr_and_hr_stay_aligned(subject: Subject) -> None:
    """LR and HR change alike: where HR is LR with each pixel enlarged to a square, it still is afterwards."""
    change = subject.make()
    for scale in SCALES:
        lr, _ = _pair(scale)
        small, large = change(lr, _enlarged(lr, scale), draws(subject, SAMPLES))
        off = largest(_enlarged(small, scale) - large)
        if off > SAME:
            fail(
                f"at scale {scale}, HR that is LR enlarged differs from it by {off:.2g} afterwards",
                "turn, mirror and recolour both alike, and shift HR by the scale times as much",
            )


def images_are_left_alone(subject: Subject) -> None:
    """LR and HR are not written to, nor is a tensor of draws."""
    change = subject.make()
    given = {**dict(zip(("LR", "HR"), _pair(2), strict=True)), "the draws": draws(subject, SAMPLES)}
    before = {name: x.clone() for name, x in given.items() if isinstance(x, Tensor)}
    change(*given.values())
    changed = [name for name, x in before.items() if not torch.equal(x, given[name])]
    if changed:
        fail(f"it changes {' and '.join(changed)}", "take no in-place operation (mul_, x[...] = y) on what it is given")


def chance_is_left_alone(subject: Subject) -> None:
    """The global random generators (Python's, numpy's, torch's) are neither drawn from nor seeded."""
    change = subject.make()
    refuse_chance(lambda: change(*_pair(2), draws(subject, SAMPLES)))


def same_draws_give_same_images(subject: Subject) -> None:
    """The same images with the same draws become the same to the bit, with any state of the process's random
    generators."""
    change = subject.make()
    with chance(1):
        first = change(*_pair(2), draws(subject, SAMPLES))
    with chance(2):
        second = change(*_pair(2), draws(subject, SAMPLES))
    if not all(map(torch.equal, first, second)):
        off = max(largest(a - b) for a, b in zip(first, second, strict=True))
        fail(f"the same draws give images that differ by {off:.2g}", "compute with `draws` alone, and keep nothing")


def some_draws_change_the_images(subject: Subject) -> None:
    """With some draws of a thousand at least, LR or HR is another than it was."""
    pair = _pair(2)
    change = subject.make()
    if all(all(map(torch.equal, change(*pair, drawn), pair)) for drawn in many_draws(subject, SAMPLES)):
        fail(f"with none of {MANY:,} draws it changes anything", "compute with `draws`, which are uniform in 0..1")


def extreme_draws_work(subject: Subject) -> None:
    """Draws of 0 and of 1, or as near to it as they come, give finite images of the same size."""
    change = subject.make()
    pair = _pair(2)
    for value, instead in EXTREMES.items():
        try:
            changed = change(*pair, extreme(subject, SAMPLES, value))
        except Exception as error:
            fail(f"draws of {value:.0f} raise {describe(error)}", instead)
        _refuse_other_form(changed, pair)
        if not all(bool(x.isfinite().all()) for x in changed):
            fail(f"draws of {value:.0f} give images that are not finite", instead)


def batch_mates_do_not_matter(subject: Subject) -> None:
    """What becomes of a sample depends on it and on its own row of draws: not on how many others there are, nor on
    which."""
    change = subject.make()
    given = *_pair(2), draws(subject, SAMPLES)
    others = *_pair(2, seed=SAMPLES), draws(subject, SAMPLES, seed=1)
    together = change(*given)
    for i in range(3):
        alone = change(*(row(x, i) for x in given))
        among_others = change(*(replaced(other, x, i) for other, x in zip(others, given, strict=True)))
        off = max(
            largest(whole[i] - part)
            for whole, a, b in zip(together, alone, among_others, strict=True)
            for part in (a[0], b[i])
        )
        refuse_batch_mates(off, SAME)


def memory_layout_does_not_matter(subject: Subject) -> None:
    """With LR and HR in channels_last, as training has them, they become the same."""
    change = subject.make()
    pair = _pair(2)
    plain = change(*pair, draws(subject, SAMPLES))
    other = change(*(x.contiguous(memory_format=torch.channels_last) for x in pair), draws(subject, SAMPLES))
    off = max(largest(a - b) for a, b in zip(plain, other, strict=True))
    refuse_layout(off, SAME)


CHECKS = (
    Check(gives_lr_and_hr, first=True, demanded=True),
    Check(values_stay_in_range),
    Check(lr_and_hr_stay_aligned),
    Check(images_are_left_alone),
    Check(chance_is_left_alone),
    Check(same_draws_give_same_images),
    Check(some_draws_change_the_images),
    Check(extreme_draws_work),
    Check(batch_mates_do_not_matter, needs=(chance_is_left_alone,)),
    Check(memory_layout_does_not_matter, needs=(chance_is_left_alone,)),
)


def _pair(scale: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return photographs(SAMPLES, SIDE, SIDE, seed), photographs(SAMPLES, SIDE * scale, SIDE * scale, seed)


def _enlarged(lr: Tensor, scale: int) -> Tensor:
    return lr.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)


def _refuse_other_form(changed: Any, pair: tuple[Tensor, Tensor]) -> None:
    for name, x, was in zip(("LR", "HR"), changed, pair, strict=True):
        if not isinstance(x, Tensor):
            fail(f"its {name} is a {type(x).__name__}", "return tensors")
        if x.dtype != was.dtype:
            fail(f"its {name} is {str(x.dtype).removeprefix('torch.')}", "return float32")
        if x.shape != was.shape:
            fail(
                f"{name} {list(was.shape)} becomes {list(x.shape)}", "keep the sizes; srkit has cut the patches already"
            )
