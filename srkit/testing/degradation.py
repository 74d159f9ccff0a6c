"""What a degradation must do, a deterministic one and a random one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.engine.networks.calling import takes
from srkit.engine.networks.checking import fault_of_call
from srkit.errors import describe
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.samples import (
    EXTREMES,
    call,
    chance,
    draws,
    extreme,
    largest,
    many_draws,
    photograph,
    photographs,
    refuse_chance,
    replaced,
    row,
)

Image = NDArray[Any]

LR_SIDES = (24, 31)  # pixels
SIZE = (19, 23)  # of LR, which no whole scale makes of HR
THREADS, CALLS = 4, 24
SAME = 1e-5  # sums of float32 in another order; a level of 8 bits is 4e-3


def gives_lr(subject: Subject) -> None:
    """HR becomes LR of the same form and dtype, smaller by the scale, at every scale that it states (or 2, 3 and 4): a
    whole image at rest, or a batch [n, 3, h, w] with draws where it is random."""
    for scale, made in subject.made_at_each_scale():
        _refuse_other_arguments(subject, made)
        degrade = _ready(subject, made, scale)
        if _is_random(subject):
            _refuse_other_batch(call(subject, degrade, photographs(2, *(side * scale for side in LR_SIDES))), scale)
        else:
            hr = _image(scale)
            _refuse_other_image(degrade(hr), hr, scale)


def hr_is_left_alone(subject: Subject) -> None:
    """HR is not written to, nor is a tensor of draws."""
    degrade = _made(subject)
    if _is_random(subject):
        given = dict(zip(("HR", "the draws"), _batch(subject, 2), strict=True))
        before = {name: x.clone() for name, x in given.items() if isinstance(x, Tensor)}
        degrade(*given.values())
        changed = [name for name, x in before.items() if not torch.equal(x, given[name])]
    else:
        image = _image(subject.scale)
        was = image.copy()
        degrade(image)
        changed = [] if np.array_equal(image, was) else ["HR"]
    if changed:
        fail(f"it changes {' and '.join(changed)}", "take no in-place operation (*=, add_, out=) on what it is given")


def chance_is_left_alone(subject: Subject) -> None:
    """The global random generators (Python's, numpy's, torch's) are neither drawn from nor seeded."""
    degrade = _made(subject)
    refuse_chance(lambda: _run(subject, degrade), _instead_of_chance(subject))


def same_image_gives_same_lr(subject: Subject) -> None:
    """The same HR, with the same draws, gives the same LR to the bit, with any state of the
    process's random generators."""
    degrade = _made(subject)
    with chance(1):
        first = _run(subject, degrade)
    with chance(2):
        second = _run(subject, degrade)
    if not torch.equal(first, second):
        fail(
            f"the same image gives LR that differs by {largest(first.double() - second.double()):.2g}",
            _instead_of_chance(subject),
        )


def threads_do_not_matter(subject: Subject) -> None:
    """A deterministic one, called from several threads at once, gives what it gives in one."""
    if _is_random(subject):
        raise Inapplicable("it is random: called from one thread")
    degrade = _made(subject)
    images = [_image(subject.scale, seed) for seed in range(THREADS)] * (CALLS // THREADS)
    alone = [degrade(hr) for hr in images[:THREADS]] * (CALLS // THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        together = list(threads.map(degrade, images))
    if not all(map(np.array_equal, alone, together)):
        fail("called from several threads at once, it gives another LR", "keep nothing of a call in self or a global")


def lr_has_memory_of_its_own(subject: Subject) -> None:
    """LR of a deterministic one can be written to, and is no view of HR, which would have to be kept for it."""
    if _is_random(subject):
        raise Inapplicable("it is random: its LR is rounded into new memory")
    hr = _image(subject.scale)
    lr = _made(subject)(hr)
    if np.shares_memory(hr, lr):
        fail("LR is a view of HR", "return a copy: hr[::scale, ::scale].copy()")
    if not lr.flags.writeable:
        fail("LR cannot be written to", "return a copy: np.array(...) where it was np.asarray(...)")


def sixteen_bits_work_or_are_refused(subject: Subject) -> None:
    """Of HR of 16 bits a deterministic one makes LR of 16 bits, the same picture as of 8 bits, or raises a ValueError
    that says so."""
    if _is_random(subject):
        raise Inapplicable("it is random: what it is given are floats")
    degrade = _made(subject)
    hr = _image(subject.scale)
    lr = degrade(hr).astype(np.float64)
    deep = hr.astype(np.uint16) * np.uint16(257)
    instead = "scale by np.iinfo(hr.dtype).max, or raise ValueError that says that images of 8 bits are needed"
    try:
        of_deep = degrade(deep)
    except ValueError as error:
        if str(error):
            return
        fail("HR of 16 bits raises a ValueError without a message", "say that images of 8 bits are needed")
    except Exception as error:
        fail(f"HR of 16 bits raises {describe(error)}", instead)
    _refuse_other_image(of_deep, deep, subject.scale)
    off = float(np.abs(of_deep / 257 - lr).mean())
    if off > 4:  # levels: rounding is off by fewer in the mean, and a fixed noise, too
        fail(f"of HR of 16 bits it makes another picture: {off:.3g} of 255 levels off in the mean", instead)


def values_are_of_the_range(subject: Subject) -> None:
    """A random one's LR is finite and within -1..2: srkit clamps it to 0..1, so that noise may overshoot, but a picture
    of 0..255 would be white."""
    _refuse_deterministic(subject)
    lr = _made(subject)(*_batch(subject, 8))
    if not bool(lr.isfinite().all()):
        fail("its LR is not finite", "look at divisions by zero, and at logarithms of it")
    least, most = float(lr.min()), float(lr.max())
    if least < -1 or most > 2:
        fail(f"its LR has values from {least:.3g} to {most:.3g}", "return LR in the range of HR, 0..1")


def extreme_draws_work(subject: Subject) -> None:
    """Draws of 0 and of 1, or as near to it as they come, give LR that is finite and of the same size."""
    _refuse_deterministic(subject)
    degrade = _made(subject)
    hr, _ = _batch(subject, 2)
    for value, instead in EXTREMES.items():
        try:
            lr = degrade(hr, extreme(subject, 2, value))
        except Exception as error:
            fail(f"draws of {value:.0f} raise {describe(error)}", instead)
        _refuse_other_batch(lr, subject.scale)
        if not bool(lr.isfinite().all()):
            fail(f"draws of {value:.0f} give LR that is not finite", instead)


def batch_mates_do_not_matter(subject: Subject) -> None:
    """A sample's LR depends on its own image and its own row of draws, not on how many others there are, nor on
    which."""
    _refuse_deterministic(subject)
    degrade = _made(subject)
    given, others = _batch(subject, 3), _batch(subject, 3, seed=3)
    together = degrade(*given)
    for i in range(3):
        alone = degrade(*(row(x, i) for x in given))[0]
        among_others = degrade(*(replaced(other, x, i) for other, x in zip(others, given, strict=True)))[i]
        off = max(largest(together[i] - alone), largest(together[i] - among_others))
        if off > SAME:
            fail(
                f"a sample's LR changes by {off:.2g} with its batch",
                "take row i of what is drawn for image i alone, and no mean over the batch",
            )


def draws_matter(subject: Subject) -> None:
    """One HR with other draws becomes another LR, with some of a thousand at least."""
    _refuse_deterministic(subject)
    degrade = _made(subject)
    hr = _batch(subject, 1)[0].expand(8, -1, -1, -1).contiguous()
    first = degrade(hr, draws(subject, 8))[:1]
    if all(largest(degrade(hr, drawn) - first) <= SAME for drawn in many_draws(subject, 8)):
        fail(
            "whatever the draws, its LR is the same",
            "compute with `draws`; or leave out deterministic=False and take a whole image at rest",
        )


def memory_layout_does_not_matter(subject: Subject) -> None:
    """With HR in channels_last, as training has it, a random one's LR is the same."""
    _refuse_deterministic(subject)
    degrade = _made(subject)
    hr, drawn = _batch(subject, 2)
    of_other = degrade(hr.contiguous(memory_format=torch.channels_last), draws(subject, 2))
    off = largest(degrade(hr, drawn) - of_other)
    if off > SAME:
        fail(
            f"in channels_last its LR differs by {off:.2g}",
            "use reshape or permute, and no as_strided that takes a layout for granted",
        )


def any_size_is_made(subject: Subject) -> None:
    """Where its call declares `size`, LR has that size, which need not divide HR's; where it has a method `batch`, so
    has LR of a batch, the same picture as of the whole images."""
    degrade = subject.make()
    if not takes(degrade, "size"):
        raise Inapplicable("its call does not declare `size`")
    if _is_random(subject):
        hr, drawn = _batch(subject, 2)
        _refuse_size_not_asked_for(list(degrade(hr, SIZE, drawn).shape[2:]))
        return
    image = _image(subject.scale)
    lr = degrade(image, SIZE)
    _refuse_size_not_asked_for(list(lr.shape[:2]))
    if not hasattr(degrade, "batch"):
        return
    of_batch = degrade.batch(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, SIZE)
    _refuse_size_not_asked_for(list(of_batch.shape[2:]))
    off = float((of_batch[0].permute(1, 2, 0) * 255 - torch.from_numpy(lr).float()).abs().max())
    if off > 1:  # level, by which two ways to round may differ
        fail(
            f"LR of a batch is off by {off:.3g} of 255 levels from that of the whole image",
            "let both do the same, in 0..1 and in 0..255",
        )


def _refuse_size_not_asked_for(found: list[int]) -> None:
    if found != list(SIZE):
        fail(f"asked for LR of {list(SIZE)} it gives {found}", "resize to the size, and not by a scale")


CHECKS = (
    Check(gives_lr, first=True, demanded=True),
    Check(any_size_is_made),
    Check(hr_is_left_alone),
    Check(chance_is_left_alone),
    Check(same_image_gives_same_lr),
    Check(threads_do_not_matter),
    Check(lr_has_memory_of_its_own),
    Check(sixteen_bits_work_or_are_refused),
    Check(values_are_of_the_range),
    Check(extreme_draws_work),
    Check(batch_mates_do_not_matter, needs=(chance_is_left_alone,)),
    Check(draws_matter),
    Check(memory_layout_does_not_matter, needs=(chance_is_left_alone,)),
)


def _is_random(subject: Subject) -> bool:
    return subject.facts.get("deterministic", True) is False


def _refuse_deterministic(subject: Subject) -> None:
    if not _is_random(subject):
        raise Inapplicable("it is deterministic")


def _instead_of_chance(subject: Subject) -> str:
    if _is_random(subject):
        return "compute with `draws` alone, and keep nothing from call to call"
    return 'take draws, as one with facts={"deterministic": False} does; for a fixed pattern, np.random.default_rng(0)'


def _image(scale: int, seed: int = 0) -> Image:
    height, width = LR_SIDES
    return photograph(height * scale, width * scale, seed)


def _batch(subject: Subject, n: int, seed: int = 0) -> tuple[Tensor, Any]:
    height, width = (side * subject.scale for side in LR_SIDES)
    return photographs(n, height, width, seed), draws(subject, n, seed)


def _made(subject: Subject) -> Callable[..., Any]:
    return _ready(subject, subject.make(), subject.scale)


def _ready(subject: Subject, degrade: Callable[..., Any], scale: int) -> Callable[..., Any]:
    """Return a degradation that is given the size of LR at a scale, where it asks for it."""
    if not takes(degrade, "size"):
        return degrade
    if _is_random(subject):
        return lambda hr, draws: degrade(hr, (hr.shape[2] // scale, hr.shape[3] // scale), draws)
    return lambda hr: degrade(hr, (hr.shape[0] // scale, hr.shape[1] // scale))


def _run(subject: Subject, degrade: Any) -> Tensor:
    """Return LR of the same HR, and of the same draws, each time."""
    if _is_random(subject):
        lr: Tensor = degrade(*_batch(subject, 4))
        return lr
    return torch.from_numpy(np.array(degrade(_image(subject.scale))))


def _refuse_other_arguments(subject: Subject, degrade: Any) -> None:
    fault = fault_of_call(subject.component, degrade)
    if fault is not None:
        fail(f"it {fault[0]}", fault[1])


def _refuse_other_image(lr: object, hr: Image, scale: int) -> None:
    if not isinstance(lr, np.ndarray):
        fail(f"it returns a {type(lr).__name__}", "return an image at rest, a numpy array")
    if lr.dtype != hr.dtype:
        fail(f"of {hr.dtype} it makes {lr.dtype}", "round and clip, then return lr.astype(hr.dtype)")
    _refuse_other_size(list(hr.shape), list(lr.shape), [hr.shape[0] // scale, hr.shape[1] // scale, 3], scale)


def _refuse_other_batch(lr: object, scale: int) -> None:
    height, width = LR_SIDES
    if not isinstance(lr, Tensor):
        fail(f"it returns a {type(lr).__name__}", "return LR alone, a tensor")
    if lr.dtype != torch.float32:
        fail(f"it returns {str(lr.dtype).removeprefix('torch.')}", "return float32")
    if lr.requires_grad:
        fail("its LR asks for a gradient", "hold what is constant in buffers or tensors, not in parameters")
    _refuse_other_size([2, 3, height * scale, width * scale], list(lr.shape), [2, 3, height, width], scale)


def _refuse_other_size(hr: list[int], lr: list[int], must: list[int], scale: int) -> None:
    if lr != must:
        fail(
            f"at scale {scale}, HR {hr} becomes {lr}, not {must}",
            "divide height and width by the scale, of which they are multiples, and keep the order of the axes",
        )
