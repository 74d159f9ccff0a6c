"""A recipe's files and overrides, laid over each other."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest

from srkit.engine.builder import Builder
from srkit.errors import RecipeError, UsageError
from srkit.plugin.discovery import discover, installed
from srkit.recipe.layers import REMOVED, Override, as_set
from srkit.recipe.reading import read_part, read_recipe
from tests.conftest import installed_names, plugin

LOSSES = installed_names("loss")

BASE = """\
scale = 2
seed = 7

[architecture]
type = "a2n"
features = 8
blocks = 2

[[loss]]
type = "l1"
weight = 0.5

[data]
dataset = { type = "folder", path = "base" }
augment = ["hflip", "vflip"]
patch = 8

[[validate]]
name = "Set5"
dataset = { type = "folder", path = "Set5" }

[train]
steps = 10
keep = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder with base.toml."""
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text(BASE)


def read(text, *overrides):
    """Return the recipe of a text in x.toml."""
    Path("x.toml").write_text(text)
    return read_recipe("x.toml", installed(), overrides=overrides)[0]


def problems(text, *overrides):
    """Return what is wrong with a recipe."""
    with pytest.raises(RecipeError) as error:
        read(text, *overrides)
    return error.value.problems


def over(text, *overrides):
    """Return the recipe of a text that extends base.toml."""
    return read(f'extends = "base.toml"\n{text}', *overrides)


def base(*overrides):
    """Return the recipe of base.toml with overrides."""
    return read(BASE, *overrides)


def refused(*overrides):
    """Return the message for overrides that are none."""
    with pytest.raises(UsageError) as error:
        base(*overrides)
    return str(error.value)


# extends


def test_what_is_not_said_is_the_base():
    recipe = over('title = "mine"')
    assert (recipe.title, recipe.seed, recipe.train.keep) == ("mine", 7, 3)


def test_the_title_is_the_files_name_and_not_the_bases():
    assert over("").title == "x"


def test_tables_merge_key_by_key():
    recipe = over("[architecture]\nfeatures = 12\n[train]\nsteps = 20")
    assert (recipe.architecture.settings["features"], recipe.architecture.settings["blocks"]) == (12, 2)
    assert (recipe.train.steps, recipe.train.keep) == (20, 3)


def test_arrays_replace():
    recipe = over('loss = ["l2"]\n[data]\naugment = ["rot90"]')
    assert [(part.type, part.weight) for part in recipe.loss] == [("l2", 1.0)]
    assert [part.type for part in recipe.data.augment] == ["rot90"]


def test_an_array_of_tables_replaces_even_where_it_says_less():
    assert over('[[loss]]\ntype = "l1"').loss[0].weight == 1.0


@pytest.mark.parametrize("text", ['architecture = "edsr"', '[architecture]\ntype = "edsr"'])
def test_a_table_of_another_type_replaces_the_old_one_whole(text):
    assert over(text).architecture.settings["features"] == 64


@pytest.mark.parametrize("text", ['architecture = "a2n"', '[architecture]\ntype = "a2n"'])
def test_a_table_of_the_same_type_is_merged(text):
    assert over(text).architecture.settings["features"] == 8


def test_a_value_in_place_of_a_table_is_a_problem_of_the_file_that_has_it():
    assert problems('extends = "base.toml"\ntrain = 5') == ("x.toml:2: 'train' must be a table, not 5",)


def test_a_base_of_a_base_is_read_from_its_own_folder():
    Path("sub").mkdir()
    Path("sub/middle.toml").write_text('extends = "../base.toml"\nseed = 8\n[data]\npatch = 16\n')
    recipe = read('extends = "sub/middle.toml"\n[data]\nbatch = 2')
    assert (recipe.seed, recipe.data.patch, recipe.data.batch, recipe.train.steps) == (8, 16, 2, 10)


def test_a_problem_of_a_base_is_at_the_bases_line_and_after_the_recipes_own():
    Path("base.toml").write_text(BASE.replace("features", "faetures").replace("keep = 3", "keep = 0"))
    Path("middle.toml").write_text('extends = "base.toml"\n[data]\nbatch = 0')
    assert problems('extends = "middle.toml"\n\n[train]\nclip = -1\n') == (
        "x.toml:4: 'clip' must be at least 0, not -1.0",
        "middle.toml:3: 'batch' must be at least 1, not 0",
        "base.toml:6: unknown setting 'faetures' of architecture 'a2n'; did you mean 'features'?",
        "base.toml:24: 'keep' must be at least 1, not 0",
    )


def test_a_short_form_over_a_bases_table_is_the_recipes_problem():
    assert problems('extends = "base.toml"\nloss = ["l1l"]\narchitecture = "a2m"') == (
        f"x.toml:2: unknown loss 'l1l'; did you mean 'l1'? (installed: {LOSSES})",
        f"x.toml:3: unknown architecture 'a2m'; did you mean 'a2n'? (installed: {installed_names('architecture')})",
    )


def test_a_base_that_is_no_toml_is_named_with_its_line():
    Path("base.toml").write_text("scale = 2\nseed = = 1\n")
    assert problems('extends = "base.toml"') == ("base.toml:2: not valid TOML: Invalid value",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x": 'extends = "x.toml"'}, "x.toml:1: extends 'x.toml', which leads back to itself"),
        ({"x": 'extends = "./y/../x.toml"'}, "x.toml:1: extends './y/../x.toml', which leads back to itself"),
        (
            {"x": 'extends = "a.toml"', "a": '\nextends = "b.toml"', "b": '\n\nextends = "a.toml"'},
            "b.toml:3: extends 'a.toml', which leads back to itself",
        ),
        ({"x": '\nextends = "no.toml"'}, "x.toml:2: extends 'no.toml', but there is no file no.toml"),
        ({"x": 'extends = ""'}, "x.toml:1: extends '', but there is no file ."),
        ({"x": 'extends = "y"'}, "x.toml:1: extends 'y', but there is no file y"),
        ({"x": "extends = 5"}, "x.toml:1: extends must be a string, the path of a recipe"),
        ({"x": 'extends = ["base.toml"]'}, "x.toml:1: extends must be a string, the path of a recipe"),
        ({"x": "[extends]\na = 1"}, "x.toml:1: extends must be a string, the path of a recipe"),
        ({"x": 'extends = "a\\u0000b"'}, "x.toml:1: extends 'a\\x00b', but there is no file a\\x00b"),
        ({"x": f'extends = "{"a" * 300}"'}, f"x.toml:1: extends '{'a' * 300}', but there is no file {'a' * 300}"),
    ],
)
def test_a_base_that_cannot_be_is_an_error_with_its_place(files, message):
    Path("y").mkdir()
    for name, text in files.items():
        Path(f"{name}.toml").write_text(text)
    assert problems(files["x"]) == (message,)


def test_a_circle_of_links_is_no_file():
    Path("loop.toml").symlink_to("loop.toml")
    assert problems('extends = "loop.toml"') == ("x.toml:1: extends 'loop.toml', but there is no file loop.toml",)


# --set


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.steps=500", 500),
        ("train.steps=1_000", 1000),
        ("train.steps = 500", 500),
        ("train.steps=0x10", 16),
        ('train."steps"=5', 5),
        ("train={steps=5}", 5),
        ("train.steps=5 # not a thousand", 5),
    ],
)
def test_a_value_is_read_as_toml(text, value):
    assert base(text).train.steps == value


@pytest.mark.parametrize(
    "title", ["a b", "a = b", "x=", "[", '"', "'a' 'b'", "1 2", "truely", "~/x", "$HOME", "ä", "a\\b"]
)
def test_a_value_that_is_no_toml_is_a_string(title):
    assert base(f"title={title}").title == title


def test_a_value_that_is_toml_is_no_string():
    assert problems(BASE, "title=5") == ("--set title=5: 'title' must be a string, not 5",)


@pytest.mark.parametrize(
    "value", ["1\nscale = 4", "1\n[train]\nsteps = 3", "{}\nvalue.steps = 3", '1"\nscale = 4', "1\r\nscale = 4"]
)
def test_a_new_line_in_a_value_begins_no_other_key(value):
    recipe = base(f"title={value}")
    assert (recipe.title, recipe.scale, recipe.train.steps) == (value, 2, 10)


@pytest.mark.parametrize(
    ("overrides", "settings"),
    [
        (["architecture.type=edsr"], {"features": 64, "blocks": 16}),
        (["architecture=edsr"], {"features": 64, "blocks": 16}),
        (["architecture.type=edsr", "architecture.features=32"], {"features": 32, "blocks": 16}),
        (["architecture.type=a2n", "architecture.features=32"], {"features": 32, "blocks": 2}),
        (["architecture.features=32"], {"features": 32, "blocks": 2}),
        (['architecture={type="edsr"}', "architecture.features=32"], {"features": 32, "blocks": 16}),
        (["architecture={features=9}", "architecture.blocks=1"], {"features": 9, "blocks": 1}),
    ],
)
def test_overrides_go_by_the_rules_of_extends_in_any_order(overrides, settings):
    for ordered in itertools.permutations(overrides):
        found = base(*ordered).architecture.settings
        assert {key: found[key] for key in settings} == settings


def test_the_only_entry_of_an_array_needs_no_index():
    recipe = base("loss.type=l2", "validate.dataset.path=other")
    assert [(part.type, part.weight) for part in recipe.loss] == [("l2", 1.0)]
    assert recipe.validate[0].dataset.settings["path"] == "other"
    assert recipe.validate[0].name == "Set5"


def test_an_entry_that_is_not_in_the_recipe_but_the_default_is_one_as_well():
    assert read(BASE.split("[[loss]]")[0] + BASE.split("weight = 0.5")[1], "loss.weight=2").loss[0].weight == 2.0


def test_an_entry_is_changed_by_its_index():
    recipe = read(f'{BASE}[[loss]]\ntype = "l2"\n', "loss.1.weight=2", "loss.0.type=charbonnier")
    assert [(part.type, part.weight) for part in recipe.loss] == [("charbonnier", 1.0), ("l2", 2.0)]


def test_a_short_form_is_changed_by_its_index():
    assert [part.type for part in base("data.augment.1=rot90").data.augment] == ["hflip", "rot90"]


def test_a_whole_array_is_replaced():
    assert [part.type for part in base('metric=["psnr", "ssim"]').metric] == ["psnr", "ssim"]
    assert base("data.augment=[]").data.augment == ()


def test_a_part_that_the_recipe_lacks_can_be_given():
    recipe = base("data.degradation.type=pillow_bicubic", "observer=['log']")
    assert recipe.data.degradation.type == "pillow_bicubic"
    assert recipe.observer[0].type == "log"


def test_the_path_of_a_dataset_is_taken_as_it_is():
    assert base("data.dataset.path=${HOME}/../x y").data.dataset.settings["path"] == "${HOME}/../x y"


def removing(text, *overrides):
    """Return the recipe of a text as it is with overrides, and as it is where lines of the text are left out."""
    kept = [line for line in BASE.splitlines() if not line.startswith(text)]
    return base(*overrides), read("\n".join(kept))


@pytest.mark.parametrize(
    ("line", "override"),
    [
        ("seed", "seed="),
        ("features", "architecture.features="),
        ("augment", "data.augment="),
        ("patch", "data.patch= "),
        ("weight", "loss.weight="),
        ("weight", "loss.0.weight="),
        ("keep", "train.keep="),
        # Of keys that a recipe leaves out there is nothing to take away.
        ("nothing", "title="),
        ("nothing", "start.recipe="),
        ("nothing", "data.degradation="),
        ("nothing", "schedule.warmup="),
        ("nothing", "optimizer="),
    ],
)
def test_a_key_without_a_value_is_as_if_the_recipe_did_not_have_it(line, override):
    found, without = removing(line, override)
    assert found == without


def test_a_table_an_array_or_an_entry_can_be_taken_away():
    both = 'data.degradation={type="pillow_bicubic"}'
    assert base(both).data.degradation is not None
    assert over('data.degradation = "pillow_bicubic"', "data.degradation=").data.degradation is None
    assert base("validate=").validate == base("validate.0=").validate == ()
    assert [part.type for part in base("data.augment.0=").data.augment] == ["vflip"]
    assert [part.type for part in over('loss = ["l2"]', "loss=").loss] == ["l1"]  # the default, not the base's
    assert base("title=").title == "x"
    assert base("seed=3", "seed=").seed == 0
    assert base("seed=", "seed=3").seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.degradatoin=", "--set data.degradatoin=: unknown key 'degradatoin'; did you mean 'degradation'?"),
        ("archtecture.type=", "--set archtecture.type=: unknown key 'archtecture'; did you mean 'architecture'?"),
        (
            "architecture.faetures=",
            "--set architecture.faetures=: unknown setting 'faetures' of architecture 'a2n'; did you mean 'features'?",
        ),
        ("train.steps=", "x.toml:22 with --set train.steps=: missing key 'steps'"),
        ("data=", "x.toml: missing key 'data'"),
    ],
)
def test_a_key_that_is_unknown_or_that_a_recipe_must_have_is_not_taken_away(override, message):
    assert problems(BASE, override) == (message,)


def test_a_component_by_name_has_settings_taken_away_as_well():
    part = read_part(installed(), "architecture", "a2n", ["features=3", "features="])
    assert part == read_part(installed(), "architecture", "a2n")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch=4", "unknown key 'batch'; did you mean 'data.batch'?"),
        ("steps=4", "unknown key 'steps'; did you mean 'train.steps'?"),
        ("data.seed=4", "unknown key 'seed'; did you mean 'seed' at the top level?"),
        ("train.patch=4", "unknown key 'patch'; did you mean 'data.patch'?"),
        ("lr=1e-4", "unknown key 'lr'; did you mean 'optimizer.lr'?"),
        ("loss=l1,l2", '\'loss\' must be an array, ["l1", "l2"], not "l1,l2"'),
        ("data.dataset.names=a*, b*", '\'names\' must be an array, ["a*", "b*"], not "a*, b*"'),
        ("loss.weight=-0.5", "'weight' must be at least 0, not -0.5"),
        (
            "data.dataset={ type = folder, path = ~/my photos }",
            "'dataset' must be a table in which text stands in quotes, "
            '{ type = "folder", path = "~/my photos" }, not "{ type = folder, path = ~/my photos }"',
        ),
        (
            "optimizer={type=adam, lr=1e-3}",
            "'optimizer' must be a table in which text stands in quotes, "
            '{type= "adam", lr=1e-3}, not "{type=adam, lr=1e-3}"',
        ),
        (
            "train={steps = many}",
            '\'train\' must be a table in which text stands in quotes, {steps = "many"}, not "{steps = many}"',
        ),
    ],
)
def test_a_usual_mistake_is_told_what_to_write(override, message):
    (found,) = [line for line in problems(BASE, override) if "missing" not in line]
    assert found == f"--set {override}: {message}"


def test_an_unknown_component_may_want_a_plugin_that_was_forgotten(tmp_path):
    names = installed_names("architecture")
    text = "--set architecture.type=mine: unknown architecture 'mine' (installed: {})"
    (found,) = problems(BASE, "architecture.type=mine")
    assert found == f"{text.format(names)}; if a one-file plugin has it, add -p FILE"
    Path("other.py").write_text(plugin('"architecture", "other", f"{__name__}:Other"'))
    with pytest.raises(RecipeError) as error:
        read_recipe("x.toml", discover(["other.py"]), overrides=["architecture.type=mine"])
    assert (
        str(error.value)
        == f"{text.format(names.replace(', pan', ', other, pan'))}; loaded with -p or SRKIT_PLUGINS: other.py"
    )


def test_a_path_that_is_not_there_is_named_at_the_override_that_gave_it():
    Path("base.toml").write_text(BASE)
    overrides = ["data.dataset.path=gone", "data.dataset.type=folder", "validate=", "seed=1"]
    with pytest.raises(RecipeError) as error:
        Builder(installed()).load("base.toml", overrides=overrides)
    assert error.value.problems == (f"--set data.dataset.path=gone: gone: is not there; looked for in {Path.cwd()}",)


def test_of_two_values_for_one_key_the_last_counts():
    assert base("seed=1", "seed=2").seed == 2
    assert problems(BASE, "seed=1", "seed=-2")[0].startswith("--set seed=-2: ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["metric.type=psnr"], "--set metric.type=psnr: metric has 2 entries; write the index, as in metric.0.type"),
        (
            ["data.augment.type=rot90"],
            "--set data.augment.type=rot90: data.augment has 2 entries; write the index, as in data.augment.0.type",
        ),
        (
            ["loss.1.weight=2"],
            "--set loss.1.weight=2: loss has 1 entry, counted from 0; to add one, give the whole array",
        ),
        (
            ["architecture=edsr", "architecture.blocks=3"],
            "architecture.blocks=3: another --set gives architecture a value; write architecture.type=edsr",
        ),
        (
            ["architecture.blocks=3", "architecture=edsr"],
            "--set architecture=edsr: another --set gives a key of architecture a value",
        ),
        (
            ["loss.0=l1", "loss.weight=2"],
            "--set loss.weight=2: another --set gives loss.0 a value; write loss.0.type=l1",
        ),
        (['loss=["l2"]', "loss.weight=2"], "--set loss.weight=2: another --set gives loss a value"),
        (["loss.weight=2", 'loss=["l2"]'], '--set loss=["l2"]: another --set gives a key of loss a value'),
        *(
            ([text], f"--set {text}: write KEY=VALUE, as in --set train.steps=500")
            for text in ("", "=", "=1", "seed", "a b=1", "a..b=1", ".a=1", "a.=1", "[a]=1", "a#=1", '"a=1', "ä=1")
        ),
        (["a\nseed=1"], "--set a\\nseed=1: write KEY=VALUE, as in --set train.steps=500"),
        (["\x1b[31m=1"], "--set \\x1b[31m=1: write KEY=VALUE, as in --set train.steps=500"),
        (["title=\udcff"], "--set title=\\udcff: is not UTF-8"),
        (["a" * 300], f"--set {'a' * 97}...: write KEY=VALUE, as in --set train.steps=500"),
        (["a" + ".a" * 300 + "=1"], f"--set {('a.' * 50)[:97]}...: write KEY=VALUE, as in --set train.steps=500"),
    ],
)
def test_an_override_that_cannot_be_meant_so_is_refused(overrides, message):
    assert refused(*overrides).removeprefix("--set ") == message.removeprefix("--set ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.setps=5"], "--set train.setps=5: unknown key 'setps'; did you mean 'steps'?"),
        (["train.steps=many"], "--set train.steps=many: 'steps' must be an integer, not \"many\""),
        (
            ["architecture.type=edrs"],
            "--set architecture.type=edrs: unknown architecture 'edrs'; did you mean 'edsr'? "
            f"(installed: {installed_names('architecture')})",
        ),
        (
            ["architecture=edrs"],
            "--set architecture=edrs: unknown architecture 'edrs'; did you mean 'edsr'? "
            f"(installed: {installed_names('architecture')})",
        ),
        (
            ['loss=["l1l"]'],
            f"--set loss=[\"l1l\"]: unknown loss 'l1l'; did you mean 'l1'? (installed: {LOSSES})",
        ),
        (
            ["loss.type=l1l"],
            f"--set loss.type=l1l: unknown loss 'l1l'; did you mean 'l1'? (installed: {LOSSES})",
        ),
        (
            ["loss=[l1,l2]"],
            '--set loss=[l1,l2]: \'loss\' must be an array in which text stands in quotes, ["l1", "l2"], not "[l1,l2]"',
        ),
        (["loss=l2"], '--set loss=l2: \'loss\' must be an array, ["l2"], not "l2"'),
        (
            ["schedule.type=multistep"],
            "--set schedule.type=multistep: missing setting 'milestones' of schedule 'multistep' (list of integers)",
        ),
        (
            ["schedule=multistep"],
            "--set schedule=multistep: missing setting 'milestones' of schedule 'multistep' (list of integers)",
        ),
        (
            ["schedule.type=multistep", "schedule.milestones=[5,'x']"],
            "--set schedule.milestones=[5,'x']: entry 1 of 'milestones' must be an integer, not \"x\"",
        ),
        (["scale=5"], "--set scale=5: architecture 'a2n' has scales 2, 3, 4, not 5"),
        (["train.accumulate=3"], "--set train.accumulate=3: accumulate is 3, which does not divide data.batch, 16"),
        (["data.patch.x=5"], "x.toml:16 with --set data.patch.x=5: 'patch' must be an integer, not a table"),
        (['loss."²".weight=1'], None),
        ([f"loss.{'9' * 5000}=1"], None),
        ([f"seed={'9' * 5000}"], None),
        (
            [f"seed=0x{'f' * 5000}"],
            "--set seed=0x" + "f" * 90 + "...: 'seed' must be an integer, not one of more than 64 bits",
        ),
        (["a=" + "[" * 3000], None),
        (["extends=other.toml"], None),
    ],
)
def test_a_problem_that_comes_from_an_override_says_so(overrides, message):
    (found,) = problems(BASE, *overrides)
    assert "--set" in found
    assert message is None or found == message


def test_problems_of_overrides_come_after_those_of_the_files():
    assert problems(f"{BASE}clip = -1\n", "seed=x", "train.ema=1", "train.kepe=1") == (
        "x.toml:25: 'clip' must be at least 0, not -1.0",
        "--set seed=x: 'seed' must be an integer, not \"x\"",
        "--set train.ema=1: 'ema' must be at least 0 and below 1, not 1.0",
        "--set train.kepe=1: unknown key 'kepe'; did you mean 'keep'?",
    )


# the short form


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ('architecture = "edsr"', 'architecture = { type = "edsr" }'),
        ('loss = ["l1", "l2"]', 'loss = [{ type = "l1" }, { type = "l2" }]'),
        ('loss = ["l1", { type = "l2", weight = 2 }]', '[[loss]]\ntype = "l1"\n[[loss]]\ntype = "l2"\nweight = 2'),
        ('metric = ["psnr"]', '[[metric]]\ntype = "psnr"'),
        ('optimizer = "sgd"', '[optimizer]\ntype = "sgd"'),
        ('schedule = "cosine"', '[schedule]\ntype = "cosine"'),
        ('observer = ["log"]', '[[observer]]\ntype = "log"'),
        ('data.dataset = "leaves"', 'data.dataset = { type = "leaves" }'),
        ('data.degradation = "bicubic"', '[data.degradation]\ntype = "bicubic"'),
        ('data.augment = ["hflip"]', '[[data.augment]]\ntype = "hflip"'),
        (
            'validate = [{ name = "a", dataset = "leaves" }]',
            '[[validate]]\nname = "a"\ndataset = { type = "leaves" }',
        ),
    ],
)
def test_a_component_by_its_name_is_a_table_with_its_type(short, long):
    assert over(short) == over(long)
    key, _, value = short.partition(" = ")
    assert over("", f"{key}={value}") == over(long)


@pytest.mark.parametrize(
    ("text", "stage", "path"),
    [
        ("train.steps=5", "", ("train", "steps")),
        ("x2:train.steps=5", "x2", ("train", "steps")),
        ("my x2.v1:train.steps=a:b", "my x2.v1", ("train", "steps")),
        ("a:b:train.steps=5", "a:b", ("train", "steps")),
        ('loss."a:b"=5', "", ("loss", "a:b")),
        ('x2:loss."a:b"=5', "x2", ("loss", "a:b")),
    ],
)
def test_a_stage_stands_before_the_key(text, stage, path):
    override = Override.parse(text)
    assert (override.stage, override.path, override.text) == (stage, path, text)


@pytest.mark.parametrize("text", [":train.steps=5", "x2:=5", "x2:train..steps=5", "x2:"])
def test_a_stage_without_a_key_is_an_error(text):
    assert refused(text) == f"--set {text}: write KEY=VALUE, as in --set train.steps=500"


@pytest.mark.parametrize("value", ["runs/x2", "my runs/x2", "it's", "5", "true", "", " ", 'a"b', "2024-01-01"])
def test_what_is_advised_gives_the_key_that_text(value):
    option, word = shlex.split(as_set("x2:start.weights", value))
    assert option == "--set"
    override = Override.parse(word)
    assert override.stage == "x2"
    assert override.value == value if value else override.value is REMOVED
