"""Recipes that are wrong: every problem at once, each with its line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from srkit.engine.builder import Builder
from srkit.errors import RecipeError, SrkitError
from srkit.plugin.component import Component
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Failure, Origin, Registry
from srkit.recipe.reading import read_part, read_recipe
from tests.conftest import ROOT, calls

QUICKSTART = (ROOT / "recipes" / "quickstart.toml").read_text()


class Network:
    """Takes one setting of each type that TOML can write."""

    def __init__(
        self,
        *,
        scale: int,
        count: int = 1,
        rate: float = 1,
        on: bool = False,
        text: str = "a",
        mode: Literal["a", "b", 3] = "a",
        either: float | int | None = None,
        sizes: Sequence[int] = (1, 2),
        pair: tuple[float, float] = (1, 2),
        table: dict[str, int] | None = None,
        nested: list[tuple[int, int]] = [],  # noqa: B006
        folder: Path = Path("x"),
        limit: float = float("inf"),
    ) -> None:
        if count > 100:
            raise ValueError(f"count must be\nat most 100, not {count}")


def thing(*, size: int = 1) -> None: ...


def demanding(*, size: int) -> None: ...


@pytest.fixture
def registry():
    """One component a kind, made for scales 2 and 3, and a plugin that is broken."""
    found = Registry()
    origin = Origin("mine", "1.0")
    found.add(Component("architecture", "net", "tests.recipe.test_reading:Network", facts={"scales": (2, 3)}), origin)
    for kind in ("loss", "dataset", "degradation", "augmentation", "metric", "optimizer", "schedule", "observer"):
        facts = {"scales": (2,)} if kind == "degradation" else {}
        found.add(Component(kind, "plain", "tests.recipe.test_reading:thing", facts=facts), origin)
    found.add(Component("schedule", "demanding", "tests.recipe.test_reading:demanding"), origin)
    found.add(Component("loss", "gone", "no_such_module:X"), origin)
    return found


RECIPE = """\
scale = 2
loss = ["plain"]
metric = ["plain"]
optimizer = "plain"
schedule = "plain"
architecture = { type = "net", KEYS }
data = { dataset = "plain" }
train = { steps = 1 }
"""


@pytest.fixture
def problems(tmp_path, monkeypatch, registry):
    """Return the problems of a recipe's text, in a file x.toml of the current folder; () where there are none."""
    monkeypatch.chdir(tmp_path)

    def read(text, *overrides, registry=registry, try_out=None):
        Path("x.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        try:
            read_recipe("x.toml", registry, overrides=overrides, try_out=try_out)
        except RecipeError as error:
            found = error
        else:
            return ()
        assert str(found) == "\n".join(found.problems)
        assert all(line.isprintable() for line in found.problems)
        return found.problems

    return read


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('count = "4"', "'count' must be an integer, not \"4\""),
        ("count = 4.9", "'count' must be an integer, not 4.9"),
        ("count = 4.0", "'count' must be an integer, not 4.0"),
        ("count = true", "'count' must be an integer, not true"),
        ("count = []", "'count' must be an integer, not a list"),
        ("count = {}", "'count' must be an integer, not a table"),
        ("count = 1979-05-27", "'count' must be an integer, not 1979-05-27"),
        (f"count = {10**30}", "'count' must be an integer, not one of more than 64 bits"),
        ("rate = true", "'rate' must be a number, not true"),
        ('rate = "1"', "'rate' must be a number, not \"1\""),
        ("rate = nan", "'rate' must be a finite number, not nan"),
        ("rate = -inf", "'rate' must be a finite number, not -inf"),
        (f"rate = {10**400}", "'rate' must be a number, not one of more than 64 bits"),
        ("on = 1", "'on' must be a boolean, not 1"),
        ('on = "true"', "'on' must be a boolean, not \"true\""),
        ("text = 5", "'text' must be a string, not 5"),
        ('mode = "c"', '\'mode\' must be "a" or "b" or 3, not "c"'),
        ("mode = 3.0", '\'mode\' must be "a" or "b" or 3, not 3.0'),
        ('either = "x"', "'either' must be a number or integer, not \"x\""),
        ("sizes = 3", "'sizes' must be a list of integers, not 3"),
        ("sizes = [1, 2.5]", "entry 1 of 'sizes' must be an integer, not 2.5"),
        ("pair = [1]", "'pair' must be a list of 2 numbers, not one of 1"),
        ("pair = [1.5, true]", "entry 1 of 'pair' must be a number, not true"),
        ("nested = [[1, 2], [3]]", "entry 1 of 'nested' must be a list of 2 integers, not one of 1"),
        ("table = { a = 1, b = 2.5 }", "'b' must be an integer, not 2.5"),
        ("table = 5", "'table' must be a table, not 5"),
        ("folder = 5", "'folder' must be a string, not 5"),
        (f'count = "{"x" * 70}"', f"'count' must be an integer, not \"{'x' * 57}...\""),
    ],
)
def test_no_value_is_taken_for_another(problems, value, message):
    assert problems(RECIPE.replace("KEYS", value)) == (f"x.toml:6: {message}",)


