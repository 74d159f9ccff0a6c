"""Numbers as tables print them."""

from __future__ import annotations

import math

import pytest

from srkit.reports.texts import difference_text, score_text, signed_text


@pytest.mark.parametrize(
    ("metric", "difference", "text"),
    [
        ("psnr_y", 0.123, "+0.12"),
        ("psnr_y", -0.123, "-0.12"),
        ("psnr_y", -0.004, "0.00"),
        ("psnr_y", 0.004, "0.00"),
        ("ssim_y", -0.004, "-0.0040"),
        ("ssim_y", -0.00004, "0.0000"),
        ("psnr_y", -math.inf, "-inf"),
    ],
)
def test_a_difference_has_a_sign_where_it_does_not_round_to_zero(metric, difference, text):
    assert signed_text(metric, difference) == text


def test_no_number_of_a_table_is_a_negative_zero():
    assert score_text("psnr_y", -0.001) == "0.00"
    found = {"mean": -0.001, "low": -0.02, "high": 0.003}
    assert difference_text("psnr_y", found) == "0.00 [-0.02, 0.00]"
