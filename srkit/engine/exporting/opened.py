"""A file that an exporter wrote, as a network: what is shipped is what is scored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit.engine.networks.padding import fit, fitting, pad_to
from srkit.engine.scoring.evaluate import scale_of
from srkit.engine.scoring.tiling import OVERLAP, Grid, tiles
from srkit.engine.weights.model import Model, Reading
from srkit.engine.weights.transfer import Transfer
from srkit.errors import InputRejected, UsageError, describe
from srkit.plugin.component import Component
from srkit.plugin.contracts import Exported
from srkit.plugin.registry import Entry, Registry

SAID = "srkit"  # the word of a file under which its description stands, as JSON


class ExportedNetwork(nn.Module):
    """A network that another runtime computes, on the CPU, image by image.

    Where the file takes one size of LR alone, `fixed`, (height, width), smaller images are padded to it. Images that
    are larger than it, or than the largest that the file takes, go in overlapping tiles. Its facts are those of the
    network that was exported.
    """

    def __init__(self, exported: Exported, said: Mapping[str, Any]) -> None:
        super().__init__()
        self._run = exported.run
        self.fixed: tuple[int, int] | None = tuple(said["size"]) if said.get("size") else None
        largest = said.get("largest")
        self._most = self.fixed or ((largest, largest) if largest else None)
        for name, value in dict(said.get("facts", {})).items():
            setattr(self, name, value)

    def forward(self, lr: Tensor) -> Tensor:
        """Return SR of LR, [n, 3, h, w] float32, on its device."""
        run = self._computed if self.fixed is None else self._padded
        if self._most is None or (lr.shape[-2] <= self._most[0] and lr.shape[-1] <= self._most[1]):
            return run(lr)
        return tiles(run, lr, grid=Grid.within(min(self._most), OVERLAP))

    def _padded(self, lr: Tensor) -> Tensor:
        assert self.fixed is not None
        sr = self._computed(pad_to(lr, *self.fixed))
        scale = sr.shape[-2] // self.fixed[0]
        return sr[..., : lr.shape[-2] * scale, : lr.shape[-1] * scale]

    def _computed(self, lr: Tensor) -> Tensor:
        images = lr.detach().to("cpu", torch.float32).contiguous().numpy()
        sr = [torch.from_numpy(self._run(images[i : i + 1])) for i in range(len(images))]
        return torch.cat(sr).to(lr.device)


def exporter_of(path: Path, registry: Registry) -> Entry | None:
    """Return the exporter whose files end as a path does; None for any other file."""
    return next(
        (entry for entry in registry.of_kind("exporter") if path.suffix == entry.component.facts.get("suffix")), None
    )


def open_model(path: Path, entry: Entry, registry: Registry) -> Model:
    """Return the network of a file that an exporter wrote, or another program for the same runtime.

    Raises InputRejected for the file, ComponentError where its runtime is not installed.
    """
    if not path.exists():
        raise InputRejected(path, "there is no such file")
    exporter = registry.create("exporter", entry.full_name)
    try:
        exported = exporter.open(path)
        said = json.loads(exported.words.get(SAID, "{}"))
        network = ExportedNetwork(exported, said)
    except InputRejected:  # an exporter that knows more of its files
        raise
    except Exception as error:  # each runtime has its own errors
        raise InputRejected(path, f"cannot be opened: {describe(error)}") from error
    component = Component("architecture", entry.component.name, f"{__name__}:{ExportedNetwork.__name__}")
    if network.fixed is None:
        fit(network, component)
    try:
        scale = said.get("scale") or scale_of(network)
    except Exception as error:
        raise InputRejected(path, f"takes no image of RGB: {describe(error)}") from error
    return Model(
        network.eval(),
        str(said.get("architecture", entry.component.name)),
        dict(said.get("settings", {})),
        scale or 1,
        int(scale or 1),
        said,
        Reading(path, "", "", Transfer({}, {}), {}),
        component,
    )


def refuse_other_scale(model: Model, scale: float | None) -> None:
    """Raise UsageError where a scale was said that is not the file's."""
    if scale is not None and scale != model.scale:
        raise UsageError(f"{model.reading.path} is a network for scale {model.scale}, not {scale:g}")


def sides(least: int, multiple: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the least (height, width) from a size on that a network takes."""
    height, width = (fitting(side, least, multiple) for side in size)
    return height, width
