"""Each check of discriminators can fail: ones that break one promise each, and what is said of them."""

from __future__ import annotations

import pytest

from srkit.testing import discriminator

KIND = "discriminator"
PLUGIN = '''
import os

import srkit
import torch
from torch import nn


class Good(nn.Module):
    """One logit a patch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 5, stride=4)

    def forward(self, images):
        return self.conv(images)


class Pair(Good):
    def forward(self, images):
        return self.conv(images), 1


class Scalar(Good):
    def forward(self, images):
        return self.conv(images).mean()


class Infinite(Good):
    def forward(self, images):
        return self.conv(images) / 0.0


class Blind(Good):
    def forward(self, images):
        return self.conv(images.detach())


class Unused(Good):
    def __init__(self):
        super().__init__()
        self.extra = nn.Parameter(torch.zeros(2))


class Drawn(Good):
    def __init__(self):
        super().__init__()
        nn.init.constant_(self.conv.bias, int.from_bytes(os.urandom(4), "big") / 2**32)


class Writes(Good):
    def forward(self, images):
        return self.conv(images.sub_(0.5))


class Layout(Good):
    def forward(self, images):
        return self.conv(images) * (2 if images.stride(1) == 1 else 1)


ALL = (Good, Pair, Scalar, Infinite, Blind, Unused, Drawn, Writes, Layout)


@srkit.hookimpl
def srkit_components():
    for cls in ALL:
        name = cls.__name__
        yield srkit.Component("discriminator", name.lower(), f"{__name__}:{name}", summary="a discriminator")
'''

BROKEN = {
    "pair": (discriminator.gives_logits, "it returns a tuple", "return one tensor of logits"),
    "scalar": (
        discriminator.gives_logits,
        "of 2 images it returns a tensor []",
        "return logits [n, ...], some of each image",
    ),
    "infinite": (
        discriminator.gives_logits,
        "its logits are torch.float32 and not all finite",
        "return finite float32, without a cast on the way",
    ),
    "blind": (
        discriminator.gradients_reach_weights_and_images,
        "no gradient reaches the images",
        "compute with torch alone, without detach() or no_grad() on the way",
    ),
    "unused": (
        discriminator.gradients_reach_weights_and_images,
        "no gradient reaches extra",
        "use them in forward, or leave them out",
    ),
    "drawn": (
        discriminator.first_weights_follow_the_seed,
        "with the same seed, conv.bias differs each time",
        "draw first weights from torch's global generator alone",
    ),
    "writes": (
        discriminator.images_are_left_alone,
        "it changes the images",
        "take no in-place operation (sub_, *=) on the images themselves",
    ),
    "layout": (
        discriminator.memory_layout_does_not_matter,
        "in channels_last its logits are others",
        "use reshape or flatten, and no view that takes a layout",
    ),
}


@pytest.mark.parametrize("name", ["good"])
def test_a_discriminator_that_keeps_all_promises_passes(failures, name):
    assert failures(name) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_fails_its_own_check(failures, name):
    check, found, instead = BROKEN[name]
    assert failures(name)[check.__name__] == (found, instead)


def test_each_check_of_discriminators_is_seen_to_fail():
    assert {check.run for check in discriminator.CHECKS} == {check for check, *_ in BROKEN.values()}
