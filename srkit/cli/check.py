"""Find every mistake of a recipe, open its data and draw one batch. Needs no GPU and trains nothing."""

from __future__ import annotations

import argparse
import sys

from srkit.cli import output
from srkit.errors import InputRejected, RecipeError, UsageError
from srkit.packaged import find_recipe
from srkit.plugins import discover
from srkit.registry import Registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="a file, or the name of a packaged recipe")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="override a key of the recipe"
    )


def main(arguments: argparse.Namespace) -> int:
    """Check each recipe; the exit code is that of the worst."""
    registry = discover(arguments.plugins)
    code = 0
    for name in arguments.recipes:
        try:
            _check(name, registry, arguments.overrides)
        except (RecipeError, UsageError, InputRejected) as error:
            print(error, file=sys.stderr)
            code = max(code, error.exit_code)
    return code


def _check(name: str, registry: Registry, overrides: list[str]) -> None:
    import torch

    from srkit.engine import build
    from srkit.engine.batches import Batches, SourcePool

    path = find_recipe(name)
    recipe, origins = build.load_recipe(path, registry, overrides=overrides)
    data = build.open_data(registry, recipe, origins)
    plan = build.make_plan(registry, recipe)
    # One batch for real: every fault of decoding, pairing, degradation and augmentation that the first images have.
    batches = Batches(SourcePool(data.training, data.usable[: recipe.data.batch]), plan, torch.device("cpu"))
    try:
        lr, hr = batches[0]
    finally:
        batches.close()
    out = output.console()
    out.print(
        f"[green]ok[/green]  [bold]{output.clean(recipe.title)}[/bold]  [dim]{output.clean(path)}[/dim]", soft_wrap=True
    )
    settings = ", ".join(f"{key} {value}" for key, value in recipe.architecture.settings.items())
    rows = [
        ["network", f"{recipe.architecture.type} x{recipe.scale}  [dim]{output.clean(settings)}[/dim]"],
        ["data", output.clean(f"{data.training.describe()}; LR by {data.training.made_by}")],
        ["batch", f"LR {list(lr.shape)}, HR {list(hr.shape)}"],
        [
            "training",
            f"{recipe.train.steps:,} steps of {recipe.data.batch}, {recipe.optimizer.type}, {recipe.schedule.type}",
        ],
    ]
    if data.too_small:
        shown = ", ".join(data.too_small[:3]) + ("..." if len(data.too_small) > 3 else "")
        rows.insert(2, ["left out", output.clean(f"{len(data.too_small)} images smaller than a patch: {shown}")])
    for evaluation in data.validation:
        text = f"{evaluation.name}: {evaluation.pairs.describe()}; LR by {evaluation.pairs.made_by}"
        rows.append(["validate", output.clean(text)])
    out.print(output.grid([[f"    [dim]{label}[/dim]", text] for label, text in rows], ["", ""]), soft_wrap=True)
