"""A network that enlarges images at rest, as a command asks for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from srkit.errors import UsageError
from srkit.plugin.registry import Registry
from srkit.protocol import Method

if TYPE_CHECKING:
    import torch
    from torch import nn

    from srkit.engine.networks.calling import Scales
    from srkit.engine.weights.model import Model

Progress = Callable[[int, int], None]  # of (tiles done, tiles in all)


@attrs.frozen(eq=False)
class Enlarger:
    """A network on its device, with the words of a command.

    `bicubic` is what alpha is enlarged by: it is no colour that the network has seen, and what is opaque must stay so.
    """

    model: Model
    network: nn.Module
    bicubic: nn.Module
    served: Scales
    tileable: object
    device: torch.device
    arguments: argparse.Namespace

    @staticmethod
    def of(model: Model, arguments: argparse.Namespace, registry: Registry) -> Enlarger:
        """Return what enlarges by a network. Raises UsageError for a --size that it cannot be given."""
        from srkit.engine.builder import Builder
        from srkit.engine.device import pick_device
        from srkit.engine.networks.calling import scales_of, takes_size

        facts = registry.find("architecture", model.architecture).component.facts_of(model.network)
        if arguments.size is not None and not takes_size(model.network):
            raise UsageError(f"{arguments.model} is a network for scale {model.scale}: --size needs one of any scale")
        device = pick_device("auto")
        return Enlarger(
            model,
            model.network.to(device),
            Builder(registry).baseline(model.scale).to(device),
            scales_of(model.network, facts, model.made_for),
            facts.get("tileable"),
            device,
            arguments,
        )

    @property
    def warning(self) -> str:
        """What is to be said of --forward before anything is enlarged; nothing for most."""
        if self.arguments.forward != "tiles" or self.tileable is not False:
            return ""
        return (
            f"architecture '{self.model.architecture}' states that tiles do not make up its output: seams may be seen"
        )

    def enlarge(self, image: Any, progress: Progress | None = None) -> Any:
        """Return an image at rest, [h, w, 3], enlarged by the network. Raises ValueError as `size_of` does."""
        from srkit.engine.scoring.evaluate import upscale
        from srkit.engine.scoring.projection import back_projected
        from srkit.engine.scoring.tiling import forward_for

        how = self.arguments.forward or forward_for(image.shape[0], image.shape[1], self.tileable)
        method = Method(forward=how, ensemble=self.arguments.ensemble)
        size = self.size_of(image)
        sr = upscale(image, self.network, self.device, size=size, method=method, progress=progress)
        times = self.arguments.back_projection
        return back_projected(sr, image, self.bicubic, self.device, times=times) if times else sr

    def enlarge_alpha(self, image: Any) -> Any:
        """Return an image at rest, [h, w, 3], enlarged by bicubic."""
        from srkit.engine.scoring.evaluate import upscale
        from srkit.engine.scoring.tiling import forward_for

        how = forward_for(image.shape[0], image.shape[1], True)
        return upscale(image, self.bicubic, self.device, size=self.size_of(image), method=Method(forward=how))

    def size_of(self, image: Any) -> tuple[int, int]:
        """Return (height, width) of SR. Raises ValueError where the network does not make an image that large."""
        from srkit.engine.networks.calling import scaled

        height, width = image.shape[:2]
        if self.arguments.size is None:
            return scaled(height, self.model.scale), scaled(width, self.model.scale)
        tall, wide = self.arguments.size
        if tall < height or wide < width:
            raise ValueError(f"is {width}x{height}, which {wide}x{tall} is no enlargement of")
        for scale in (tall / height, wide / width):
            fault = self.served.fault(scale)
            if fault:
                raise ValueError(f"is {width}x{height}: architecture '{self.model.architecture}' {fault}")
        return int(tall), int(wide)
