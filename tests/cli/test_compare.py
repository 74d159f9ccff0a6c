"""Runs side by side: two that were trained, and others whose files are written by hand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
import tomli_w
import torch
from PIL import Image

from srkit.cli import main
from srkit.engine.weights.model import read_metadata, save_model
from srkit.recipe.toml import flat
from srkit.reports.curves import BLOCKS, Curve, columns, draw
from tests.cli.test_main import HEAVY, loaded_by
from tests.conftest import TINY, photograph, plugin

PROTOCOL = {
    "scale": 2,
    "color": {"psnr_y": "Y", "ssim_y": "Y"},
    "border": {"psnr_y": 2, "ssim_y": 2},
    "rounding": "8 bits",
    "fit": "crop",
    "lr": "files",
    "forward": "whole",
    "ensemble": "none",
    "images": 5,
    "fingerprint": "5e75",
}
CAPTION = (
    "5 images; psnr_y on Y, ssim_y on Y; SR rounded to 8 bits; border 2 cut; HR cropped to a multiple of scale; "
    "LR from files; forward whole; data 5e75"
)
RECIPE = {
    "title": "By hand",
    "scale": 2,
    "loss": [{"type": "l1", "weight": 1.0}],
    "validate": [{"name": "Set5", "dataset": {"type": "folder", "path": "Set5"}}],
    "metric": [{"type": "psnr_y"}, {"type": "ssim_y"}],
    "architecture": {"type": "a2n", "features": 40},
    "data": {"patch": 48},
    "train": {"steps": 400},
    "optimizer": {"type": "adam", "lr": 0.001},
}
ENVIRONMENT = {"srkit": "0.1.0", "torch": "2.13.0", "device": "cpu", "threads": 1, "plugins": {"srkit": "0.1.0"}}
SCORES = {100: (30.0, 0.91), 200: (32.0, 0.93), 400: (31.5, 0.92)}
LOSSES = {100: 0.5, 200: 0.1, 300: 0.06, 400: 0.04}


def scored(psnr, ssim, *, data="Set5", bicubic=(28.0, 0.9), **protocol):
    """Return a table as training tells it."""
    return {
        "data": data,
        "scale": protocol.get("scale", 2),
        "protocol": {**PROTOCOL, **protocol},
        "rows": [
            {"model": "a2n", "mean": {"psnr_y": psnr, "ssim_y": ssim}, "images": {}},
            {"model": "bicubic", "mean": dict(zip(("psnr_y", "ssim_y"), bicubic, strict=True)), "images": {}},
        ],
    }


def events(scores=SCORES, losses=LOSSES, *, outcome="finished", **protocol):
    """Return the events of a run: a validation may be the means of Set5, or its tables."""
    yield {"event": "run_started", "step": 0, "title": "", "steps": 400, "facts": {"parameters": 12_345}}
    for step in sorted({*scores, *losses}):
        if step in losses:
            yield {"event": "logged", "step": step, "loss": losses[step], "images_per_s": 100.0}
        if step in scores:
            tables = scores[step] if isinstance(scores[step], list) else [scored(*scores[step], **protocol)]
            yield {"event": "validated", "step": step, "tables": tables}
    if outcome:
        yield {"event": "run_ended", "step": max([0, *scores, *losses]), "outcome": outcome}


def write_run(name, told=None, *, environment=ENVIRONMENT, **overrides):
    """Write a run directory; overrides are tables of the recipe, or None for what it lacks."""
    path = Path(name)
    path.mkdir(parents=True)
    recipe = {key: value for key, value in {**RECIPE, **overrides}.items() if value is not None}
    (path / "recipe.toml").write_text(tomli_w.dumps(recipe))
    (path / "environment.json").write_text(json.dumps(environment))
    lines = [json.dumps(event) for event in (events() if told is None else told)]
    (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def compare(call):
    """Run `srkit compare ...` in an empty folder; it must have succeeded. Return the lines of stdout."""

    def run(*arguments):
        code, out, err = call("compare", *arguments)
        assert (code, err) == (0, "")
        return out.splitlines()

    return run


@pytest.fixture
def document(call):
    """Run `srkit compare --json ...` and return the document."""

    def run(*arguments):
        code, out, err = call("compare", "--json", *arguments)
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the runs of three recipes: `a`, `b` with another learning rate, and another network `c`."""
    home = tmp_path_factory.mktemp("trained")
    (home / "photos").mkdir()
    for i, (height, width) in enumerate([(48, 64), (40, 41)]):
        Image.fromarray(photograph(i, height, width)).save(home / "photos" / f"p{i}.png")
    (home / "tiny.toml").write_text(TINY)
    espcn = TINY[: TINY.index("[architecture]")] + '[architecture]\ntype = "espcn"\n\n' + TINY[TINY.index("[data]") :]
    (home / "espcn.toml").write_text(espcn)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["run", "tiny.toml", "--out", "a"]) == 0
        assert main(["run", "tiny.toml", "--out", "b", "--set", "optimizer.lr=1e-2", "--set", "train.steps=9"]) == 0
        assert main(["run", "espcn.toml", "--out", "c"]) == 0
    return home


