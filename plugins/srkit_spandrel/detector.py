"""Which of spandrel's networks a file's weights belong to, as spandrel detects it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import srkit
from srkit_spandrel import bridge
from srkit_spandrel.namings import NAMINGS
from srkit_spandrel.standin import import_spandrel

MOST = 10_000  # the highest number in a name, "body.9999.weight": no network has as many layers


class Detector:
    """Recognises a network of spandrel's zoo by its weights: architecture, settings and scale.

    What shapes do not show, such as the range that a network works in, is spandrel's guess.
    """

    def __call__(self, weights: Mapping[str, Tensor]) -> srkit.Detected | None:
        """Return the network that a state dict belongs to, or None where it is none of the zoo's RGB networks.

        Raises ImportError where spandrel cannot be imported.
        """
        if any(int(number) > MOST for name in weights for number in re.findall(r"\d{1,20}", name)):
            return None
        supports = import_spandrel().MAIN_REGISTRY.architectures("detection")
        state = dict(weights)
        family = next((support.architecture for support in supports if support.detect(state)), None)
        known = {network.cls: network for network in bridge.networks().values() if network.architecture is family}
        if not known:
            return None
        with torch.random.fork_rng(devices=[]):
            return _detected(family, known, state)


def _detected(family: Any, known: Mapping[type, bridge.Network], state: Mapping[str, Tensor]) -> srkit.Detected | None:
    try:
        with bridge.building(), _Budget(state):
            found = family.load(dict(state))
    except Exception:  # for weights that only resemble a family's it raises almost anything
        return None
    network = known.get(type(found.model))
    if network is None or (found.input_channels, found.output_channels) != (3, 3):
        return None
    if network.entry.scales and found.scale not in network.entry.scales:
        return None
    settings = _settings(network, found.model.hyperparameters)
    if settings is None:
        return None
    shapes = _shapes(state)
    makers: list[dict[str, Any]] = [{}, *({"names": maker} for maker in NAMINGS if "names" in network.settings)]
    for names in makers:
        chosen = {**settings, **names}
        try:
            made = network.build(scale=found.scale, **chosen)
        except ValueError:
            continue
        if _shapes(made.state_dict()) == shapes:
            return srkit.Detected(network.entry.name, chosen, found.scale)
    return None


def _settings(network: bridge.Network, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings that are not the defaults, or None where one of them cannot be written in TOML."""
    settings = {}
    for name, value in arguments.items():
        parameter = network.settings.get(name, network.parameters.get(name))
        if parameter is None or name in bridge.SCALES or name in bridge.CHANNELS:
            continue  # a scale that is the network's only one
        value = _plain(value)
        if value == _plain(parameter.default):
            continue
        if name not in network.settings or not _is_writable(value):
            return None
        settings[name] = value
    return settings


def _plain(value: Any) -> Any:
    """Return a value with lists for tuples, so that equal ones are equal."""
    return [_plain(member) for member in value] if isinstance(value, list | tuple) else value


def _is_writable(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_writable, value))
    return type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


class _Budget(TorchFunctionMode):
    """Stops the making of a network that outgrows its weights.

    spandrel makes what names and a few shapes claim before it compares the rest; a file of a megabyte could claim a
    network that does not fit into memory.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._left = sum(self._price(tensor.shape) for tensor in state.values()) * 2

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.empty:  # what layers make their parameters with
            size = args[0] if args and not isinstance(args[0], int) else args
            self._left -= self._price(size)
            if self._left < 0:
                raise MemoryError("the network that these weights claim is larger than they are")
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _price(size: Any) -> int:
        return math.prod(map(int, size)) + 1_000  # a tensor of one value takes time, too
