"""The schema of recipes: what `srkit check` accepts is accepted, and what is wrong is refused at its place."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srkit.errors import RecipeError
from srkit.plugin.component import Component
from srkit.plugin.discovery import installed
from srkit.plugin.registry import Origin, Registry
from srkit.plugin.settings import parameter_docs
from srkit.recipe.layers import fields
from srkit.recipe.reading import read_recipe
from srkit.recipe.recipe import PARTS, Data, LossPart, Recipe, Start, Train, Validate
from srkit.recipe.schema import recipe_schema
from tests.conftest import ROOT, TINY, plugin
from tests.recipe.test_recipe import VALUES

PACKAGED = sorted((ROOT / "recipes").glob("*.toml"))


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
        either: float | str | None = None,
        mixed: Literal["all"] | list[int] = "all",
        sizes: Sequence[int] = (1, 2),
        pair: tuple[float, str] = (1, "x"),
        table: dict[str, int] | None = None,
        folder: Path = Path("x"),
        limit: float = float("inf"),
    ) -> None: ...


def thing(*, size: int = 1, mode: str = "") -> None:
    """A thing.

    Args:
        size: how large it is
    """


def demanding(*, size: int, mode: bool = True) -> None:
    """A thing that must be told its size.

    Args:
        size: how many there are
    """


KINDS = [cls.kind for cls in PARTS]

# The least that a recipe may say.
SMALL = {
    "scale": 2,
    "loss": ["plain"],
    "metric": ["plain"],
    "optimizer": "plain",
    "schedule": "plain",
    "architecture": {"type": "net"},
    "data": {"dataset": "plain"},
    "train": {"steps": 1},
}


@pytest.fixture
def registry():
    found = Registry()
    origin = Origin("mine", "1.0")
    found.add(Component("architecture", "net", "tests.cli.test_schema:Network"), origin)
    for kind in KINDS:
        found.add(Component(kind, "plain", "tests.cli.test_schema:thing"), origin)
        found.add(Component(kind, "demanding", "tests.cli.test_schema:demanding"), origin)
    return found


@pytest.fixture(scope="module")
def made():
    """The schema of what is installed, as it is printed."""
    return json.loads(json.dumps(recipe_schema(installed()), allow_nan=False))


def errors(schema, tree):
    """Return (place, what is wrong) of each error in a recipe's tree, by place."""
    found = jsonschema.Draft7Validator(schema).iter_errors(tree)
    return sorted((".".join(map(str, error.absolute_path)), error.message) for error in found)


def changed(tree, **changes):
    """Return a tree with other values at keys like data__batch; None takes the key away."""
    tree = copy.deepcopy(tree)
    for path, value in changes.items():
        *above, key = path.split("__")
        table = tree
        for name in above:
            table = table[name] if not isinstance(table, list) else table[int(name)]
        if value is None:
            del table[key]
        else:
            table[key] = value
    return tree


def is_read(path, tree, registry):
    path.write_text(tomli_w.dumps(tree), encoding="utf-8")
    try:
        read_recipe(path, registry)
    except RecipeError:
        return False
    return True


