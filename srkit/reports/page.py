"""A page on one run or several: scores, curves, pictures, recipe. One HTML file that loads nothing."""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import shlex
from collections.abc import Container, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from srkit.plugin.registry import Registry
from srkit.recipe import toml
from srkit.reports import plot, sweeps
from srkit.reports.curves import Curve, loss_curves
from srkit.reports.intervals import interval
from srkit.reports.runs import describe, missing, other_lengths
from srkit.reports.scores import Entry, Table, not_comparable, side_by_side
from srkit.reports.texts import caption, score_text, setting_text, signed_text
from srkit.runs import history
from srkit.runs.history import History, Numbers
from srkit.version import __version__

LATEST = Path("samples") / "latest"  # of a run directory: what its last validation made of its pictured images
PICTURES = "pictures.json"
SHOWN = ("bicubic", "network", "HR")
NOTHING_SET = re.compile(r"""\[[^\[\]\n]+\]\n(\s*\w+ = (""|\[\]|\{\})\n)*\s*""")  # a table of a recipe
MOST_BYTES = 8 * 2**20  # of a picture's file; larger ones are no pictures of srkit's


@attrs.frozen
class Shown:
    """An image of a validation set: as bicubic, each run's network and HR have it, by what it is, as data URIs."""

    data: str
    name: str
    steps: dict[str, int]  # by run
    images: dict[str, str]

    @property
    def when(self) -> str:
        """Which steps they are of: "step 6", or "one at step 6, other at step 2"."""
        steps = set(self.steps.values())
        if len(steps) == 1:
            return f"step {steps.pop()}"
        return ", ".join(f"{run} at step {step}" for run, step in self.steps.items())


def page(
    runs: Mapping[str, History], registry: Registry, *, sweep: Sequence[sweeps.Member] = (), title: str = ""
) -> str:
    """Return the page of runs, by their names, as HTML; of a sweep's, with its table."""
    tables = side_by_side(runs, registry)
    lengths = {name: other_lengths(run) for name, run in runs.items()}
    said = {key for member in sweep for key in member.settings} | ({"seed"} if sweep else set())  # by its table
    marks = sorted({step for found in lengths.values() for step, _, _ in found})
    html: str = _template().render(
        title=title or _title(runs),
        sweep=_sweep(sweep, runs, registry),
        version=__version__,
        runs=[_run(name, run, registry) for name, run in runs.items()],
        differences=_differences(runs, said),
        tables=[_table(table, not_comparable(tables, i), runs) for i, table in enumerate(tables)],
        pictures=_pictures(runs),
        plots=list(_plots(runs, tables, registry, marks)),
        lengths=lengths,
        colors=dict(zip(runs, plot.colors(len(runs)), strict=True)),
    )
    return html


@functools.cache  # a run writes its page at each validation: half of the time went into the template
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(resources.files("srkit.reports").joinpath("page.html").read_text("utf-8"))


def _sweep(members: Sequence[sweeps.Member], runs: Mapping[str, History], registry: Registry) -> dict[str, Any] | None:
    """Return what a page says of a sweep: a table for each set, and the runs that are not finished."""
    if not members:
        return None
    tables = []
    for table in sweeps.document(members, runs, registry)["tables"]:
        head, rows, what = sweeps.cells(table)
        best = [("best good" if row["above_bicubic"] else "best") if row["best"] else "" for row in table["rows"]]
        numbers = len(head) - len(table["metrics"]) - 1
        name = f"{table['data']} x{table['scale']}"
        tables.append({"name": name, "head": head, "rows": rows, "best": best, "numbers": numbers, "what": what})
    return {"tables": tables, "unfinished": sweeps.unfinished(members)}


def _title(runs: Mapping[str, History]) -> str:
    if len(runs) > 1:
        return ", ".join(runs)
    ((name, run),) = runs.items()
    title = run.recipe.get("title")
    return title if isinstance(title, str) and title else name


