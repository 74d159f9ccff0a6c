"""Components made from a recipe's parts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import nn
from torch.optim import Optimizer

from srkit.engine.networks.checking import callable_as_stated, checked
from srkit.engine.networks.meta import MOST_PARTS, TooManyParts, at_most, sketch_or_make
from srkit.engine.networks.padding import fit
from srkit.errors import ComponentError, RecipeError
from srkit.plugin.component import Component, making
from srkit.plugin.contracts import KINDS
from srkit.plugin.part import Part
from srkit.plugin.registry import Entry, Registry
from srkit.plugin.settings import read_settings
from srkit.recipe.layers import Origins, Problem
from srkit.recipe.reading import read_part, read_recipe
from srkit.recipe.recipe import Recipe


class Builder:
    """Makes the components of a registry from parts."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def entry(self, part: Part) -> Entry:
        """Return a part's component with its origin. Raises ComponentError where there is none."""
        return self.registry.find(part.kind, part.type)

    def component(self, part: Part) -> Component:
        """Return a part's component. Raises ComponentError where there is none."""
        return self.entry(part).component

    def facts(self, part: Part) -> Mapping[str, Any]:
        """Return what a part's component states of itself."""
        return self.component(part).facts

    def make(self, part: Part, **words: Any) -> Any:
        """Return what a part's target makes of its settings and of those of `words` that it is given and declares.

        Raises ComponentError where that is no usable object of its kind, and for what the target raises.
        """
        with making(self.component(part)):
            return self._make(part, words)

    def _make(self, part: Part, words: Mapping[str, Any]) -> Any:
        """Return what `make` does; what the target raises passes through, for those who know its line in a recipe."""
        return self.registry.make(part.kind, part.type, words, part.settings, callable_as_stated)

    def optimizer(self, part: Part, named: Sequence[tuple[str, nn.Parameter]]) -> Optimizer:
        """Return an optimizer of parameters, given with their names. Raises ComponentError."""
        made: Optimizer = self.make(part, parameters=[p for _, p in named], named_parameters=list(named))
        return made

    def network(self, part: Part, scale: float) -> nn.Module:
        """Return a network that takes LR of any size."""
        return fit(self.make(part, scale=scale), self.component(part))

    def network_of(self, name: str, settings: Mapping[str, Any], scale: int) -> nn.Module:
        """Return a network by its name, with settings that nobody has checked. Raises ComponentError."""
        made = self.registry.make("architecture", name, {"scale": scale}, settings, checked)
        return fit(made, self.registry.find("architecture", name).component)

    def sketch(self, part: Part, scale: int) -> nn.Module:
        """Return a network, without memory for its weights where torch can do without. Chance is left as it was.

        Raises ComponentError for a network of more parts than any has that is meant; its component may state more.
        """
        with making(self.component(part)):
            return self._sketch(part, scale)

    def _sketch(self, part: Part, scale: int) -> nn.Module:
        # Within, errors keep their own words: torch's are how a sketch knows what cannot be sketched.
        most = self.facts(part).get("most_parts", MOST_PARTS)
        try:
            with at_most(most):
                return sketch_or_make(lambda: fit(self._make(part, {"scale": scale}), self.component(part)))
        except TooManyParts as error:
            advice = f"if that is meant, its component states it: facts={{'most_parts': {most * 10}}}"
            raise ComponentError(f"architecture '{part.type}': {error}; {advice}") from None

    def baseline(self, scale: float) -> nn.Module:
        """Return the network of the bicubic row: srkit's own, whichever other distributions have one of that name."""
        return self.network(read_part(self.registry, "architecture", "srkit:bicubic"), scale)

    def try_out(self, part: Part, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a part, a network without memory for its weights, and return its facts. Raises what its target
        raises."""
        match part.kind:
            case "architecture":
                return self.component(part).facts_of(self._sketch(part, words["scale"]))
            case "schedule":
                self._make(part, words)(0)
            case _:
                weight = nn.Parameter(torch.zeros(1))
                self._make(part, {"parameters": [weight], "named_parameters": [("", weight)], **words})
        return self.facts(part)

    def load(self, path: str | os.PathLike[str], *, overrides: Sequence[str] = (), datasets: bool = True) -> Loaded:
        """Read a recipe and try out each of its components; datasets are opened too, unless `datasets` is False.

        Raises RecipeError with every problem, a constructor's ValueError at its table's line.
        """

        def try_out(part: Part, words: Mapping[str, Any]) -> Mapping[str, Any]:
            return self.try_out(part, words) if datasets or part.kind != "dataset" else self.facts(part)

        recipe, origins = read_recipe(path, self.registry, overrides=overrides, try_out=try_out)
        return Loaded(recipe, origins, self)

    def signature(self, part: Part) -> str:
        """Return a component as a score's protocol names it: with those of its settings that are not the defaults."""
        name, changed = part.type.removeprefix("srkit:"), self.changed(part)
        return f"{name}({changed})" if changed else name

    def changed(self, part: Part) -> str:
        """Return those of a part's settings that are not the defaults, "kernel=3, range=1.0"."""
        known = read_settings(self.component(part).load(), KINDS[part.kind].given)
        defaults = {name: setting.default for name, setting in known.items()}
        changed = {key: value for key, value in part.settings.items() if _listed(value) != _listed(defaults.get(key))}
        said = {key: (self._said(value), self._said(defaults.get(key))) for key, value in changed.items()}
        return ", ".join(f"{key}={value}" for key, (value, default) in said.items() if value != default)

    def _said(self, value: Any) -> str:
        if isinstance(value, Part):
            return self.signature(value)
        if isinstance(value, list | tuple) and any(isinstance(member, Part) for member in value):
            return f"[{', '.join(map(self._said, value))}]"
        return str(value)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@attrs.frozen
class Loaded:
    """A checked recipe, where each of its keys was written, and what makes its parts."""

    recipe: Recipe
    origins: Origins
    builder: Builder

    def error(self, *problems: Problem) -> RecipeError:
        """Return the error of these problems, each with its place."""
        return self.origins.error(problems)


def numbered(names: Sequence[str]) -> list[str]:
    """Return names without two of a kind: l1, l1_2."""
    return [
        name if names[:i].count(name) == 0 else f"{name}_{names[:i].count(name) + 1}" for i, name in enumerate(names)
    ]
