import math

import numpy as np
import pytest
from scipy import stats

from srkit.reports.intervals import differences, interval


def test_the_interval_is_that_of_another_implementation():
    rng = np.random.default_rng(3)
    values = rng.normal(0.1, 0.3, 40)
    low, high = interval({str(i): value for i, value in enumerate(values)})
    witness = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    # Two draws of ten thousand: the ends of the interval have a standard error of about 0.002.
    assert (low, high) == pytest.approx((witness.low, witness.high), abs=0.01)


def test_it_does_not_depend_on_the_order_of_the_images():
    scores = {"a": 0.1, "b": -0.2, "c": 0.4}
    assert interval(scores) == interval(dict(reversed(scores.items())))


def test_equal_differences_have_no_width():
    assert interval({"a": 0.25, "b": 0.25, "c": 0.25}) == (0.25, 0.25)


@pytest.mark.parametrize("scores", [{}, {"a": 1.0}, {"a": 1.0, "b": math.inf}, {"a": math.nan, "b": 1.0}])
def test_where_nothing_can_be_said_there_is_no_interval(scores):
    assert interval(scores) is None


def test_images_are_paired_by_name():
    first = {"mean": {"psnr": 31.0}, "images": {"a": {"psnr": 30.0}, "b": {"psnr": 32.0}}}
    second = {"mean": {"psnr": 32.0}, "images": {"b": {"psnr": 33.0}, "a": {"psnr": 31.0}}}
    assert differences(second, first) == {"psnr": {"mean": 1.0, "low": 1.0, "high": 1.0}}
