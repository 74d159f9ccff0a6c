"""Find every mistake of a recipe, open its data and draw one batch. Needs no GPU and trains nothing."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from srkit.cli import error_text, output
from srkit.errors import SrkitError
from srkit.packaged import find_recipe
from srkit.plugins import discover
from srkit.registry import Registry

if TYPE_CHECKING:
    pass


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
        except SrkitError as error:
            print(error_text(error), file=sys.stderr)
            code = max(code, error.exit_code)
    return code


def _check(name: str, registry: Registry, overrides: list[str]) -> None:
    import torch

    from srkit.engine import build
    from srkit.engine.batches import Batches
    from srkit.engine.evaluate import refuse_too_small
    from srkit.engine.pools import make_pool
    from srkit.engine.rehearsal import rehearse

    path = find_recipe(name)
    recipe, origins = build.load_recipe(path, registry, overrides=overrides)
    data = build.open_data(registry, recipe, origins)
    rehearse(registry, recipe, origins, torch.device("cpu"))
    build.make_started_network(registry, recipe, origins)
    plan = build.make_plan(registry, recipe)
    # One batch for real: every fault of decoding, pairing, degradation and augmentation that the first images have.
    first = data.usable[: recipe.data.batch]
    pool = make_pool(data.training, first, cache=recipe.data.cache, threads=1, device=torch.device("cpu"))
    batches = Batches(pool, plan, torch.device("cpu"))
    try:
        lr, hr = batches[0]
    finally:
        batches.close()
    metrics = build.make_metrics(registry, recipe.metric)
    for evaluation in data.validation:
        refuse_too_small(evaluation, metrics)

    out = output.console()
    out.print(
        f"[green]ok[/green]  [bold]{output.clean(recipe.title)}[/bold]  [dim]{output.clean(path)}[/dim]", soft_wrap=True
    )
    settings = ", ".join(f"{key} {output.toml_value(value)}" for key, value in recipe.architecture.settings.items())
    samples = f"LR {lr.shape[3]}x{lr.shape[2]}, HR {hr.shape[3]}x{hr.shape[2]}"
    rows = [
        ["network", f"{recipe.architecture.type} x{recipe.scale}{'; ' if settings else ''}{settings}"],
        ["data", f"{data.training.describe()}; LR by {data.training.made_by}"],
        ["batch", f"{lr.shape[0]} samples, {samples}"],
        ["training", f"{recipe.train.steps:,} steps, {recipe.optimizer.type}, {recipe.schedule.type}"],
    ]
    if data.too_small:
        images = "image" if len(data.too_small) == 1 else "images"
        shown = ", ".join(data.too_small[:3]) + (", ..." if len(data.too_small) > 3 else "")
        rows.insert(2, ["left out", f"{len(data.too_small)} {images} smaller than a patch: {shown}"])
    for evaluation in data.validation:
        text = f"{evaluation.name}: {evaluation.pairs.describe()}; LR by {evaluation.pairs.made_by}"
        rows.append(["validate", text])
    out.print(output.grid([[f"    [dim]{label}[/dim]", output.clean(text)] for label, text in rows], ["", ""]))