@pytest.mark.parametrize(
    ("value", "key", "read"),
    [
        ("rate = 4", "rate", 4.0),
        ("either = 3", "either", 3),
        ("either = 3.0", "either", 3.0),
        ("mode = 3", "mode", 3),
        ("sizes = []", "sizes", []),
        ("pair = [3, 4]", "pair", (3.0, 4.0)),
        ("table = { b = 1, a = 2 }", "table", {"b": 1, "a": 2}),
        ("nested = [[1, 2]]", "nested", [(1, 2)]),
        ('folder = "~/${HOME}"', "folder", "~/${HOME}"),
    ],
)
def test_a_value_of_the_right_type_is_kept(tmp_path, registry, value, key, read):
    path = tmp_path / "x.toml"
    path.write_text(RECIPE.replace("KEYS", value))
    found = read_recipe(path, registry)[0].architecture.settings[key]
    assert (found, type(found)) == (read, type(read))


def test_defaults_are_written_as_if_they_were_read(tmp_path, registry):
    path = tmp_path / "x.toml"
    path.write_text(RECIPE.replace(", KEYS", ""))
    settings = read_recipe(path, registry)[0].architecture.settings
    assert settings == {
        "count": 1,
        "rate": 1.0,
        "on": False,
        "text": "a",
        "mode": "a",
        "sizes": [1, 2],
        "pair": (1.0, 2.0),
        "nested": [],
        "folder": "x",
    }
    assert {type(settings[key]) for key in ("rate", "folder")} == {float, str}


WRONG = """\
title = 5
scale = 4
scael = 3
optimizer = "plain"

[architecture]
type = "net"
cuont = 3
rate = "fast"

[[loss]]
type = "plain"
weight = true
size = 1.0

[[loss]]
type = "gone"

[[loss]]
type = "plian"

[data]
dataset = { type = "plain", size = "big" }
degradation = "plain"
augment = ["plain", 7, "flop", { kind = "plain" }]
patch = 0
batch = 10
cache = "always"

[[validate]]
name = "Set5"
dataset = "plain"

[[validate]]
name = "Set5"

[[metric]]
type = 5

[schedule]
type = "demanding"

[train]
device = "gpu"
ema = 1.0
clip = -1
accumulate = 4
log_every = "often"
precision = "half"
"""


def test_every_problem_of_a_recipe_is_reported_at_once_sorted_by_line(problems, registry):
    registry.failures.append(Failure("broken", Origin("mine-too", "2.0"), "ValueError: not today"))
    broken = "(plugin 'broken' of mine-too 2.0 failed to load: ValueError: not today)"
    assert problems(WRONG) == (
        "x.toml:1: 'title' must be a string, not 5",
        "x.toml:2: architecture 'net' has scales 2, 3, not 4",
        "x.toml:2: degradation 'plain' has scales 2, not 4",
        "x.toml:3: unknown key 'scael'; did you mean 'scale'?",
        "x.toml:8: unknown setting 'cuont' of architecture 'net'; did you mean 'count'?",
        "x.toml:9: 'rate' must be a number, not \"fast\"",
        "x.toml:13: 'weight' must be a number or schedule, not true",
        "x.toml:14: 'size' must be an integer, not 1.0",
        "x.toml:17: loss 'gone' cannot be used: importing no_such_module:X failed with "
        "ModuleNotFoundError: No module named 'no_such_module'",
        f"x.toml:20: unknown loss 'plian'; did you mean 'plain'? (installed: gone, plain) {broken}",
        "x.toml:23: 'size' must be an integer, not \"big\"",
        "x.toml:25: entry 1 of 'augment' must be a table with a type, or the name of a component, not 7",
        "x.toml:25: missing key 'type': which augmentation?",
        f"x.toml:25: unknown augmentation 'flop' (installed: plain) {broken}",
        "x.toml:26: 'patch' must be at least 1, not 0",
        'x.toml:28: \'cache\' must be "auto" or "memory" or "device" or "none", not "always"',
        "x.toml:34: missing key 'dataset'",
        "x.toml:35: two validation sets are named 'Set5'",
        "x.toml:38: 'type' must be a string, not 5",
        "x.toml:40: missing setting 'size' of schedule 'demanding' (integer)",
        "x.toml:43: missing key 'steps'",
        "x.toml:44: unknown device 'gpu'; there are: auto, cpu, cuda, cuda:0, mps",
        "x.toml:45: 'ema' must be at least 0 and below 1, not 1.0",
        "x.toml:46: 'clip' must be at least 0, not -1.0",
        "x.toml:47: accumulate is 4, which does not divide data.batch, 10",
        "x.toml:48: 'log_every' must be an integer, not \"often\"",
        'x.toml:49: \'precision\' must be "float32" or "bfloat16" or "float16", not "half"',
    )


