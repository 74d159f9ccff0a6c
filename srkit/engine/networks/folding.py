"""The form of a network that images are enlarged by, where it offers one that is faster."""

from __future__ import annotations

from torch import nn

from srkit.engine.networks.padding import fit_like, is_fitted


def for_inference(network: nn.Module) -> nn.Module:
    """Return the form for inference that a network offers, on its device, or else the network itself.

    It is the same function, within the rounding of float32; its weights are those of now. A subclass with another
    `forward` has to offer a form of its own.
    """
    if not offers_form(network):
        return network
    folded: nn.Module = getattr(type(network), "for_inference")(network)  # noqa: B009 - nn.Module declares none
    return fit_like(folded, network)


def offers_form(network: nn.Module) -> bool:
    """Say whether a network has a method `for_inference`, which knows of its `forward`."""
    if "forward" in vars(network):
        return False
    for cls in type(network).__mro__:
        if callable(vars(cls).get("for_inference")):
            return True
        if "forward" in vars(cls) and not is_fitted(cls):
            return False
    return False
