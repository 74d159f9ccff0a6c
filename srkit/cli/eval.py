"""Score networks on images, beside bicubic: one table a set and protocol.

With several models, the differences to the first one have 95 % intervals (paired bootstrap over the images). Without a
model, but with --scale N, bicubic alone is scored.

A MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set; or a file
of `srkit export`, which its own runtime computes (model.onnx).
"""

from __future__ import annotations

import argparse
import math
import sys
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit import api
from srkit.cli import enlarging, models, output, printable, tables
from srkit.cli.datasets import inline_table, is_table, make_dataset
from srkit.errors import UsageError
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry
from srkit.plugin.settings import read_settings
from srkit.protocol import METHODS, Ensemble, Forward

if TYPE_CHECKING:
    from srkit.engine.weights.model import Model

FAR = 3.0  # dB below bicubic: no network that was trained for these images is
RANGE = "img_range"  # the setting of networks that may work in 0..255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help="best.safetensors, a run directory, other weights")
    parser.add_argument(
        "--data",
        metavar="[NAME=]PATH",
        action="append",
        default=[],
        help="a folder of images, with LR beside HR or not; may be given several times",
    )
    parser.add_argument(
        "--lr",
        metavar="FOLDER",
        help="the LR images of the folder of --data, which holds HR; may contain {scale}; without --data there is no "
        "HR, and every --metric looks at SR alone",
    )
    parser.add_argument(
        "--dataset",
        dest="datasets",
        metavar="[NAME=]TYPE[:PATH]",
        action="append",
        default=[],
        help="images of any dataset that `srkit list dataset` names, h5:photos.h5, or a table as in a recipe, "
        """'{type = "leaves", count = 4}'; may be given several times""",
    )
    parser.add_argument(
        "--images",
        metavar="NAME=FOLDER",
        action="append",
        default=[],
        help="SR images that any program has made, called as HR or with more behind (baby_x2_SR.png), as a row NAME; "
        "may be given several times",
    )
    models.add_arguments(parser)
    parser.add_argument(
        "--protocol",
        dest="protocols",
        metavar="NAME",
        action="append",
        default=[],
        help=f"{' or '.join(METHODS)}; may be given several times, for a table each",
    )
    parser.add_argument(
        "--forward",
        choices=typing.get_args(Forward),
        default="whole",
        help="what is scored: the output for whole images (default), for quarters as EDSR takes them (chop), or for "
        "overlapping tiles",
    )
    enlarging.add_arguments(parser)
    parser.add_argument(
        "--ensemble",
        choices=typing.get_args(Ensemble),
        default="none",
        help="none (default), x8: the mean over the eight symmetries, median: their median",
    )
    parser.add_argument(
        "--metric",
        dest="metrics",
        metavar="NAME",
        action="append",
        default=[],
        help="a metric (psnr_y and ssim_y where none is given), or a table as in a recipe, "
        """'{type = "lpips", weights = "FILE"}'; may be given several times""",
    )
    parser.add_argument("--table", choices=[*tables.FORMATS, "json"], help="print the tables in this form")
    parser.add_argument("--json", action="store_true", help="print one JSON document: --table json")


def main(arguments: argparse.Namespace) -> int:
    """Evaluate each model on each set."""
    arguments.json = arguments.json or arguments.table == "json"
    from srkit.engine.device import pick_device

    registry = discover(arguments.plugins, arguments.ambient)
    sets = _sets(arguments, registry)
    finished = _finished(arguments.images)
    enlarging.say_too_little(arguments)
    found = [models.read_network(path, arguments, registry) for path in arguments.models]
    sets = {
        name: registry.create("dataset", "folder", path=given) if isinstance(given, str) else given
        for name, given in sets.items()
    }
    if arguments.forward == "tiles":
        for name, model in {model.architecture: model for model in found}.items():
            if model.facts.get("tileable") is False:
                text = f"architecture '{name}' states that tiles do not make up its output: these are scores of tiles"
                print(printable(text), file=sys.stderr)
    scales = {model.scale for model in found} or {arguments.scale}
    if len(scales) > 1:
        raise UsageError(f"the models have scales {', '.join(map(str, sorted(scales)))}: one at a time")
    (scale,) = scales
    if scale is None:
        raise UsageError("no MODEL says the scale: give one, or --scale N to score bicubic")
    device = pick_device(arguments.device, "--device")
    by_name = dict(zip(_names(arguments.models), found, strict=True))
    networks = {name: model.network.to(device) for name, model in by_name.items()}
    found_tables = [
        table
        for protocol in arguments.protocols or ["paper"]
        for table in api.evaluate(
            networks,
            sets,
            scale=scale,
            images=finished,
            metrics=[_metric(text) for text in arguments.metrics] or ("psnr_y", "ssim_y"),
            reference=not _without_hr(arguments),
            protocol=protocol,
            forward=arguments.forward,
            ensemble=arguments.ensemble,
            tile=arguments.tile,
            memory=arguments.memory,
            precision=arguments.precision,
            registry=registry,
        )
    ]
    for line in _left_out(sets):
        print(printable(line), file=sys.stderr)
    for line in dict.fromkeys(_hints(found_tables, by_name)):
        print(printable(line), file=sys.stderr)
    spoilt = list(dict.fromkeys(_spoilt(found_tables)))
    for line in spoilt:
        print(printable(line), file=sys.stderr)
    if arguments.json:
        output.print_json({"schema": 1, "tables": found_tables}, arguments.stdout)
    elif arguments.table is not None:
        print(tables.FORMATS[arguments.table](found_tables), file=arguments.stdout)
    else:
        output.print_tables(found_tables)
    return 1 if spoilt else 0


