"""Runs of several processes: the same bits, one error, nothing left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import srkit
from srkit.engine.distributed import World
from srkit.engine.running.run import refuse_uneven
from srkit.errors import RecipeError, UsageError
from srkit.plugin.discovery import discover
from tests.engine.running.test_adversaries import LOSSES, PLUGIN
from tests.engine.running.test_policies import MANY, drawn
from tests.engine.running.test_policies import SETTINGS as REPLACING
from tests.engine.running.test_run import assert_same, contents
from tests.forked import FAULTS, make, start

LOSS = 'loss=[{ type = "fault" }]'
ELASTIC = (
    *("train.deterministic=elastic", "train.threads=1", "train.accumulate=4", "train.ema=0.9", "train.clip=0.1", LOSS),
    *("train.steps=40", "train.log_every=10", "train.checkpoint_every=7", "train.validate_every=20"),
)
EXACT = ("train.deterministic=run", "train.threads=1", LOSS)


def tables(out):
    lines = map(json.loads, Path(out, "metrics.jsonl").read_text().splitlines())
    return [line["tables"] for line in lines if "tables" in line]


def test_in_elastic_mode_any_number_of_processes_that_changes_at_stops_ends_with_the_same_bits(tiny):
    faults = [(1, "SIGTERM 0 9"), (2, "SIGTERM 1 18"), (4, "SIGTERM 3 25"), (2, "")]
    changing = [start(size, "changing", *ELASTIC, fault=fault) for size, fault in faults]
    codes, errors = make(*(start(size, f"run{size}", *ELASTIC) for size in (1, 2, 4)), *changing)
    assert codes == [[0], [0, 0], [0] * 4, [75], [75] * 2, [75] * 4, [0] * 2], errors
    names = ("run1", "run2", "run4", "changing")
    for file in ("last.safetensors", "best.safetensors"):
        assert len({Path(name, file).read_bytes() for name in names}) == 1
    assert len({json.dumps(tables(name)) for name in names}) == 1
    assert len(tables("run1")) == 2


@pytest.fixture
def gan(tiny):
    """The tiny recipe with an adversarial loss, in a folder with its plugin."""
    Path("mine.py").write_text(PLUGIN)
    tiny.write_text(tiny.read_text() + LOSSES)
    return tiny


def test_a_gan_of_two_processes_that_is_killed_and_continued_ends_with_the_same_bits(gan):
    settings = ["train.deterministic=run", "train.threads=1", "train.log_every=1", "train.checkpoint_every=5"]
    settings += ["train.steps=16", "train.ema=0.9", "loss.0.type=fault", "architecture=normed"]
    ways = [("straight", ""), ("killed", "SIGKILL 1 8"), ("killed", "SIGKILL 0 13"), ("killed", "")]
    codes, errors = make(*(start(2, out, *settings, fault=fault, plugins=["mine.py"]) for out, fault in ways))
    assert codes == [[0, 0], [1, -9], [-9, 1], [0, 0]], errors
    assert_same(contents(Path("straight")), contents(Path("killed")))


def test_one_process_that_fails_ends_the_others_and_its_error_alone_is_shown(tiny):
    for name in ("machine0", "machine1"):
        shutil.copytree("photos", f"{name}/photos")
        shutil.copy("tiny.toml", name)
    Path("machine1/photos/p0.png").unlink()
    ways = [
        start(2, "raised", *EXACT, fault="raise 1 4"),
        start(2, "raised", *EXACT, fault="raise all 4"),
        start(2, "raised", *EXACT, folder="machine{rank}"),
        start(3, "raised", *EXACT),
    ]
    codes, errors = make(*ways)
    assert codes == [[1, 1], [1, 1], [1, 1], [2, 2, 2]], errors
    tracebacks = errors.split("Traceback (most recent call last)")[1:]
    assert [text.count("ValueError: the loss has a fault") for text in tracebacks] == [1, 1]
    said = [line for line in errors.splitlines() if line[1:2] == ":"]
    assert len(said) == 2, errors
    assert (
        said[0] == "1: process 1 of 2 has another data.dataset and validate.0.dataset than process 0: give all the same"
    )
    assert said[1].endswith(": data.batch is 4, and 3 processes take equal shares of it: give a multiple of 3")


def test_a_process_that_hangs_or_is_frozen_ends_the_others(tiny):
    ways = [
        start(2, "run", *EXACT, fault="hang 1 4", hangs=5, stays=1),
        start(2, "run", *EXACT, fault="SIGSTOP 1 3", hangs=5, stays=1),  # the first step waits for more than a hang
        start(2, "run", *EXACT),
    ]
    codes, errors = make(*ways)
    assert codes == [[1, -9], [1, -9], [0, 0]], errors
    assert errors.splitlines() == [
        "0: another process of the run has not answered for 5 s",
        "process 1 of 2 has given no sign of life for 5 s",
    ]


def test_a_process_that_hangs_in_a_plugin_outside_of_a_step_ends_the_others(tiny):
    codes, errors = make(
        start(2, "scored", *EXACT, 'metric=["psnr_y", "stuck"]', works=3, stays=1),
        start(2, "observed", *EXACT, 'observer=["watching"]', works=3, stays=0),
    )
    assert codes == [[1, -9], [-9, 1]], errors
    assert errors.splitlines() == [
        "process 1 of 2 has been scoring p1 for 3 s, and is given up",
        "process 0 of 2 has been showing the losses to the observers for 3 s, and is given up",
    ]


def test_images_that_another_process_cannot_read_are_listed_by_the_first_too(tiny):
    Path("many.py").write_text(MANY)
    bad = drawn(tiny, [(1, 3), (2, 12), (6, 15)])  # the first slots of 16 are the first process's
    dataset = f"data.dataset={{type='many', bad='{' '.join(map(str, bad))}'}}"
    given = [*REPLACING, dataset, "data.cache=none", "train.threads=1"]
    codes, errors = make(*(start(size, f"run{size}", *given, plugins=["many.py"]) for size in (1, 2)))
    assert codes == [[0], [0, 0]], errors
    count = "3 of 3,000 images could not be read, and others took their place:"
    listed = [count, *(f"  image{index}: is damaged" for index in bad)]
    assert [errors.splitlines().count(line) for line in listed] == [3] * 4, errors  # one process, and each of two


class Three(World):
    rank, size = 1, 3


def test_processes_that_cannot_take_equal_shares_are_refused(tiny):
    cases = {
        "data.batch is 4, and 3 processes take equal shares of it, in 2 parts each: give a multiple of 6": [
            "train.accumulate=4"
        ],
        "train.accumulate is 4, and 3 processes share these parts of a batch: start 1, 2, 4... of them, 4 at most": [
            *("train.accumulate=4", "train.deterministic=elastic", "data.batch=12")
        ],
    }
    for line, settings in cases.items():
        with pytest.raises(UsageError) as error:
            refuse_uneven(srkit.load_recipe(tiny, set=settings), Three())
        assert str(error.value) == line
    refuse_uneven(srkit.load_recipe(tiny, set=["data.batch=12", "train.accumulate=6"]), Three())


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            ["data.batch=6", "train.accumulate=3"],
            "--set train.accumulate=3: with deterministic 'elastic' parts are summed in pairs: 1, 2, 4, 8... of them, "
            "not 3",
        ),
        (
            ["train.threads=0"],
            "--set train.threads=0: on the CPU the number of threads decides the last bits: with deterministic "
            "'elastic', give it, as 1",
        ),
        (
            ["architecture=normed"],
            "--set train.deterministic=elastic: 'elastic' cannot be: each part of a batch changes '1.running_mean' of "
            "the network, as batch norm and spectral norm do; give 'run'",
        ),
        (
            ["architecture=spectral"],
            "--set train.deterministic=elastic: 'elastic' cannot be: each part of a batch changes "
            "'0.parametrizations.weight.0._u' of the network, as batch norm and spectral norm do; give 'run'",
        ),
        (
            ['loss=["l1", {type="adversarial", discriminator={type="unet", features=4}}]'],
            "--set train.deterministic=elastic: 'elastic' cannot be: each part of a batch changes "
            "'adversary.conv1.weight_u' of loss 'adversarial', as batch norm and spectral norm do; give 'run'",
        ),
        (
            ['loss=["relative"]'],
            "--set train.deterministic=elastic: 'elastic' cannot be: loss 'relative' looks at a batch as a whole: of "
            "two samples it is not the mean of each alone; give 'run'",
        ),
    ],
)
def test_what_mixes_samples_is_refused_in_elastic_mode_with_the_reason(tiny, settings, line):
    Path("faults.py").write_text(FAULTS)
    given = ["train.deterministic=elastic", "train.threads=1", *settings]
    with pytest.raises(RecipeError) as error:
        srkit.run("tiny.toml", out="run", set=given, registry=discover(["faults.py"]))
    assert str(error.value) == line
