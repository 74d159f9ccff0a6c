"""One small sample through a recipe's network and losses, before anything is trained."""

from __future__ import annotations

import os
import traceback

import torch
from torch import nn

from srkit.component import describe
from srkit.engine.build import make
from srkit.errors import RecipeError
from srkit.layers import Origins, Problem
from srkit.recipe import Recipe
from srkit.registry import Registry


def rehearse(registry: Registry, recipe: Recipe, origins: Origins, device: torch.device) -> None:
    """Take one small sample through a network and losses of their own, made for this and thrown away.

    What a stranger's network or loss gets wrong is told now, in the recipe's terms. Raises RecipeError.
    """
    size = recipe.data.patch * recipe.scale
    name = recipe.architecture.type
    problems: list[Problem] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(recipe.seed)
        lr = torch.rand(1, 3, recipe.data.patch, recipe.data.patch, device=device)
        hr = torch.rand(1, 3, size, size, device=device)
        try:
            sr = make(registry, recipe.architecture, scale=recipe.scale).to(device).eval()(lr)
        except Exception as error:
            raise RecipeError(
                origins.lines([Problem(("architecture",), f"architecture '{name}' fails: {located(error)}")])
            ) from error
        if not isinstance(sr, torch.Tensor) or sr.shape != hr.shape:
            gives = list(sr.shape) if isinstance(sr, torch.Tensor) else type(sr).__name__
            text = f"architecture '{name}' makes {gives} of {list(lr.shape)}; at scale {recipe.scale} it must make"
            raise RecipeError(origins.lines([Problem(("architecture",), f"{text} {list(hr.shape)}")]))
        for i, part in enumerate(recipe.loss):
            try:
                loss = make(registry, part)
                value = (loss.to(device) if isinstance(loss, nn.Module) else loss)(sr, hr)
            except Exception as error:
                problems.append(Problem(("loss", i), f"loss '{part.type}' fails: {located(error)}"))
                continue
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                gives = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                problems.append(Problem(("loss", i), f"loss '{part.type}' gives {gives}; it must give a single number"))
    if problems:
        raise RecipeError(origins.lines(problems))


def located(error: Exception) -> str:
    """Return an error as one line with the place in the component's own file that it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename]
    last = frames[-1] if frames else None
    if last is None or last.filename == __file__:
        return describe(error)
    here = os.path.join(os.getcwd(), "")
    return f"{describe(error)} ({last.filename.removeprefix(here)}:{last.lineno})"
