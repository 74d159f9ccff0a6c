"""Samples mixed with each other, LR mixed with HR, and choices of augmentations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import srkit
from srkit.engine.builder import Builder
from srkit.engine.data.sampling import stream
from srkit.errors import ComponentError
from srkit.plugin.discovery import installed
from srkit.recipe.reading import read_part

N, SIDE, SCALE = 64, 10, 2
SLOTS = np.arange(N)


def draws(step=0):
    return stream(1, "augment.0", step, SLOTS, torch.device("cpu"))


def pair(scale=SCALE):
    chance = torch.Generator().manual_seed(1)
    lr, hr = (torch.rand(N, 3, side, side, generator=chance) for side in (SIDE, SIDE * scale))
    return lr, hr


def made(name, **settings):
    return srkit.create("augmentation", name, **settings)


def test_mixup_is_a_mean_with_the_sample_before():
    lr, hr = pair()
    weight = draws().uniform().view(-1, 1, 1, 1) * 0.4
    for before, after in zip((lr, hr), made("mixup", most=0.4)(lr, hr, draws()), strict=True):
        other = torch.cat([before[-1:], before[:-1]])
        torch.testing.assert_close(after, before * (1 - weight) + other * weight)


def rectangle(mask):
    """Return (height, width) of the rectangle that is true in a mask of an image; fail where it is none."""
    rows, columns = mask.any(1), mask.any(0)
    assert torch.equal(mask, rows[:, None] & columns[None, :])
    for sides in (rows, columns):
        there = sides.nonzero()[:, 0]
        assert len(there) == there[-1] - there[0] + 1
    return int(rows.sum()), int(columns.sum())


def test_cutmix_puts_a_rectangle_of_the_sample_before_at_the_same_place_in_lr_and_hr():
    lr, hr = pair()
    small, large = made("cutmix", least=0.2, most=0.5)(lr, hr, draws())
    sides = set()
    for i in range(N):
        taken = (small[i] != lr[i]).all(0)
        sides |= {*rectangle(taken)}
        assert torch.equal(small[i], torch.where(taken, lr[i - 1], lr[i]))
        whole = taken.repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1)
        assert torch.equal(large[i], torch.where(whole, hr[i - 1], hr[i]))
    assert sides == {2, 3, 4, 5}


def test_cutmix_takes_hr_at_a_scale_that_is_no_whole_number_where_lr_is_taken():
    lr, hr = pair(scale=1)[0], torch.rand(N, 3, 27, 27)
    small, large = made("cutmix")(lr, hr, draws())
    nearest = [math.floor((at + 0.5) * SIDE / 27) for at in range(27)]
    for i in range(N):
        taken = (small[i] != lr[i]).all(0)[nearest][:, nearest]
        assert torch.equal(large[i], torch.where(taken, hr[i - 1], hr[i]))


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_cutblur_takes_hr_at_the_pixels_of_lr_in_a_rectangle_or_around_it(scale):
    lr, hr = pair(scale)
    small, large = made("cutblur", least=0.2, most=0.7)(lr, hr, draws())
    assert torch.equal(large, hr)
    middle = slice((scale - 1) // 2, None, scale)
    sharp = hr[..., middle, middle] if scale % 2 else F.avg_pool2d(hr, 2)
    around = 0
    for i in range(N):
        taken = (small[i] != lr[i]).all(0)
        torch.testing.assert_close(small[i], torch.where(taken, sharp[i], lr[i]))
        outside = bool(taken[[0, 0, -1, -1], [0, -1, 0, -1]].sum() > 1)  # of four corners, a rectangle has one at most
        around += outside
        assert all(2 <= side <= 7 for side in rectangle(taken ^ outside))
    assert 20 < around < 44


def test_maybe_changes_that_share_of_the_samples():
    lr, hr = pair()
    for p, least, most in ((0.0, 0, 0), (0.25, 6, 26), (1.0, N, N)):
        small, large = made("maybe", p=p, augmentation=lambda lr, hr, draws: (lr.flip(3), hr.flip(3)))(lr, hr, draws())
        taken = [i for i in range(N) if torch.equal(small[i], lr[i].flip(2)) and torch.equal(large[i], hr[i].flip(2))]
        kept = [i for i in range(N) if torch.equal(small[i], lr[i]) and torch.equal(large[i], hr[i])]
        assert least <= len(taken) <= most
        assert sorted(taken + kept) == list(range(N))


def test_one_of_gives_each_sample_one_as_often_as_its_weight_says():
    def gain(factor):
        return lambda lr, hr, draws: (lr * factor, hr * factor)

    ones = torch.ones(N, 3, SIDE, SIDE)
    change = made("one_of", augmentations=[gain(1.0), gain(2.0), gain(3.0)], weights=[1, 0, 3])
    small, large = change(ones, ones, draws())
    factors = small[:, 0, 0, 0]
    assert torch.equal(small, factors.view(-1, 1, 1, 1) * ones)
    assert torch.equal(large, small)
    assert set(factors.tolist()) == {1.0, 3.0}
    assert 36 <= int((factors == 3).sum()) <= 60
    plain = made("one_of", augmentations=[gain(1.0), gain(2.0)])(ones, ones, draws())[0][:, 0, 0, 0]
    assert 20 <= int((plain == 2).sum()) <= 44


def test_a_child_more_changes_no_other_childs_draws():
    lr, hr = pair()
    one = made("one_of", augmentations=["cutblur", "hflip"], weights=[1, 0])(lr, hr, draws())
    more = made("one_of", augmentations=["cutblur", "hflip", "cutblur"], weights=[1, 0, 0])(lr, hr, draws())
    assert all(map(torch.equal, one, more))


@pytest.mark.parametrize("name", ["mixup", "cutmix", "cutblur", "maybe"])
def test_channels_last_is_kept(name):
    settings = {"augmentation": "hflip"} if name == "maybe" else {}
    images = [x.contiguous(memory_format=torch.channels_last) for x in pair()]
    for changed in made(name, **settings)(*images, draws()):
        assert changed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mixup", {"most": 0.0}, "most must be above 0 and at most 1, not 0"),
        ("cutmix", {"least": 0.6}, "least and most must be from 0 to 1, least first, not 0.6 and 0.5"),
        ("cutblur", {"most": 1.5}, "least and most must be from 0 to 1, least first, not 0.2 and 1.5"),
        ("maybe", {"augmentation": "hflip", "p": 1.5}, "p must be from 0 to 1, not 1.5"),
        ("one_of", {"augmentations": []}, "augmentations must name one at least"),
        (
            "one_of",
            {"augmentations": ["hflip"], "weights": [1.0, 2.0]},
            "weights must be one for each of the 1 augmentations, not 2",
        ),
        (
            "one_of",
            {"augmentations": ["hflip", "vflip"], "weights": [1.0, -1.0]},
            "weights must be 0 at least, and one above it, not 1, -1",
        ),
    ],
)
def test_a_setting_outside_its_range_is_refused(name, settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        made(name, **settings)
    assert str(error.value) == message


def test_augmentations_within_each_other_are_made_from_a_recipes_table():
    text = ['augmentation={type="one_of", augmentations=["rot90", {type="mixup", most=0.2}]}']
    part = read_part(installed(), "augmentation", "maybe", text)
    lr, hr = pair()
    small, large = Builder(installed()).make(part)(lr, hr, draws())
    assert small.shape == lr.shape
    assert large.shape == hr.shape
    assert not torch.equal(small, lr)
    with pytest.raises(ComponentError) as error:
        made("maybe", augmentation="hflp")
    assert str(error.value).startswith("unknown augmentation 'hflp'; did you mean 'hflip'?")