# runs that were trained


def test_the_scores_are_those_that_training_wrote(trained, document):
    found = document(trained / "a", trained / "b", trained / "c")
    (table,) = found["tables"]
    assert [row["run"] for row in table["rows"]] == ["a", "b", "c"]
    for row in table["rows"]:
        lines = [json.loads(line) for line in (trained / row["run"] / "metrics.jsonl").read_text().splitlines()]
        means = {e["step"]: e["tables"][0]["rows"][0]["mean"] for e in lines if e["event"] == "validated"}
        assert row["last"]["mean"] == means[max(means)]
        assert row["best"]["mean"] == means[row["best"]["step"]]
    assert table["protocol"]["fingerprint"]


def test_the_best_step_is_that_of_the_weights_which_training_kept(trained, document):
    (table,) = document(trained / "a", trained / "b", trained / "c")["tables"]
    kept = {run: read_metadata(trained / run / "best.safetensors")["step"] for run in "abc"}
    assert {row["run"]: row["best"]["step"] for row in table["rows"]} == kept


def test_the_settings_that_differ_are_a_row_each(trained, compare):
    lines = compare(trained / "a", trained / "b", trained / "c")
    start = next(i for i, line in enumerate(lines) if line.startswith("differs"))
    assert [line.split() for line in lines[start : lines.index("", start)]] == [
        ["differs", "a", "b", "c"],
        ["architecture.type", '"a2n"', '"a2n"', '"espcn"'],
        ["train.steps", "6", "9", "6"],
        ["optimizer.lr", "0.001", "0.01", "0.001"],
    ]


def test_the_curves_hold_every_value(trained, document):
    curves = document(trained / "a", trained / "b")["curves"]
    assert [(curve["name"], curve["value"]) for curve in (*curves["scores"], *curves["loss"])] == [
        ("photos x2", "psnr_y"),
        ("loss", "l1"),
    ]
    assert [step for step, _ in curves["loss"][0]["runs"]["b"]] == [2, 4, 6, 8, 9]
    assert [step for step, _ in curves["scores"][0]["runs"]["a"]] == [3, 6]


def test_a_process_compares(trained, srkit_command):
    run = srkit_command("compare", trained / "a", trained / "c" / "best.safetensors")
    assert (run.returncode, run.stderr) == (0, "")
    assert [line.split()[:4] for line in run.stdout.splitlines()[:3]] == [
        ["run", "network", "step", "parameters"],
        ["a", "a2n", "x2", "finished"],
        ["c", "espcn", "x2", "finished"],
    ]


def test_nothing_heavy_is_imported(trained):
    assert [name for name in loaded_by("compare", str(trained / "a"), names=HEAVY) if name in HEAVY] == []


# the page


def test_the_page_of_two_runs(compare):
    write_run("one")
    better = {100: (30.0, 0.91), 200: (31.0, 0.92), 400: (33.0, 0.94)}
    told = events(better, {100: 0.5, 200: 0.2, 300: None, 400: 0.09})
    write_run("two", told, data={"patch": 64, "augment": ["hflip"]})
    assert compare("one", "two") == [
        "run   network                 step   parameters   images/s",
        "one   a2n x2    finished   400/400       12,345        100",
        "two   a2n x2    finished   400/400       12,345        100",
        "",
        "differs        one   two",
        "data.patch     48    64",
        'data.augment   -     ["hflip"]',
        "",
        "Set5 x2             step   psnr_y             ssim_y",
        "best      one        200    32.00             0.9300",
        "          two        400    33.00   (+1.00)   0.9400   (+0.0100)",
        "last      one        400    31.50             0.9200",
        "          two        400    33.00   (+1.50)   0.9400   (+0.0200)",
        "          bicubic           28.00             0.9000",
        f"in brackets: minus one; {CAPTION}",
        "",
        "     Set5 x2 psnr_y                                                  first  highest     last",
        "one  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅    30.00    32.00    31.50",
        "two  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃██████████████████████████████    30.00    33.00    33.00",
        "",
        "     loss l1, log scale, x not finite                                first   lowest     last",
        "one  ███████████████▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁    0.500   0.0400   0.0400",
        "two  ███████████████▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆xxxxxxxxxxxxxxx▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃    0.500   0.0900   0.0900",
        "     step 1                                                   400",
    ]


