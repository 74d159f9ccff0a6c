"""Find every mistake of a recipe, open its data and draw one batch. Needs no GPU and trains nothing.

What is left to `srkit run`, which looks at it before its first step: the pixels of images beyond the first batch.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.cli import error_text, output, print_traceback
from srkit.cli.overrides import add_overrides
from srkit.errors import SrkitError, UsageError
from srkit.plugin.discovery import discover
from srkit.plugin.part import as_tree
from srkit.recipe.packaged import find_recipe
from srkit.reports.texts import toml_value

if TYPE_CHECKING:
    from srkit.engine.builder import Builder
    from srkit.engine.data.batches import Batch
    from srkit.engine.data.opening import OpenedData
    from srkit.engine.running.stages import Stage
    from srkit.recipe.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="a file, or the name of a packaged recipe")
    add_overrides(parser)
    parser.add_argument("--out", metavar="DIR", help="the run directory that `srkit run` would be given")
    parser.add_argument("--restart", action="store_true", help="look at what `srkit run --restart` would do")


def main(arguments: argparse.Namespace) -> int:
    """Check each recipe; the exit code is that of the worst."""
    from srkit.engine.builder import Builder

    registry = discover(arguments.plugins, arguments.ambient)
    code = 0
    for name in arguments.recipes:
        try:
            _check(name, Builder(registry), arguments.overrides, arguments.out, restart=arguments.restart)
        except SrkitError as error:
            if arguments.traceback:
                print_traceback(error)
            # The others begin with a file's name, which editors look for.
            print(error_text(error, "srkit check" if isinstance(error, UsageError) else ""), file=sys.stderr)
            code = max(code, error.exit_code)
    return code


def _check(name: str, builder: Builder, overrides: list[str], out: str | None, *, restart: bool) -> None:
    from srkit.engine.running.stages import load_stages, rehearse_start

    path = find_recipe(name)
    directory = Path("runs") / path.stem if out is None else Path(out)
    stages = load_stages(path, builder, directory, overrides=overrides, restart=restart)
    another = _another(stages[-1], strict=out is not None)
    if another:  # what a new run would do is looked at, since that is what will be asked for
        stages = load_stages(path, builder, directory, overrides=overrides, restart=True)
    rows = {stage.path: _rows(stage) for stage in stages if stage.state != "finished" or stage is stages[-1]}
    for before, stage in itertools.pairwise(stages):
        taken = rehearse_start(stage, before).line(before.home.best)
        rows[stage.path].append(["start", taken.replace("taken", "takes", 1)])
    screen = output.console()
    says = {
        "new": "not begun; `srkit run` trains it first, in",
        "unfinished": "begun; `srkit run` continues it first, in",
        "finished": "finished; its best weights are used, in",
    }
    for stage in stages:
        title = f"[green]ok[/green]  [bold]{output.clean(stage.recipe.title)}[/bold]"
        screen.print(f"{title}  [dim]{output.clean(stage.path)}[/dim]", soft_wrap=True)
        found = rows.get(stage.path, [])
        if stage is not stages[-1]:
            found.insert(0, ["state", f"{says[stage.state]} {stage.home.path}"])
        elif another:
            found.insert(0, ["state", another])
        elif stage.state != "new":
            does = "begun; `srkit run` continues it, in" if stage.state == "unfinished" else "finished, in"
            found.insert(0, ["state", f"{does} {stage.home.path}"])
        table = [[f"    [dim]{label}[/dim]", output.clean(text)] for label, text in found]
        screen.print(output.grid(table, ["", ""]))


def _another(stage: Stage, *, strict: bool) -> str:
    """Return what to say of a run of another recipe in a stage's directory, or nothing.

    With `strict` it is an error; otherwise a line, since --out may be meant.
    """
    from srkit.engine.data.opening import open_data

    if stage.state == "new":
        return ""
    try:
        data = open_data(stage.loaded)
        stage.home.refuse_another(stage.recipe, data.fingerprints(), images=data.images())
    except UsageError as error:
        if strict:
            raise
        keys = "; ".join(line.strip() for line in str(error).splitlines() if line.startswith("  "))
        return f"{stage.home.path} holds another run ({keys}): `srkit run` needs --out DIR or --restart"
    return ""


def _rows(stage: Stage) -> list[list[str]]:
    """Look at all of a stage that can be looked at without training; return what there is to say, by labels."""
    import torch

    from srkit.engine import memory
    from srkit.engine.device import pick_device
    from srkit.engine.running.run import inspect, inspect_state
    from srkit.engine.running.session import LESS
    from srkit.engine.weights.starting import started

    data = inspect(stage.loaded, torch.device("cpu"))
    is_new = stage.state == "new"
    starts = [started(stage.loaded).line] if is_new else []
    with memory.reported("for what it starts from", LESS):
        starts += inspect_state(stage.loaded, stage.home, is_new=is_new)
    with memory.reported("for a batch", LESS):
        batch = _first_batch(stage, data)

    recipe = stage.recipe
    settings = ", ".join(f"{key} {toml_value(value)}" for key, value in as_tree(recipe.architecture.settings).items())
    epochs = recipe.train.steps * recipe.data.batch / len(data.usable)
    rows = [
        ["network", f"{recipe.architecture.type} x{recipe.scale}{'; ' if settings else ''}{settings}"],
        ["data", f"{data.training.describe()}; LR by {data.training.made_by}"],
        ["batch", f"{len(batch.lr)} samples, {_sizes(recipe, batch)}"],
        [
            "training",
            f"{recipe.train.steps:,} steps, {epochs:,.1f} epochs, {recipe.optimizer.type}, {recipe.schedule.type}",
        ],
    ]
    if data.too_small:
        images = "image" if len(data.too_small) == 1 else "images"
        shown = ", ".join(data.too_small[:3]) + (", ..." if len(data.too_small) > 3 else "")
        rows.insert(2, ["left out", f"{len(data.too_small)} {images} smaller than a patch: {shown}"])
    rows += [["note", note] for note in data.notes]
    for evaluation in data.validation:
        text = f"{evaluation.name}: {evaluation.pairs.describe()}; LR by {evaluation.pairs.made_by}"
        rows.append(["validate", text])
    try:
        pick_device(recipe.train.device)
    except UsageError as error:  # it may be checked elsewhere than it is trained
        rows.append(["note", str(error)])
    rows += [["start", line.replace("taken", "takes", 1)] for line in starts if line]
    return rows


def _first_batch(stage: Stage, data: OpenedData) -> Batch:
    """Return one batch, and so raise what decoding, pairing, degradation or augmentation of its images raises."""
    import torch

    from srkit.engine.data.batches import Batches
    from srkit.engine.data.opening import make_plan
    from srkit.engine.data.pools import make_pool

    cpu = torch.device("cpu")
    first = data.usable[: stage.recipe.data.batch]
    pool = make_pool(data.training, first, cache=stage.recipe.data.cache, threads=1, device=cpu)
    batches = Batches(pool, make_plan(stage.loaded), cpu)
    try:
        return batches[0]
    finally:
        batches.close()


def _sizes(recipe: Recipe, batch: Batch) -> str:
    """Return the sizes of a batch's samples, "LR 24x24, HR 48x48"."""
    from srkit.engine.networks.calling import scaled

    sizes = f"LR {batch.lr.shape[3]}x{batch.lr.shape[2]}, HR {batch.size[1]}x{batch.size[0]}"
    if recipe.data.scales is not None:
        least, most = (scaled(recipe.data.patch, scale) for scale in recipe.data.scales)
        sizes = f"LR {batch.lr.shape[3]}x{batch.lr.shape[2]}, HR {least}x{least} to {most}x{most}"
    return sizes if recipe.data.points is None else f"{sizes}, of which {recipe.data.points:,} points"
