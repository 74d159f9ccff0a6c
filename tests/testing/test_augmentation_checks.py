"""Each check of augmentations can fail: augmentations that break one promise each, and what is told of them."""

from __future__ import annotations

import pytest

from srkit.testing import augmentation

KIND = "augmentation"
PLUGIN = '''
import numpy as np
import srkit
import torch


def mirrored(lr, hr, draws):
    taken = (draws[:, 0] < 0.5).view(-1, 1, 1, 1)
    return torch.where(taken, lr.flip(3), lr), torch.where(taken, hr.flip(3), hr)


def both(change):
    """Mirror, then change LR and HR alike."""
    return lambda lr, hr, draws: tuple(change(x, draws) for x in mirrored(lr, hr, draws))


def column(draws, i=0):
    return draws[:, i].view(-1, 1, 1, 1)


def half_mirrored(lr, hr, draws):
    return mirrored(lr, hr, draws)[0], hr.flip(2)


def clamps(lr, hr, draws):
    return mirrored(lr.clamp_(0.3, 0.7), hr.clamp_(0.3, 0.7), draws)


def clamps_draws(lr, hr, draws):
    return mirrored(lr, hr, draws.clamp_(0.3, 0.7))


def seeds(lr, hr, draws):
    torch.manual_seed(1)
    return mirrored(lr, hr, draws)


def by_layout(lr, hr, draws):
    return mirrored(*((x / 2 if x.stride(1) == 1 else x) for x in (lr, hr)), draws)


CHANGES = {
    "good": mirrored,
    "two": both(lambda x, draws: x * (0.5 + 0.5 * column(draws, 1))),
    "in_a_list": lambda lr, hr, draws: list(mirrored(lr, hr, draws)),
    "three": lambda lr, hr, draws: (*mirrored(lr, hr, draws), draws),
    "of_arrays": both(lambda x, draws: x.numpy()),
    "half": both(lambda x, draws: x.half()),
    "cropped": both(lambda x, draws: x[..., 1:]),
    "brighter": both(lambda x, draws: x + 0.5 * column(draws)),
    "half_mirrored": half_mirrored,
    "seldom": lambda lr, hr, draws: mirrored(lr, hr, 0.49 + (draws < 0.02).float()),
    "clamps": clamps,
    "clamps_draws": clamps_draws,
    "seeds": seeds,
    "by_chance": both(lambda x, draws: x * (0.5 + 0.25 * float(np.random.get_state()[1][0] % 2))),
    "nothing": lambda lr, hr, draws: (lr, hr),
    "logarithm": both(lambda x, draws: x + 0 * column(draws).log()),
    "picks": both(lambda x, draws: x * torch.tensor([0.5, 0.75, 1.0])[(column(draws) * 3).long()]),
    "mixes": both(lambda x, draws: (x + x.roll(1, 0)) / 2),
    "by_layout": by_layout,
}
OF_STREAMS = {  # these are given Draws
    "of_streams": lambda lr, hr, draws: mirrored(lr, hr, draws.of("mirror").uniform()),
    "of_a_tensor": mirrored,
    "mixes_streams": lambda lr, hr, draws: mirrored(lr, hr, draws.uniform().roll(1, 0)),
}
for _name, _change in {**CHANGES, **OF_STREAMS}.items():
    globals()[f"make_{_name}"] = lambda _change=_change: _change


@srkit.hookimpl
def srkit_components():
    for name in [*CHANGES, *OF_STREAMS]:
        facts = {"draws": 1} if name in CHANGES else {}
        yield srkit.Component("augmentation", name, f"{__name__}:make_{name}", summary="a change", facts=facts)
'''

ROWS = "take row i of what is drawn for sample i alone, and no mean or roll over the batch"
IN_PLACE = "take no in-place operation (mul_, x[...] = y) on what it is given"
BROKEN = {
    "brighter": (
        augmentation.values_stay_in_range,
        "LR has values from 0.337 to 1.17",
        "end with clamp(0, 1)",
    ),
    "half_mirrored": (
        augmentation.lr_and_hr_stay_aligned,
        "at scale 2, HR that is LR enlarged differs from it by 0.18 afterwards",
        "turn, mirror and recolour both alike, and shift HR by the scale times as much",
    ),
    "clamps": (augmentation.images_are_left_alone, "it changes LR and HR", IN_PLACE),
    "clamps_draws": (augmentation.images_are_left_alone, "it changes the draws", IN_PLACE),
    "seeds": (
        augmentation.chance_is_left_alone,
        "it draws from the global random generator of torch, or seeds it",
        "compute with `draws`, which give as many numbers as it needs",
    ),
    "by_chance": (
        augmentation.same_draws_give_same_images,
        "the same draws give images that differ by 0.19",
        "compute with `draws` alone, and keep nothing",
    ),
    "nothing": (
        augmentation.some_draws_change_the_images,
        "with none of 1,024 draws it changes anything",
        "compute with `draws`, which are uniform in 0..1",
    ),
    "logarithm": (
        augmentation.extreme_draws_work,
        "draws of 0 give images that are not finite",
        "keep away from a logarithm of zero or a division by it: draws.clamp(min=1e-6)",
    ),
    "picks": (
        augmentation.extreme_draws_work,
        "draws of 1 raise IndexError: index 3 is out of bounds for dimension 0 with size 3",
        "limit what is made of them: (draws * count).long().clamp(max=count - 1)",
    ),
    "mixes": (
        augmentation.batch_mates_do_not_matter,
        "a sample changes by 0.21 with its batch",
        ROWS,
    ),
    "by_layout": (
        augmentation.memory_layout_does_not_matter,
        "in channels_last the images differ by 0.38",
        "use reshape or permute, and no as_strided that takes a layout for granted",
    ),
}
NOT_CALLED = {
    "two": ("it needs 2 draws and is given 1", 'state them: facts={"draws": 2}'),
    "of_a_tensor": ("it needs 1 draws and is given Draws", 'state them: facts={"draws": 1}'),
    "in_a_list": ("it returns a list", "return the tuple (lr, hr)"),
    "three": ("it returns 3 values", "return the tuple (lr, hr)"),
    "of_arrays": ("its LR is a ndarray", "return tensors"),
    "half": ("its LR is float16", "return float32"),
    "cropped": ("LR [16, 3, 12, 12] becomes [16, 3, 12, 11]", "keep the sizes; srkit has cut the patches already"),
}


def test_an_augmentation_that_keeps_all_promises_passes(failures):
    assert failures("good") == {}
    assert failures("of_streams") == {}


def test_an_augmentation_of_one_sample_in_fifty_passes(failures):
    assert failures("seldom") == {}


def test_what_takes_streams_and_looks_at_another_sample_is_found(failures):
    assert failures("mixes_streams") == {
        "batch_mates_do_not_matter": ("a sample changes by 0.18 with its batch", ROWS),
    }


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_its_own_check_alone(failures, name):
    check, found, instead = BROKEN[name]
    assert failures(name) == {check.__name__: (found, instead)}


@pytest.mark.parametrize("name", NOT_CALLED)
def test_an_augmentation_that_gives_no_pair_fails_the_first_check(failures, name):
    assert failures(name)["gives_lr_and_hr"] == NOT_CALLED[name]


def test_each_check_of_augmentations_is_seen_to_fail():
    seen = {augmentation.gives_lr_and_hr, *(check for check, *_ in BROKEN.values())}
    assert {check.run for check in augmentation.CHECKS} == seen
