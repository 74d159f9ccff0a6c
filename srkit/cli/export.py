"""Write a network for another runtime, and compare what that makes of it with torch before the file is kept.

MODEL is a file that srkit wrote, a run directory, or other weights with --architecture, --scale and --set.
The file is written in a process of its own, by each of its exporter's ways until its SR is that of torch, at three
sizes, one of them odd; where none is for LR of any size, one for a single size is tried. What is wrong is not kept.
`srkit upscale` and `srkit eval` take the file as they take MODEL.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from srkit.cli import models, output, printable
from srkit.errors import ComponentError, UsageError, nearest
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Entry, Registry
from srkit.plugin.settings import named

if TYPE_CHECKING:
    from srkit.engine.exporting.export import Outcome, Trial
    from srkit.engine.weights.model import Model

LEAST = 48  # of a single size's sides: larger images go in tiles that overlap by 16 pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="best.safetensors, a run directory, other weights")
    parser.add_argument(
        "--to", metavar="NAME", help="the format, which is required: onnx for example; `srkit list exporter` has all"
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="the file to write (beside MODEL, by its name)")
    parser.add_argument("--half", action="store_true", help="weights of 16 bits; images stay float32")
    parser.add_argument(
        "--size", type=_size, metavar="HxW", help="height and width of LR, where the file is to take no other size"
    )
    models.add_arguments(parser)


def _size(text: str) -> tuple[int, int]:
    """Return (height, width) of "256x384"."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write height and width of LR, 256x384")
    height, width = int(found[1]), int(found[2])
    if min(height, width) < LEAST:
        raise argparse.ArgumentTypeError(f"a file for one size has sides of at least {LEAST} pixels, not {text}")
    return height, width


def main(arguments: argparse.Namespace) -> int:
    """Export a network."""
    from srkit.engine.builder import Builder
    from srkit.engine.exporting.export import Words, export, refuse_place, refuse_present

    registry = discover(arguments.plugins, arguments.ambient)
    entry = _exporter(arguments, registry)
    model = models.read(arguments.model, arguments, registry)
    target = _target(arguments.out, entry, model)
    refuse_present(target)
    refuse_place(target)

    def say(trial: Trial) -> None:
        print(printable(f"{trial.name or 'export'}: {trial.found.reason}"), file=sys.stderr)
        if arguments.traceback:
            print("\n".join(map(printable, trial.log.splitlines())), file=sys.stderr)

    words = Words(arguments.half, arguments.size, arguments.plugins, arguments.ambient)
    with output.console(stderr=True).status(f"exporting to {entry.component.name}"):
        outcome = export(model, entry, target, words, Builder(registry), say)
    _report(model, entry, target, outcome, arguments)
    return 0


def _exporter(arguments: argparse.Namespace, registry: Registry) -> Entry:
    """Return the exporter that is meant. Raises ComponentError where it cannot be used, UsageError for --half of one
    that has none, and where none is named."""
    entry = _found(arguments.to, registry)
    target = entry.component.load()
    if arguments.half and not named(target, KINDS["exporter"].given):
        raise UsageError(f"exporter '{arguments.to}' has no weights of 16 bits: leave out --half")
    return entry


def _found(name: str | None, registry: Registry) -> Entry:
    """Return the exporter of a name; of those that are not installed it is told what to install."""
    entries = registry.of_kind("exporter")
    names = list(dict.fromkeys(entry.component.name for entry in entries))
    if name is None:
        told = f"--to NAME says the format: {', '.join(names)}" if names else "--to NAME says the format"
        raise UsageError(f"{told}; `srkit list exporter` says what each is for")
    try:
        return registry.find("exporter", name)
    except ComponentError as error:
        if registry.by_name(name):  # of two plugins, or of another kind
            raise
        near = nearest(name, names)
        installed = [entry.component.name for entry in entries if not entry.component.missing]
        # What is missing ends with the command that installs it: "it needs ncnn, pnnx: pip install 'srkit[ncnn]'".
        lacking = [
            f"{entry.component.name} ({entry.component.missing.rpartition(': ')[2]})"
            for entry in entries
            if entry.component.missing
        ]
        text = f"unknown exporter '{name}'" + (f"; did you mean '{near}'?" if near else "")
        parts = [f"installed: {', '.join(installed) or 'none'}"]
        parts += [f"not installed: {', '.join(lacking)}"] if lacking else []
        raise ComponentError(f"{text} ({'; '.join(parts)}){registry.failed(name)}") from error


def _target(out: str | None, entry: Entry, model: Model) -> Path:
    name, suffix = entry.component.name, entry.component.facts.get("suffix", "")
    if out is None:
        # The formats of two files have a .bin, each another one.
        middle = "" if suffix == f".{name}" else f".{name}"
        return model.reading.path.with_name(f"{model.reading.path.stem}{middle}{suffix}")
    target = Path(out)
    if target.suffix != suffix:
        raise UsageError(f"files of exporter '{name}' end with {suffix}, and {target} does not")
    return target


def _report(model: Model, entry: Entry, target: Path, outcome: Outcome, arguments: argparse.Namespace) -> None:
    out, trial, found = output.console(), outcome.trial, outcome.trial.found
    bytes_of = sum(_bytes(path) for path in outcome.paths)
    largest = entry.component.facts.get("largest")
    sides = f"up to {largest}x{largest}" if largest else "of any size"
    takes = f"LR of {trial.size[0]}x{trial.size[1]} alone" if trial.size else f"LR {sides}"
    out.print(
        f"[green]ok[/green]  [bold]{output.clean(target)}[/bold]  "
        f"{output.clean(model.architecture)} x{model.scale}, {bytes_of / 2**20:,.1f} MiB, {takes}",
        soft_wrap=True,
    )
    lines = [("written", f"in {found.seconds:.1f} s{f' by the way {trial.way}' if trial.way else ''}")]
    if found.unchecked:
        lines.append(("compared", f"with nothing: {found.unchecked}; look at what it makes before you ship it"))
    else:
        first, *_ = found.differences
        at = ", ".join(f"{difference:.1e} at {size}" for size, difference in found.differences.items())
        times = f"{found.latency * 1e3:,.1f} ms for {first}; torch takes {found.latency_of_torch * 1e3:,.1f} ms"
        lines += [("compared", f"with torch, values of 0..1: {at}"), ("latency", times)]
    beside = [path.name for path in outcome.paths if path.name != target.name]
    if beside:
        lines.append(("beside it", ", ".join(beside)))
    if not found.unchecked:
        words = [word for plugin in arguments.plugins for word in ("-p", plugin)]
        upscale = ["srkit", "upscale", *words, str(target), "photo.jpg", "-o", f"out/{target.stem}/"]
        lines.append(("next", shlex.join(upscale)))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        out.print(f"    {name:<{width}}  {output.clean(text)}", soft_wrap=True)


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size