def test_an_empty_file_lacks_what_has_no_default(problems):
    assert problems("") == (
        "x.toml: missing key 'architecture'",
        "x.toml: missing key 'data'",
        "x.toml: missing key 'scale'",
        "x.toml: missing key 'train'",
        "x.toml: unknown loss 'l1' (installed: gone, plain); if a one-file plugin has it, add -p FILE",
        "x.toml: unknown metric 'psnr_y' (installed: plain); if a one-file plugin has it, add -p FILE",
        "x.toml: unknown metric 'ssim_y' (installed: plain); if a one-file plugin has it, add -p FILE",
        "x.toml: unknown optimizer 'adam' (installed: plain); if a one-file plugin has it, add -p FILE",
        "x.toml: unknown schedule 'constant' (installed: demanding, plain); if a one-file plugin has it, add -p FILE",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("loss = []", "'loss' must have an entry"),
        ("metric = []", "'metric' must have an entry"),
        ('loss = "plain"', '\'loss\' must be an array, ["plain"], not "plain"'),
        ('validate = "Set5"', "'validate' must be an array of tables, [[...]], not \"Set5\""),
        ("optimizer = 5", "'optimizer' must be a table with a type, or the name of a component, not 5"),
        ("data = 5", "'data' must be a table, not 5"),
        ("scale = 0", "'scale' must be at least 1 and below 65, not 0"),
        ("scale = 65", "'scale' must be at least 1 and below 65, not 65"),
        ("seed = -1", "'seed' must be at least 0 and below 9223372036854775808, not -1"),
        (f"seed = {2**63}", f"'seed' must be at least 0 and below {2**63}, not {2**63}"),
        (
            'train = { steps = 1, device = "cuda:²" }',
            "unknown device 'cuda:²'; there are: auto, cpu, cuda, cuda:0, mps",
        ),
        (
            'train = { steps = 1, device = "cuda:01" }',
            "unknown device 'cuda:01'; there are: auto, cpu, cuda, cuda:0, mps",
        ),
    ],
)
def test_a_wrong_line_is_one_problem(problems, line, message):
    key = line.split(" = ")[0]
    kept = [other for other in RECIPE.replace(", KEYS", "").splitlines() if not other.startswith(f"{key} =")]
    assert problems("\n".join([line, *kept])) == (f"x.toml:1: {message}",)


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_a_device_by_its_name_is_right(problems, device):
    assert problems(RECIPE.replace(", KEYS", "").replace("steps = 1", f'steps = 1, device = "{device}"')) == ()


def test_what_a_constructor_refuses_is_at_its_table_beside_the_rest(problems):
    def try_out(part, words):
        if part.kind == "architecture":
            Network(scale=words["scale"], **part.settings)

    text = RECIPE.replace("KEYS", "count = 101").replace("scale = 2", "scale = 5").replace("steps", "stesp")
    assert problems(text, try_out=try_out) == (
        "x.toml:1: architecture 'net' has scales 2, 3, not 5",
        "x.toml:6: count must be at most 100, not 101",
        "x.toml:8: missing key 'steps'",
        "x.toml:8: unknown key 'stesp'; did you mean 'steps'?",
    )