def test_it_is_a_schema_of_draft_7(made):
    assert made["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(made)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_each_packaged_recipe_is_accepted_as_it_is_and_as_a_run_writes_it(made, path):
    assert errors(made, tomllib.loads(path.read_text(encoding="utf-8"))) == []
    assert errors(made, read_recipe(path, installed())[0].to_tree()) == []


@pytest.mark.parametrize("name", ["title", "data", "train", "start"])
def test_every_key_has_a_description(made, name):
    table = made if name == "title" else made["properties"][name]
    assert [key for key, schema in table["properties"].items() if not schema.get("description")] == []


@pytest.mark.parametrize("cls", [Recipe, Data, Validate, Start, Train, LossPart], ids=lambda cls: cls.__name__)
def test_the_docstring_of_a_class_says_what_each_of_its_keys_means(cls):
    keys = [field.name for field in fields(cls) if field.name not in ("type", "settings")]
    assert list(parameter_docs(cls, keys)) == keys


def test_a_setting_has_its_type_its_default_and_its_meaning(made):
    assert made["properties"]["loss"]["items"]["properties"]["reduction"] == {
        "description": '"mean" or "sum" over all values of the batch.',
        "enum": ["mean", "sum"],
        "default": "mean",
    }


def test_a_setting_that_two_components_have_says_what_it_means_in_each(registry):
    found = recipe_schema(registry)["properties"]["schedule"]["properties"]
    assert found["size"] == {
        "description": "demanding: how many there are\n\nplain: how large it is",
        "type": "integer",
    }
    assert found["mode"] == {}  # a string here, a boolean there


UNKNOWN = "4 should not be valid under {'title': 'unknown key; there are: "
NO_SETTING = "4 should not be valid under {'title': \"unknown setting of "


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scael": 4}, [("scael", f"{UNKNOWN}architecture, data, ")]),
        ({"train__stesp": 4}, [("train.stesp", f"{UNKNOWN}accumulate, ")]),
        ({"data__path": 4}, [("data.path", f"{UNKNOWN}augment, ")]),
        ({"validate__0__path": 4}, [("validate.0.path", f"{UNKNOWN}dataset, degradation, name, scale'}}")]),
        (
            {"architecture__featuers": 4},
            [("architecture.featuers", f"{NO_SETTING}architecture 'a2n'; there are: blocks, features, ")],
        ),
        (
            {"loss": [{"type": "l1", "epsilon": 4}]},
            [
                (
                    "loss.0.epsilon",
                    f"{NO_SETTING}loss 'l1'; there are: adversary, every, from_step, reduction, weight\"}}",
                )
            ],
        ),
        ({"architecture__features": "4"}, [("architecture.features", "'4' is not of type 'integer'")]),
        ({"architecture__features": 4.5}, [("architecture.features", "4.5 is not of type 'integer'")]),
        ({"architecture__type": "a3n"}, [("architecture.type", "'a3n' is not one of ['a2n', ")]),
        ({"architecture__type": 5}, [("architecture.type", "5 is not one of ['a2n', ")]),
        ({"architecture": "a3n"}, [("architecture", "'a3n' is not one of ['a2n', ")]),
        ({"architecture": 5}, [("architecture", "5 is not one of ['a2n', ")]),
        ({"architecture__type": None}, [("architecture", "'type' is a required property")]),
        ({"scale": None}, [("", "'scale' is a required property")]),
        ({"train__steps": None}, [("train", "'steps' is a required property")]),
        ({"data__dataset": None}, [("data", "'dataset' is a required property")]),
        ({"data__dataset__type": None}, [("data.dataset", "'type' is a required property")]),
        ({"validate__0__dataset": None}, [("validate.0", "'dataset' is a required property")]),
        ({"validate__0__dataset": {"type": "h5"}}, [("validate.0.dataset", "'path' is a required property")]),
        ({"data__dataset": {"type": "h5"}}, [("data.dataset", "'path' is a required property")]),
        ({"schedule": {"type": "multistep"}}, [("schedule", "'milestones' is a required property")]),
        ({"loss": [{"weight": 2}]}, [("loss.0", "'type' is a required property")]),
        ({"scale": 65}, [("scale", "65 is greater than the maximum of 64")]),
        ({"scale": 0}, [("scale", "0 is less than the minimum of 1")]),
        ({"scale": "2"}, [("scale", "'2' is not of type 'integer'")]),
        ({"seed": 2**63}, [("seed", f"{2**63} is greater than the maximum of {2**63 - 1}")]),
        ({"train__ema": 1.0}, [("train.ema", "1.0 is greater than or equal to the maximum of 1")]),
        ({"train__steps": True}, [("train.steps", "True is not of type 'integer'")]),
        (
            {"train__precision": "half"},
            [("train.precision", "'half' is not one of ['float32', 'bfloat16', 'float16']")],
        ),
        ({"train__device": "gpu"}, [("train.device", "'gpu' does not match '^(auto|cpu|mps|cuda(")]),
        ({"data__augment": ["hflip", "flop"]}, [("data.augment.1", "'flop' is not one of ['cutblur', ")]),
        ({"data__augment": "hflip"}, [("data.augment", "'hflip' is not of type 'array'")]),
        ({"loss": "l1"}, [("loss", "'l1' is not of type 'array'")]),
        ({"loss": {"type": "l1"}}, [("loss", "{'type': 'l1'} is not of type 'array'")]),
        ({"loss": []}, [("loss", "[] should be non-empty")]),
        ({"metric": []}, [("metric", "[] should be non-empty")]),
        ({"data": 5}, [("data", "5 is not of type 'object'")]),
        ({"extends": 5}, [("extends", "5 is not of type 'string'")]),
    ],
)
def test_what_is_wrong_is_refused_once_at_its_place(made, changes, expected):
    found = errors(made, changed(tomllib.loads(TINY), **changes))
    assert [place for place, _ in found] == [place for place, _ in expected]
    for (_, message), (_, begins) in zip(found, expected, strict=True):
        assert message.startswith(begins)


