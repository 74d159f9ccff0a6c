"""The plugins that `srkit new plugin` writes: each kind's is installed, listed, tested and trained as it is."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import srkit
from srkit.cli.scaffold import COMPANIONS, EXAMPLES, LONGEST, PYTHON, TEMPLATES, requirement
from srkit.files import Operation, watched
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.settings import read_settings
from tests.conftest import HANGS, ROOT, plugin

LONG = "x" * LONGEST


@pytest.fixture
def new(call, tmp_path):
    """Run `srkit new plugin ...` and return the folder that it made."""

    def make(name: str, *options: str) -> Path:
        before = set(tmp_path.iterdir())
        code, _, err = call("new", "plugin", name, *options)
        assert (code, err) == (0, "")
        (made,) = set(tmp_path.iterdir()) - before
        return made

    return make


@pytest.fixture
def install(sites):
    """Put a plugin's package and entry point where pip would."""

    def put(folder: Path) -> None:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        ((key, module),) = project["entry-points"]["srkit"].items()
        shutil.copytree(folder / module, sites.folder / module)
        sites.add(project["name"], {}, f"{key} = {module}", version=project["version"])

    return put


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_was_written_and_what_to_type_next_is_told(call, tmp_path):
    assert call("new", "plugin", "my_net") == (0, TOLD, "")
    told = TOLD.partition("\n\n")[0].splitlines()
    assert files(tmp_path) == told


TOLD = """\
srkit-my-net/.gitignore
srkit-my-net/README.md
srkit-my-net/pyproject.toml
srkit-my-net/recipe.toml
srkit-my-net/srkit_my_net/__init__.py
srkit-my-net/srkit_my_net/network.py
srkit-my-net/tests/test_contract.py

next:
    pip install -e 'srkit-my-net[test]'
    pytest srkit-my-net
    srkit show my_net
    srkit run srkit-my-net/recipe.toml --out runs/my_net
"""


def test_the_folder_may_be_another(call, tmp_path):
    code, out, _ = call("new", "plugin", "my_net", "--to", "plugins/my net")
    assert code == 0
    assert out.endswith("    srkit run 'plugins/my net/recipe.toml' --out runs/my_net\n")
    assert {path.name for path in (tmp_path / "plugins").iterdir()} == {"my net"}


def test_the_names_of_component_distribution_and_module_mean_the_same(new):
    texts = []
    for name in ("my_net", "my-net", "srkit-my-net", "srkit_my_net"):
        folder = new(name)
        assert folder.name == "srkit-my-net"
        texts.append({name: (folder / name).read_bytes() for name in files(folder)})
        shutil.rmtree(folder)
    assert texts == [texts[0]] * 4


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_written_plugin_is_listed_with_its_summary(new, install, call, kind):
    install(new("mine", "--kind", kind))
    _, out, err = call("list", kind)
    words = ["mine", *EXAMPLES[kind][1].split(), "srkit-mine", "0.1.0"]
    assert words in [line.split()[-len(words) :] for line in out.splitlines()]
    assert (err, "broken" in out) == ("", False)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_setting_of_a_written_plugin_says_what_it_means(new, install, kind):
    install(new("mine", "--kind", kind))
    settings = read_settings(discover().find(kind, "mine").component.load(), KINDS[kind].given)
    assert settings
    assert all(setting.doc for setting in settings.values())


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_written_plugin_is_shown(new, install, call, kind):
    install(new("mine", "--kind", kind))
    code, out, err = call("show", "mine")
    assert (code, err) == (0, "")
    assert out.startswith(f"mine  {EXAMPLES[kind][1]}\n{kind} of srkit-mine 0.1.0\n")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_recipe_of_a_written_plugin_is_checked_and_run(new, install, call, kind):
    recipe = new("mine", "--kind", kind) / "recipe.toml"
    install(recipe.parent)
    assert 'type = "mine"' in recipe.read_text()
    few = ["--set", "data.dataset.count=2"]
    assert call("check", recipe, *few)[0] == 0
    assert call("run", recipe, *few, "--set", "train.steps=4", "--set", "train.device=cpu", "--out", "run")[0] == 0