def test_the_page_of_one_run(compare):
    write_run("one")
    lines = compare("one")
    assert lines[:8] == [
        "run   network                 step   parameters   images/s",
        "one   a2n x2    finished   400/400       12,345        100",
        "",
        "Set5 x2             step   psnr_y             ssim_y",
        "best      one        200    32.00   (+4.00)   0.9300   (+0.0300)",
        "last      one        400    31.50   (+3.50)   0.9200   (+0.0200)",
        "          bicubic           28.00             0.9000",
        f"in brackets: minus bicubic; {CAPTION}",
    ]


def test_runs_of_one_recipe_say_so(compare):
    write_run("one")
    write_run("two")
    assert compare("one", "two")[4:6] == ["the recipes are the same", ""]


def test_json_is_one_document(document):
    write_run("one", events({100: (30.0, 0.91)}, {100: 0.5}))
    write_run("two", events({100: (29.0, 0.92)}, {100: 0.4}, outcome=""), train={"steps": 500})
    run = {
        "name": "one",
        "path": "one",
        "title": "By hand",
        "architecture": "a2n",
        "scale": 2,
        "parameters": 12345,
        "step": 100,
        "steps": 400,
        "outcome": "finished",
        "images_per_s": 100.0,
        "missing": [],
    }
    one = {"step": 100, "mean": {"psnr_y": 30.0, "ssim_y": 0.91}, "difference": {}}
    two = {
        "step": 100,
        "mean": {"psnr_y": 29.0, "ssim_y": 0.92},
        "difference": {"psnr_y": -1.0, "ssim_y": pytest.approx(0.01)},
    }
    assert document("one", "two") == {
        "schema": 1,
        "runs": [run, {**run, "name": "two", "path": "two", "steps": 500, "outcome": None}],
        "differences": {
            "recipe": [{"key": "train.steps", "of": "", "values": {"one": 400, "two": 500}}],
            "environment": [],
        },
        "tables": [
            {
                "data": "Set5",
                "scale": 2,
                "protocol": PROTOCOL,
                "reference": "one",
                "rows": [
                    {"run": "one", "best": one, "last": one},
                    {"run": "two", "best": two, "last": two},
                ],
                "bicubic": {"psnr_y": 28.0, "ssim_y": 0.9},
                "not_comparable": [],
            }
        ],
        "curves": {
            "scores": [
                {
                    "name": "Set5 x2",
                    "value": "psnr_y",
                    "best": "highest",
                    "runs": {"one": [[100, 30.0]], "two": [[100, 29.0]]},
                }
            ],
            "loss": [
                {"name": "loss", "value": "l1", "best": "lowest", "runs": {"one": [[100, 0.5]], "two": [[100, 0.4]]}}
            ],
        },
    }