RIGHT = [
    {"rate": 4},
    {"on": True},
    {"mode": 3},
    {"either": 3},
    {"either": 3.5},
    {"either": "x"},
    {"mixed": "all"},
    {"mixed": [1]},
    {"sizes": []},
    {"pair": [3, "x"]},
    {"table": {"b": 1, "a": 2}},
    {"folder": "~/x"},
    {"limit": 2.5},
]
WRONG = [
    {"count": "4"},
    {"count": 4.9},
    {"count": True},
    {"rate": True},
    {"on": 1},
    {"text": 5},
    {"mode": "c"},
    {"either": True},
    {"mixed": "some"},
    {"sizes": 3},
    {"sizes": [1, 2.5]},
    {"pair": [1]},
    {"pair": [1, "x", 2]},
    {"pair": ["x", 1]},
    {"table": {"a": 2.5}},
    {"table": 5},
    {"folder": 5},
    {"limit": "inf"},
    {"scale": 2},
]


@pytest.mark.parametrize("setting", RIGHT, ids=str)
def test_a_setting_that_is_read_is_accepted(tmp_path, registry, setting):
    tree = changed(SMALL, architecture={"type": "net", **setting})
    assert is_read(tmp_path / "x.toml", tree, registry)
    assert errors(recipe_schema(registry), tree) == []


@pytest.mark.parametrize("setting", WRONG, ids=str)
def test_a_setting_that_is_not_read_is_refused(tmp_path, registry, setting):
    tree = changed(SMALL, architecture={"type": "net", **setting})
    assert not is_read(tmp_path / "x.toml", tree, registry)
    (key,) = setting
    places = {place for place, _ in errors(recipe_schema(registry), tree)}
    assert places
    assert all(place.startswith(f"architecture.{key}") for place in places)


FORMS = [
    {"title": "x", "seed": 2**63 - 1},
    {"loss": [{"type": "plain", "weight": 2}, "plain", {"type": "mine:demanding", "size": 1, "mode": False}]},
    {"loss": None, "metric": None, "optimizer": None, "schedule": None},
    {"architecture": "net"},
    {"architecture": "mine:net"},
    {"architecture": {"type": "mine:net", "count": 2}},
    {"optimizer": {"type": "demanding", "size": 1}, "schedule": {"type": "plain", "mode": "x"}},
    {"data": {"dataset": {"type": "plain"}, "degradation": "plain", "augment": ["plain", {"type": "plain"}]}},
    {"data": {"dataset": {"type": "plain", "size": 3}, "augment": []}},
    {"validate": [{"name": "", "dataset": "plain"}, {"name": "b", "dataset": {"type": "plain"}}]},
    {"validate": [], "observer": []},
    {"observer": ["plain", {"type": "plain", "size": 2}]},
    {"start": {"weights": "x.pt", "fresh": ["*"]}},
    {"start": {}},
    {"train": {"steps": 1, "device": "cuda:12", "ema": 0, "clip": 1, "compile": True}},
]


