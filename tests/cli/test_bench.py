"""`srkit bench`: what it times, what it counts, and memory that is true."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import srkit
from srkit.engine.speed.measuring import Case, Timed, ratio, time_in_turns

QUICK = ("--seconds", "0.01", "--threads", "1", "--device", "cpu", "--no-memory")


def test_networks_are_measured_side_by_side(call, model, nearest):
    code, out, err = call("-p", nearest, "bench", model, "espcn", "--size", "8x12", "--size", "6x6", *QUICK, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["device"], found["threads"], found["batch"]) == ("cpu", 1, 1)
    rows = found["rows"]
    assert [(row["model"], row["size"]) for row in rows] == [
        (str(model), [8, 12]),
        ("espcn", [8, 12]),
        (str(model), [6, 6]),
        ("espcn", [6, 6]),
    ]
    for row in rows:
        assert row["seconds"] > 0
        assert row["images_per_s"] == pytest.approx(1 / row["seconds"])
        assert row["calls"] >= 3
        assert row["peak_bytes"] is None
        assert (row["scale"], row["precision"], row["form"], row["reason"]) == (2, "float32", "eager", "")
    assert rows[0]["ratio"] == rows[2]["ratio"] == 1
    network = srkit.create("architecture", "espcn", scale=2)
    assert rows[1]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    # Its convolutions at LR's size: inputs x outputs x kernel.
    weights = sum(p.numel() for p in network.parameters() if p.dim() == 4)
    assert rows[1]["multiply_adds"] == weights * 8 * 12
    assert rows[0]["multiply_adds"] == 0


def test_a_table_has_a_line_for_each_and_says_what_it_shows(call):
    code, out, err = call(
        "bench", "espcn", "--size", "8x8", "--precision", "float32", "--precision", "bfloat16", *QUICK
    )
    assert code == 0, err
    lines = out.splitlines()
    head = "model scale size precision form ms images/s ratio parameters G multiply-adds"
    assert " ".join(lines[0].split()) == head
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["espcn", "x2", "8x8", "float32", "eager"],
        ["espcn", "x2", "8x8", "bfloat16", "eager"],
    ]
    assert lines[3] == (
        f"cpu, 1 thread; torch {torch.__version__}; batch 1; medians of calls in turns; size of LR; ratio: times as "
        "fast as the first row of its size"
    )


CASE = {"model": "runs/quickstart", "scale": 2, "size": [128, 128], "precision": "float32", "form": "eager"}
MEASURED = {"seconds": 26.79, "images_per_s": 1012.3, "ratio": 1.0, "peak_bytes": 2**30, "reason": ""}
ROW = {**CASE, **MEASURED, "parameters": 24_336, "multiply_adds": 24_000}
FOUND = {"device": "cpu", "device_name": "", "threads": 4, "torch": "2", "batch": 1}


def printed(width, *rows):
    """Return the lines of a table of such rows in a terminal of so many columns, but for the last, on the device."""
    program = (
        "import rich.console as c, srkit.cli.output as o, srkit.cli.bench as b\n"
        f"o.console = lambda **_: c.Console(width={width})\nb._print({ {**FOUND, 'rows': rows}!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()[:-1]]


def test_a_number_has_no_exponent_and_a_row_is_a_line():
    head, row = printed(200, ROW)
    assert row == [
        *("runs/quickstart", "x2", "128x128", "float32", "eager", "26,790", "1,010", "1.00", "1,024", "24,336"),
        "0.0000240",
    ]
    assert head == ["model", "scale", "size", "precision", "form", *head[5:]]


def test_a_narrow_terminal_does_without_what_matters_least_and_folds_no_number():
    other = {**ROW, "model": "espcn", "precision": "bfloat16", "seconds": 0.004321, "ratio": 6.2}
    assert [" ".join(line) for line in printed(80, ROW, other)] == [
        "model precision ms images/s ratio MiB parameters",
        "runs/quickstart float32 26,790 1,010 1.00 1,024 24,336",
        "espcn bfloat16 4.321 1,010 6.20 1,024 24,336",
        "all rows: scale x2, form eager, size 128x128; no room here for G multiply-adds: --json has them",
    ]
    assert printed(40, ROW, other)[:3] == [
        ["model", "precision", "ms"],
        ["runs/quickstart", "float32", "26,790"],
        ["espcn", "bfloat16", "4.321"],
    ]


def test_a_case_that_cannot_be_computed_is_a_line_with_its_reason(call):
    code, out, err = call("bench", "espcn", "--size", "8x8", "--form", "folded", *QUICK)
    assert (code, err) == (1, "")
    assert out.splitlines()[0] == "espcn 8x8 float32 folded: it offers no other form for inference"


def test_the_form_for_inference_is_measured_where_a_network_offers_one(call):
    small = ("--set", "features=4", "--set", "blocks=1", "--set", "upsampling_features=4")
    forms = ("--form", "eager", "--form", "folded")
    code, out, err = call("bench", "a2n", *small, "--size", "8x8", *forms, *QUICK, "--json")
    assert code == 0, err
    eager, folded = json.loads(out)["rows"]
    assert (folded["form"], folded["reason"]) == ("folded", "")
    network = srkit.create("architecture", "a2n", scale=2, features=4, blocks=1, upsampling_features=4).eval()
    form = network.for_inference()
    counts = [sum(parameter.numel() for parameter in module.parameters()) for module in (network, form)]
    assert [eager["parameters"], folded["parameters"]] == counts
    assert folded["multiply_adds"] <= eager["multiply_adds"]


PLUGIN = '''
import srkit, torch

class Greedy(torch.nn.Module):
    """Takes 64 MiB beside its output, and lets it go."""
    def __init__(self, *, scale: int = 2) -> None:
        super().__init__()
    def forward(self, lr):
        much = torch.ones(16 * 2**20 if lr.shape[-1] > 32 else 1)
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2) * much[0]

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "greedy", f"{__name__}:Greedy")
'''


def test_the_peak_memory_of_the_cpu_is_that_of_a_process_apart(tmp_path):
    path = tmp_path / "greedy.py"
    path.write_text(PLUGIN)
    from srkit.plugin.discovery import discover

    (row,) = srkit.bench(
        "greedy",
        sizes=[(8, 40)],
        device="cpu",
        threads=1,
        seconds=0.01,
        plugins=[str(path)],
        registry=discover([str(path)]),
    )["rows"]
    assert row["reason"] == ""
    # Its 64 MiB and little more: what this process has computed before does not hide them.
    # Linux counts pages by batches of some: "these values are inaccurate" (man 5 proc_pid_status).
    assert 63 * 2**20 < row["peak_bytes"] < 68 * 2**20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["espcn", "espcn"], "espcn is there twice: its rows could not be told apart"),
        (["espcn", "--form", "eger"], "there is no form 'eger'; did you mean 'eager'?"),
        (["espcn", "--precision", "float64"], "there is no precision 'float64'; did you mean 'float16'?"),
        (
            ["espcn", "--size", "8"],
            "argument --size: '8' is no size: write HEIGHTxWIDTH, as in 180x320; see srkit bench --help",
        ),
        (["espcn", "--size", "0x8"], "a size has at least one row and one column"),
        (["espcn", "--batch", "0"], "batch cannot be 0"),
        (["espcn", "--threads", "-1"], "threads cannot be -1"),
        (
            ["espcn", "--set", "channel=3"],
            "--set channel=3: unknown setting 'channel' of architecture 'espcn'; did you mean 'channels'?",
        ),
        (
            ["espcn", "--device", "cuda:9"],
            "--device is 'cuda:9', but there is no such GPU here; \"auto\" takes what there is",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, words, message):
    code, out, err = call("bench", *words)
    assert (code, out) == (2, "")
    assert err == f"srkit bench: {message}\n"


def test_a_model_that_is_not_there_is_an_input_that_is_rejected(call):
    told = "there is no such file, run directory or network"
    assert call("bench", "a2m") == (3, "", f"srkit bench: a2m: {told}; did you mean 'a2n'?\n")
    Path("runs/quickstart").mkdir(parents=True)
    Path("runs/quickstart/recipe.toml").touch()
    for given in ("runs/quikstart", "quickstrat"):
        assert call("bench", given) == (3, "", f"srkit bench: {given}: {told}; did you mean runs/quickstart?\n")


def test_each_is_called_in_each_round_and_one_that_raises_is_called_no_more():
    calls = []

    def of(name, fail_at=None):
        def call():
            calls.append(name)
            if calls.count(name) == fail_at:
                raise ValueError("no")

        return Timed(Case(name, (1, 1)), call)

    timed = [of("a"), of("b"), of("c", fail_at=2)]
    time_in_turns(timed, torch.device("cpu"), seconds=0)
    assert calls[:3] == ["a", "b", "c"]
    assert [len(one.seconds) for one in timed[:2]] == [3, 3]
    assert timed[2].reason == "ValueError: no"
    assert calls[3:] == ["a", "b", "c", "b", "a", "a", "b"]


def test_a_ratio_is_the_median_over_the_rounds():
    first, other = Timed(Case("a", (1, 1))), Timed(Case("b", (1, 1)))
    first.seconds, other.seconds = [1.0, 2.0, 30.0], [0.5, 1.0, 10.0]
    assert ratio(other, first) == 2.0
