"""Which sample stands in which slot of which step: a pure function of (seed, step, slot)."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

# Philox4x64-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def words(seed: int, stream: str, step: int, slots: NDArray[np.int64], count: int) -> NDArray[np.uint64]:
    """Return [slots, count] words of 64 random bits: a row for each slot, the same with any other slots.

    `stream` names what the words are for ("window", "augment.0"), so that no two uses share any.
    numpy's own Philox gives the same words, a generator object a slot; this is all slots at once.
    """
    blocks = -(-count // 4)
    n = len(slots)
    counter = [
        np.tile(np.arange(blocks, dtype=np.uint64), n),
        np.repeat(slots.astype(np.uint64), blocks),
        np.full(n * blocks, step, np.uint64),
        np.zeros(n * blocks, np.uint64),
    ]
    key = [seed, int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")]
    for _ in range(_ROUNDS):
        high0, low0 = _product(counter[0], _MULTIPLIERS[0])
        high1, low1 = _product(counter[2], _MULTIPLIERS[1])
        counter = [high1 ^ counter[1] ^ np.uint64(key[0]), low1, high0 ^ counter[3] ^ np.uint64(key[1]), low0]
        key = [(k + w) % 2**64 for k, w in zip(key, _WEYL, strict=True)]
    return np.stack(counter, axis=1).reshape(n, blocks * 4)[:, :count]


def _product(a: NDArray[np.uint64], b: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the high and low 64 bits of a * b."""
    b_low, b_high = np.uint64(b & 0xFFFFFFFF), np.uint64(b >> 32)
    a_low, a_high = a & _LOW, a >> _HALF
    low, middle1, middle2 = a_low * b_low, a_low * b_high, a_high * b_low
    carry = ((low >> _HALF) + (middle1 & _LOW) + (middle2 & _LOW)) >> _HALF
    high = a_high * b_high + (middle1 >> _HALF) + (middle2 >> _HALF) + carry
    return high, a * np.uint64(b)


def uniforms(seed: int, stream: str, step: int, slots: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return [slots, count] draws, uniform in [0, 1), with 53 random bits each."""
    bits: NDArray[np.float64] = (words(seed, stream, step, slots, count) >> np.uint64(11)).astype(np.float64)
    return bits * 2.0**-53


def below(draws: NDArray[np.uint64], bounds: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Map words to integers in [0, bound), bound < 2**31, uniform to 2**-32 (multiply and shift)."""
    return ((draws >> _HALF) * np.asarray(bounds).astype(np.uint64) >> _HALF).astype(np.int64)


def windows(
    seed: int, step: int, slots: NDArray[np.int64], sizes: NDArray[np.int64], patch: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each slot an image of `sizes` [images, 2] (LR height and width) and the top and left of its window."""
    drawn = words(seed, "window", step, slots, 3)
    images = below(drawn[:, 0], len(sizes))
    room = sizes[images] - patch + 1
    return images, below(drawn[:, 1], room[:, 0]), below(drawn[:, 2], room[:, 1])


def scale(seed: int, step: int, least: float, most: float) -> float:
    """Return the scale of a step's samples, uniform from the least to the most."""
    drawn = uniforms(seed, "scale", step, np.zeros(1, np.int64), 1)[0, 0]
    return least + float(drawn) * (most - least)


def points(seed: int, step: int, slots: NDArray[np.int64], pixels: int, count: int) -> NDArray[np.int64]:
    """Return [slots, count] of so many pixels, no two alike in a slot, each as likely; all where there are no more.

    The pixels are cut into equal runs, from a drawn one on, and one is drawn of each: they cover the image.
    """
    count = min(count, pixels)
    drawn = words(seed, "points", step, slots, count + 1)
    bounds = np.arange(count + 1, dtype=np.int64) * pixels // count
    within: NDArray[np.int64] = bounds[:-1] + below(drawn[:, :count], np.diff(bounds))
    return (within + below(drawn[:, count:], pixels)) % pixels


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """Return the seed of the chance that a network or a loss has in a part of a step's batch (dropout), for
    torch.manual_seed."""
    return int(words(seed, "torch", step, np.array([part], np.int64), 1)[0, 0])
