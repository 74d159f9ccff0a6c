"""spandrel's networks as architectures: `srkit_spandrel.bridge:SwinIR` is made when it is asked for."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkit_spandrel import zoo
from srkit_spandrel.namings import NAMINGS, esrgan, rename
from srkit_spandrel.standin import import_spandrel

# What constructors call the scale. A network without any of these has one scale.
SCALES = ("scale", "upscale", "upscaling_factor", "upscale_factor", "up_scale", "upsampling", "sf")
# What constructors call the channels, which are 3 for srkit.
CHANNELS = (
    *("in_nc", "out_nc", "num_in_ch", "num_out_ch", "in_ch", "out_ch", "in_chans", "out_chans"),
    *("in_channels", "out_channels", "inp_channels", "n_colors"),
)
# How much smaller a network makes the image first; the constructor's scale is that much more.
SHRINKS = ("shuffle_factor", "start_unshuffle")
# ESRGAN also takes the channels of the smaller image; other networks compute them.
SHRUNK_CHANNELS = ("shuffle_factor", "in_nc")

# Numbers whose default is an integer, though fractions are allowed: ffn_expansion_factor, mlp_ratio, drop_rate.
FRACTIONS = ("_factor", "_ratio", "_rate", "_range", "_scale")

# In place of a missing default, or of one that builds no network, by network and setting.
DEFAULTS = {
    ("SAFMN", "dim"): 36,  # the paper's, arXiv:2302.13800
    ("SwinIR", "window_size"): 8,  # 7 does not divide img_size, 64
    ("Swin2SR", "window_size"): 8,
    ("HAT", "window_size"): 16,  # the windows of overlap_ratio, half as wide again, do not lie side by side at 7
}
UPSAMPLER = "pixelshuffle"  # where the default is "", with which nothing is enlarged


@attrs.frozen
class Facts:
    """What spandrel says of a network: what its descriptors have beside the network."""

    architecture: Any
    scale: int
    size_requirements: Any
    supports_half: bool
    supports_bfloat16: bool
    tiling: Any


@attrs.frozen(eq=False)
class Network:
    """A network of the zoo with what is known of its constructor."""

    entry: zoo.Network
    cls: type[nn.Module]
    architecture: Any
    parameters: Mapping[str, inspect.Parameter]
    settings: Mapping[str, inspect.Parameter]

    def build(self, *, scale: int, **settings: Any) -> nn.Module:
        """Return the network as spandrel has it. Raises ValueError for any error of the constructor."""
        names = settings.pop("names", "esrgan")
        arguments = {name: parameter.default for name, parameter in self.settings.items() if name in self.parameters}
        arguments = {name: value for name, value in arguments.items() if value is not inspect.Parameter.empty}
        for name, value in settings.items():
            # TOML and JSON have lists alone.
            arguments[name] = tuple(value) if isinstance(self.parameters[name].default, tuple) else value
        shrink = 1
        for name in SHRINKS:
            shrink *= arguments.get(name) or 1
        arguments |= dict.fromkeys(self._called(SCALES), scale * shrink)
        arguments |= dict.fromkeys(self._called(CHANNELS), 3)
        by, channels = SHRUNK_CHANNELS
        if by in self.parameters:
            arguments[channels] = 3 * shrink**2
        try:
            with building():
                network = self.cls(**arguments)
        except Exception as error:  # assertions, missing keys, shapes that do not divide: all of them for settings
            raise ValueError(f"{self.entry.name} cannot be built: {_one_line(error)}") from error
        if names != "esrgan":
            rename(network, esrgan(network, names))
        if (arguments.get("start_unshuffle") or 1) > 1:
            rename(network, {"conv_first": "conv_first.1"})  # the name by which spandrel recognises it
        return network

    def facts(self, network: nn.Module) -> Facts:
        """Return the facts that spandrel derives from a network's weights.

        Raises ValueError where it does not recognise them, or not as a network of three channels.
        """
        spandrel = import_spandrel()
        try:
            with torch.random.fork_rng(devices=[]), building():
                found = self.architecture.load(dict(network.state_dict()))
        except Exception as error:
            reason = _one_line(error)
            raise ValueError(f"{self.entry.name}: spandrel cannot open weights of these settings: {reason}") from error
        channels = found.input_channels, found.output_channels
        if not isinstance(found, spandrel.ImageModelDescriptor) or channels != (3, 3):
            raise ValueError(f"{self.entry.name}: spandrel takes these settings for no network of RGB images")
        return Facts(
            self.architecture,
            found.scale,
            found.size_requirements,
            found.supports_half,
            found.supports_bfloat16,
            found.tiling,
        )

    def make(self, scale: int, settings: Mapping[str, Any]) -> nn.Module:
        """Return the network with its facts. Raises ValueError where it has another scale than this."""
        network: Any = self.build(scale=scale, **settings)
        facts = self.facts(network)
        if facts.scale != scale:
            raise ValueError(
                f"{self.entry.name} has no scale {scale} with these settings: spandrel takes it for one of scale "
                f"{facts.scale}"
            )
        network.facts = facts
        return typing.cast("nn.Module", network)

    def _called(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if name in self.parameters]


@contextlib.contextmanager
def building() -> Iterator[None]:
    """Let spandrel's constructors run: on the CPU, or without memory where the default device is meta."""
    sketched = torch.get_default_device().type == "meta"
    with (
        contextlib.nullcontext() if sketched else torch.device("cpu"),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # on what it will require one day
        yield


def networks() -> dict[str, Network]:
    """Return the networks of the zoo by their attribute. Imports spandrel."""
    spandrel = import_spandrel()
    found = {}
    for entry in zoo.find().networks:
        module = importlib.import_module(f"spandrel.architectures.{entry.family}")
        cls, support = getattr(module, entry.attribute, None), spandrel.MAIN_REGISTRY.get(entry.family)
        if support is None or not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
            continue  # an unknown version of spandrel; its other networks still work
        parameters = dict(list(inspect.signature(cls.__init__).parameters.items())[1:])
        settings = _settings(entry.attribute, cls, parameters)
        found[entry.attribute] = Network(entry, cls, support.architecture, parameters, settings)
    return found


def __getattr__(name: str) -> Any:
    """Return the architecture of a name in spandrel's own spelling, "RealPLKSR"."""
    if name.startswith("_"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    network = networks().get(name)
    if network is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = _architecture(network)
    return globals()[name]


def _architecture(network: Network) -> Callable[..., nn.Module]:
    """Return what srkit calls with the scale and the settings, with a signature to read them from."""
    fitted = attrs.evolve(network, cls=_fitted(network.cls))

    def make(*, scale: int, **settings: Any) -> nn.Module:
        scales = network.entry.scales
        if scales and scale not in scales:
            raise ValueError(f"{network.entry.name} has scales {', '.join(map(str, scales))}, not {scale}")
        device = torch.get_default_device()
        try:
            return fitted.make(scale, settings).to(device)
        except ValueError as error:
            if device.type != "meta" or "meta" not in str(error):
                raise
        with torch.device("cpu"):  # a network that looks at more values than a sketch has
            made = fitted.make(scale, settings)
        return made.to(device)

    described: Any = make
    scale = inspect.Parameter("scale", inspect.Parameter.KEYWORD_ONLY, annotation=int)
    described.__signature__ = inspect.Signature([scale, *network.settings.values()], return_annotation=nn.Module)
    described.__annotations__ = {
        name: parameter.annotation
        for name, parameter in described.__signature__.parameters.items()
        if parameter.annotation is not inspect.Parameter.empty
    }
    described.__name__ = described.__qualname__ = network.entry.attribute
    described.__doc__ = _doc(network)
    described.__wrapped__ = network.cls  # where its source is
    return make


def _fitted(cls: type[nn.Module]) -> type[nn.Module]:
    """Return a network's class whose forward takes images of any size and gives the image alone.

    A class, not a module around it: names in the state dict stay spandrel's.
    """

    def forward(self: Any, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # A copy: RCAN multiplies its input in place.
        out = cls.forward(self, pad(x.clone(), self.facts.size_requirements))
        image: Tensor = out[0] if isinstance(out, tuple | list) else out  # the rest is for the network's training loss
        scale = self.facts.scale
        return image[..., : height * scale, : width * scale]

    return type(cls.__name__, (cls,), {"forward": forward, "__module__": cls.__module__, "__doc__": cls.__doc__})


def pad(x: Tensor, requirements: Any) -> Tensor:
    """Return images, [n, c, h, w], made larger at the right and below as a network demands: by reflection, as far as it
    goes, and beyond by repeating the edge, as spandrel's descriptors do."""
    height, width = x.shape[-2:]
    right, below = requirements.get_padding(width, height)
    if not (right or below):
        return x
    reflected = min(right, width - 1), min(below, height - 1)
    x = F.pad(x, (0, reflected[0], 0, reflected[1]), "reflect")
    return F.pad(x, (0, right - reflected[0], 0, below - reflected[1]), "replicate")


def _settings(
    attribute: str, cls: type[nn.Module], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, inspect.Parameter]:
    """Return the parameters that a recipe may set, each with a type and a default with which something can be built."""
    try:
        hints = typing.get_type_hints(cls.__init__)
    except (NameError, TypeError, AttributeError):
        hints = {}
    found = {}
    for name, parameter in parameters.items():
        if name in SCALES or name in CHANNELS:
            continue
        default = parameter.default
        hint = hints.get(name, _type_of(name, default))
        if hint is inspect.Parameter.empty and default is not inspect.Parameter.empty:
            continue  # a class of layers, say
        if name == "upsampler" and default == "":
            default = UPSAMPLER
        default = DEFAULTS.get((attribute, name), default)
        found[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
    if attribute == "ESRGAN":
        hint = Literal[("esrgan", *NAMINGS)]
        found["names"] = inspect.Parameter("names", inspect.Parameter.KEYWORD_ONLY, default="esrgan", annotation=hint)
    return found


def _type_of(name: str, default: Any) -> Any:
    """Return the type of a parameter that states none, from its default: most of spandrel's are of that sort."""
    if type(default) is int:
        return int | float if name.endswith(FRACTIONS) else int
    if type(default) in (bool, float, str):
        return type(default)
    if type(default) in (list, tuple) and default and len(members := {type(value) for value in default}) == 1:
        (member,) = members
        if member in (bool, int, float, str):
            return list[member] if type(default) is list else tuple[member, ...]  # type: ignore[valid-type]
    return inspect.Parameter.empty


def _doc(network: Network) -> str:
    """Return a docstring with what the network's own say of its settings, without the defaults, which may be others."""
    text = "\n".join(filter(None, (network.cls.__doc__, network.cls.__init__.__doc__)))
    found = dict(re.findall(r"^ *(\w+)(?: \(.*?\))?: +(.+)$", text, re.M))
    meanings = {name: re.sub(r"\.? *Default:? .*", "", found[name]) for name in network.settings if name in found}
    if "names" in network.settings:
        meanings["names"] = "naming of the weights in files: of the first ESRGAN, of BasicSR (Real-ESRGAN) or of BSRGAN"
    lines = [f"    {name}: {meaning}" for name, meaning in meanings.items()]
    return "\n".join([f"{network.entry.summary}.", "", "Args:", *lines])


def _one_line(error: Exception) -> str:
    """Return an error as one line, not a long one: a state dict that does not fit makes pages."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
