import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srkit.engine.data import sampling

SLOTS = np.arange(7, dtype=np.int64)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(0, 2**20), st.integers(1, 9))
def test_words_are_those_of_numpys_philox(seed, step, slot, count):
    key = int.from_bytes(hashlib.blake2b(b"window", digest_size=8).digest(), "little")
    counter = (slot * 2**64 + step * 2**128 - 1) % 2**256  # numpy counts up before it draws
    expected = np.random.Philox(key=seed + (key << 64), counter=counter).random_raw(count)
    assert (sampling.words(seed, "window", step, np.array([slot]), count)[0] == expected).all()


def test_words_are_pinned():
    # A change here changes what every recipe trains on: a new major version, not a refactoring.
    assert sampling.words(1234, "window", 5, np.array([3]), 3)[0].tolist() == PINNED


PINNED = [2803019839762565737, 4514246366703913659, 9873773795959489155]


@given(st.permutations(range(7)), st.integers(1, 6))
def test_a_slot_has_the_same_draws_whatever_other_slots_are_drawn_with_it(order, parts):
    whole = sampling.uniforms(1, "augment.0", 9, SLOTS, 3)
    shuffled = sampling.uniforms(1, "augment.0", 9, np.array(order), 3)
    assert (shuffled == whole[list(order)]).all()
    split = [sampling.uniforms(1, "augment.0", 9, part, 3) for part in np.array_split(SLOTS, parts)]
    assert (np.concatenate(split) == whole).all()


@pytest.mark.parametrize(
    "other",
    [
        sampling.uniforms(2, "a", 0, SLOTS, 4),
        sampling.uniforms(1, "b", 0, SLOTS, 4),
        sampling.uniforms(1, "a", 1, SLOTS, 4),
        sampling.uniforms(1, "a", 0, SLOTS + 7, 4),
    ],
    ids=["seed", "stream", "step", "slot"],
)
def test_no_draw_is_used_twice(other):
    assert not np.isin(sampling.uniforms(1, "a", 0, SLOTS, 4), other).any()


def test_windows_lie_inside_their_images_and_reach_every_place():
    sizes = np.array([[8, 10], [30, 9]], np.int64)
    images, tops, lefts = sampling.windows(3, 0, np.arange(4000), sizes, 8)
    assert (tops + 8 <= sizes[images, 0]).all()
    assert (lefts + 8 <= sizes[images, 1]).all()
    reached = set(zip(images.tolist(), tops.tolist(), lefts.tolist(), strict=True))
    assert reached == {(0, 0, x) for x in range(3)} | {(1, y, x) for y in range(23) for x in range(2)}


def test_uniforms_are_uniform():
    draws = sampling.uniforms(5, "x", 0, np.arange(20_000), 1)[:, 0]
    assert 0 <= draws.min() < draws.max() < 1
    counts = np.histogram(draws, 10, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
