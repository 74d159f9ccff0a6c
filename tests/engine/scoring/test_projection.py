"""Back-projection: SR becomes its LR, and what already does so stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srkit.engine.scoring.projection import back_projected
from srkit.plugin.discovery import installed
from tests.conftest import photograph

CPU = torch.device("cpu")


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.fixture(scope="module")
def bicubic():
    return installed().create("architecture", "bicubic", scale=2)


@pytest.mark.parametrize("size", [(24, 32), (17, 27)])
def test_each_step_brings_sr_nearer_to_its_lr(bicubic, size):
    hr = photograph(1, 48, 64)
    shrink = installed().create("degradation", "bicubic", scale=2, mode="double")
    lr = shrink(hr, size)
    blurred = np.repeat(np.repeat(shrink(hr, (12, 16)), 4, 0), 4, 1)
    agreement, likeness = [], []
    for times in (0, 1, 5):
        sr = back_projected(blurred, lr, bicubic, CPU, times=times)
        assert sr.dtype == np.uint8
        agreement.append(psnr(shrink(sr, size), lr))
        likeness.append(psnr(sr, hr))
    assert agreement == sorted(agreement)
    assert agreement[2] > agreement[0] + 10
    assert likeness[1] > likeness[0] + 1


def test_sr_of_16_bits_that_becomes_lr_stays_what_it_is(bicubic):
    sr = np.full((8, 12, 3), 40_000, np.uint16)
    assert np.array_equal(back_projected(sr, sr[::2, ::2], bicubic, CPU, times=3), sr)