def terminal(width, *arguments, **environment):
    """Return the lines that `srkit ...` writes to a terminal, without colors."""
    ours, theirs = os.openpty()
    variables = {**os.environ, "COLUMNS": str(width), "NO_COLOR": "1", "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "srkit", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=variables) as run:
        os.close(theirs)
        written = b""
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert run.returncode == 0, written
    plain = re.sub(r"\x1b\[[0-9;]*m", "", written.decode())
    return [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize("width", [80, 140])
def test_curves_fill_a_terminal_and_no_line_is_longer(call, width):
    write_run("one")
    write_run("two", train={"steps": 500}, data={"patch": 64})
    lines = terminal(width, "compare", "one", "two")
    assert max(map(len, lines)) <= width
    curve = next(line for line in lines if BLOCKS[0] in line)
    assert len(curve) == width


def test_a_number_is_never_cut(call):
    write_run("a_run_with_a_name_that_is_long")
    lines = terminal(40, "compare", "a_run_with_a_name_that_is_long")
    assert "best      a_run_with    200    32.00   (+4.00)   0.9300   (+0.0300)" in lines


def test_many_runs_are_named_by_value_in_a_narrow_terminal(call):
    for i in range(6):
        write_run(f"a_run_with_number_{i}", data={"patch": 64 if i == 4 else 48})
    lines = terminal(80, "compare", *sorted(os.listdir()))
    start = lines.index("differs")
    assert lines[start : start + 4] == ["differs", "data.patch", "   48   the others", "   64   a_run_with_number_4"]


def test_an_encoding_without_blocks_gets_ascii(call, srkit_command, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    write_run("one", title="Größer")
    write_run("two")
    run = srkit_command("compare", "one", "two")
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[4:6] == ["differs   one        two", 'title     "Gr??er"   "By hand"']
    curves = [line for line in lines if line.startswith("one  ")][-2:]
    assert [line.split()[1] for line in curves] == [
        "." * 15 + "@" * 15 + "#" * 30,
        "@" * 15 + "-" * 15 + ":" * 15 + "." * 15,
    ]


def test_a_foreign_text_cannot_command_the_terminal(call):
    write_run("one", title="\x1b[2J[red]x")
    write_run("two")
    out = call("compare", "one", "two")[1]
    assert "\x1b" not in out
    assert "[red]x" in out


# curves


def test_a_column_has_the_mean_of_its_values_or_the_next_one():
    assert columns({2: 4.0, 3: 6.0, 8: 1.0}, 10, 5) == [4.0, 6.0, 1.0, 1.0, None]
    assert columns({1: 4.0, 2: 6.0}, 2, 1) == [5.0]


def test_a_value_that_was_not_finite_is_marked():
    found, notes = draw(Curve("x", "y", {"one": {1: 1.0, 2: None, 3: 2.0}}, ""), end=3, width=3, levels=BLOCKS)
    assert (found, notes) == (["▁x█"], ["x not finite"])


def test_runs_share_the_axis_of_values():
    curve = Curve("Set5 x2", "psnr_y", {"one": {1: 30.0, 2: 34.0}, "two": {1: 30.0, 2: 38.0}}, "highest")
    assert draw(curve, end=2, width=2, levels=BLOCKS) == (["▁▅", "▁█"], [])


@pytest.mark.parametrize(("first", "line", "notes"), [(0.03, "█▁", []), (0.031, "█▁", ["log scale"])])
def test_a_loss_that_falls_below_a_third_has_a_log_scale(first, line, notes):
    curve = Curve("loss", "l1", {"one": {1: first, 2: 0.01}}, "lowest")
    assert draw(curve, end=2, width=2, levels=BLOCKS) == ([line], notes)


def test_a_log_scale_has_as_many_levels_for_each_factor():
    curve = Curve("loss", "l1", {"one": {1: 1.0, 2: 0.1, 3: 0.01}}, "lowest")
    assert draw(curve, end=3, width=3, levels=BLOCKS)[0] == ["█▅▁"]


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_curve_without_a_range_is_a_line_in_the_middle(value):
    assert draw(Curve("loss", "l1", {"one": {1: value}}, ""), end=1, width=3, levels=BLOCKS)[0] == ["▅▅▅"]


def test_losses_of_another_kind_have_an_axis_of_their_own(document):
    write_run("one")
    write_run("two", loss=[{"type": "charbonnier", "weight": 1.0}, {"type": "l1", "weight": 0.1}])
    write_run("three")
    curves = document("one", "two", "three")["curves"]["loss"]
    assert [(c["value"], list(c["runs"])) for c in curves] == [
        ("l1", ["one", "three"]),
        ("charbonnier + 0.1 l1", ["two"]),
    ]


def loss_groups(document, *names, plugins=()):
    return [(curve["value"], list(curve["runs"])) for curve in document(*plugins, *names)["curves"]["loss"]]


def test_losses_of_another_scale_have_an_axis_of_their_own(document):
    write_run("one")
    write_run("two", scale=4)
    write_run("three", data={"patch": 64, "batch": 8})  # a mean is the same of any size
    assert loss_groups(document, "one", "two", "three") == [("l1 x2", ["one", "three"]), ("l1 x4", ["two"])]


@pytest.mark.parametrize("known", [True, False], ids=["a sum by its fact", "one that is not installed"])
def test_sums_of_other_sizes_have_axes_of_their_own(document, known):
    Path("total.py").write_text(plugin('"loss", "total", f"{__name__}:make", facts={"reduction": "sum"}'))
    for name, batch in (("one", 16), ("two", 32), ("three", 16)):
        write_run(name, data={"patch": 48, "batch": batch}, loss=[{"type": "total", "weight": 1.0}])
    assert loss_groups(document, "one", "two", "three", plugins=["-p", "total.py"] if known else []) == [
        ("total x2, patch 48, batch 16", ["one", "three"]),
        ("total x2, patch 48, batch 32", ["two"]),
    ]


def test_the_setting_of_a_loss_says_that_it_is_a_sum(document):
    for name, patch, reduction in (("one", 48, "sum"), ("two", 64, "sum"), ("three", 48, "mean"), ("four", 64, "mean")):
        write_run(name, data={"patch": patch, "batch": 16}, loss=[{"type": "l1", "reduction": reduction}])
    assert [runs for _, runs in loss_groups(document, "one", "two", "three", "four")] == [
        ["one"],
        ["two"],
        ["three", "four"],
    ]


def test_json_says_which_tables_differ_in_what_and_what_is_missing(document):
    write_run("one")
    write_run("two", events(fingerprint="07e5"))
    write_run("three", [], validate=None)
    found = document("one", "two", "three")
    assert [table["not_comparable"] for table in found["tables"]] == [
        [],
        [{"table": 0, "differ_in": ["fingerprint"]}],
    ]
    assert [run["missing"] for run in found["runs"]] == [
        [],
        [],
        ["no scores: its recipe has no [[validate]]", "no loss logged yet"],
    ]


# settings


def differing(document, *names, part="recipe"):
    found = document(*names)["differences"][part]
    return {(d["key"], d["of"]): list(d["values"].values()) for d in found}


def test_a_setting_is_compared_among_runs_with_the_same_component(document):
    write_run("a")
    write_run("b", architecture={"type": "a2n", "features": 24})
    write_run("c", architecture={"type": "edsr", "features": 64, "blocks": 16})
    write_run("d", architecture={"type": "edsr", "features": 64, "blocks": 32})
    assert differing(document, "a", "b", "c", "d") == {
        ("architecture.type", ""): ["a2n", "a2n", "edsr", "edsr"],
        ("architecture.features", "a2n"): [40, 24, None, None],
        ("architecture.blocks", "edsr"): [None, None, 16, 32],
    }


def test_the_component_is_named_beside_such_a_setting(compare):
    write_run("a")
    write_run("b", architecture={"type": "a2n", "features": 24})
    write_run("c", architecture={"type": "edsr", "features": 64})
    assert compare("a", "b", "c")[5:8] == [
        "differs                        a       b       c",
        'architecture.type              "a2n"   "a2n"   "edsr"',
        "architecture.features of a2n   40      24      -",
    ]


def test_what_only_one_run_has_is_not_set_in_the_other(document):
    other = [*RECIPE["validate"], {"name": "Set14", "dataset": {"type": "folder", "path": "Set14"}}]
    write_run("a")
    write_run("b", validate=other, data={"patch": 48, "augment": [{"type": "hflip"}]}, seed=1)
    assert differing(document, "a", "b") == {
        ("validate.1.name", ""): [None, "Set14"],
        ("validate.1.dataset.type", ""): [None, "folder"],
        ("data.augment.0.type", ""): [None, "hflip"],
        ("seed", ""): [None, 1],
    }


def test_an_empty_array_of_tables_is_no_setting():
    assert flat({"a": [], "f": "", "b": [{"c": [1, 2]}], "d": {"e": 1}}) == {"b.0.c": [1, 2], "d.e": 1}


def test_what_runs_were_made_with_differs_where_it_decides_numbers(document):
    gpu = {
        **ENVIRONMENT,
        "device": "NVIDIA A100",
        "python": "3.12.1",
        "plugins": {"srkit": "0.1.0", "x": "1", "y": "1"},
    }
    cpu = {**ENVIRONMENT, "threads": 2, "plugins": {"srkit": "0.1.0", "x": "2"}, "fingerprints": {"data.dataset": "a"}}
    write_run("a", environment=gpu | {"fingerprints": {"data.dataset": "b", "validate.0.dataset": "c"}})
    write_run("b", environment=cpu)
    assert differing(document, "a", "b", part="environment") == {
        ("device", ""): ["NVIDIA A100", "cpu"],
        ("threads", ""): [1, 2],
        ("plugins.x", ""): ["1", "2"],
        ("fingerprints.data.dataset", ""): ["b", "a"],
    }


def test_an_environment_that_differs_is_shown_below_the_recipes(compare):
    write_run("a")
    write_run("b", environment={**ENVIRONMENT, "device": "NVIDIA A100"})
    assert compare("a", "b")[4:7] == [
        "the recipes are the same",
        "differs              a       b",
        'environment.device   "cpu"   "NVIDIA A100"',
    ]


# scores


def tables_of(document, *names):
    return [(t["data"], t["scale"], [row["run"] for row in t["rows"]]) for t in document(*names)["tables"]]


def test_each_set_has_a_table(document):
    write_run("a", events({100: [scored(30, 0.9), scored(28, 0.8, data="Set14", fingerprint="5e7f")]}))
    write_run("b", events({100: [scored(31, 0.9)]}))
    assert tables_of(document, "a", "b") == [("Set5", 2, ["a", "b"]), ("Set14", 2, ["a"])]


def test_scores_of_other_images_are_in_a_table_of_their_own(compare):
    write_run("a")
    write_run("b", events(fingerprint="07e5", lr="bicubic"))
    lines = compare("a", "b")
    found = [i for i, line in enumerate(lines) if line.startswith("Set5 x2  ")]
    assert lines[found[1] : found[1] + 6] == [
        "Set5 x2             step   psnr_y             ssim_y",
        "best      b          200    32.00   (+4.00)   0.9300   (+0.0300)",
        "last      b          400    31.50   (+3.50)   0.9200   (+0.0200)",
        "          bicubic           28.00             0.9000",
        "not comparable with Set5 x2 above: they differ in lr, fingerprint",
        f"in brackets: minus bicubic; {CAPTION.replace('5e75', '07e5').replace('from files', 'by bicubic')}",
    ]


def test_scores_of_two_scales_are_in_two_tables(document):
    write_run("a")
    write_run("b", events(scale=4), scale=4)
    assert tables_of(document, "a", "b") == [("Set5", 2, ["a"]), ("Set5", 4, ["b"])]


def test_a_metric_that_both_have_is_compared_where_another_is_not(compare):
    table = scored(31.0, 0.9, color={"psnr_y": "Y", "ssim": "RGB"}, border={"psnr_y": 2, "ssim": 2})
    for row in table["rows"]:
        row["mean"]["ssim"] = row["mean"].pop("ssim_y")
    write_run("a", events({100: (30.0, 0.9)}))
    write_run("b", events({100: [table]}), metric=[{"type": "psnr_y"}, {"type": "ssim"}])
    lines = compare("a", "b")
    start = next(i for i, line in enumerate(lines) if line.startswith("Set5 x2  "))
    assert lines[start : start + 4] == [
        "Set5 x2                step   psnr_y             ssim_y        ssim",
        "best, last   a          100    30.00             0.9000           -",
        "             b          100    31.00   (+1.00)        -      0.9000",
        "             bicubic           28.00             0.9000      0.9000",
    ]
    assert "psnr_y on Y, ssim_y on Y, ssim on RGB" in lines[start + 4]


@pytest.mark.parametrize(
    ("told", "metric", "why"),
    [
        ({"color": {"psnr_y": "RGB", "ssim_y": "Y"}}, RECIPE["metric"], "color of psnr_y"),
        ({}, [{"type": "psnr_y", "peak": 1.0}, {"type": "ssim_y"}], "settings of psnr_y"),
        ({"bicubic": (28.1, 0.9)}, RECIPE["metric"], "psnr_y of bicubic"),
        ({"border": {"psnr_y": 4, "ssim_y": 2}, "images": 4}, RECIPE["metric"], "images, border of psnr_y"),
    ],
)
def test_what_makes_scores_incomparable_is_named(compare, told, metric, why):
    write_run("a")
    write_run("b", events({100: [scored(31.0, 0.9, **told)]}), metric=metric)
    assert f"not comparable with Set5 x2 above: they differ in {why}" in compare("a", "b")


def test_bicubic_may_differ_in_a_digit_that_is_not_shown(document):
    write_run("a")
    write_run("b", events({100: [scored(31.0, 0.9, bicubic=(28.0004, 0.90001))]}))
    assert tables_of(document, "a", "b") == [("Set5", 2, ["a", "b"])]


def test_a_score_that_was_not_finite_is_never_the_best(compare):
    write_run("a", events({100: (None, 0.9), 200: (30.0, 0.9), 400: (None, 0.9)}))
    assert [line.split()[:4] for line in compare("a")[4:6]] == [
        ["best", "a", "200", "30.00"],
        ["last", "a", "400", "not"],
    ]


def test_the_best_step_is_the_one_that_the_file_has(compare, document):
    """Also where the scores would name another: the file is what `eval` and `upscale` use."""
    path = write_run("a")
    save_model(path / "best.safetensors", {"w": torch.zeros(1)}, {"step": 100})
    assert document("a")["tables"][0]["rows"][0]["best"]["step"] == 100
    for damaged in (b"", b"\xff" * 100, b"\x02" + bytes(7) + b"{}", b"\x02" + bytes(7) + b"[]"):
        (path / "best.safetensors").write_bytes(damaged)
        assert document("a")["tables"][0]["rows"][0]["best"]["step"] == 200


def test_means_of_other_images_have_no_difference(document):
    def told(ours, bicubics):
        table = scored(32.0, 0.93)
        for row, names in zip(table["rows"], (ours, bicubics), strict=True):
            row |= {"exact": {"psnr_y": names}} if names else {}
        return events({400: [table]})

    for i, (ours, bicubics, known) in enumerate(
        [([], [], True), (["black"], ["black"], True), ([], ["black"], False), (["a"], ["b"], False)]
    ):
        write_run(f"r{i}", told(ours, bicubics))
        found = document(f"r{i}")["tables"][0]["rows"][0]["last"]["difference"]
        assert ("psnr_y" in found, "ssim_y" in found) == (known, True)


def test_the_best_is_the_lowest_where_lower_is_better(call, tmp_path):
    component = '"metric", "distance", "os:getcwd", summary="", facts={"better": "lower"}'
    (tmp_path / "metric.py").write_text(plugin(component))
    table = {"data": "Set5", "scale": 2, "protocol": {"color": {"distance": "RGB"}}}
    rows = {step: [{"model": "a2n", "mean": {"distance": value}}] for step, value in ((1, 0.3), (2, 0.1), (4, 0.2))}
    told = list(events({step: [{**table, "rows": row}] for step, row in rows.items()}, {}))
    write_run("a", told, metric=[{"type": "distance"}])
    code, out, err = call("-p", "metric.py", "compare", "a")
    assert (code, err) == (0, "")
    assert out.splitlines()[3:7] == [
        "Set5 x2       step   distance",
        "best      a      2     0.1000",
        "last      a      4     0.2000",
        'color { "distance" = "RGB" }',
    ]
    assert "lowest" in out
    code, out, _ = call("compare", "a")
    assert "best" not in out.splitlines()[4]
    assert (
        "a: its best step is not known: metric 'distance' is not installed (-p FILE adds a plugin)" in out.splitlines()
    )


# runs that are going on, or damaged


def test_a_run_is_compared_while_another_process_trains_in_it(compare):
    path = write_run("a", events({100: (30.0, 0.9)}, {100: 0.5}, outcome=""))
    with filelock.FileLock(path / ".lock", timeout=0):
        assert compare("a")[1] == "a     a2n x2    not ended   100/400       12,345        100"


def test_a_run_that_was_stopped_and_goes_on_has_not_ended(document):
    write_run("a", [*events({}, {100: 0.5}, outcome="stopped"), *events({}, {}, outcome="")])
    assert document("a")["runs"][0]["outcome"] is None


def test_an_unfinished_last_line_is_left_out(compare):
    path = write_run("a", events({100: (30.0, 0.9)}, {100: 0.5}))
    before = compare("a")
    with open(path / "metrics.jsonl", "ab") as file:
        file.write(b'{"event": "validated", "step": 200, "tables": [{"da\xff')
    assert compare("a") == before


def test_a_line_of_another_form_is_left_out(compare):
    path = write_run("a", events({100: (30.0, 0.9)}, {100: 0.5}))
    before = compare("a")
    strange = [7, {"step": 300}, {"event": "validated", "step": "x"}, {"event": "logged", "step": 50, "loss": "low"}]
    strange += [{"event": "validated", "step": 60, "tables": tables} for tables in (3, [], [{"data": "Set5"}])]
    with open(path / "metrics.jsonl", "a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in strange)
    assert compare("a") == before


def test_a_run_without_scores_says_so(compare):
    write_run("a", events({}, {100: 0.5}))
    write_run("b", [], validate=None)
    lines = compare("a", "b")
    assert lines[1:3] == [
        "a     a2n x2    finished    100/400       12,345        100",
        "b     a2n x2    not ended     0/400            -          -",
    ]
    assert lines[-3:] == [
        "a: no scores yet",
        "b: no scores: its recipe has no [[validate]]",
        "b: no loss logged yet",
    ]


def test_a_run_of_which_the_recipe_alone_is_there_is_shown(compare):
    path = write_run("a")
    (path / "metrics.jsonl").unlink()
    (path / "environment.json").write_text("{")
    assert compare("a")[-2:] == ["a: no scores yet", "a: no loss logged yet"]


# names


def test_runs_of_one_name_are_called_by_their_paths(document):
    write_run("x/run")
    write_run("y/run")
    write_run("z/other")
    names = [run["name"] for run in document("x/run", "y/run/metrics.jsonl", "z/other")["runs"]]
    assert names == ["x/run", "y/run", "other"]


def test_a_run_that_is_given_twice_is_one(document):
    write_run("a")
    write_run("b")
    Path("latest").symlink_to("b")
    assert [run["name"] for run in document("a", "b", "a/recipe.toml", "latest")["runs"]] == ["a", "b"]


def test_a_file_of_a_checkpoint_names_its_run(document):
    path = write_run("a") / "checkpoints" / "step_00000100" / "MANIFEST.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert document(path)["runs"][0]["path"] == "a"


def test_the_current_folder_may_be_a_run(document, monkeypatch):
    write_run("a")
    monkeypatch.chdir("a")
    assert document(".")["runs"][0]["name"] == "a"


def test_a_run_named_bicubic_is_not_the_baseline(document):
    write_run("bicubic")
    assert document("bicubic")["runs"][0]["name"] == str(Path("bicubic").resolve())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gone", "gone: there is no such file or folder"),
        ("empty", "empty: is no run directory: it has no recipe.toml, it is empty"),
        ("notes", "notes: is no run directory: it has no recipe.toml, but a.txt, b.txt, c.txt and 1 more"),
        ("notes/a.txt", "notes/a.txt: lies in no run directory"),
        ("runs", "runs: is no run directory, but holds some: runs/1, runs/2, runs/3 and 1 more"),
        ("damaged", "damaged/recipe.toml:2: is damaged: not valid TOML: Invalid value"),
        ("binary", "binary/recipe.toml: is damaged: it is not UTF-8"),
        ("half", "half/recipe.toml: is damaged: it lacks 'architecture'"),
        ("odd", "odd/metrics.jsonl: cannot be read: Is a directory"),
    ],
)
def test_what_is_no_run_is_one_line(call, argument, message):
    for name in ("empty", "notes"):
        Path(name).mkdir()
    for name in "abcd":
        Path(f"notes/{name}.txt").write_text("")
    for name in "1234":
        write_run(f"runs/{name}")
    (write_run("damaged") / "recipe.toml").write_text("scale = 2\ntrain = \n")
    (write_run("binary") / "recipe.toml").write_bytes(b"\xff\xfe")
    write_run("half", architecture=None)
    (write_run("odd") / "metrics.jsonl").unlink()
    Path("odd/metrics.jsonl").mkdir()
    assert call("compare", "runs/1", argument) == (3, "", f"srkit compare: {message}\n")


@pytest.mark.parametrize("order", [("plain", "padded"), ("padded", "plain")])
def test_a_network_that_images_were_padded_for_is_compared_with_others_and_the_caption_says_it(compare, order):
    write_run("plain")
    write_run("padded", [*events(padding={"swinir": "multiples of 8"})])
    lines = compare(*order)
    assert not [line for line in lines if "not comparable" in line]
    caption = CAPTION.replace("; forward", "; LR padded to multiples of 8 by reflection for swinir; forward")
    told = " ".join(" ".join(lines).split())
    assert f"in brackets: minus {order[0]}; {caption}" in told
