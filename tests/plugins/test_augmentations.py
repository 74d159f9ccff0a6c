"""The flips, the quarter turn and the transposition against numpy's, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from srkit.plugin.discovery import installed

NAMES = ["hflip", "vflip", "rot90", "transpose"]
BY_NUMPY: dict[str, Callable[[Any], Any]] = {
    "hflip": lambda image: image[:, :, ::-1],
    "vflip": lambda image: image[:, ::-1, :],
    "rot90": lambda image: np.rot90(image, axes=(1, 2)),
    "transpose": lambda image: np.swapaxes(image, 1, 2),
}
DRAWS = torch.tensor([[0.0], [0.5], [0.49], [0.99]])
TAKEN = [True, False, True, False]


def change(name: str, lr: Tensor, hr: Tensor, draws: Tensor = DRAWS) -> tuple[Tensor, Tensor]:
    changed: tuple[Tensor, Tensor] = installed().create("augmentation", name)(lr, hr, draws)
    return changed


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lr = torch.randint(0, 256, (4, 3, 5, 5), generator=generator)
    hr = torch.randint(0, 256, (4, 3, 10, 10), generator=generator)
    return lr.to(dtype), hr.to(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_a_sample_is_changed_where_its_draw_is_below_one_half(name: str, dtype: torch.dtype) -> None:
    for before, after in zip(batch(dtype), change(name, *batch(dtype)), strict=True):
        assert after.dtype == dtype
        for i, taken in enumerate(TAKEN):
            image = before[i].float().numpy()
            assert np.array_equal(after[i].float().numpy(), BY_NUMPY[name](image) if taken else image)


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_left_as_it_was(name: str) -> None:
    lr, hr = batch()
    change(name, lr, hr)
    assert torch.equal(lr, batch()[0])
    assert torch.equal(hr, batch()[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    lr, hr = batch()
    whole = change(name, lr, hr)
    for i in range(4):
        alone = change(name, lr[i : i + 1], hr[i : i + 1], DRAWS[i : i + 1])
        assert torch.equal(alone[0][0], whole[0][i])
        assert torch.equal(alone[1][0], whole[1][i])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_is_kept(name: str, memory_format: torch.memory_format) -> None:
    lr, hr = (images.contiguous(memory_format=memory_format) for images in batch())
    assert all(images.is_contiguous(memory_format=memory_format) for images in change(name, lr, hr))


@pytest.mark.parametrize("name", ["hflip", "vflip"])
def test_the_flips_take_patches_that_are_not_square(name: str) -> None:
    lr, hr = torch.rand(1, 3, 4, 6), torch.rand(1, 3, 8, 12)
    flipped = change(name, lr, hr, torch.zeros(1, 1))
    assert np.array_equal(flipped[1][0].numpy(), BY_NUMPY[name](hr[0].numpy()))


@pytest.mark.parametrize("name", ["rot90", "transpose"])
def test_what_swaps_the_sides_needs_square_patches(name: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        change(name, torch.rand(1, 3, 4, 1), torch.rand(1, 3, 8, 2), torch.zeros(1, 1))
    assert str(error.value) == f"{name} needs square patches, not 4x1"


@pytest.mark.parametrize("third", ["rot90", "transpose"])
def test_the_flips_and_either_of_the_others_give_the_eight_symmetries(third: str) -> None:
    image = torch.arange(4.0).view(1, 1, 2, 2)
    found = set()
    for word in range(8):
        both = (image, image)
        for bit, name in enumerate(["hflip", "vflip", third]):
            both = change(name, *both, torch.tensor([[0.9 if word >> bit & 1 else 0.1]]))
        found.add(tuple(both[0].flatten().tolist()))
    assert len(found) == 8


@pytest.mark.parametrize("name", NAMES)
def test_an_augmentation_states_its_draw(name: str) -> None:
    assert installed().find("augmentation", name).component.facts == {"draws": 1}
