"""Each check of metrics can fail: metrics that break one promise each, and what is told of them."""

from __future__ import annotations

import pytest

from srkit.testing import metric
from srkit.testing.check import Subject
from srkit.testing.running import results

KIND = "metric"
PLUGIN = """
import numpy as np
import srkit

LUMA = np.array([299, 587, 114])


def difference(sr, hr):
    if sr.shape != hr.shape:
        raise ValueError("the shapes differ")
    return sr.astype(float) - hr


def mean(sr, hr):
    return float(np.abs(difference(sr, hr)).mean())


def without_a_row(sr, hr):
    if len(sr) < 2:
        raise ValueError("images have 2 rows or more")
    score = mean(sr[1:], hr[1:])
    sr[0] = 0
    return score


def small(error):
    def score(sr, hr):
        difference(sr, hr)
        if len(sr) < 9 and isinstance(error, Exception):
            raise error
        return mean(sr, hr) if len(sr) > 8 else error

    return score


def of_deviations(sr, hr):
    if sr.size < 12:
        raise ValueError("images have 2 pixels or more on a side")
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(mean(sr, hr) / (sr.std() + hr.std()))


def by_memory(sr, hr):
    difference(sr, hr)
    return mean(*(np.lib.stride_tricks.as_strided(image, (image.size,), (1,)) for image in (sr, hr)))


def asserting(sr, hr):
    assert sr.shape == hr.shape
    return mean(sr, hr)


def stretching(sr, hr):
    return float(np.abs(sr.astype(float) - hr).mean())


def sharpness(sr):
    if min(sr.shape[:2]) < 2:
        raise ValueError("images have 2 pixels or more on a side")
    return float(np.abs(np.diff(sr.astype(float), axis=1)).mean())


def writes(sr):
    score = sharpness(sr[1:])
    sr[0] = 0
    return score


LOW = {"better": "lower"}
ALONE = {"reference": False}
METRICS = {
    "good": (mean, LOW),
    "an_array": (lambda sr, hr: np.abs(difference(sr, hr)).mean(dtype=np.float32), LOW),
    "no_number": (lambda sr, hr: mean(sr, hr) or float("nan"), LOW),
    "likes_brightness": (lambda sr, hr: mean(sr, hr) - 2 * abs(float(difference(sr, hr).mean())), LOW),
    "lower": (mean, {}),
    "higher": (lambda sr, hr: -mean(sr, hr), LOW),
    "saturated": (lambda sr, hr: min(mean(sr, hr), 3.0), LOW),
    "by_hr": (lambda sr, hr: mean(sr, hr) / (1 + hr.mean()), LOW),
    "by_chance": (lambda sr, hr: mean(sr, hr) * (1 + 1e-7 * (np.random.get_state()[1][0] % 2)), LOW),
    "by_memory": (by_memory, LOW),
    "writes": (without_a_row, LOW),
    "stretches": (stretching, LOW),
    "asserts": (asserting, LOW),
    "silent": (small(ValueError()), LOW),
    "breaks": (small(IndexError("no window fits")), LOW),
    "small_nan": (small(float("nan")), LOW),
    "of_deviations": (of_deviations, LOW),
    "luma": (lambda sr, hr: float(np.abs(difference(sr, hr) @ LUMA).mean()) / 1000, LOW),
    "rgb": (mean, {"color": "Y", **LOW}),
    "lab": (mean, {"color": "Lab", **LOW}),
    "by_hr_stated": (lambda sr, hr: mean(sr, hr) / (1 + hr.mean()), {"symmetric": False, **LOW}),
    "alike_stated": (mean, {"symmetric": False, **LOW}),
    "alone": (sharpness, ALONE),
    "alone_in_luma": (lambda sr: sharpness(sr @ LUMA[:, None] / 1000), {"color": "Y", **ALONE}),
    "alone_unstated": (sharpness, {}),
    "with_hr": (mean, ALONE),
    "alone_lower": (sharpness, {**LOW, **ALONE}),
    "alone_luma": (lambda sr: sharpness(sr @ LUMA[:, None] / 1000), ALONE),
    "alone_rgb": (sharpness, {"color": "Y", **ALONE}),
    "alone_writes": (writes, ALONE),
    "alone_by_chance": (lambda sr: sharpness(sr) * (1 + 1e-7 * (np.random.get_state()[1][0] % 2)), ALONE),
}
for _name, (_score, _) in METRICS.items():
    globals()[f"make_{_name}"] = lambda _score=_score: _score


@srkit.hookimpl
def srkit_components():
    for name, (_, facts) in METRICS.items():
        yield srkit.Component("metric", name, f"{__name__}:make_{name}", summary="a score", facts=facts)
"""

