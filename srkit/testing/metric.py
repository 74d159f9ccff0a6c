"""What a metric must do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from srkit.engine.data.conversions import to_batch, to_rest
from srkit.engine.networks.checking import fault_of_call
from srkit.engine.scoring.metrics import scoring
from srkit.errors import describe
from srkit.testing.check import Check, Inapplicable, Subject, fail
from srkit.testing.samples import blurred, chance, photograph

Image = NDArray[np.uint8]

HEIGHT, WIDTH = 200, 208  # pixels: MS-SSIM's five scales need 176
SMALL = range(1, 13)  # pixels on a side: SSIM's window has 11
# Sums in another order, of metrics that compute in float32.
SAME = 1e-5
NOISE = (2, 8, 24)  # levels: standard deviations
BLUR = (3, 5, 9)  # pixels
# Levels of red, green and blue that leave BT.601's luma to the bit as it is: 299 * -52 + 587 * 16 + 114 * 54 = 0.
CHROMA = (-52, 16, 54)
GREY = 6  # levels: a seventh of what CHROMA changes


def gives_a_number(subject: Subject) -> None:
    """Of two images at rest, uint8 [height, width, 3], it gives a float that is a number; of equal ones, too. One that
    states `reference=False` is given SR alone."""
    _refuse_other_arguments(subject)
    metric = _made(subject)
    hr = _image()
    for sr, which in ((_noisy(hr, 8), "two images"), (hr, "equal images")):
        score: object = metric(sr, hr.copy())
        if not isinstance(score, float):
            fail(f"it returns a {type(score).__name__}", "return float(...)")
        if math.isnan(score):
            fail(f"the score of {which} is nan", "look at divisions by zero; infinity is a number")


def equal_images_score_best(subject: Subject) -> None:
    """No image scores better than HR itself: none with noise, none blurred, shifted, brighter or darker."""
    _refuse_without_reference(subject)
    metric = _made(subject)
    hr = _image()
    changed = {
        "with noise": _noisy(hr, 8),
        "blurred": _blurred(hr, 3),
        "shifted by a pixel": np.roll(hr, 1, axis=1),
        "brighter": hr + np.uint8(10),
        "darker": hr - np.uint8(10),
    }
    best = _score(metric, hr, hr.copy())
    for how, sr in changed.items():
        score = _score(metric, sr, hr)
        if _is_better(subject, score, best) and not _same(score, best):
            fail(
                f"HR {how} scores {score:.4g}, HR itself {best:.4g}, and {_better(subject)} is better",
                'score the difference from HR; one that looks at SR alone states it: facts={"reference": False}',
            )


def more_damage_scores_worse(subject: Subject) -> None:
    """Which scores are better is as its `better` says: more noise scores worse each time, and so does more blur; blur
    alone where it looks at SR alone, to which noise may be texture."""
    metric = _made(subject)
    hr = _image()
    series = {
        f"noise of {NOISE[0]}, {NOISE[1]} and {NOISE[2]} levels": [_noisy(hr, levels) for levels in NOISE],
        f"blur over {BLUR[0]}, {BLUR[1]} and {BLUR[2]} pixels": [_blurred(hr, side) for side in BLUR],
    }
    for what, images in list(series.items())[0 if _has_reference(subject) else 1 :]:
        first, second, third = (_score(metric, sr, hr) for sr in images)
        if _is_better(subject, first, second) and _is_better(subject, second, third):
            continue
        found = f"{what} scores {first:.4g}, {second:.4g} and {third:.4g}, and {_better(subject)} is better"
        if _is_better(subject, third, second) and _is_better(subject, second, first):
            other = "higher" if _better(subject) == "lower" else "lower"
            fail(found, f'state it: facts={{"better": "{other}"}}')
        fail(found, "let more damage score worse; uint8 wraps around, where 1 - 2 is 255")


def order_does_not_matter(subject: Subject) -> None:
    """SR against HR scores as HR against SR, unless it states `symmetric=False`; then some do not."""
    _refuse_without_reference(subject)
    metric = _made(subject)
    hr = _image()
    found = [(_score(metric, sr, hr), _score(metric, hr, sr)) for sr in (_noisy(hr, 8), hr + np.uint8(10))]
    if not subject.facts.get("symmetric", True):
        if all(_same(*pair) for pair in found):
            fail("SR against HR scores as HR against SR, and it states otherwise", "take `symmetric` out of the facts")
        return
    for there, back in found:
        if not _same(there, back):
            fail(
                f"it is asymmetric: SR against HR scores {there:.6g}, HR against SR {back:.6g}",
                'treat both images alike, or state it: facts={"symmetric": False}; a range of values that is taken '
                "from one image makes it so, and uint8 that wraps around, where 1 - 2 is 255",
            )


def same_images_give_same_score(subject: Subject) -> None:
    """The same images score the same, with any state of the process's random generators."""
    metric = _made(subject)
    hr = _image()
    sr = _noisy(hr, 8)
    with chance(1):
        first = _score(metric, sr, hr)
    with chance(2):
        second = _score(metric, sr, hr)
    if first != second:
        fail(f"the same images score {first}, then {second}", "draw nothing, and keep nothing from call to call")


