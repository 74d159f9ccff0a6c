import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib

import attrs
import pytest

import srkit
from srkit.errors import ComponentError, RecipeError, UsageError
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.recipe.reading import read_recipe
from srkit.recipe.recipe import PARTS
from tests.conftest import ROOT, installed_names, plugin

GOOD = plugin('"loss", "good", "srkit_good:make", summary="a good one"')

BROKEN = {
    "raises": ("raise ValueError('not today')", "ValueError: not today ({file}:1)"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3 ({file}:1)"),
    "imports": ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing' ({file}:1)"),
    "syntax": ("def (:", "SyntaxError: invalid syntax ({file}:1)"),
    "nohook": ("x = 1", "it has no hook srkit_components; is @srkit.hookimpl missing?"),
    "kind": (
        plugin('"los", "x", "a:b"'),
        "ComponentError: los 'x': unknown kind 'los'; did you mean 'loss'?",
    ),
    "fact": (
        plugin('"loss", "x", "a:b", facts={"reducton": "sum"}'),
        "ComponentError: loss 'x': unknown fact 'reducton'; did you mean 'reduction'?",
    ),
    "facttype": (
        plugin('"architecture", "x", "a:b", facts={"scales": 4}'),
        "ComponentError: architecture 'x': its fact 'scales' must be a list of integers, not 4",
    ),
    "target": (
        plugin('"loss", "x", "a/b.py"'),
        "ComponentError: loss 'x': its target is 'a/b.py'; write \"package.module:Name\"",
    ),
    "summary": (
        plugin('"loss", "x", "a:b", summary=None'),
        "ComponentError: loss 'x': its summary must be text, not None",
    ),
    "name": (
        plugin('"loss", "x" * 10**6, "a:b"'),
        f"ComponentError: loss '{'x' * 20}…': a name has at most 200 characters",
    ),
    "class": (
        plugin('"loss", "x", dict'),
        'ComponentError: loss \'x\': its target must be a string, "package.module:Name" or f"{__name__}:Name"',
    ),
    "twice": (
        plugin('"loss", "x", "a:b"\n"loss", "x", "a:c"'),
        "ComponentError: srkit-twice 1.0 gives loss 'x' twice",
    ),
    "hookraises": (
        "import srkit\n@srkit.hookimpl\ndef srkit_components():\n    raise KeyError('x')\n",
        "KeyError: 'x' ({file}:4)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_does_not_hide_the_others(sites, name):
    text, reason = BROKEN[name]
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good")
    sites.add(f"srkit-{name}", {f"srkit_{name}.py": text}, f"{name} = srkit_{name}")
    registry = discover()
    assert registry.find("loss", "good").origin.distribution == "srkit-good"
    assert registry.find("architecture", "a2n").origin.distribution == "srkit"
    reason = reason.replace("{file}", f"{sites.folder}/srkit_{name}.py")
    assert [(f.plugin, str(f.origin), f.reason) for f in registry.failures] == [(name, f"srkit-{name} 1.0", reason)]


STATE = {
    "torch's default dtype": "torch.set_default_dtype(torch.float64)",
    "torch's default device": "torch.set_default_device('meta')",
    "whether torch keeps gradients": "torch.set_grad_enabled(False)",
    "torch's deterministic mode": "torch.use_deterministic_algorithms(True)",
}
CHANGED = "importing it changes {}, on which all depend (it was set back)"


@pytest.mark.parametrize(("what", "change"), STATE.items())
def test_a_plugin_that_changes_torch_for_everybody_is_broken_and_torch_is_as_it_was(sites, what, change):
    import torch

    sites.add("srkit-greedy", {"srkit_greedy.py": f"import torch\n{change}\n{GOOD}"}, "greedy = srkit_greedy")
    (failure,) = discover().failures
    assert failure.reason == CHANGED.format(what)
    assert (torch.get_default_dtype(), str(torch.get_default_device())) == (torch.float32, "cpu")
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_file_that_changes_torch_for_everybody_is_refused_also_where_it_imports_torch_first(srkit_command, tmp_path):
    (tmp_path / "greedy.py").write_text(f"import torch\ntorch.set_default_dtype(torch.float64)\n{GOOD}")
    found = srkit_command("-p", "greedy.py", "list")
    assert (found.returncode, found.stderr) == (
        2,
        f"srkit list: -p greedy.py: {CHANGED.format(next(iter(STATE)))}\n",
    )


def test_a_misspelled_target_is_told_with_the_nearest_name(sites):
    text = plugin('"loss", "mine", "srkit_mine_loss:Los"')
    files = {"srkit_mine.py": text, "srkit_mine_loss.py": "class Loss: ...\n"}
    sites.add("srkit-mine", files, "mine = srkit_mine")
    with pytest.raises(ComponentError) as error:
        discover().create("loss", "mine")
    assert str(error.value) == (
        "loss 'mine' cannot be used: importing srkit_mine_loss:Los failed with "
        "AttributeError: module 'srkit_mine_loss' has no attribute 'Los'; did you mean 'srkit_mine_loss:Loss'?"
    )


def test_a_malformed_entry_point_is_a_failure_of_its_own(sites):
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good")
    sites.add("srkit-odd", {}, "odd = = srkit odd")
    registry = discover()
    assert registry.find("loss", "good")
    assert str(registry.failures[0]) == (
        "plugin 'odd = = srkit odd' of srkit-odd 1.0 failed to load: "
        "malformed entry point 'odd = = srkit odd'; write name = module"
    )


def test_a_hook_of_a_wrong_name_is_named(sites):
    text = "import srkit\n@srkit.hookimpl\ndef srkit_component():\n    return []\n"
    sites.add("srkit-wrong", {"srkit_wrong.py": text}, "wrong = srkit_wrong")
    assert discover().failures[0].reason == "it has a hook 'srkit_component', and srkit's is called 'srkit_components'"


def test_a_hook_with_an_argument_that_it_is_not_given_is_named(sites):
    text = "import srkit\n@srkit.hookimpl\ndef srkit_components(registry):\n    return []\n"
    sites.add("srkit-wrong", {"srkit_wrong.py": text}, "wrong = srkit_wrong")
    assert discover().failures[0].reason == (
        "its hook srkit_components takes registry, and is given nothing: write srkit_components()"
    )


@pytest.mark.parametrize("needed", ["srkit>=9", "srkit (<0.1)", "SRKIT ==9.1 ; python_version > '3'"])
def test_a_plugin_for_another_srkit_is_not_loaded(sites, needed):
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good", requires=[needed])
    registry = discover()
    assert registry.by_name("good") == []
    told = needed.lower().partition(";")[0].removeprefix("srkit").strip(" ()")
    assert str(registry.failures[0]) == (
        f"plugin 'good' of srkit-good 1.0 failed to load: it is for srkit {told}, and this is srkit {srkit.__version__}"
    )


@pytest.mark.parametrize(
    "needed",
    ["srkit", f"srkit=={srkit.__version__}", "srkit>=9; extra == 'x'", "srkit-other>=9", "srkit ?? 3", "torch"],
)
def test_a_plugin_for_this_srkit_is_loaded_whatever_else_it_needs(sites, needed):
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good", requires=[needed])
    registry = discover()
    assert registry.failures == []
    assert registry.by_name("good")


def test_what_is_installed_beside_srkit_changes_no_recipe(sites):
    text = plugin('"architecture", "a2n", "srkit_evil:A2N"')
    sites.add("srkit-evil", {"srkit_evil.py": text}, "evil = srkit_evil")
    registry = discover()
    assert registry.find("architecture", "a2n").origin.distribution == "srkit"
    assert registry.find("architecture", "srkit-evil:a2n").origin.distribution == "srkit-evil"
    assert registry.clashes() == [
        "architecture 'a2n' of srkit-evil 1.0: another has that name; recipes call this one 'srkit-evil:a2n'"
    ]


def test_of_a_file_with_a_name_of_srkits_the_other_name_is_told_aloud(tmp_path, caplog):
    (tmp_path / "mine.py").write_text(plugin('"architecture", "a2n", f"{__name__}:A2N"'))
    registry = discover([str(tmp_path / "mine.py")])
    assert registry.find("architecture", "a2n").origin.distribution == "srkit"
    assert [record.getMessage() for record in caplog.records] == [
        "architecture 'a2n' of mine.py: another has that name; recipes call this one 'mine.py:a2n'"
    ]


def test_a_bare_name_is_of_those_that_recipes_mean_by_it(sites):
    for name in ("also", "good"):
        sites.add(f"srkit-{name}", {f"srkit_{name}.py": GOOD}, f"{name} = srkit_{name}")
    sites.add("srkit-evil", {"srkit_evil.py": plugin('"architecture", "a2n", "srkit_evil:A2N"')}, "evil = srkit_evil")
    registry = discover()
    assert [entry.full_name for entry in registry.by_name("a2n")] == ["srkit:a2n"]
    assert [entry.full_name for entry in registry.by_name("srkit-evil:a2n")] == ["srkit-evil:a2n"]
    assert {entry.full_name for entry in registry.by_name("good")} == {"srkit-also:good", "srkit-good:good"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("pass", "returns None"),
        ("return srkit.Component('loss', 'x', 'a:b')", "returns a component itself"),
        ("return 5", "returns a int"),
        ("return [('loss', 'x', 'a:b')]", "yields a tuple"),
    ],
)
def test_a_hook_that_gives_no_components_is_told_what_it_gives(sites, body, reason):
    text = f"import srkit\n@srkit.hookimpl\ndef srkit_components():\n    {body}\n"
    sites.add("srkit-wrong", {"srkit_wrong.py": text}, "wrong = srkit_wrong")
    assert discover().failures[0].reason == (
        f"its hook srkit_components {reason}: let it yield components, or return a list of them"
    )


def test_srkit_list_has_a_row_for_each_broken_plugin_and_each_clash_and_ends_well(sites, srkit_command):
    sites.add("srkit-evil", {"srkit_evil.py": plugin('"architecture", "a2n", "srkit_evil:A2N"')}, "evil = srkit_evil")
    for name, (text, _) in BROKEN.items():
        sites.add(f"srkit-{name}", {f"srkit_{name}.py": text}, f"{name} = srkit_{name}")
    sites.add("srkit-odd", {}, "odd = = srkit odd")
    sites.add("srkit-old", {"srkit_old.py": GOOD}, "old = srkit_old", requires=["srkit<0.1"])
    run = srkit_command("list")
    assert run.returncode == 0
    assert "a2n  " in run.stdout
    rows = [line for line in run.stdout.splitlines() if line.startswith("broken")]
    assert len(rows) == len(BROKEN) + 2
    for name, (_, reason) in BROKEN.items():
        reason = reason.replace("{file}", f"site/srkit_{name}.py")
        assert f"broken  plugin '{name}' of srkit-{name} 1.0 failed to load: {reason}" in rows
    assert [line for line in run.stdout.splitlines() if line.startswith("clash")] == [
        "clash   architecture 'a2n' of srkit-evil 1.0: another has that name; recipes call this one 'srkit-evil:a2n'"
    ]


def test_a_recipe_that_needs_a_broken_plugin_says_so_with_the_reason(sites, tiny):
    for name in ("raises", "exits"):
        sites.add(f"srkit-{name}", {f"srkit_{name}.py": BROKEN[name][0]}, f"{name} = srkit_{name}")
    with pytest.raises(RecipeError) as error:
        read_recipe(tiny, discover(), overrides=["architecture.type=raises"])
    assert str(error.value) == (
        "--set architecture.type=raises: unknown architecture 'raises' "
        f"(installed: {installed_names('architecture')}) "
        "(plugin 'raises' of srkit-raises 1.0 failed to load: ValueError: not today (site/srkit_raises.py:1))"
    )


def test_two_distributions_giving_one_name_are_told_apart(sites):
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good")
    sites.add("srkit-also", {"srkit_also.py": GOOD}, "also = srkit_also")
    registry = discover()
    with pytest.raises(ComponentError) as error:
        registry.find("loss", "good")
    assert str(error.value) == (
        "loss 'good' is given by srkit-also 1.0 and srkit-good 1.0; write 'srkit-also:good' or 'srkit-good:good'"
    )
    assert registry.find("loss", "srkit-also:good").origin.distribution == "srkit-also"


def test_an_unknown_component_names_the_nearest_and_what_failed_to_load(sites):
    sites.add("srkit-raises", {"srkit_raises.py": BROKEN["raises"][0]}, "raises = srkit_raises")
    registry = discover()
    with pytest.raises(ComponentError) as error:
        registry.find("architecture", "edrs")
    assert str(error.value) == (
        "unknown architecture 'edrs'; did you mean 'edsr'? "
        f"(installed: {installed_names('architecture')}) "
        "(plugin 'raises' of srkit-raises 1.0 failed to load: ValueError: not today "
        f"({sites.folder}/srkit_raises.py:1))"
    )


def test_an_unknown_component_near_to_none_lists_what_there_is():
    with pytest.raises(ComponentError) as error:
        discover().find("optimizer", "zzz")
    more = ["adan", "schedule_free"] if importlib.util.find_spec("pytorch_optimizer") else []
    names = ", ".join(sorted(["adam", "adamw", "sgd", *more]))
    assert str(error.value) == f"unknown optimizer 'zzz' (installed: {names})"


def test_a_plugin_never_comes_from_the_current_folder(sites, tmp_path, monkeypatch):
    evil = tmp_path / "downloaded"
    evil.mkdir()
    canary = tmp_path / "canary"
    sites.folder = evil
    sites.add("srkit-evil", {"srkit_evil.py": f"open({str(canary)!r}, 'w')\n" + GOOD}, "evil = srkit_evil")
    for environment in ({}, {"PYTHONPATH": ""}, {"PYTHONPATH": "."}):
        run = subprocess.run(
            [sys.executable, "-m", "srkit", "list", "--json"],
            cwd=evil,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        names = {component["distribution"] for component in json.loads(run.stdout)["components"]}
        assert names == {"srkit"}
        assert not canary.exists()


def test_a_file_is_a_plugin_for_one_command(tmp_path):
    path = tmp_path / "my_losses.py"
    path.write_text(
        "import srkit\n\n"
        "def half(): return lambda sr, hr: (sr - hr).abs().mean() / 2\n\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('loss', 'half', f'{__name__}:half')\n"
    )
    registry = discover([str(path)])
    assert str(registry.find("loss", "half").origin) == "my_losses.py"
    assert callable(registry.create("loss", "half"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "-p {path}: there is no such file"),
        ("x = 1", "-p {path}: it has no hook srkit_components; is @srkit.hookimpl missing?"),
        ("1 / 0", "-p {path}: importing it failed with ZeroDivisionError: division by zero ({path}:1)"),
    ],
)
def test_a_file_that_is_no_plugin_is_an_error(tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as error:
        discover([str(path)])
    assert str(error.value) == message.format(path=path)


def test_a_file_that_is_named_as_a_module_is_told_of_its_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_of_here.py").write_text(plugin('"loss", "half", "mine_of_here:half"'))
    for name, hint in (("mine_of_here", "; did you mean -p mine_of_here.py?"), ("mine_of_there", "")):
        with pytest.raises(UsageError) as error:
            discover([name])
        assert str(error.value) == f"-p {name}: there is no module '{name}'{hint}"


def test_a_file_may_import_its_neighbours_and_hides_nothing(tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("def half(): return lambda sr, hr: (sr - hr).abs().mean() / 2\n")
    (tmp_path / "json.py").write_text("raise SystemExit('not the json that was meant')\n")
    path = tmp_path / "with_neighbour.py"
    path.write_text("import json\nimport neighbour_of_mine\n" + plugin('"loss", "half", "neighbour_of_mine:half"'))
    assert callable(discover([str(path)]).create("loss", "half"))


def test_the_environment_names_files_too_and_a_broken_one_is_a_row(srkit_command, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(plugin(f'"loss", "{name}", f"{{__name__}}:make"'))
    (tmp_path / "bad.py").write_text("1 / 0")
    paths = [tmp_path / name for name in ("one.py", "two.py", "bad.py", "none.py", "one.py")]
    monkeypatch.setenv("SRKIT_PLUGINS", os.pathsep.join(map(str, paths)))
    run = srkit_command("-p", "one.py", "list", "loss", "--json")
    assert run.returncode == 0
    found = json.loads(run.stdout)
    assert [c["name"] for c in found["components"] if not c["distribution"].startswith("srkit")] == ["one", "two"]
    reason = "importing it failed with ZeroDivisionError: division by zero (bad.py:1)"
    assert [(f["plugin"], f["distribution"], f["reason"]) for f in found["failures"]] == [
        (str(tmp_path / "bad.py"), "SRKIT_PLUGINS", reason),
        (str(tmp_path / "none.py"), "SRKIT_PLUGINS", "there is no such file"),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("weights.pt", "is no Python file: its name does not end in .py"), ("folder.py", "is a folder, and no file")],
)
def test_what_is_no_python_file_is_no_plugin(tmp_path, name, reason):
    (tmp_path / "weights.pt").write_bytes(b"PK")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError) as error:
        discover([str(tmp_path / name)])
    assert str(error.value) == f"-p {tmp_path / name}: {reason}"


def test_every_plugin_folder_has_its_entry_point():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["srkit"]
    folders = {path.parent.name for path in (ROOT / "plugins").glob("srkit_*/__init__.py")}
    assert set(declared.values()) == folders
    installed = {e.value for e in importlib.metadata.distribution("srkit").entry_points if e.group == "srkit"}
    assert installed == folders


def test_no_plugin_of_srkit_fails_to_load():
    assert discover().failures == []


SETTABLE = "def make({}: float = 5.0): return lambda sr, hr: {}\n"


def reserved(kind, key):
    return (
        f"{kind} 'x' cannot be used: no recipe could set its parameter '{key}', since '{key}' in a table of kind "
        f"'{kind}' is srkit's own key; give the parameter another name"
    )


@pytest.mark.parametrize(("kind", "key"), [("loss", "weight"), ("loss", "type"), ("metric", "type")])
def test_a_setting_that_no_recipe_could_set_is_refused_where_the_target_is_first_seen(sites, tiny, kind, key):
    text = plugin(f'"{kind}", "x", "srkit_x_target:make"')
    sites.add("srkit-x", {"srkit_x.py": text, "srkit_x_target.py": SETTABLE.format(key, key)}, "x = srkit_x")
    registry = discover()  # no target is imported to list
    assert registry.failures == []
    with pytest.raises(ComponentError) as error:
        registry.create(kind, "x")
    assert str(error.value) == reserved(kind, key)
    with pytest.raises(RecipeError) as problems:
        read_recipe(
            tiny, registry, overrides=[f'{kind}=[{{type="x", {key}=0.001}}]' if key != "type" else f"{kind}=['x']"]
        )
    assert reserved(kind, key) in str(problems.value)


def test_in_a_file_such_a_setting_is_refused_at_once(tmp_path):
    path = tmp_path / "heavy.py"
    path.write_text(SETTABLE.format("weight", "weight") + plugin('"loss", "x", f"{__name__}:make"'))
    with pytest.raises(UsageError) as error:
        discover([str(path)])
    assert str(error.value) == f"-p {path}: ComponentError: {reserved('loss', 'weight')}"


def test_a_parameter_that_is_no_setting_may_have_any_name(tmp_path):
    path = tmp_path / "classes.py"
    text = "import torch\ndef make(*, type: torch.Tensor | None = None): return lambda sr, hr: type\n"
    path.write_text(text + plugin('"loss", "x", f"{__name__}:make"'))
    assert discover([str(path)]).create("loss", "x")(None, None) is None


def test_the_keys_of_a_kind_are_those_of_its_table_in_a_recipe():
    keys = {cls.kind: {field.name for field in attrs.fields(cls)} - {"settings"} for cls in PARTS}
    assert {kind: set(KINDS[kind].keys) for kind in keys} == keys


def test_a_hook_of_another_module_under_another_name_is_no_hook(tmp_path):
    (tmp_path / "with_hook.py").write_text(plugin('"loss", "theirs", "a:b"'))
    both = tmp_path / "with_both.py"
    both.write_text("from with_hook import srkit_components as parts\n" + plugin('"loss", "mine", "a:b"'))
    registry = discover([str(both)])
    assert [entry.component.name for entry in registry if entry.origin.is_file] == ["mine"]
    alone = tmp_path / "alone.py"
    alone.write_text("from with_hook import srkit_components as parts\n")
    with pytest.raises(UsageError) as error:
        discover([str(alone)])
    assert str(error.value) == f"-p {alone}: it has no hook srkit_components; is @srkit.hookimpl missing?"
    alone.write_text("from with_hook import srkit_components\n")  # its own, for whoever imports it
    assert discover([str(alone)]).by_name("theirs")


def test_what_merely_answers_to_every_name_is_no_hook(tmp_path):
    path = tmp_path / "with_mock.py"
    path.write_text("from unittest.mock import MagicMock\nanything = MagicMock()\n" + plugin('"loss", "mine", "a:b"'))
    assert discover([str(path)]).by_name("mine")


def test_a_plugin_that_needs_another_torch_is_not_loaded_and_torch_is_not_imported_to_know(sites):
    sites.add("srkit-new", {"srkit_new.py": GOOD}, "new = srkit_new", requires=["torch>=99"])
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good", requires=["torch>=1", "torchvision>=99"])
    program = (
        "import sys\nfrom srkit.plugin.discovery import discover\n"
        "print(*discover().failures)\nprint('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    version = importlib.metadata.version("torch")
    assert run.stdout == (
        f"plugin 'new' of srkit-new 1.0 failed to load: it is for torch >=99, and this is torch {version}\nFalse\n"
    )


@pytest.mark.parametrize(("least", "expected"), [(0.0, 1), (float("inf"), 0)])
def test_a_plugin_that_is_slow_to_load_is_named_with_its_seconds(sites, monkeypatch, least, expected):
    sites.add("srkit-good", {"srkit_good.py": GOOD}, "good = srkit_good")
    monkeypatch.setattr("srkit.plugin.discovery.SLOW", least)
    slow = [line for line in discover().slow if "srkit-good" in line]
    assert len(slow) == expected
    for line in slow:
        assert re.fullmatch(r"plugin 'good' of srkit-good 1\.0 takes \d+\.\d s to load, in every command", line)


def test_a_reason_is_a_line_and_not_a_book(sites):
    sites.add("srkit-long", {"srkit_long.py": "raise ValueError('x' * 10**6)"}, "long = srkit_long")
    (failure,) = discover().failures
    assert failure.reason == f"ValueError: {'x' * 987}…"
