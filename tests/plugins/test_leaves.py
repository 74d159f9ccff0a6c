"""The drawn images: pure, the same everywhere, and read in windows."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from srkit_datasets.leaves import Leaves

import srkit

SMALL = Leaves(count=4, size=48, seed=3)


def test_an_image_is_rgb_of_8_bits_and_the_size_asked_for() -> None:
    image = SMALL.read(0)
    assert image.shape == (48, 48, 3)
    assert image.dtype == np.uint8
    assert SMALL.size(0) == (48, 48)


def test_there_are_as_many_images_as_asked_for_with_a_name_each() -> None:
    assert len(SMALL) == 4
    assert [SMALL.name(i) for i in range(4)] == ["leaves_00000", "leaves_00001", "leaves_00002", "leaves_00003"]


def test_there_is_no_lr() -> None:
    assert SMALL.lr(2) is None  # type: ignore[func-returns-value]


def test_the_pixels_are_those_of_the_version() -> None:
    # Recorded from version 1. Pixels that change are another version: raise VERSION with this hash.
    digest = hashlib.sha256(SMALL.read(1).tobytes()).hexdigest()
    assert digest == "6b394ffa1065fb1ebdff515d2b1f25cbd2e88065dbceb1062dd3b1421ab1edd8"
    assert SMALL.fingerprint() == "leaves-1:4:48:3:2.0:3.0"


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_window_is_the_crop_of_the_whole_image(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, 3))
    top, left = data.draw(st.integers(0, 47)), data.draw(st.integers(0, 47))
    height, width = data.draw(st.integers(1, 48 - top)), data.draw(st.integers(1, 48 - left))
    window = SMALL.read(index, srkit.Window(top, left, height, width))
    assert np.array_equal(window, SMALL.read(index)[top : top + height, left : left + width])


def test_threads_draw_the_same_bytes() -> None:
    alone = [SMALL.read(i % 4).tobytes() for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: SMALL.read(i % 4).tobytes(), range(16)))
    assert together == alone


def test_each_index_is_another_image() -> None:
    assert len({SMALL.read(i).tobytes() for i in range(4)}) == 4


def test_each_seed_gives_other_images() -> None:
    assert not np.array_equal(SMALL.read(0), Leaves(count=4, size=48, seed=4).read(0))


def test_an_image_does_not_depend_on_how_many_there_are() -> None:
    assert np.array_equal(SMALL.read(2), Leaves(count=100, size=48, seed=3).read(2))


def test_blurred_edges_are_softer_than_sharp_ones() -> None:
    def sharpness(blur: float) -> float:
        image = Leaves(size=64, blur=blur).read(0).astype(np.float64)
        return float(np.abs(np.diff(image, axis=0)).mean())

    assert sharpness(4.0) < sharpness(1.0)


@pytest.mark.parametrize("change", [{"count": 5}, {"size": 64}, {"seed": 4}, {"smallest": 2.5}, {"blur": 2.5}])
def test_each_setting_changes_the_fingerprint(change: dict[str, Any]) -> None:
    settings_ = {"count": 4, "size": 48, "seed": 3, **change}
    assert Leaves(**settings_).fingerprint() != SMALL.fingerprint()


@pytest.mark.parametrize("window", [(-1, 0, 8, 8), (0, -1, 8, 8), (41, 0, 8, 8), (0, 41, 8, 8), (0, 0, 0, 8)])
def test_a_window_that_is_not_inside_the_image_is_refused(window: tuple[int, int, int, int]) -> None:
    top, left, height, width = window
    with pytest.raises(ValueError, match="the window") as error:
        SMALL.read(2, srkit.Window(*window))
    assert str(error.value) == (
        f"the window {height}x{width} at row {top}, column {left} is not inside leaves_00002, which is 48x48"
    )


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_without_an_image_is_refused(index: int) -> None:
    with pytest.raises(IndexError) as error:
        SMALL.read(index)
    assert str(error.value) == f"leaves has images 0 to 3, not {index}"


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"count": 0}, "count must be from 1 to 100,000, not 0"),
        ({"size": 15}, "size must be from 16 to 4,096 pixels, not 15"),
        ({"count": 10**9}, "count must be from 1 to 100,000, not 1,000,000,000"),
        ({"size": 10**6}, "size must be from 16 to 4,096 pixels, not 1,000,000"),
        ({"seed": -1}, "seed must be at least 0 and below 2**63, not -1"),
        ({"smallest": 0.4}, "smallest must be between 0.5 and 64, a quarter of the size, not 0.4"),
        ({"smallest": float("nan")}, "smallest must be between 0.5 and 64, a quarter of the size, not nan"),
        ({"size": 16, "smallest": 5.0}, "smallest must be between 0.5 and 4, a quarter of the size, not 5"),
        ({"blur": 0.5}, "blur must be between 0.7 and 16, not 0.5"),
        ({"blur": float("inf")}, "blur must be between 0.7 and 16, not inf"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        Leaves(**settings_)
    assert str(error.value) == message
