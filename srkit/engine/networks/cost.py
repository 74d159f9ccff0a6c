"""What a network costs: its parameters and its multiply-adds."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from srkit.engine.networks.calling import enlarge
from srkit.engine.networks.checking import checked
from srkit.engine.networks.meta import sketch_or_make
from srkit.engine.networks.padding import fitting
from srkit.errors import describe
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS
from srkit.plugin.settings import call, read_settings

WIDTH, HEIGHT = 1280, 720  # of the output; the field's convention
SIDE = 96  # of the LR patch that is measured, or what fits the network: the cost of a convolution grows with its pixels


def cost(component: Component, scale: int) -> dict[str, Any]:
    """Return the parameters of a network with its default settings and the multiply-adds of a 1280x720 output.

    Where the scale does not divide that, the input is rounded down, as the field does it (x3: 426x240).
    Counted without computing, where the network can be made on the meta device; convolutions and matrix products
    count, as the field counts them.
    Where a network cannot be counted, `reason` says why.
    """
    target = component.load()
    needed = [name for name, setting in read_settings(target, KINDS["architecture"].given).items() if setting.required]
    if needed:
        return {"scale": scale, "reason": f"not counted: it needs {', '.join(needed)}"}
    side = fitting(SIDE, component.facts.get("min_size", 1), component.facts.get("multiple_of", 1))
    try:
        network = sketch_or_make(
            lambda: checked(component, call(KINDS["architecture"], target, {"scale": scale}, {}))
        ).eval()
        device = next((parameter.device for parameter in network.parameters()), torch.device("meta"))
        counter = FlopCounterMode(display=False)
        with device, torch.no_grad(), counter:
            enlarge(network, torch.zeros(1, 3, side, side), (side * scale, side * scale))
    except (Exception, SystemExit) as error:
        return {"scale": scale, "reason": describe(error)}
    pixels = (WIDTH // scale) * (HEIGHT // scale)
    return {
        "scale": scale,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": round(counter.get_total_flops() / 2 * pixels / side**2),
    }
