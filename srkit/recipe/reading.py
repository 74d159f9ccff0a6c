"""A recipe's tree to a Recipe, or every problem of it at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srkit.errors import ComponentError
from srkit.plugin.part import Part, part_within
from srkit.plugin.registry import Registry
from srkit.recipe.layers import Origins, Problem, fields, lay_overrides, read_layers, without_removed
from srkit.recipe.recipe import PARTS, ArchitecturePart, Data, Recipe, Train
from srkit.recipe.structuring import Problems, TryOut, out_of_range, structured


def read_recipe(
    path: str | os.PathLike[str], registry: Registry, *, overrides: Sequence[str] = (), try_out: TryOut | None = None
) -> tuple[Recipe, Origins]:
    """Read a recipe, what it extends and the overrides, and check it whole.

    `try_out` is called for each component whose settings are right, so that a ValueError of a constructor is reported
    beside everything else. Raises RecipeError with all problems, UsageError for an override that is none.
    """
    tree, origins = read_layers(Path(path), overrides)
    there = without_removed(tree)
    problems = _cross_field(there, registry)
    facts: Mapping[str, Any] = {}

    def trying(part: Part, words: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal facts
        found = registry.find(part.kind, part.type).component.facts if try_out is None else try_out(part, words)
        facts = found if isinstance(part, ArchitecturePart) else facts
        return found

    try:
        recipe: Recipe = structured(tree, Recipe, registry, _given(there), trying)
    except Problems as error:
        problems += error.problems
    problems += _patch_problems(there, facts)
    if problems:
        raise origins.error(problems)
    return recipe, origins


def read_part(registry: Registry, kind: str, given: str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Part:
    """Return a component, by name or as a recipe's table, with the settings of `--set KEY=VALUE`, checked as in one.

    Raises RecipeError with every problem, UsageError for an override that is none.
    """
    table, places = lay_overrides({"type": given} if isinstance(given, str) else given, overrides)
    cls = next((cls for cls in PARTS if cls.kind == kind), part_within(kind))
    try:
        part: Part = structured(table, cls, registry, {}, None)
        return part
    except Problems as error:
        raise Origins(overrides=places).error(error.problems) from None


def _given(tree: Mapping[str, Any]) -> dict[str, int]:
    """Return the scale and steps that components are tried with: the recipe's, or plain ones where these are wrong."""
    train = tree.get("train")
    scale: Any = tree.get("scale")
    steps: Any = train.get("steps") if isinstance(train, Mapping) else None
    return {
        "scale": scale if _is_right(fields(Recipe).scale, scale) else 2,
        "steps": steps if _is_right(fields(Train).steps, steps) else 1_000,
    }


def _is_right(field: Any, value: Any) -> bool:
    """Say whether a value is an integer within the range of a field."""
    return type(value) is int and not out_of_range(field, value)


def _cross_field(tree: Mapping[str, Any], registry: Registry) -> list[Problem]:
    """Check what one key says of another. A key that is wrong by itself is left to the converter."""
    problems = []
    data, train = (tree[key] if isinstance(tree.get(key), Mapping) else {} for key in ("data", "train"))
    scale = tree.get("scale")
    parts = {"architecture": tree.get("architecture"), "degradation": data.get("degradation")}
    for kind, part in parts.items():
        name = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(name, str) or not _is_right(fields(Recipe).scale, scale):
            continue
        try:
            scales = registry.find(kind, name).component.facts.get("scales", (scale,))
        except ComponentError:
            continue
        if scale not in scales:
            offered = ", ".join(map(str, scales))
            problems.append(Problem(("scale",), f"{kind} '{name}' has scales {offered}, not {scale}"))
    problems += _range_problems(data)
    batch, accumulate = data.get("batch", 16), train.get("accumulate", 1)
    if type(batch) is int and type(accumulate) is int and batch > 0 and accumulate > 0 and batch % accumulate:
        message = f"accumulate is {accumulate}, which does not divide data.batch, {batch}"
        problems.append(Problem(("train", "accumulate"), message))
    if train.get("deterministic") == "elastic" and type(accumulate) is int and accumulate.bit_count() != 1:
        message = f"with deterministic 'elastic' parts are summed in pairs: 1, 2, 4, 8... of them, not {accumulate}"
        problems.append(Problem(("train", "accumulate"), message))
    device = train.get("device", "auto")
    if isinstance(device, str) and not re.fullmatch(fields(Train).device.metadata["pattern"], device):
        message = f"unknown device '{device}'; there are: auto, cpu, cuda, cuda:0, mps"
        problems.append(Problem(("train", "device"), message))
    start = tree.get("start")
    if isinstance(start, Mapping):
        if start.get("weights") and start.get("recipe"):
            problems.append(Problem(("start", "recipe"), "start.weights is set, too: give one of them"))
        if start.get("fresh") and not (start.get("weights") or start.get("recipe")):
            text = "'fresh' says what may be new beside start.weights or start.recipe, and neither is set"
            problems.append(Problem(("start", "fresh"), text))
        if start.get("key") and not start.get("weights"):
            text = "'key' says which network of start.weights is taken, and that is not set"
            problems.append(Problem(("start", "key"), text))
    problems += [Problem((key,), f"'{key}' must have an entry") for key in ("loss", "metric") if tree.get(key) == []]
    sets = tree.get("validate")
    names = [entry.get("name") for entry in sets if isinstance(entry, Mapping)] if isinstance(sets, list) else []
    for i, given_name in enumerate(names):
        if isinstance(given_name, str) and given_name in names[:i]:
            problems.append(Problem(("validate", i, "name"), f"two validation sets are named '{given_name}'"))
    return problems


def _range_problems(data: Mapping[str, Any]) -> list[Problem]:
    """Check the ends of `data.scales`."""
    ends = data.get("scales")
    if not isinstance(ends, list) or len(ends) != 2 or not all(type(end) in (int, float) for end in ends):
        return []
    where, (least, most) = ("data", "scales"), ends
    if least < 1 or most >= 65:
        return [Problem(where, f"'scales' must be at least 1 and below 65, not {least} to {most}")]
    return [Problem(where, f"'scales' are the least and the greatest, not {least} and {most}")] if least > most else []


def _patch_problems(tree: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Problem]:
    """Check that training windows are of a size that the network takes as it is: padding would be trained, too.

    `facts` are the network's.
    """
    data, part = tree.get("data"), tree.get("architecture")
    patch = data.get("patch", fields(Data).patch.default) if isinstance(data, Mapping) else None
    name = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(name, str) or not _is_right(fields(Data).patch, patch):
        return []
    least, multiple = facts.get("min_size", 1), facts.get("multiple_of", 1)
    where = ("data", "patch")
    if patch < least:
        return [Problem(where, f"'patch' is {patch}, and architecture '{name}' takes {least} pixels at least")]
    if patch % multiple:
        return [Problem(where, f"'patch' is {patch}, and architecture '{name}' takes multiples of {multiple}")]
    return []
