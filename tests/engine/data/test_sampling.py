import hashlib
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srkit.engine.data import sampling
from tests.conftest import calls

CPU = torch.device("cpu")
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


def stream(*, slots=SLOTS, step=9, name="augment.0", seed=1):
    return sampling.stream(seed, name, step, np.asarray(slots, np.int64), CPU)


def plain_hash(x):
    """lowbias32 as it is published, in Python's integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_the_hash_is_the_published_one(numbers):
    found = sampling.mix(torch.from_numpy(np.array(numbers, np.uint32).view(np.int32)))
    assert found.numpy().view(np.uint32).tolist() == [plain_hash(number) for number in numbers]


def test_uniform_draws_are_those_of_plain_integers():
    word = int(sampling.words(1, "augment.0", 9, np.array([3]), 1)[0, 0])
    drawn = stream(slots=[3])
    for call in range(3):
        start, stride = (plain_hash((half + call * 0x9E3779B9) % 2**32) for half in (word % 2**32, word >> 32))
        expected = [plain_hash((start + i * (stride | 1)) % 2**32) // 2**8 / 2**24 for i in range(50)]
        assert drawn.uniform(50)[0].tolist() == expected


def test_draws_of_streams_are_pinned():
    # A change here changes what recipes train on: a new major version, not a refactoring.
    drawn = stream(slots=[3])
    assert drawn.uniform(2)[0].tolist() == [0.8020259737968445, 0.6198036074638367]
    assert drawn.normal(2)[0].tolist() == [0.12383668124675751, 0.6956198811531067]
    assert drawn.of("blur").uniform(2)[0].tolist() == [0.5656959414482117, 0.797377347946167]


@given(st.permutations(range(7)), st.integers(1, 6))
def test_a_row_of_a_stream_is_the_same_whatever_other_slots_are_drawn_with_it(order, parts):
    for draw in (lambda s: s.uniform(5), lambda s: s.normal(2, 3), lambda s: s.of("blur").of("size").uniform(3)):
        whole = draw(stream())
        assert torch.equal(draw(stream(slots=order)), whole[list(order)])
        assert torch.equal(torch.cat([draw(part) for part in stream().chunk(parts)]), whole)


@pytest.mark.parametrize("other", [{"step": 10}, {"seed": 2}, {"name": "augment.1"}, {"slots": SLOTS + 7}])
def test_other_samples_have_other_draws(other):
    assert not torch.isin(stream(**other).uniform(20), stream().uniform(20)).any()


def test_calls_differ_and_a_child_has_the_same_draws_whatever_was_drawn_before():
    drawn = stream()
    first, second, normal = drawn.uniform(20), drawn.uniform(20), drawn.normal(20)
    assert not torch.isin(first, second).any()
    assert torch.equal(drawn.of("noise").uniform(20), stream().of("noise").uniform(20))
    assert not torch.isin(drawn.of("noise").uniform(20), drawn.of("blur").uniform(20)).any()
    assert not torch.isin(drawn.of("a").of("b").uniform(20), drawn.of("b").of("a").uniform(20)).any()
    again = stream()
    assert torch.equal(again.uniform(20), first)
    again.uniform(3)
    assert torch.equal(again.normal(20), normal)


def test_streams_are_uniform_and_normal_and_their_rows_do_not_go_together():
    drawn = stream(slots=range(200))
    uniform, normal = drawn.uniform(1_000), drawn.normal(10, 100).flatten(1)
    assert uniform.dtype == normal.dtype == torch.float32
    assert 0 <= uniform.min() < uniform.max() < 1
    # Two hundred thousand draws: each bound is about four standard errors.
    counts = torch.histc(uniform, 50, 0, 1)
    assert ((counts - 4_000).abs() < 4 * 4_000**0.5).all()
    assert abs(float(normal.mean())) < 4 / 200_000**0.5
    assert abs(float(normal.std()) - 1) < 4 / 400_000**0.5
    for bound in (-3, -2, -1, 0, 0.5, 1.5, 2.5):
        share = NormalDist().cdf(bound)
        assert abs(float((normal < bound).float().mean()) - share) < 4 * (share * (1 - share) / 200_000) ** 0.5
    assert float(normal.abs().max()) < 4.4
    for rows in (uniform, normal):
        together = torch.corrcoef(rows) - torch.eye(200)
        assert float(together.abs().max()) < 6 / 1_000**0.5
        lagged = torch.corrcoef(torch.stack([rows[:, 1:].flatten(), rows[:, :-1].flatten()]))[0, 1]
        assert abs(float(lagged)) < 4 / 200_000**0.5


def test_what_takes_a_stream_for_a_tensor_is_told_the_cure():
    with pytest.raises(TypeError) as error:
        stream()[:, 0]
    assert str(error.value) == (
        "draws are no tensor here: call draws.uniform(), or state facts={'draws': 1} for a tensor"
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_windows_of_a_batch_are_as_much_work_of_a_hundred_images_as_of_a_hundred_thousand(weighted):
    def work(images):
        sizes, slots = np.full((images, 2), 64), np.arange(16)
        chances = sampling.Chances.of(np.linspace(1, 2, images)) if weighted else None
        sampling.windows(1, 1, slots, sizes, 48, chances)  # what is kept of a step is there
        return calls(lambda: sampling.windows(1, 1, slots, sizes, 48, chances))

    assert work(100) == work(100_000)


def test_chances_that_are_summed_up_once_draw_what_weights_draw():
    sizes, slots, weights = np.full((9, 2), 64), np.arange(500), np.array([0, 1, 2, 0, 3, 0.5, 0, 9, 0])
    summed = sampling.windows(1, 3, slots, sizes, 48, sampling.Chances.of(weights))
    for found, expected in zip(summed, sampling.windows(1, 3, slots, sizes, 48, weights), strict=True):
        assert (found == expected).all()
    assert set(summed[0]) == {1, 2, 4, 5, 7}