def views_are_taken(subject: Subject) -> None:
    """Views of larger images, as the cut border leaves them, score as their copies."""
    metric = _made(subject)
    wide = photograph(HEIGHT + 8, WIDTH + 8)
    sr, hr = (image[4:-4, 4:-4] for image in (_noisy(wide, 8), wide))
    of_views, of_copies = _score(metric, sr, hr), _score(metric, sr.copy(), hr.copy())
    if not _same(of_views, of_copies):
        fail(
            f"views of larger images score {of_views:.6g}, their copies {of_copies:.6g}",
            "go by shape and strides: no as_strided and no data pointer that takes rows for adjacent",
        )


def images_are_left_alone(subject: Subject) -> None:
    """SR and HR are not written to."""
    hr = _image()
    sr = _noisy(hr, 8)
    given = sr.copy(), hr.copy()
    _made(subject)(*given)
    for name, image, was in (("SR", given[0], sr), ("HR", given[1], hr)):
        if not np.array_equal(image, was):
            fail(f"it changes {name}", "take no in-place operation (-=, out=) on the images themselves")


def other_sizes_are_an_error(subject: Subject) -> None:
    """Images of different sizes are a ValueError, those that numpy would stretch included."""
    _refuse_without_reference(subject)
    metric = _made(subject)
    hr = _image()
    for sr in (np.ascontiguousarray(hr.transpose(1, 0, 2)), hr[:-1], hr[:1], hr[:, :1]):
        for first, second in ((sr, hr), (hr, sr)):
            try:
                score = metric(first, second)
            except ValueError:
                continue
            except Exception as error:
                fail(
                    f"{_size(first)} against {_size(second)} raises {describe(error)}",
                    "raise ValueError where the shapes differ: srkit names the image with it",
                )
            fail(
                f"{_size(first)} against {_size(second)} scores {score:.4g}", "raise ValueError where the shapes differ"
            )


def small_images_score_or_are_refused(subject: Subject) -> None:
    """Images of 1 to 12 pixels on a side score a number, or are a ValueError that says so."""
    metric = _made(subject)
    for side in SMALL:
        hr = photograph(side, side)
        for sr in (_noisy(hr, 8), hr.copy()):
            try:
                score = metric(sr, hr)
            except ValueError as error:
                if str(error):
                    continue
                fail(f"{_size(hr)} raises a ValueError without a message", "say how large images must be")
            except Exception as error:
                fail(
                    f"{_size(hr)} raises {describe(error)}",
                    "raise ValueError that says how large images must be",
                )
            if math.isnan(score):
                fail(f"{_size(hr)} scores nan", "raise ValueError that says how large images must be")