def _hints(found: Sequence[dict[str, Any]], by_name: Mapping[str, Model]) -> typing.Iterator[str]:
    """Yield a line on each network that is worse than bicubic by more than training explains.

    That is any distance for weights from elsewhere, which may want another range of values, and FAR for srkit's own.
    """
    from srkit.reports.intervals import difference

    for table in found:
        baseline = next(row for row in table["rows"] if row["model"] == "bicubic")
        for row in table["rows"]:
            model = by_name.get(row["model"])
            gains = [difference(row, baseline, metric) for metric in row["mean"] if "psnr" in metric]
            gain = min((gain for gain in gains if gain is not None and math.isfinite(gain)), default=0.0)
            if model is None or gain >= (0.0 if _is_foreign(model) else -FAR):
                continue
            far = "far " if gain < -FAR else ""
            yield f"{row['model']} is {far}below bicubic: {_range_hint(model)}"


def _is_foreign(model: Model) -> bool:
    """Say whether weights come from elsewhere than a run of srkit."""
    return "recipe_hash" not in model.metadata and (not model.metadata or "converted_from" in model.metadata)


def _range_hint(model: Model) -> str:
    """Return what the reason usually is."""
    is_exported = not model.reading.taken.taken  # what another runtime computes has no settings any more
    setting = None if is_exported else read_settings(model.component.load(), KINDS["architecture"].given).get(RANGE)
    now = None if setting is None else model.settings.get(RANGE, setting.default)
    if not isinstance(now, int | float) or not _is_foreign(model):
        return "is it trained, and does it take values of 0..1?"
    other = 1 if now == 255 else 255
    return f"does it take values of 0..{now:g}? --set {RANGE}={other} gives it those of 0..{other}"


def _spoilt(found: Sequence[dict[str, Any]]) -> typing.Iterator[str]:
    """Yield a line on each network whose scores are NaN where bicubic's are not."""
    for table in found:
        baseline = next(row["images"] for row in table["rows"] if row["model"] == "bicubic")
        for row in table["rows"]:
            names = [name for name, scores in row["images"].items() if _is_nan(scores, baseline[name])]
            if names:
                where = f"on {len(names)} of {len(row['images'])} images ({output.named(names)})"
                reason = "its output is not finite: its weights are spoilt, or too large"
                yield f"{row['model']} has no scores {where} of {table['data']}: {reason}"


def _is_nan(scores: Mapping[str, float], bicubic: Mapping[str, float]) -> bool:
    return any(math.isnan(value) and not math.isnan(bicubic[metric]) for metric, value in scores.items())


def _metric(text: str) -> str | dict[str, Any]:
    """Return a metric of --metric: its name, or its table."""
    if not is_table(text):
        return text
    return inline_table(text, f"--metric {text}", """{type = "lpips", weights = "FILE"}""")


def _without_hr(arguments: argparse.Namespace) -> bool:
    """Say whether there are LR images alone."""
    return arguments.lr is not None and not arguments.data and not arguments.datasets


def _sets(arguments: argparse.Namespace, registry: Registry) -> dict[str, Any]:
    """Return what is scored on by name: the path of a folder, or a dataset."""
    sets: dict[str, Any] = {}
    for text in arguments.data:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():  # a path may hold "=", too
            name, path = Path(text).resolve().name, text
        if not name:
            raise UsageError(f"--data {text}: there is no name before '='; write NAME=PATH, or the path alone")
        if name in sets:
            raise UsageError(f"two folders are named '{name}'; give them names, --data NAME=PATH")
        sets[name] = path
        if arguments.lr is not None:
            sets[name] = registry.create("dataset", "folder", hr=path, lr=arguments.lr)
    if _without_hr(arguments):
        if "{scale}" in arguments.lr and arguments.scale is None:
            raise UsageError("--lr with {scale} needs --scale where there is no --data")
        folder = arguments.lr.replace("{scale}", f"{arguments.scale:g}" if arguments.scale is not None else "")
        return {Path(folder).resolve().name: folder}
    if arguments.lr is not None and len(arguments.data) != 1:
        raise UsageError("--lr names the LR images of the folder of one --data; give exactly one")
    for text in arguments.datasets:
        name, dataset = make_dataset(text, registry, "--dataset ")
        if name in sets:
            raise UsageError(f"two sets are named '{name}'; give them names, --dataset NAME=TYPE:PATH")
        sets[name] = dataset
    if not sets:
        text = "there is nothing to score on: give --data FOLDER, or --dataset TYPE:PATH"
        raise UsageError(f"{text}; for metrics that look at SR alone, --lr FOLDER")
    return sets


def _left_out(sets: Mapping[str, Any]) -> typing.Iterator[str]:
    """Yield what each set says of itself where something beside its images was left out."""
    for dataset in sets.values():
        text = getattr(dataset, "describe", lambda: "")()
        if isinstance(text, str) and "; left out: " in text:
            yield text


def _finished(given: Collection[str]) -> dict[str, str]:
    """Return the folders of --images by the names of their rows."""
    folders: dict[str, str] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--images {text}: write NAME=FOLDER; NAME is the row's")
        if name in folders:
            raise UsageError(f"two --images are named '{name}'")
        folders[name] = folder
    return folders


def _names(paths: Sequence[str]) -> list[str]:
    """Return a row's name for each model: the run's or the file's, or the path where that would be no name."""
    names = []
    for path in map(Path, paths):
        is_run = path.is_dir() or path.name in ("best.safetensors", "last.safetensors")
        names.append((path if path.is_dir() else path.resolve().parent).resolve().name if is_run else path.stem)
    return [
        path if names.count(name) > 1 or name == "bicubic" else name for name, path in zip(names, paths, strict=True)
    ]