@pytest.mark.parametrize("scale", ["true", "5", "100", '"x"'])
def test_components_are_tried_with_a_scale_that_they_have(problems, scale):
    scales = []
    problems(
        RECIPE.replace(", KEYS", "").replace("scale = 2", f"scale = {scale}"),
        try_out=lambda part, words: scales.append((part.type, words["scale"])) or {},
    )
    assert ("net", 2) in scales


INSTALLED = """\
scale = 2
architecture = { type = "a2n", features = FEATURES }
loss = ["charbonnier"]
schedule = { type = "cosine", warmup = -1 }
optimizer = { lr = -1 }
data.dataset = { type = "folder", path = "nowhere" }
train = { steps = 1 }
"""


def test_what_the_installed_components_refuse_is_at_their_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(INSTALLED.replace("FEATURES", "2"))
    with pytest.raises(RecipeError) as error:
        Builder(discover()).load("x.toml", overrides=["loss.epsilon=0"], datasets=False)
    assert error.value.problems == (
        "x.toml:2: features must be at least 4, not 2",
        "x.toml:3 with --set loss.epsilon=0: epsilon must be at least 1e-12, not 0",
        "x.toml:4: warmup must be at least 0, not -1",
        "x.toml:5: lr must be above 0, not -1",
    )


def test_a_network_too_large_to_count_is_a_problem_of_its_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(INSTALLED.replace("FEATURES", str(10**13)).replace("-1", "1"))
    with pytest.raises(RecipeError) as error:
        Builder(discover()).load("x.toml", datasets=False)
    assert error.value.problems == (
        "x.toml:2: RuntimeError: Storage size calculation overflowed with sizes=[10000000000000, 10000000000000, 1, 1]",
    )


def test_lines_are_right_in_a_file_from_windows(problems):
    text = "\ufeff" + RECIPE.replace("KEYS", "cuont = 1").replace("\n", "\r\n")
    message = "unknown setting 'cuont' of architecture 'net'; did you mean 'count'?"
    assert problems(text) == (f"x.toml:6: {message}",)


def test_an_integer_of_too_many_digits_is_no_toml(problems):
    assert problems("count = [\n" + "1" * 1000 + "\n]")[-1].endswith(
        "unknown key 'count'; there are: architecture, "
        "data, loss, metric, observer, optimizer, scale, schedule, seed, start, title, train, validate"
    )


HOSTILE = [
    "os.system",
    "os:system",
    "__import__('os')",
    "../../x",
    "/etc/passwd",
    "${HOME}",
    "$(touch canary)",
    "`touch canary`",
    "srkit_a2n.network:A2N",
    "net ",
    "",
    ":",
    "mine:",
    "%s%n{0.__class__}",
    "x" * 900,
    "\\u001b]0;owned\\u0007",
    "\\u001b[2J",
    "\\u009b31m",
    "a\\nx.toml:1: all is well",
    "\\u202egnp",
    "\\u0000",
    "\\r",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "where",
    [
        'architecture = "{}"',
        'architecture = {{ type = "net", text = 5, "{}" = 1 }}',
        'data = {{ dataset = "plain", augment = ["{}"] }}',
        'train = {{ steps = 1, device = "{}" }}',
        'train = {{ steps = 1, precision = "{}" }}',
        '"{}" = 1',
        'extends = "{}"',
    ],
)
def test_a_hostile_name_is_a_name_that_is_not_there(problems, where, name):
    line = where.format(name)
    key = line.split(" = ")[0]
    kept = [other for other in RECIPE.replace(", KEYS", "").splitlines() if not other.startswith(f"{key} =")]
    found = problems("\n".join([line, *kept]))
    assert found
    assert all(problem.startswith(("x.toml:1:", "x.toml:6:", "/etc/passwd:1: not valid TOML:")) for problem in found)
    assert not Path("canary").exists()


def test_escapes_of_a_terminal_are_written_out(problems):
    assert problems(RECIPE.replace(", KEYS", "") + '"\\u001b[31m\\n\\u009b\\u202e" = 1\n') == (
        "x.toml:9: unknown key '\\x1b[31m\\n\\x9b\\u202e'; there are: architecture, data, loss, metric, observer, "
        "optimizer, scale, schedule, seed, start, title, train, validate",
    )


