"""A one-file plugin with an exporter that has good and bad ways, and networks to export."""

from __future__ import annotations

from pathlib import Path

import torch

from srkit.engine.weights.model import save_model

PLUGIN = '''\
import json
import os

import numpy as np
import srkit
import torch


class Doubling(torch.nn.Module):
    """Repeats each pixel, times a gain."""

    def __init__(self, *, scale: int = 2) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
        self.up = torch.nn.Upsample(scale_factor=scale, mode="nearest")

    def forward(self, x):
        return self.up(x * self.gain)


class EvenSides(Doubling):
    """Takes sides that are multiples of 8."""

    def forward(self, x):
        if x.shape[-1] % 8 or x.shape[-2] % 8:
            raise ValueError("sides are multiples of 8")
        return super().forward(x)


class Formed:
    """The gain as JSON."""

    def write(self, network, example, path, *, words, way, fixed):
        if way == "dies":
            os.abort()
        if way == "refuses":
            raise ValueError("there is no form for it")
        gain = float(network.network.gain)
        path.write_text(json.dumps({"gain": gain, "error": 0.25 if way.startswith("wrong") else 0, "words": words}))

    def open(self, path):
        found = json.loads(path.read_text())

        def run(lr):
            sr = lr.repeat(2, 2).repeat(2, 3) * np.float32(found["gain"])
            return sr + np.float32(found["error"] * (lr.shape[-1] % 2))

        return srkit.Exported(run, found["words"])


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "doubling", f"{__name__}:Doubling", facts={"tileable": True, "halo": 0})
    yield srkit.Component("architecture", "even", f"{__name__}:EvenSides", facts={"multiple_of": 8})
    for name, ways in (
        ("formed", ("dies", "right")),
        ("wrong", ("refuses", "wrong at odd sides")),
    ):
        facts = {"suffix": f".{name}", "ways": ways}
        yield srkit.Component("exporter", name, f"{__name__}:Formed", facts=facts)
'''


def save(path: Path, architecture: str = "doubling", gain: float = 0.5) -> Path:
    """Write a model file of one of the plugin's networks, for scale 2."""
    metadata = {"architecture": architecture, "settings": {}, "scale": 2, "distribution": "forms.py"}
    save_model(path, {"gain": torch.tensor([gain])}, metadata)
    return path