@pytest.mark.parametrize("changes", FORMS, ids=lambda changes: ",".join(changes))
def test_every_form_that_is_read_is_accepted(tmp_path, registry, changes):
    for kind, name in (("loss", "l1"), ("metric", "psnr_y"), ("metric", "ssim_y"), ("optimizer", "adam")):
        registry.add(Component(kind, name, "tests.cli.test_schema:thing"), Origin("srkit"))
    registry.add(Component("schedule", "constant", "tests.cli.test_schema:thing"), Origin("srkit"))
    tree = changed(SMALL, **changes)
    assert is_read(tmp_path / "x.toml", tree, registry)
    assert errors(recipe_schema(registry), tree) == []


def test_an_optimizer_without_a_type_is_adam_in_a_recipe_that_extends_none(made, tmp_path):
    tree = changed(tomllib.loads(TINY), optimizer={"lr": 0.5}, schedule={"warmup": 3})
    assert is_read(tmp_path / "x.toml", tree, installed())
    assert errors(made, tree) == []
    tree = changed(tree, optimizer={"momentum": 0.5}, schedule={"milestones": [1]})
    assert not is_read(tmp_path / "x.toml", tree, installed())
    assert [place for place, _ in errors(made, tree)] == ["optimizer.momentum", "schedule.milestones"]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(st.fixed_dictionaries({}, optional=VALUES))
def test_any_recipe_that_is_read_is_accepted(made, tmp_path, values):
    tree = changed({"start": {}, **tomllib.loads(TINY)}, **{k.replace(".", "__"): v for k, v in values.items()})
    if is_read(tmp_path / "x.toml", tree, installed()):
        assert errors(made, tree) == []
        assert errors(made, read_recipe(tmp_path / "x.toml", installed())[0].to_tree()) == []


@pytest.mark.parametrize(
    "over",
    [
        {},
        {"architecture": {"count": 2}},
        {"optimizer": {"size": 2}, "schedule": {"type": "demanding"}},
        {"data": {"dataset": {"size": 2}}},
        {"data": {"degradation": {"size": 3}}, "train": {"ema": 0.5}},
        {"start": {"fresh": ["x"]}},
    ],
    ids=str,
)
def test_a_recipe_that_extends_another_may_leave_out_what_stands_there(tmp_path, registry, over):
    base = changed(SMALL, schedule={"type": "demanding", "size": 1}, start={"weights": "x.pt"})
    base["data"]["degradation"] = {"type": "plain"}
    assert is_read(tmp_path / "base.toml", base, registry)
    tree = {"extends": "base.toml", **over}
    assert is_read(tmp_path / "x.toml", tree, registry)
    assert errors(recipe_schema(registry), tree) == []


@pytest.mark.parametrize(
    ("over", "place"),
    [
        ({"architecture": {"cuont": 2}}, "architecture.cuont"),
        ({"architecture": {"type": "net", "mode": "c"}}, "architecture.mode"),
        ({"loss": [{"weight": 1.0}]}, "loss.0"),
        ({"validate": [{"name": "x"}]}, "validate.0"),
        ({"validate": [{"name": "x", "dataset": {"size": 2}}]}, "validate.0.dataset"),
        ({"data": {"augment": [{"type": "demanding"}]}}, "data.augment.0"),
        ({"traim": {}}, "traim"),
    ],
    ids=str,
)
def test_what_it_says_is_checked_and_an_array_s_entries_are_whole(tmp_path, registry, over, place):
    assert is_read(tmp_path / "base.toml", SMALL, registry)
    tree = {"extends": "base.toml", **over}
    assert not is_read(tmp_path / "x.toml", tree, registry)
    assert [at for at, _ in errors(recipe_schema(registry), tree)] == [place]


def test_a_name_of_two_distributions_is_accepted_in_full_alone(registry):
    registry.add(Component("loss", "plain", "tests.cli.test_schema:demanding"), Origin("yours", "2.0"))
    schema = recipe_schema(registry)
    assert errors(schema, changed(SMALL, loss=["mine:plain", {"type": "yours:plain", "size": 1}])) == []
    found = errors(schema, changed(SMALL, loss=["plain", {"type": "yours:plain"}]))
    assert found == [
        ("loss.0", "'plain' is not one of ['demanding', 'mine:demanding', 'mine:plain', 'yours:plain']"),
        ("loss.1", "'size' is a required property"),
    ]


