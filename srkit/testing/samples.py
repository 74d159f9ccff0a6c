"""What several kinds' checks show to a component and look for: images, draws, random generators, gradients."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from srkit.engine.data.conversions import to_network
from srkit.engine.data.sampling import Stream, stream
from srkit.testing.check import Subject, fail

SEED = 987_654_321  # one that no component is likely to seed a generator with
OF_DRAWS = "compute with `draws`, which give as many numbers as it needs"
MORE = 8  # draws that are tried beyond those stated
MANY = 1_024  # samples with draws of their own: what befalls one in a hundred befalls some of them all but surely
# Both occur, 1 where float32 rounds a draw that is less by under 2**-25.
EXTREMES = {
    0.0: "keep away from a logarithm of zero or a division by it: draws.clamp(min=1e-6)",
    1.0: "limit what is made of them: (draws * count).long().clamp(max=count - 1)",
}


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return an image with coarse and fine structure, uint8 [height, width, 3] in 57..199: changes have room."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128.0)
    for side, strength in ((32, 45), (8, 18), (1, 8)):
        rows, columns = -(-height // side), -(-width // side)
        levels = rng.uniform(-strength, strength, (rows, columns, 3))
        image += levels.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return image.round().astype(np.uint8)


def photographs(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Return such images in the network's form, [count, 3, height, width], contiguous."""
    images = np.stack([photograph(height, width, seed + i) for i in range(count)])
    return to_network(torch.from_numpy(images)).contiguous()


def blurred(images: Tensor, side: int) -> Tensor:
    """Return [n, 3, h, w] as the means of squares of an odd side."""
    reach = side // 2
    return F.avg_pool2d(F.pad(images, (reach,) * 4, mode="replicate"), side, stride=1)


def draws(subject: Subject, n: int, seed: int = 0) -> Any:
    """Return the draws of n samples, as new: Draws, or a tensor [n, k] of as many as the component states."""
    count = subject.facts.get("draws")
    if count is None:
        return stream(seed, "check", 0, np.arange(n), torch.device("cpu"))
    return torch.rand(n, count, generator=torch.Generator().manual_seed(seed))


def many_draws(subject: Subject, n: int) -> Iterator[Any]:
    """Yield the draws of n samples, as new, for MANY samples in all."""
    return (draws(subject, n, seed) for seed in range(MANY // n))


def row(drawn: Any, i: int) -> Any:
    """Return the draws of one sample alone."""
    return Stream(drawn.keys[i : i + 1]) if isinstance(drawn, Stream) else drawn[i : i + 1]


def replaced(others: Any, drawn: Any, i: int) -> Any:
    """Return the draws of other samples with one sample among them."""
    if isinstance(drawn, Stream):
        return Stream(replaced(others.keys, drawn.keys, i))
    return torch.cat([others[:i], drawn[i : i + 1], others[i + 1 :]])


def extreme(subject: Subject, n: int, value: float) -> Any:
    """Return draws all of which are 0, or 1: Draws that are as near to it as these come."""
    count = subject.facts.get("draws")
    return Extreme(n, value) if count is None else torch.full((n, count), value)


@attrs.frozen
class Extreme:
    """Draws that are all the least that there are, or all the largest."""

    n: int
    value: float

    def uniform(self, count: int = 1) -> Tensor:
        """Return 0, or the number below 1."""
        return torch.full((self.n, count), min(self.value, 1 - 2.0**-24))

    def normal(self, *shape: int) -> Tensor:
        """Return what is far from 0."""
        return torch.full((self.n, *shape), 8.6 * self.value - 4.3)

    def of(self, name: str) -> Extreme:
        """Return these draws."""
        return self

    def at(self, samples: Tensor) -> Extreme:
        """Return these draws for so many samples."""
        return Extreme(len(samples), self.value)


def call(subject: Subject, function: Callable[..., object], *images: Tensor) -> object:
    """Return what a function makes of images and its draws. Where those that it states are too few, fail with how many
    would do."""
    n, stated = len(images[0]), subject.facts.get("draws")
    try:
        return function(*images, draws(subject, n))
    except Exception:
        for count in range((stated or 0) + 1, (stated or 0) + MORE + 1):
            try:
                function(*images, torch.rand(n, count))
            except Exception:
                continue
            given = "Draws" if stated is None else stated
            fail(f"it needs {count} draws and is given {given}", f'state them: facts={{"draws": {count}}}')
        raise


def refuse_unreached(parameters: Mapping[str, nn.Parameter], instead: str) -> None:
    """Fail, after a backward pass, where some parameters have no gradient."""
    unreached = [name for name, parameter in parameters.items() if parameter.grad is None]
    if unreached:
        more = f" and {len(unreached) - 3} more" if len(unreached) > 3 else ""
        fail(f"no gradient reaches {', '.join(unreached[:3])}{more}", instead)


def largest(x: Tensor) -> float:
    """Return the largest absolute value."""
    return float(x.detach().abs().max())


@contextlib.contextmanager
def chance(seed: int) -> Iterator[None]:
    """Seed the random generators of Python, numpy and torch within, and give each its state back after it."""
    of_python, of_numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        torch.set_rng_state(of_torch)


def refuse_chance(use: Callable[[], object], instead: str = OF_DRAWS) -> None:
    """Fail where a call draws from a global random generator, or seeds it."""
    with chance(SEED):
        before = _states_of_chance()
        use()
        after = _states_of_chance()
    used = [whose for whose in before if before[whose] != after[whose]]
    if used:
        fail(f"it draws from the global random generator of {' and '.join(used)}, or seeds it", instead)


def _states_of_chance() -> dict[str, object]:
    """Return what changes where a generator is drawn from or seeded, by whose it is."""
    return {
        "Python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
    }


@torch.no_grad()
def stirred(network: nn.Module, strength: float = 2.0) -> nn.Module:
    """Give a network strong weights: kernels are scaled, and what is constant at first (zeros, ones) is stirred."""
    for parameter in network.parameters():
        if parameter.numel() == 1 or float(parameter.std()) == 0:
            parameter.add_(torch.randn_like(parameter) * 0.05)
        elif parameter.dim() > 1:
            parameter.mul_(strength)
    return network


def refuse_batch_mates(off: float, same: float) -> None:
    """Fail where a sample changes with its batch by more than sums in another order do."""
    if off > same:
        fail(
            f"a sample changes by {off:.2g} with its batch",
            "take row i of what is drawn for sample i alone, and no mean or roll over the batch",
        )


def refuse_layout(off: float, same: float) -> None:
    """Fail where images in channels_last become others, by more than sums in another order do."""
    if off > same:
        fail(
            f"in channels_last the images differ by {off:.2g}",
            "use reshape or permute, and no as_strided that takes a layout for granted",
        )
