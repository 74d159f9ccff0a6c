"""A network that enlarges images at rest, as a command asks for it; and the options of how much memory that takes."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import attrs

from srkit.cli import printable, whole_number
from srkit.errors import UsageError
from srkit.plugin.registry import Registry
from srkit.protocol import Method, Precision

if TYPE_CHECKING:
    from srkit.engine.networks.calling import Scales
    from srkit.engine.scoring.tiler import Progress, Tiler
    from srkit.engine.weights.model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says how much memory an image may take, where it is computed, and in which precision."""
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        "--memory",
        type=memory,
        metavar="SIZE",
        help="as in 2G: what this process may take, or the tensors on a GPU; images go in parts of the size for it",
    )
    limits.add_argument("--tile", type=_tile, metavar="N", help="images go in parts of about N x N pixels of the input")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="what the network computes in (float32); parts whose output is not finite are computed again in float32",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")


def memory(text: str) -> int:
    """Return how many bytes "2G", "1.5GiB" or "800M" are."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*([KMGT])(?:i?B)?", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no size of memory: write 800M or 2G")
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2].upper()) + 1))


def _tile(text: str) -> int:
    number = whole_number(text)
    if number < 16:
        raise argparse.ArgumentTypeError(f"a tile has a side of at least 16 pixels, not {number}")
    return number


def say(line: str) -> None:
    """Print what a person should know of how images are taken."""
    print(printable(line), file=sys.stderr)


def say_too_little(arguments: argparse.Namespace) -> None:
    """Say where --memory is less than this process takes before there is a network: images can keep to no such size."""
    if arguments.memory is None:
        return
    from srkit.engine.device import pick_device
    from srkit.engine.memory import size_text, used_memory

    if pick_device(arguments.device, "--device").type != "cpu":
        return  # on a GPU it is of the tensors
    used = used_memory()
    if used >= arguments.memory:
        given = size_text(arguments.memory)
        say(f"--memory: Python and torch alone take {size_text(used)}, more than {given}: images go in small parts")


@attrs.frozen(eq=False)
class Enlarger:
    """A network on its device, with the words of a command.

    `bicubic` is what alpha is enlarged by: it is no colour that the network has seen, and what is opaque must stay so.
    """

    model: Model
    tiler: Tiler
    bicubic: Tiler
    served: Scales
    arguments: argparse.Namespace

    @staticmethod
    def of(model: Model, arguments: argparse.Namespace, registry: Registry) -> Enlarger:
        """Return what enlarges by a network. Raises UsageError for a --size that it cannot be given."""
        from srkit.engine.builder import Builder
        from srkit.engine.device import pick_device
        from srkit.engine.networks.calling import scales_of, takes_size
        from srkit.engine.networks.folding import for_inference
        from srkit.engine.scoring.tiler import Tiler

        facts = model.facts
        if arguments.size is not None and not takes_size(model.network):
            raise UsageError(f"{arguments.model} is a network for scale {model.scale}: --size needs one of any scale")
        device = pick_device(arguments.device, "--device")
        words = {"tile": arguments.tile, "memory": arguments.memory, "approximate": True, "say": say}
        bicubic = Builder(registry).baseline(model.scale).to(device)
        return Enlarger(
            model,
            Tiler(for_inference(model.network.to(device)), device, facts, **words),
            Tiler(bicubic, device, {"tileable": True}, **words),
            scales_of(model.network, facts, model.made_for),
            arguments,
        )

    @property
    def warning(self) -> str:
        """What is to be said of --forward before anything is enlarged; nothing for most."""
        if self.arguments.forward != "tiles" or self.tiler.facts.get("tileable") is not False:
            return ""
        return (
            f"architecture '{self.model.architecture}' states that tiles do not make up its output: seams may be seen"
        )

    def enlarge(self, image: Any, progress: Progress | None = None, *, grey: bool = False) -> Any:
        """Return an image at rest, [h, w, 3], enlarged by the network; [H, W] if it is `grey`.

        Raises ValueError as `size_of` does.
        """
        from srkit.engine.scoring.projection import back_projected
        from srkit.engine.scoring.tiler import grey_of

        times = self.arguments.back_projection
        sr = self.tiler.upscale(image, self.size_of(image), self._method, progress, grey=grey and not times)
        if not times:
            return sr
        sr = back_projected(sr, image, self.bicubic.network, self.tiler.device, times=times)
        return grey_of(sr) if grey else sr

    def enlarge_together(self, images: Sequence[Any]) -> list[Any]:
        """Return images at rest of one size and dtype, [h, w, 3], enlarged. Raises ValueError as `enlarge` does."""
        if self.arguments.back_projection:
            return [self.enlarge(image) for image in images]
        return self.tiler.upscale_together(images, self.size_of(images[0]), self._method)

    @property
    def _method(self) -> Method:
        given = self.arguments
        return Method(forward=given.forward or "whole", ensemble=given.ensemble, precision=given.precision)

    def enlarge_alpha(self, alpha: Any) -> Any:
        """Return a map at rest, [h, w], enlarged by bicubic."""
        import numpy as np

        image = np.broadcast_to(alpha[..., None], (*alpha.shape, 3))
        return self.bicubic.upscale(image, self.size_of(image), grey=True)

    def size_of(self, image: Any) -> tuple[int, int]:
        """Return (height, width) of SR. Raises ValueError where the network does not make an image that large."""
        return self.size_for(*image.shape[:2])

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return what `size_of` does, of an image that large."""
        from srkit.engine.networks.calling import scaled

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
