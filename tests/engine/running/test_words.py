"""Runs of networks and losses that declare more than LR, SR and HR."""

from __future__ import annotations

from pathlib import Path

import pytest

import srkit
from srkit.plugin.discovery import discover
from tests.engine.running.test_run import contents

PLUGIN = '''
import srkit
import torch
import torch.nn.functional as F
from torch import nn


class Flow(nn.Module):
    """Rectified flow from noise to HR, given the enlarged LR; of three steps when it samples."""

    def __init__(self, *, scale: int):
        super().__init__()
        self.scale, self.conv = scale, nn.Conv2d(7, 3, 3, padding=1)

    def velocity(self, x, enlarged, time):
        return self.conv(torch.cat([x, enlarged, time.expand(-1, 1, *x.shape[-2:])], 1))

    def forward(self, lr, hr=None, draws=None):
        enlarged = F.interpolate(lr, scale_factor=self.scale)
        if not self.training:
            assert hr is None and draws is None
            x = torch.zeros_like(enlarged)
            for i in range(3):
                x = x + self.velocity(x, enlarged, torch.full((len(x), 1, 1, 1), i / 3)) / 3
            return x
        time, noise = draws.uniform()[:, :, None, None], draws.normal(*hr.shape[1:])
        x = noise + time * (hr - noise)
        velocity = self.velocity(x, enlarged, time)
        return x + (1 - time) * velocity, {"velocity": velocity, "goal": hr - noise}


def flow():
    return lambda sr, hr, *, extras: (extras["velocity"] - extras["goal"]).square().mean()


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "flow", f"{__name__}:Flow", summary="of a test", facts={"tileable": True})
    yield srkit.Component("loss", "flow", f"{__name__}:flow", summary="of a test")
'''


@pytest.fixture
def train(tiny):
    Path("flow.py").write_text(PLUGIN)

    def run(out, *overrides):
        settings = [
            "architecture.type=flow",
            "loss.type=flow",
            "train.deterministic=run",
            "train.threads=1",
            *overrides,
        ]
        return srkit.run(tiny, out=out, set=settings, registry=discover(["flow.py"]))

    return run


@pytest.mark.parametrize("options", [[], ["train.accumulate=2"]])
def test_a_network_that_is_given_hr_and_draws_is_continued_to_the_same_bits(train, options):
    train("straight", *options)
    train("stopped", "train.steps=3", *options)
    train("stopped", *options)
    ended = [contents(Path(out)) for out in ("straight", "stopped")]
    assert ended[0]["last.safetensors"] == ended[1]["last.safetensors"]
