"""A2N x4 on the CPU beside the authors' layers in eager float32: the forward of a 128x128 image, and a training step.

    python -m benchmarks --only forward_float32

One thread; seconds of the CPU, which a busy machine hardly moves. The authors' layers are restated from the paper and
their description, in torch's own layout, as their training and their tests have them. srkit's forward is the form for
inference, which `eval` and `upscale` take; its step is a trainer's, in channels_last, as `train.channels_last` has it.
A step is of 4 samples of LR 48 with L1 and Adam.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import srkit
from benchmarks.timing import Work, interleaved, ratio
from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import Options, Trainer, trainer_of

SIDE, ROUNDS = 128, 7
SAMPLES, PATCH, SCALE = 4, 48, 4
MOST_APART = 1e-6  # of SR in 0..1


class Gate(nn.Module):
    """Pixel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv(x))


class Branch(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.k1, self.k3, self.k4 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(3))
        self.k2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.k2(F.leaky_relu(self.k1(x), 0.2)))
        return self.k4(self.k3(x) * gate)


class Block(nn.Module):
    """Attention in attention: both branches are weighed by what the mean over the image says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_first, self.conv_last = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(2))
        hidden = channels // 4
        self.ADM = nn.Sequential(nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, 2, bias=False))
        self.attention, self.non_attention = Branch(channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        entered = F.leaky_relu(self.conv_first(x), 0.2)
        weights = F.softmax(self.ADM(F.adaptive_avg_pool2d(entered, 1).flatten(1)) / 30, 1)
        with_, without = (weights[:, branch].view(-1, 1, 1, 1) for branch in range(2))
        mixed = self.attention(entered) * with_ + self.non_attention(entered) * without
        return self.conv_last(F.leaky_relu(mixed, 0.2)) + x


class Plain(nn.Module):
    """A2N x4 as its authors have it: every convolution by itself, and those of the tail at the enlarged size."""

    def __init__(self, channels: int = 40, blocks: int = 16, upper: int = 24) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.AAB_trunk = nn.Sequential(*(Block(channels) for _ in range(blocks)))
        self.trunk_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.upconv1, self.upconv2 = (nn.Conv2d(inputs, upper, 3, padding=1) for inputs in (channels, upper))
        self.att1, self.att2 = Gate(upper), Gate(upper)
        self.HRconv1, self.HRconv2 = (nn.Conv2d(upper, upper, 3, padding=1) for _ in range(2))
        self.conv_last = nn.Conv2d(upper, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv_first(x)
        out = first + self.trunk_conv(self.AAB_trunk(first))
        for up, gate, conv in ((self.upconv1, self.att1, self.HRconv1), (self.upconv2, self.att2, self.HRconv2)):
            out = up(F.interpolate(out, scale_factor=2, mode="nearest"))
            out = F.leaky_relu(conv(F.leaky_relu(gate(out), 0.2)), 0.2)
        return self.conv_last(out) + F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


def both() -> tuple[nn.Module, nn.Module]:
    """Return srkit's A2N x4 and the authors' layers with the same weights."""
    torch.manual_seed(0)
    ours, plain = srkit.create("architecture", "a2n", scale=SCALE), Plain()
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def forwards() -> Iterator[tuple[str, float]]:
    """Yield the ratios of a forward."""
    ours, plain = both()
    form = ours.eval().for_inference()
    x = torch.rand(1, 3, SIDE, SIDE)
    laid = x.contiguous(memory_format=torch.channels_last)  # as images at rest become

    def half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return form(laid)

    with torch.no_grad():
        works: dict[str, Work] = {"plain": lambda: plain(x), "float32": lambda: form(laid), "bfloat16": half}
        apart = float((form(laid) - plain(x)).abs().max())
        if apart > MOST_APART:
            raise AssertionError(f"the form for inference is {apart:.1e} from the authors' layers")
        seconds = interleaved(works, ROUNDS, time.process_time)
    for name in ("float32", "bfloat16"):
        yield f"forward_{name}", ratio(seconds, "plain", name)


def steps() -> Iterator[tuple[str, float]]:
    """Yield the ratios of a training step."""
    lr, hr = torch.rand(SAMPLES, 3, PATCH, PATCH), torch.rand(SAMPLES, 3, PATCH * SCALE, PATCH * SCALE)
    plain = both()[1]
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-4)

    def update() -> None:
        optimizer.zero_grad()
        F.l1_loss(plain(lr), hr).backward()
        optimizer.step()

    laid = Batch(*(images.contiguous(memory_format=torch.channels_last) for images in (lr, hr)))
    works: dict[str, Work] = {"plain": update}
    for name, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        trainer = trainer_for(precision)
        works[name] = lambda trainer=trainer: trainer.step(laid)  # type: ignore[misc]
    seconds = interleaved(works, ROUNDS, time.process_time)
    for name in ("float32", "bfloat16"):
        yield f"train_{name}", ratio(seconds, "plain", name)


def trainer_for(precision: torch.dtype) -> Trainer:
    """Return a trainer of A2N, laid out as a run lays it out."""
    network = both()[0].to(memory_format=torch.channels_last)
    optimizer = srkit.create("optimizer", "adam", network.parameters(), lr=1e-4)
    terms = [Term("l1", srkit.create("loss", "l1"), 1.0, False)]
    options = Options(steps=1000, seed=1, precision=precision)
    return trainer_of(network, terms, optimizer, lambda step: 1.0, torch.device("cpu"), options)


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    torch.set_num_threads(1)
    yield from forwards()
    yield from steps()