IN_ONE_ORDER = (
    'treat both images alike, or state it: facts={"symmetric": False}; a range of values that is taken from one image '
    "makes it so, and uint8 that wraps around, where 1 - 2 is 255"
)
BROKEN = {
    "likes_brightness": (
        metric.equal_images_score_best,
        "HR brighter scores -10, HR itself 0, and lower is better",
        'score the difference from HR; one that looks at SR alone states it: facts={"reference": False}',
    ),
    "saturated": (
        metric.more_damage_scores_worse,
        "noise of 2, 8 and 24 levels scores 1.579, 3 and 3, and lower is better",
        "let more damage score worse; uint8 wraps around, where 1 - 2 is 255",
    ),
    "by_hr": (
        metric.order_does_not_matter,
        "it is asymmetric: SR against HR scores 0.0753064, HR against SR 0.0700325",
        IN_ONE_ORDER,
    ),
    "by_chance": (
        metric.same_images_give_same_score,
        "the same images score 6.389816344109776, then 6.389815705128205",
        "draw nothing, and keep nothing from call to call",
    ),
    "by_memory": (
        metric.views_are_taken,
        "views of larger images score 6.38932, their copies 6.39959",
        "go by shape and strides: no as_strided and no data pointer that takes rows for adjacent",
    ),
    "writes": (
        metric.images_are_left_alone,
        "it changes SR",
        "take no in-place operation (-=, out=) on the images themselves",
    ),
    "stretches": (
        metric.other_sizes_are_an_error,
        "208x1 against 208x200 scores 31.99",
        "raise ValueError where the shapes differ",
    ),
    "asserts": (
        metric.other_sizes_are_an_error,
        "200x208 against 208x200 raises AssertionError",
        "raise ValueError where the shapes differ: srkit names the image with it",
    ),
    "silent": (
        metric.small_images_score_or_are_refused,
        "1x1 raises a ValueError without a message",
        "say how large images must be",
    ),
    "breaks": (
        metric.small_images_score_or_are_refused,
        "1x1 raises IndexError: no window fits",
        "raise ValueError that says how large images must be",
    ),
    "small_nan": (
        metric.small_images_score_or_are_refused,
        "1x1 scores nan",
        "raise ValueError that says how large images must be",
    ),
    "of_deviations": (
        metric.flat_images_score,
        "the score of two black images is nan",
        "decide what it is where variances are zero, and divide by none",
    ),
    "luma": (
        metric.color_is_as_stated,
        "chroma changed by (-52, 16, 54) scores 0, grey by 6 levels 6, so that chroma hardly counts",
        'state it: facts={"color": "Y"}',
    ),
    "rgb": (
        metric.color_is_as_stated,
        "chroma changed by (-52, 16, 54) scores 40.67, grey by 6 levels 6, so that more than the luma counts",
        'state it: facts={"color": "RGB"}',
    ),
}
ALONE = {
    "alone_lower": (
        metric.more_damage_scores_worse,
        "blur over 3, 5 and 9 pixels scores 2.77, 2.228 and 1.781, and lower is better",
        'state it: facts={"better": "higher"}',
    ),
    "alone_luma": (
        metric.color_is_as_stated,
        "chroma changed by (-52, 16, 54) scores 0, grey by 6 levels 0.7452, so that chroma hardly counts",
        'state it: facts={"color": "Y"}',
    ),
    "alone_rgb": (
        metric.color_is_as_stated,
        "chroma changed by (-52, 16, 54) scores 8.174, grey by 6 levels 0.5555, so that more than the luma counts",
        'state it: facts={"color": "RGB"}',
    ),
    "alone_writes": (
        metric.images_are_left_alone,
        "it changes SR",
        "take no in-place operation (-=, out=) on the images themselves",
    ),
    "alone_by_chance": (
        metric.same_images_give_same_score,
        "the same images score 11.728084908718198, then 11.728083735909824",
        "draw nothing, and keep nothing from call to call",
    ),
    "alike_stated": (
        metric.order_does_not_matter,
        "SR against HR scores as HR against SR, and it states otherwise",
        "take `symmetric` out of the facts",
    ),
}
WHICH = "state reference=False of one that looks at SR alone, and of no other"
NOT_CALLED = {
    "alone_unstated": ("it cannot be called with sr and hr: too many positional arguments", WHICH),
    "with_hr": ("it cannot be called with sr: missing a required argument: 'hr'", WHICH),
    "an_array": ("it returns a float32", "return float(...)"),
    "no_number": ("the score of equal images is nan", "look at divisions by zero; infinity is a number"),
}
WRONG_WAY = {
    "lower": (
        "noise of 2, 8 and 24 levels scores 1.579, 6.39 and 19.2, and higher is better",
        'state it: facts={"better": "lower"}',
    ),
    "higher": (
        "noise of 2, 8 and 24 levels scores -1.579, -6.39 and -19.2, and lower is better",
        'state it: facts={"better": "higher"}',
    ),
}


@pytest.mark.parametrize("name", ["good", "by_hr_stated", "alone", "alone_in_luma"])
def test_a_metric_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


def test_of_a_metric_that_looks_at_sr_alone_nothing_is_asked_of_hr(registry):
    found = results(Subject(registry.find("metric", "alone"), registry))
    skipped = {result.check.name for result in found if result.found == "it looks at SR alone"}
    assert skipped == {"equal_images_score_best", "order_does_not_matter", "other_sizes_are_an_error"}


@pytest.mark.parametrize("name", [*BROKEN, *ALONE])
def test_a_broken_promise_fails_its_own_check_alone(failures, name):
    check, found, instead = {**BROKEN, **ALONE}[name]
    assert failures(name) == {check.__name__: (found, instead)}


@pytest.mark.parametrize("name", NOT_CALLED)
def test_a_metric_that_gives_no_number_fails_the_first_check(failures, name):
    assert failures(name)["gives_a_number"] == NOT_CALLED[name]


@pytest.mark.parametrize("name", WRONG_WAY)
def test_a_metric_that_states_the_wrong_direction_is_told_the_other(failures, name):
    found = failures(name)
    assert set(found) == {"equal_images_score_best", "more_damage_scores_worse"}
    assert found["more_damage_scores_worse"] == WRONG_WAY[name]


def test_a_color_that_is_not_known_is_not_checked(registry):
    found = {result.check.name: result for result in results(Subject(registry.find("metric", "lab"), registry))}
    skipped = found["color_is_as_stated"]
    assert (skipped.outcome, skipped.found) == ("skipped", 'it looks at "Lab": only "Y" and "RGB" are known here')


def test_each_check_of_metrics_is_seen_to_fail():
    assert {check.run for check in metric.CHECKS} == {metric.gives_a_number, *(check for check, *_ in BROKEN.values())}
