import numpy as np
import pytest

from srkit.images.underlay import filled_under
from tests.conftest import photograph


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 7), (33, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_visible_colour_fills_all_that_is_hidden(shape, dtype):
    pixels = np.zeros((*shape, 3), dtype)
    alpha = np.zeros(shape, dtype)
    pixels[shape[0] // 2, shape[1] // 3], alpha[shape[0] // 2, shape[1] // 3] = (200, 40, 7), 3
    assert (filled_under(pixels, alpha) == np.array([200, 40, 7])).all()


def test_what_shows_at_all_keeps_its_colour():
    pixels = photograph(1, 20, 30)
    alpha = np.random.default_rng(0).integers(0, 3, (20, 30)).astype(np.uint8)
    found = filled_under(pixels, alpha)
    assert np.array_equal(found[alpha > 0], pixels[alpha > 0])
    assert not np.array_equal(found[alpha == 0], pixels[alpha == 0])


def test_the_nearest_colour_counts():
    pixels = np.zeros((8, 64, 3), np.uint8)
    pixels[:, :8], pixels[:, -8:] = 10, 250
    alpha = np.zeros((8, 64), np.uint8)
    alpha[:, :8] = alpha[:, -8:] = 255
    found = filled_under(pixels, alpha)
    assert (found[:, 8:12] == 10).all()
    assert (found[:, 52:56] == 250).all()


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_that_shows_all_or_nothing_stays_as_it_is(value):
    pixels = photograph(1, 9, 9)
    assert filled_under(pixels, np.full((9, 9), value, np.uint8)) is pixels