def test_the_tests_of_all_kinds_pass(new, install):
    folders = [new(f"my_{kind}", "--kind", kind) for kind in EXAMPLES]
    for folder in folders:
        install(folder)
    # As importlib finds them, since in one process the files' names must not be modules.
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *folders], capture_output=True, text=True, timeout=HANGS
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_written_plugin_is_installed_by_pip_and_tested_from_the_folder_above(new, tmp_path):
    if not {"pip", "setuptools"} <= {found.name for found in importlib.metadata.distributions()}:
        pytest.skip("this environment has no pip, or no setuptools, to install without the network")
    folder = new("mine", "--kind", "loss")
    python = virtual_environment(tmp_path / "env")

    def run(*arguments: str) -> str:
        command = [python, "-m", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    offline = ["--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--quiet"]
    run("pip", "install", *offline, "-e", f"{folder.name}[test]")
    assert f" {folder.name} 0.1.0" in run("srkit", "list", "loss").replace("  ", " ")
    assert "passed" in run("pytest", folder.name)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir() and "." not in path.name) == [
        "srkit_mine",
        "tests",
    ]


def virtual_environment(folder: Path) -> str:
    """Make an environment that has all packages of this one, pip included; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=HANGS)
    (site,) = folder.glob("lib/python*/site-packages")
    # addsitedir reads the .pth files there too: srkit itself may be installed by one.
    (site / "base.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return str(folder / "bin" / "python")


@pytest.mark.parametrize("name", ["x", LONG], ids=["short", "long"])
def test_what_is_written_is_formatted_and_has_nothing_for_ruff_to_say(new, tmp_path, name):
    for kind in EXAMPLES:
        new(name, "--kind", kind, "--to", f"of-{kind}")
    for command in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", tmp_path],
            capture_output=True,
            text=True,
            timeout=HANGS,
        )
        assert run.returncode == 0, run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_written_types_are_right(new, monkeypatch, kind):
    folder = new("mine", "--kind", kind)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "srkit_mine"],
        capture_output=True,
        text=True,
        timeout=HANGS,
        cwd=folder,
    )
    assert run.stdout == "Success: no issues found in 2 source files\n"


def test_every_kind_has_its_templates_and_every_template_a_kind():
    assert {path.name for path in TEMPLATES.iterdir()} == {*EXAMPLES, "common"}
    assert EXAMPLES.keys() == COMPANIONS.keys()
    assert {path.suffix for path in TEMPLATES.rglob("*") if path.is_file()} == {".txt"}


def test_the_templates_are_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {path for pattern in settings["package-data"]["srkit"] for path in (ROOT / "srkit").glob(pattern)}
    assert set(TEMPLATES.rglob("*.txt")) <= packed


def test_a_plugin_wants_the_python_and_the_srkit_that_it_was_written_with(new):
    project = tomllib.loads((new("mine") / "pyproject.toml").read_text())["project"]
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == own["requires-python"] == f">={PYTHON}"
    assert project["dependencies"] == [requirement(srkit.__version__)]


@pytest.mark.parametrize(
    ("version", "required"),
    [("0.1.0", "srkit>=0.1,<0.2"), ("0.12.3", "srkit>=0.12,<0.13"), ("1.4.2", "srkit>=1.4,<2")],
)
def test_what_is_required_ends_where_srkit_may_break_it(version, required):
    assert requirement(version) == required


@pytest.mark.parametrize(
    ("kind", "name", "class_name"),
    [("architecture", "my_net", "MyNetNetwork"), ("loss", "none", "NoneLoss"), ("loss", "edge_loss", "EdgeLoss")],
)
def test_the_class_says_what_it_is_and_so_is_no_word_of_pythons(new, kind, name, class_name):
    folder = new(name, "--kind", kind)
    code = (folder / f"srkit_{name}" / f"{EXAMPLES[kind][0]}.py").read_text()
    assert f"\nclass {class_name}" in code


RULE = f"small letters, digits and single underscores, a letter first, at most {LONGEST} characters"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MyNet", "; did you mean 'my_net'?"),
        ("my net", "; did you mean 'my_net'?"),
        ("srkit-My--Net_", "; did you mean 'my_net'?"),
        ("2x", "; did you mean 'x'?"),
        ("plugins/mine", "; did you mean 'plugins_mine'?"),
        ("srkit-", ""),
        ("", ""),
        ("ß", ""),
        (LONG + "x", ""),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_rule_and_the_nearest(call, tmp_path, name, hint):
    message = f"srkit new: '{name}' is no name for a component: {RULE}{hint}\n"
    assert call("new", "plugin", name) == (2, "", message)
    assert not list(tmp_path.iterdir())


def test_a_keyword_is_refused_with_a_name_that_is_none(call):
    message = "srkit new: 'srkit-lambda' is a keyword of Python; write 'lambda_loss'\n"
    assert call("new", "plugin", "srkit-lambda", "--kind", "loss") == (2, "", message)


def test_a_name_that_a_component_of_the_kind_has_is_refused(call):
    message = (
        f"srkit new: architecture 'a2n' of srkit {srkit.__version__} is installed already; "
        "write another name, 'my_a2n' say\n"
    )
    assert call("new", "plugin", "a2n") == (2, "", message)


def test_a_name_that_a_component_of_another_kind_has_is_taken(new):
    assert new("bicubic", "--kind", "metric").name == "srkit-bicubic"


def test_a_name_that_a_distribution_has_is_refused(call, sites):
    sites.add("srkit-mine", {"other.py": plugin('"loss", "odd", "other:make"')}, "odd = other", version="2.1")
    message = "srkit new: distribution srkit-mine 2.1 is installed already; write another name, 'my_mine' say\n"
    assert call("new", "plugin", "mine") == (2, "", message)


def test_a_name_that_a_module_has_is_refused(call):
    spec = importlib.util.find_spec("srkit_metrics")
    assert spec is not None
    message = (
        f"srkit new: module srkit_metrics ({spec.origin}) is installed already; write another name, 'my_metrics' say\n"
    )
    assert call("new", "plugin", "metrics") == (2, "", message)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("los", "unknown kind 'los'; did you mean 'loss'?"),
        ("", "unknown kind ''; there are: architecture, dataset, degradation, loss, metric"),
        (
            "observer",
            "there is no example of kind 'observer'; there are: architecture, dataset, degradation, loss, metric",
        ),
    ],
)
def test_a_kind_without_an_example_is_refused(call, kind, message):
    assert call("new", "plugin", "mine", "--kind", kind) == (2, "", f"srkit new: {message}\n")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_overwritten(call, tmp_path, make):
    target = tmp_path / "srkit-mine"
    make(target)
    message = "srkit new: srkit-mine is there already; remove it first, or give another --to\n"
    assert call("new", "plugin", "mine") == (2, "", message)
    assert list(tmp_path.rglob("*")) == [target]


def test_a_folder_with_the_modules_name_is_refused(call, tmp_path):
    message = "srkit new: here/srkit_my_net has the name of its own module; write --to here/srkit-my-net\n"
    assert call("new", "plugin", "my_net", "--to", "here/srkit_my_net") == (2, "", message)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(call, tmp_path):
    (tmp_path / "file").touch()
    message = "srkit new: file/mine: cannot be written: Not a directory\n"
    assert call("new", "plugin", "mine", "--to", "file/mine") == (1, "", message)


def test_of_a_folder_that_could_not_be_finished_nothing_is_left(call, tmp_path):
    def full(operation: Operation) -> None:
        if operation.more == Path("srkit-mine"):
            raise OSError(28, "No space left on device")

    message = "srkit new: srkit-mine: cannot be written: No space left on device\n"
    with watched(full):
        assert call("new", "plugin", "mine") == (1, "", message)
    assert not list(tmp_path.iterdir())


def test_a_misspelt_option_names_the_nearest(call):
    message = "srkit new: unknown argument '--kin'; did you mean '--kind'?\n"
    assert call("new", "plugin", "mine", "--kin", "loss") == (2, "", message)