def mutations(count, seed=0):
    """Yield recipes/quickstart.toml with bytes flipped, lines deleted, doubled or swapped, values exchanged."""
    rng = random.Random(seed)
    values = ["true", "-1", "1e400", "nan", '"x"', "[]", "{}", "[[]]", '["l1", 3]', '{ type = "a2n" }', "1979-05-27"]
    values += ["0", "9" * 400, '"\\u0000"', "{ type = [] }", '{ type = "l1", weight = {} }', '[{ type = "" }]']
    for _ in range(count):
        lines = QUICKSTART.splitlines()
        for _ in range(rng.randint(1, 3)):
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            match rng.randrange(5):
                case 0:
                    data = bytearray(lines[i].encode() or b"\n")
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                    lines[i] = data.decode("latin-1")
                case 1:
                    lines[i] = ""
                case 2:
                    lines.insert(j, lines[i])
                case 3:
                    lines[i], lines[j] = lines[j], lines[i]
                case _:
                    key, equals, _ = lines[i].partition(" = ")
                    lines[i] = f"{key}{equals}{rng.choice(values)}" if equals else lines[i]
        yield "\n".join(lines).encode("utf-8" if rng.random() < 0.9 else "latin-1")


def test_a_recipe_that_was_damaged_is_a_recipe_or_has_problems(problems):
    installed = discover()
    right = 0
    for text in mutations(400):
        right += problems(text, registry=installed) == ()
    assert 10 < right < 350  # both happen


@pytest.mark.parametrize(
    "text",
    [
        "validate = [\n" + ("{}," * 300 + "\n") * 60 + "]",
        "loss = [\n" + ('{type="plain",' + ",".join(f"k{i}=1" for i in range(140)) + "},\n") * 60 + "]",
        "\n".join(f"k{i} = 1" for i in range(1000)),
        "\n".join(f"k{i} = {{" + ",".join(f"k{j}=1" for j in range(140)) + "}" for i in range(60)),
        "\n".join(f"[{'.'.join('a' * 500)}.k{i}]" for i in range(60)),
        f"[{'.'.join('a' * 500)}]\n" + "\n".join(f"{'.'.join('a' * 500)}.k{i} = 1" for i in range(60)),
        "\n".join(f"{' . '.join(['a', repr('a')] * 30)}.k{i} = 1" for i in range(100)),
        "\n".join(f"{'.'.join(['a'] * 31)}.k{i} = 1" for i in range(900)),
        "a = [\n{ a = [\n" * 150 + "]}\n" * 150 + "]",
        "x = " + "\n".join(["." * 40 + '"' * 900] * 60),
        "x = " + "\n".join(["." * 40 + '\\"' * 450] * 60),
        "x = " + "\n".join([".a" * 31 + " " + "a" * 900] * 60),
    ],
)
def test_a_recipe_made_to_be_slow_is_refused_after_bounded_work(problems, text):
    found = []
    assert calls(lambda: found.extend(problems(text))) < 30_000_000  # under two seconds where nothing counts them
    assert found


def test_of_very_many_problems_the_first_are_told(problems):
    found = problems(RECIPE.replace(", KEYS", "") + "validate = [" + ("{}," * 300 + "\n") * 2 + "]")
    assert found[:2] == ("x.toml:9: missing key 'dataset'", "x.toml:9: missing key 'name'")
    assert found[-1] == "and 200 more problems"


def test_a_component_by_name_is_read_with_overrides(registry):
    part = read_part(registry, "architecture", "net", ["count=3", "pair=[1, 5]", "table.x=1"])
    assert [part.settings[key] for key in ("count", "pair", "table")] == [3, (1.0, 5.0), {"x": 1}]


def test_a_component_by_name_has_the_problems_of_a_table(registry):
    with pytest.raises(RecipeError) as error:
        read_part(registry, "architecture", "net", ["cuont=3", "rate=fast"])
    assert error.value.problems == (
        "--set cuont=3: unknown setting 'cuont' of architecture 'net'; did you mean 'count'?",
        "--set rate=fast: 'rate' must be a number, not \"fast\"",
    )


def test_a_component_by_name_that_is_not_there(registry):
    with pytest.raises(SrkitError) as error:
        read_part(registry, "architecture", "nat")
    assert str(error.value) == "unknown architecture 'nat'; did you mean 'net'? (installed: net)"