def _run(name: str, run: History, registry: Registry) -> dict[str, Any]:
    """Return what a page says of a run: what it is, what it was made with, its recipe, and commands to go on."""
    best, directory = run.path / "best.safetensors", shlex.quote(str(run.path))
    model = shlex.quote(str(best)) if best.exists() else directory
    pictures = shlex.quote(f"out/{run.path.resolve().name}/")  # of this network alone
    found = describe(name, run)
    commands = [
        (f"srkit run {shlex.quote(str(run.path / 'recipe.toml'))} --out {directory}", "go on where it stopped"),
        (f"srkit upscale {model} photo.jpg -o {pictures}", "enlarge a photograph"),
        (f"srkit eval {model} --data Set5=DIR", "score it on a folder of images"),
    ]
    environment = {key: value for key, value in toml.flat(run.environment).items() if not isinstance(value, dict)}
    return {
        **found,
        "state": found["outcome"] or "not ended",
        "started": run.facts.get("started", ""),
        "device": run.facts.get("device", ""),
        "images": run.facts.get("images"),
        "environment": {key: setting_text(value) for key, value in environment.items()},
        "recipe": _recipe(run),
        "commands": commands if found["outcome"] != "finished" else commands[1:],
        "missing": missing(run, registry),
    }


def _recipe(run: History) -> str:
    """Return a run's recipe without the tables in which nothing is set, as [start] of a run from the beginning."""
    try:
        text = (run.path / history.RECIPE).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    parts = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return "".join(part for part in parts if not NOTHING_SET.fullmatch(part))


def _differences(runs: Mapping[str, History], said: Container[str]) -> list[tuple[str, str, list[str]]]:
    """Return what differs between runs, without what is `said`: the key, whose setting it is, a value for each run."""
    recipes = [d for d in history.recipe_differences([run.recipe for run in runs.values()]) if d.key not in said]
    environments = history.environment_differences([run.environment for run in runs.values()])
    rows = [(d.key, d.of, [setting_text(value) for value in d.values]) for d in recipes]
    return rows + [(f"environment.{d.key}", d.of, [setting_text(value) for value in d.values]) for d in environments]


def _table(table: Table, apart: Sequence[Mapping[str, Any]], runs: Mapping[str, History]) -> dict[str, Any]:
    rows = [row for entry in table.entries for row in _rows(table, entry)]
    if table.bicubic:
        rows.append(
            {"run": "bicubic", "step": "", "scores": [(_score(m, table.bicubic), "", "", "") for m in table.metrics]}
        )
    return {
        "name": table.name,
        "metrics": table.metrics,
        "rows": rows,
        "protocol": caption(table.protocol),
        "reference": table.reference,
        "apart": [", ".join(other["differ_in"]) for other in apart],
        "columns": [
            metric if len(table.entries) == 1 else f"{entry.run}: {metric}"
            for entry in table.entries
            for metric in table.metrics
        ],
        "images": _by_image(table),
    }


