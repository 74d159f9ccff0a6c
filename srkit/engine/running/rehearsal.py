"""A small sample or two through a recipe's network and losses, before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from srkit.engine.builder import Loaded
from srkit.errors import SrkitError, located
from srkit.recipe.layers import Problem


def rehearse(loaded: Loaded, device: torch.device) -> None:
    """Take a small sample or two through a network and losses that are made for this and thrown away.

    What a plugin's network or loss gets wrong is reported now, in the recipe's terms. Raises RecipeError.
    """
    recipe, builder = loaded.recipe, loaded.builder
    problems: list[Problem] = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(recipe.seed)
        # In training two where there are two: statistics of a batch may want more than one.
        several = min(2, recipe.data.batch // recipe.train.accumulate)
        small, large = recipe.data.patch, recipe.data.patch * recipe.scale
        name = f"architecture '{recipe.architecture.type}'"
        for count, when in ((1, ""), (several, " in training")):
            lr = torch.rand(count, 3, small, small, device=device)
            hr = torch.rand(count, 3, large, large, device=device)
            try:
                if not when:
                    network = builder.make(recipe.architecture, scale=recipe.scale).to(device)
                sr = network.train(bool(when))(lr)
            except SrkitError as error:
                raise loaded.error(Problem(("architecture",), str(error))) from error
            except (Exception, SystemExit) as error:
                raise loaded.error(Problem(("architecture",), f"{name} fails{when}: {located(error)}")) from error
            if not any(parameter.requires_grad for parameter in network.parameters()):
                raise loaded.error(Problem(("architecture",), f"{name} has nothing to train"))
            if not isinstance(sr, torch.Tensor) or sr.shape != hr.shape:
                must = f"at scale {recipe.scale} it must return {list(hr.shape)}"
                text = f"{name} returns {_shape(sr)} for {list(lr.shape)}{when}; {must}"
                raise loaded.error(Problem(("architecture",), text))
        if not sr.requires_grad:
            text = f"{name} cannot learn: no gradient reaches its weights (is something detached?)"
            raise loaded.error(Problem(("architecture",), text))
        for i, part in enumerate(recipe.loss):
            try:
                loss = builder.make(part)
                value = (loss.to(device) if isinstance(loss, nn.Module) else loss)(sr, hr)
            except SrkitError as error:
                problems.append(Problem(("loss", i), str(error)))
                continue
            except (Exception, SystemExit) as error:
                problems.append(Problem(("loss", i), f"loss '{part.type}' fails: {located(error)}"))
                continue
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                text = f"loss '{part.type}' returns {_shape(value)}; it must return a tensor of one value"
                problems.append(Problem(("loss", i), text))
            elif not value.requires_grad:
                text = f"loss '{part.type}' has no gradient with respect to SR (is something detached?)"
                problems.append(Problem(("loss", i), text))
    if problems:
        raise loaded.error(*problems)


def _shape(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return str(list(value.shape))
    return "None" if value is None else f"a {type(value).__name__}"
