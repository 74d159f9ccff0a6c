"""Each check of stages and halos can fail: a network that breaks one promise, and what is told of it."""

from __future__ import annotations

import re

import pytest

from srkit.testing import streaming

KIND = "architecture"
PLUGIN = '''
import srkit
import torch
from torch import nn
from torch.nn import functional as F


class Good(nn.Module):
    """A head, a block that weighs channels by their means, and a tail; in stages."""

    halos = (1, 2, 2)

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 5, padding=2)
        self.weigh = nn.Linear(8, 8)
        self.tail = nn.Conv2d(8, 3 * scale**2, 3, padding=1)

    def pooled(self, x):
        return x.relu()

    def block(self, x, mean):
        return x + self.body(x) * self.weigh(mean).sigmoid()[:, :, None, None]

    def last(self, x, lr):
        bilinear = F.interpolate(lr, scale_factor=self.scale, mode="bilinear")
        return F.pixel_shuffle(self.tail(x), self.scale) + bilinear

    def forward(self, x):
        first = self.head(x)
        return self.last(self.block(first, self.pooled(first).mean((2, 3))), x)

    def stages(self):
        return [
            srkit.Stage(self.head, self.halos[0]),
            srkit.Stage(self.block, self.halos[1], pooled=self.pooled),
            srkit.Stage(self.last, self.halos[2], scale=self.scale),
        ]


class Another(Good):
    """Leaves out a stage."""

    def stages(self):
        return super().stages()[::2]


class Unscaled(Good):
    def stages(self):
        return [*super().stages()[:2], srkit.Stage(self.last, 2)]


class Late(Good):
    """Makes use of LR behind an enlargement."""

    def stages(self):
        shuffled = srkit.Stage(lambda x: F.pixel_shuffle(self.tail(x), self.scale), 1, scale=self.scale)
        return [*super().stages()[:2], shuffled, srkit.Stage(lambda x, lr: x, 1)]


class Narrow(Good):
    halos = (1, 1, 2)


class NarrowTail(Good):
    halos = (1, 2, 0)


class Unpooled(Good):
    """Takes the mean of a strip."""

    def stages(self):
        first, _, last = super().stages()
        return [first, srkit.Stage(lambda x: self.block(x, self.pooled(x).mean((2, 3))), 2), last]


class Deaf(Good):
    """Pools, and takes no notice of it."""

    def stages(self):
        first, _, last = super().stages()
        return [first, srkit.Stage(lambda x: self.block(x, self.pooled(x).mean((2, 3))), 2, 1, self.pooled), last]


class Wide(Good):
    """Pools what depends on the pixels around."""

    def pooled(self, x):
        return F.avg_pool2d(x.relu(), 3, 1, 1)


class Local(nn.Module):
    """No stages, and a halo that its component states."""

    def __init__(self, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.head, self.tail = nn.Conv2d(3, 8, 9, padding=4), nn.Conv2d(8, 3 * scale**2, 3, padding=1)

    def forward(self, x):
        return F.pixel_shuffle(self.tail(self.head(x).relu()), self.scale)


class Modules(Local):
    """Has modules that it calls stages, as other networks do."""

    def __init__(self, *, scale: int) -> None:
        super().__init__(scale=scale)
        self.stages = nn.ModuleList([self.head, self.tail])


@srkit.hookimpl
def srkit_components():
    for cls in (Good, Another, Unscaled, Late, Narrow, NarrowTail, Unpooled, Deaf, Wide):
        name, facts = cls.__name__, {"tileable": False}
        yield srkit.Component("architecture", name, f"{__name__}:{name}", summary="one", facts=facts)
    for name, halo in (("Local", 5), ("Near", 4)):
        facts = {"tileable": True, "halo": halo}
        yield srkit.Component("architecture", name, f"{__name__}:Local", summary="one", facts=facts)
    yield srkit.Component("architecture", "Modules", f"{__name__}:Modules", summary="one", facts={"tileable": True})
'''

BROKEN = [
    (
        "Another",
        "stages_make_up_the_network",
        "its stages make SR of values that differ by #",
        "let forward and stages() call the same methods",
    ),
    (
        "Unscaled",
        "stages_make_up_the_network",
        "stage 3 makes [42, 42] of [21, 21], not [21, 21]",
        "state by how much it enlarges: Stage(run, halo=3, scale=2)",
    ),
    (
        "Late",
        "stages_make_up_the_network",
        "stage 4 declares lr, and one before it enlarges",
        "let the stage that enlarges make use of lr",
    ),
    (
        "Deaf",
        "stages_make_up_the_network",
        "stage 2 pools, and declares no mean",
        "give pooled, and a run that declares mean, or neither",
    ),
    (
        "Narrow",
        "strips_make_up_the_stages",
        "rows of stage 2 differ by # with 1 more of its input above and below",
        "state how many it takes as halo, and give what sees all of the image as pooled",
    ),
    (
        "NarrowTail",
        "strips_make_up_the_stages",
        "rows of stage 3 differ by # with 0 more of its input above and below",
        "state how many it takes as halo, and give what sees all of the image as pooled",
    ),
    (
        "Unpooled",
        "strips_make_up_the_stages",
        "rows of stage 2 differ by # with 2 more of its input above and below",
        "state how many it takes as halo, and give what sees all of the image as pooled",
    ),
    (
        "Wide",
        "strips_make_up_the_stages",
        "what stage 2 pools depends on more than its pixel",
        "let the stage before make it, and pool that",
    ),
    (
        "Near",
        "halo_is_as_stated",
        "a halo of 4 is stated, and SR further from a window's edge differs by #",
        "add up what the layers see: a 3x3 convolution one pixel; or leave out the fact: then it is measured",
    ),
]


@pytest.mark.parametrize("name", ["Good", "Local", "Modules"])
def test_a_network_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


@pytest.mark.parametrize(("name", "check", "found", "instead"), BROKEN)
def test_a_network_that_breaks_a_promise_is_told_of_it(failures, name, check, found, instead):
    (told,) = failures(name).items()
    assert told[0] == check
    assert re.fullmatch(re.escape(found).replace(r"\#", r"[\d.e-]+"), told[1][0])
    assert told[1][1] == instead


def test_each_check_of_streaming_is_seen_to_fail():
    assert {check.name for check in streaming.CHECKS} == {check for _, check, *_ in BROKEN}
