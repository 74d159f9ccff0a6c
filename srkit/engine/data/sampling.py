"""All chance of samples: a pure function of (seed, stream, step, slot)."""

from __future__ import annotations

import functools
import hashlib
import math
from statistics import NormalDist

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srkit.engine.data.conversions import to_device

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
    key = [seed, _number(stream)]
    for _ in range(_ROUNDS):
        high0, low0 = _product(counter[0], _MULTIPLIERS[0])
        high1, low1 = _product(counter[2], _MULTIPLIERS[1])
        counter = [high1 ^ counter[1] ^ np.uint64(key[0]), low1, high0 ^ counter[3] ^ np.uint64(key[1]), low0]
        key = [(k + w) % 2**64 for k, w in zip(key, _WEYL, strict=True)]
    return np.stack(counter, axis=1).reshape(n, blocks * 4)[:, :count]


def _number(name: str) -> int:
    """Return 64 bits of a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


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


@attrs.frozen(eq=False)
class Chances:
    """How often each image is drawn beside the others, summed up once: a draw then takes no longer of more images."""

    ends: NDArray[np.float64]  # of each image's part of the line from 0 to the total
    total: float
    last: int  # the last image that is drawn at all

    @staticmethod
    def of(weights: NDArray[np.float64]) -> Chances:
        """Return the chances of weights, at least one of which is not 0."""
        return Chances(np.cumsum(weights), float(weights.sum()), int(np.flatnonzero(weights)[-1]))


def windows(
    seed: int,
    step: int,
    slots: NDArray[np.int64],
    sizes: NDArray[np.int64],
    patch: int,
    weights: NDArray[np.float64] | Chances | None = None,
    *,
    attempt: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each slot an image of `sizes` [images, 2] (LR height and width) and the top and left of its window.

    An image is drawn as often as its weight says, or else all alike. Each `attempt` gives others.
    """
    drawn = words(seed, f"window.{attempt}" if attempt else "window", step, slots, 3)
    if weights is None:
        images = below(drawn[:, 0], len(sizes))
    else:
        chances = weights if isinstance(weights, Chances) else Chances.of(weights)
        places = (drawn[:, 0] >> np.uint64(11)).astype(np.float64) * 2.0**-53 * chances.total
        images = np.searchsorted(chances.ends, places, side="right").clip(max=chances.last)
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


# "lowbias32" of https://github.com/skeeto/hash-prospector; the second factor as the int32 of the same bits.
_FACTORS = (0x7FEB352D, 0x846CA68B - 2**32)
_GOLDEN = 0x9E3779B9  # 2**32 over the golden ratio: Weyl's steps between the calls of a stream
_CELLS = 2**14  # of the table of the normal distribution


def mix(x: Tensor) -> Tensor:
    """Hash int32 in place, and return it: one to one, and the same bits on every device."""
    # In int32, since torch's products wrap, and half of int64's memory is twice as fast; its shifts copy the sign.
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    x *= _FACTORS[0]
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= _FACTORS[1]
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x


class Stream:
    """The draws of a stream, as `srkit.Draws` has them: a row for each of `keys`, int32 [n, 2], on their device.

    A call has other numbers than the call before it; a new Stream of the same keys begins anew.
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys
        self._calls = 0

    def uniform(self, count: int = 1) -> Tensor:
        """Return [n, count] float32, uniform in [0, 1), of 24 random bits each."""
        return (self._bits(count) >> 8).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24)

    def normal(self, *shape: int) -> Tensor:
        """Return [n, *shape] float32 of mean 0 and standard deviation 1, at most 4.4 from 0."""
        # By a table, since a logarithm and a cosine have other last bits on another device.
        bits = self._bits(math.prod(shape))
        low, step = _quantiles(self.keys.device)
        cells = (bits >> 18).bitwise_and_(_CELLS - 1).flatten()
        within = bits.bitwise_and_(2**18 - 1).float().mul_(2.0**-18).flatten()
        return within.mul_(step.index_select(0, cells)).add_(low.index_select(0, cells)).view(-1, *shape)

    def of(self, name: str) -> Stream:
        """Return the stream of a child, the same however many numbers were drawn from this one or from others."""
        number = _number(name)
        return Stream(mix(torch.stack([self.keys[:, i] ^ _signed(number >> 32 * i) for i in (0, 1)], dim=1)))

    def at(self, samples: Tensor) -> Stream:
        """Return the stream of some rows, int64 [k], from its beginning."""
        return Stream(self.keys.index_select(0, samples))

    def chunk(self, count: int) -> tuple[Stream, ...]:
        """Return the stream in so many parts, of its rows in order, each from its beginning."""
        return tuple(Stream(keys) for keys in self.keys.chunk(count))

    def __getitem__(self, index: object) -> Tensor:
        """Raise TypeError: what takes draws as a tensor states how many."""
        raise TypeError("draws are no tensor here: call draws.uniform(), or state facts={'draws': 1} for a tensor")

    def _bits(self, count: int) -> Tensor:
        """Return [n, count] random int32."""
        keys = mix(self.keys + _signed(self._calls * _GOLDEN))
        self._calls += 1
        # A start and a stride of its own for each row: no two rows go through the same numbers.
        x = torch.arange(count, dtype=torch.int32, device=keys.device) * (keys[:, 1:] | 1)
        x += keys[:, :1]
        return mix(x)


def _signed(number: int) -> int:
    """Return the int32 of a number's low 32 bits."""
    return (number + 2**31) % 2**32 - 2**31


@functools.lru_cache(maxsize=8)
def _quantiles(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where each of _CELLS equal parts of the normal distribution begins, and how far it goes."""
    inner = [NormalDist().inv_cdf(i / _CELLS) for i in range(1, _CELLS)]
    # The outermost parts end where their mean is the distribution's: the density where they begin, over their share.
    end = 2 * NormalDist().pdf(inner[-1]) * _CELLS - inner[-1]
    bounds = torch.tensor([-end, *inner, end], dtype=torch.float64)
    return bounds[:-1].float().to(device), bounds.diff().float().to(device)


def stream(seed: int, name: str, step: int, slots: NDArray[np.int64], device: torch.device) -> Stream:
    """Return the draws of a stream at a step, a row for each slot, the same with any other slots, on a device."""
    found = words(seed, name, step, slots, 1)
    halves = np.concatenate([found & _LOW, found >> _HALF], axis=1)
    return Stream(to_device(halves.astype(np.uint32).view(np.int32), device))


def counted(
    seed: int, name: str, step: int, slots: NDArray[np.int64], device: torch.device, count: int | None
) -> Stream | Tensor:
    """Return what a component that states so many draws is given: a tensor [slots, count]; of None, a Stream."""
    if count is None:
        return stream(seed, name, step, slots, device)
    return to_device(uniforms(seed, name, step, slots, count).astype(np.float32), device)