def flat_images_score(subject: Subject) -> None:
    """Images of one colour, on either side or on both, score a number: one nan is the mean of a whole set."""
    metric = _made(subject)
    image, flat, black = _image(), np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for sr, hr, which in (
        (flat, image, "SR of one colour"),
        (image, flat, "HR of one colour"),
        (flat, black, "two images of one colour each"),
        (black, black.copy(), "two black images"),
    ):
        if math.isnan(_score(metric, sr, hr)):
            fail(f"the score of {which} is nan", "decide what it is where variances are zero, and divide by none")


def color_is_as_stated(subject: Subject) -> None:
    """What it looks at is as its `color` says: a change of chroma alone counts for nothing with "Y", for much with
    "RGB"."""
    stated = str(subject.facts.get("color", "RGB"))
    if stated not in ("Y", "RGB"):
        raise Inapplicable(f'it looks at "{stated}": only "Y" and "RGB" are known here')
    metric = _made(subject)
    hr = _image()
    signs = np.random.default_rng(1).choice([-1, 1], (HEIGHT // 4, WIDTH // 4, 1)).repeat(4, 0).repeat(4, 1)
    of_chroma, of_grey, of_more = (
        _score(metric, (hr + signs * np.array(change)).astype(np.uint8), hr)
        for change in (CHROMA, (GREY,) * 3, (3 * GREY,) * 3)
    )
    if not _has_reference(subject):  # how far each is from what HR itself scores
        itself = _score(metric, hr, hr)
        of_chroma, of_grey, of_more = (abs(score - itself) for score in (of_chroma, of_grey, of_more))
    looks_away = of_chroma > of_grey if of_grey > of_more else of_chroma < of_grey
    found = f"chroma changed by {CHROMA} scores {of_chroma:.4g}, grey by {GREY} levels {of_grey:.4g}"
    if stated == "Y" and not looks_away:
        fail(f"{found}, so that more than the luma counts", 'state it: facts={"color": "RGB"}')
    if stated == "RGB" and looks_away:
        fail(f"{found}, so that chroma hardly counts", 'state it: facts={"color": "Y"}')


CHECKS = (
    Check(gives_a_number, first=True, demanded=True),
    Check(equal_images_score_best),
    Check(same_images_give_same_score),
    Check(more_damage_scores_worse),
    Check(order_does_not_matter, needs=(same_images_give_same_score,)),
    Check(views_are_taken, needs=(same_images_give_same_score,)),
    Check(images_are_left_alone),
    Check(other_sizes_are_an_error),
    Check(small_images_score_or_are_refused),
    Check(flat_images_score),
    Check(color_is_as_stated),
)


def _has_reference(subject: Subject) -> bool:
    return bool(subject.facts.get("reference", True))


def _refuse_without_reference(subject: Subject) -> None:
    if not _has_reference(subject):
        raise Inapplicable("it looks at SR alone")


def _made(subject: Subject) -> Callable[..., float]:
    """Return the metric, called with SR and HR."""
    return scoring(subject.make(), reference=_has_reference(subject))


def _refuse_other_arguments(subject: Subject) -> None:
    fault = fault_of_call(subject.component, subject.make())
    if fault is not None:
        fail(f"it {fault[0]}", fault[1])


def _image() -> Image:
    return photograph(HEIGHT, WIDTH)


def _noisy(image: Image, levels: int) -> Image:
    noise = np.random.default_rng(levels).normal(0, levels, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _blurred(image: Image, side: int) -> Image:
    return to_rest(blurred(to_batch(image, torch.device("cpu")), side))


def _score(metric: Any, sr: Image, hr: Image) -> float:
    return float(metric(sr, hr))


def _better(subject: Subject) -> str:
    return str(subject.facts.get("better", "higher"))


def _is_better(subject: Subject, score: float, than: float) -> bool:
    return score < than if _better(subject) == "lower" else score > than


def _same(a: float, b: float) -> bool:
    return a == b or math.isclose(a, b, rel_tol=SAME, abs_tol=SAME)


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