def _rows(table: Table, entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield a row for the best and the last scores of a run; each score with its difference and what that is worth."""
    same = entry.steps.get("best") == entry.steps["last"]
    for when in ("best", "last"):
        if when not in entry.steps or (when == "last" and same):
            continue
        differences, mean = table.differences(entry, when), entry.mean(when)
        cells = []
        for metric in table.metrics:
            difference = differences.get(metric)
            text = "" if difference is None else signed_text(metric, difference)
            bounds, worth = _interval(table, entry, when, metric), _worth(table, metric, difference)
            cells.append((_score(metric, mean), text, bounds, worth))
        label = "best and last" if same else when
        yield {"run": entry.run, "step": f"{entry.steps[when]} ({label})", "scores": cells}


def _worth(table: Table, metric: str, difference: float | None) -> str:
    better = table.better(metric)
    if difference is None or better is None or float(score_text(metric, abs(difference))) == 0:
        return ""
    return "better" if (difference > 0) == better else "worse"


def _interval(table: Table, entry: Entry, when: str, metric: str) -> str:
    """Return the 95 % interval of a run's difference to the reference, "[+0.1, +0.3]", where there is one."""
    own = entry.points[entry.steps[when]].images
    if len(table.entries) == 1:
        other = entry.points[entry.steps[when]].bicubic_images
    else:
        first = table.entries[0]
        other = {} if entry is first or when not in first.steps else first.points[first.steps[when]].images
    pairs = [(name, own[name].get(metric), other[name].get(metric)) for name in own if name in other]
    differences = {name: a - b for name, a, b in pairs if a is not None and b is not None and math.inf not in (a, b)}
    bounds = interval(differences)
    return "" if bounds is None else f"[{', '.join(signed_text(metric, bound) for bound in bounds)}]"


def _by_image(table: Table) -> list[tuple[str, list[str]]]:
    """Return the last scores of each image: its name, and of each run a text for each metric."""
    names = dict.fromkeys(name for entry in table.entries for name in entry.last.images if name)
    return [
        (
            name,
            [_score(metric, entry.last.images.get(name, {})) for entry in table.entries for metric in table.metrics],
        )
        for name in names
    ]


def _score(metric: str, scores: Numbers) -> str:
    if metric not in scores:
        return "-"
    value = scores[metric]
    if value is None or math.isnan(value):
        return "not finite"
    return "exact" if math.isinf(value) else score_text(metric, value)


def _plots(
    runs: Mapping[str, History], tables: Sequence[Table], registry: Registry, marks: Sequence[int]
) -> Iterator[dict[str, str]]:
    """Yield the curves as SVG: each metric with bicubic's line, the losses, the learning rate."""
    svg = functools.partial(plot.svg, marks=marks)
    colors = dict(zip(runs, plot.colors(len(runs)), strict=True))
    for table in tables:
        for metric in table.metrics:
            lines = {
                entry.run: {step: scores.mean.get(metric) for step, scores in entry.points.items()}
                for entry in table.entries
            }
            level = table.bicubic.get(metric)
            curve = Curve(table.name, metric, lines, "")
            yield {"title": f"{table.name} {metric}", "svg": svg(curve, colors, level=level)}
    for curve in loss_curves(runs, registry):
        yield {"title": f"loss: {curve.value}", "svg": svg(curve, colors)}
    rates = {
        name: {step: values["learning_rate"] for step, values in run.logged.items() if "learning_rate" in values}
        for name, run in runs.items()
    }
    rates = {name: points for name, points in rates.items() if points}
    if rates:
        yield {"title": "learning rate", "svg": svg(Curve("learning rate", "", rates, ""), colors)}


def _pictures(runs: Mapping[str, History]) -> list[Shown]:
    """Return the images of the runs' last validations, those that are the same part of one image together."""
    found: dict[tuple[str, str, str], Shown] = {}
    for run, history_ in runs.items():
        network = "network" if len(runs) == 1 else run
        for data, name, step, images in _latest(history_.path):
            shown = found.setdefault((data, name, images["HR"]), Shown(data, name, {}, {}))
            shown.steps[run] = step
            shown.images.setdefault("bicubic", images["bicubic"])
            shown.images[network] = images["network"]
    for (_, _, hr), shown in found.items():
        if not shown.images["bicubic"]:
            del shown.images["bicubic"]
        shown.images["HR"] = hr
    return list(found.values())


def _latest(directory: Path) -> Iterator[tuple[str, str, int, dict[str, str]]]:
    """Yield a run's pictures: set, image, step, and the images by what they are; what srkit does not write is none."""
    folder = directory / LATEST
    try:
        records = json.loads((folder / PICTURES).read_bytes())
        for record in records["pictures"]:
            images = {kind: _data_uri(folder, str(record["files"].get(kind, ""))) for kind in SHOWN}
            if images["network"] and images["HR"]:
                yield str(record["data"]), str(record["name"]), int(records["step"]), images
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def _data_uri(folder: Path, name: str) -> str:
    """Return a picture's file within the page; "" where it is no WebP file of that folder."""
    path = folder / name
    if not name or Path(name).name != name or path.is_symlink() or not path.is_file():
        return ""
    if path.stat().st_size > MOST_BYTES:
        return ""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return ""
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
