"""The names of weights in files, where they differ from those of spandrel's network.

spandrel renames such weights when it opens a file. srkit loads weights by name, so here the network renames the entries
of its state dict instead.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import attrs
from torch import nn


@attrs.frozen
class Naming:
    """How a maker calls the layers of an ESRGAN: {block}, {dense} and {conv} are numbers, {up} counts from 1."""

    dense: str
    trunk: str
    up: str
    hr: str

    def parts(self, blocks: int, ups: int) -> dict[str, str]:
        """Return this maker's name of each layer by spandrel's, for so many blocks and enlargements."""
        names = {"model.0": "conv_first", f"model.1.sub.{blocks}": self.trunk}
        for block in range(blocks):
            for dense in (1, 2, 3):
                for conv in range(1, 6):
                    own = f"model.1.sub.{block}.RDB{dense}.conv{conv}.0"
                    names[own] = self.dense.format(block=block, dense=dense, conv=conv)
        for up in range(1, ups + 1):
            names[f"model.{3 * up}"] = self.up.format(up=up)
        return names | {f"model.{3 * ups + 2}": self.hr, f"model.{3 * ups + 4}": "conv_last"}


NAMINGS = {
    "realesrgan": Naming("body.{block}.rdb{dense}.conv{conv}", "conv_body", "conv_up{up}", "conv_hr"),
    "bsrgan": Naming("RRDB_trunk.{block}.RDB{dense}.conv{conv}", "trunk_conv", "upconv{up}", "HRconv"),
}


def esrgan(network: nn.Module, maker: str) -> dict[str, str]:
    """Return a maker's names of the layers of an ESRGAN by spandrel's.

    Raises ValueError for a network that this maker has no names for: ESRGAN+, say.
    """
    own = {name.rpartition(".")[0] for name, _ in network.named_parameters()}
    blocks = max(int(found[1]) for name in own if (found := re.match(r"model\.1\.sub\.(\d+)", name)))
    last = max(int(found[1]) for name in own if (found := re.match(r"model\.(\d+)", name)))
    parts = NAMINGS[maker].parts(blocks, (last - 4) // 3)
    if set(parts) != own:
        raise ValueError(f'there are no names "{maker}" for this network: leave names = "esrgan"')
    return parts


def rename(network: Any, parts: Mapping[str, str]) -> None:
    """Rename layers in a network's state dict, both when it is read and when it is loaded."""
    back = {other: name for name, other in parts.items()}
    network.register_state_dict_post_hook(functools.partial(_replace, parts))
    network.register_load_state_dict_pre_hook(functools.partial(_replace, back))


def _replace(parts: Mapping[str, str], _: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    """Rename the entries of a state dict below a prefix, in their order."""
    for name in [name for name in state if name.startswith(prefix)]:
        layer, dot, last = name.removeprefix(prefix).rpartition(".")
        state[f"{prefix}{parts.get(layer, layer)}{dot}{last}"] = state.pop(name)