@pytest.mark.parametrize(
    "component",
    [
        Component("architecture", "lost", "no_such_module:Net"),
        Component("architecture", "lost", "tests.cli.test_schema:Network", missing="it needs more"),
        Component("architecture", "lost", "tests.cli.test_schema:untyped"),
    ],
    ids=["import", "missing", "untyped"],
)
def test_a_component_that_cannot_be_used_accepts_any_settings(registry, component):
    registry.add(component, Origin("mine", "1.0"))
    schema = recipe_schema(registry)
    for table in ("lost", {"type": "lost"}, {"type": "lost", "count": "many", "other": []}):
        assert errors(schema, changed(SMALL, architecture=table)) == []
    found = errors(schema, changed(SMALL, architecture={"type": "net", "count": "many", "other": []}))
    assert [place for place, _ in found] == ["architecture.count", "architecture.other"]
    assert errors(schema, {"extends": "x.toml", "architecture": {"count": "many", "other": []}}) == []


def untyped(size):
    """Has a parameter that no recipe can set, and that has no default."""


def test_the_command_prints_the_schema_with_the_plugins_of_p_and_nothing_else(call, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def make(*, rate: float = 0.5):\n    pass\n\nprint('imported')\n\n"
        + plugin('"loss", "mine", f"{__name__}:make", summary="my loss"')
    )
    code, out, err = call("schema", "-p", "mine.py")
    schema = json.loads(out)
    assert (code, err) == (0, "imported\n")
    assert errors(schema, changed(tomllib.loads(TINY), loss=[{"type": "mine", "rate": 1, "weight": 2}])) == []
    named = schema["properties"]["loss"]["items"]["properties"]["type"]
    told = dict(zip(named["enum"], named["x-taplo"]["docs"]["enumValues"], strict=True))
    assert (told["mine"], told["mine.py:mine"]) == ("my loss", "my loss")
    assert schema["description"].endswith(", mine.py.")


@pytest.fixture
def lint(made, tmp_path):
    """What taplo says of a recipe that names the schema in its first line: "line:column: message" of each error."""
    taplo = shutil.which("taplo", path=str(Path(sys.executable).parent)) or shutil.which("taplo")
    if taplo is None:
        pytest.skip("taplo is not installed")
    (tmp_path / "srkit.schema.json").write_text(json.dumps(made))

    def run(text):
        path = tmp_path / "x.toml"
        path.write_text(f"#:schema ./srkit.schema.json\n{text}", encoding="utf-8")
        done = subprocess.run([taplo, "lint", "--colors", "never", path], cwd=tmp_path, capture_output=True, text=True)
        found = re.findall(r"^error: (.*)\n +┌─ .*?x\.toml:(\d+:\d+)$", done.stderr, re.M)
        assert (done.returncode == 0) == (not found), done.stderr
        return [f"{place}: {message}" for message, place in found]

    return run


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_taplo_accepts_each_packaged_recipe(lint, path):
    assert lint(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "features = 4",
            "featuers = 4",
            '7:12: {"title":"unknown setting of architecture \'a2n\'; there are: blocks, features, img_range, '
            'non_attention_kernel, upsampling_features"} is not allowed for 4',
        ),
        ("features = 4", 'features = "4"', '7:12: "4" is not of type "integer"'),
        ("scale = 2", "scale = 65", "3:9: 65 is greater than the maximum of 64"),
        (
            'type = "adam"',
            'type = "adma"',
            '22:8: "adma" is not one of ["adam","adamw","adan","schedule_free","sgd",'
            '"srkit:adam","srkit:adamw","srkit:adan","srkit:schedule_free","srkit:sgd"]',
        ),
        (
            'name = "photos"',
            'name = "photos"\nnmae = 1',
            '19:8: {"title":"unknown key; there are: dataset, degradation, name, scale"} is not allowed for 1',
        ),
    ],
)
def test_taplo_underlines_the_value_that_is_wrong(lint, old, new, expected):
    assert lint(TINY.replace(old, new, 1)) == [expected]
