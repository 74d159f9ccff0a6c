"""The plugins under examples/: each is installed, listed, tested, trained and used as it stands there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

import srkit
from srkit.cli import main
from srkit.cli.scaffold import TEMPLATES, requirement
from srkit.errors import Stopped
from srkit.plugin.discovery import discover
from tests.cli.test_new_plugin import virtual_environment
from tests.conftest import HANGS, ROOT, photograph
from tests.test_readme import blocks, commands

EXAMPLES = ROOT / "examples"
# What each distribution has: the kind and the name of its component.
DISTRIBUTIONS = {
    "srkit-fsrcnn": ("architecture", "fsrcnn"),
    "srkit-uncertainty": ("loss", "uncertainty_l1"),
}
FEW = ["--set", "data.dataset.count=2", "--set", "validate.0.dataset.count=1"]
SHORT = [*FEW, "--set", "train.steps=4", "--set", "train.device=cpu"]


def project(name: str) -> dict:
    return tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())["project"]


@pytest.fixture
def installed(sites):
    """All distributions, where pip would put them."""
    for name in DISTRIBUTIONS:
        told = project(name)
        ((key, module),) = told["entry-points"]["srkit"].items()
        shutil.copytree(EXAMPLES / name / module, sites.folder / module, ignore=shutil.ignore_patterns("__pycache__"))
        sites.add(name, {}, f"{key} = {module}", version=told["version"], requires=told["dependencies"])


@pytest.fixture
def call(installed, tmp_path, monkeypatch, capsys):
    """Run `srkit ...` here, in a copy of the examples with photographs; return (exit code, stdout, stderr)."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "runs"))
    for reader in (folder, *filter(Path.is_dir, list(folder.iterdir()))):
        (reader / "Set5").mkdir()
        Image.fromarray(photograph(1, 48, 60)).save(reader / "Set5/one.png")
        Image.fromarray(photograph(2, 40, 60)).save(reader / "photo.jpg")
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def test_every_example_is_in_the_table_and_every_distribution_in_these_tests():
    files = {path.name for path in EXAMPLES.glob("*.ipynb")}
    folders = {path.name for path in EXAMPLES.iterdir() if (path / "README.md").is_file()}
    linked = re.findall(r"^\| \[\S+\]\((\S+)\)", (EXAMPLES / "README.md").read_text(), re.M)
    assert sorted(linked) == sorted(files | folders)
    assert {path.parent.name for path in EXAMPLES.glob("*/pyproject.toml")} == set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_folder_distribution_module_and_component_have_the_names_of_the_house(name):
    told, component = project(name), DISTRIBUTIONS[name][1]
    module = name.replace("-", "_")
    assert told["name"] == name
    assert told["entry-points"]["srkit"] == {component: module}
    assert (EXAMPLES / name / module / "__init__.py").is_file()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_example_wants_the_python_and_the_srkit_that_it_was_written_with(name):
    told = project(name)
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told["dependencies"] == [requirement(srkit.__version__)]
    assert (told["requires-python"], told["license"]) == (own["requires-python"], own["license"])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_an_example_has_the_files_of_a_new_plugin(name):
    module = name.replace("-", "_")
    files = {path.relative_to(EXAMPLES / name).as_posix() for path in (EXAMPLES / name).rglob("*") if path.is_file()}
    for wanted in (".gitignore", "README.md", "pyproject.toml", "recipe.toml", "tests/test_contract.py"):
        assert wanted in files
    assert f"{module}/__init__.py" in files
    assert (EXAMPLES / name / ".gitignore").read_text() == (TEMPLATES / "common/gitignore.txt").read_text()


def test_the_examples_are_listed_and_no_row_is_broken(call):
    code, out, err = call("list", "--json")
    told = json.loads(out)
    found = {(row["distribution"], row["version"]): (row["kind"], row["name"]) for row in told["components"]}
    assert {name: found[name, project(name)["version"]] for name in DISTRIBUTIONS} == DISTRIBUTIONS
    assert (code, told["failures"], err) == (0, [], "")


def test_the_tests_of_the_examples_pass(installed, tmp_path):
    # As importlib finds them, since in one process the files' names must not be modules.
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib"]
    folders = [EXAMPLES / name for name in DISTRIBUTIONS]
    command = [sys.executable, "-B", "-m", "pytest", *options, *folders]
    run = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_contract_of_the_one_file_passes(call):
    code, out, _ = call("-p", "one_file/tiny.py", "check-plugin")
    assert (code, out.splitlines()[0]) == (0, "tiny  architecture of tiny.py")


def test_the_tests_of_the_examples_are_not_collected_with_those_of_srkit():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests"]


@pytest.mark.parametrize("folder", [".", "one_file", *DISTRIBUTIONS])
def test_every_command_of_a_readme_runs(folder, call, monkeypatch):
    monkeypatch.chdir(folder)
    ran = []
    for language, _, text in blocks(Path("README.md").read_text(encoding="utf-8")):
        assert language == "sh"
        for words in commands(text):
            if words[0] in ("pip", "pytest"):
                continue
            assert words[0] == "srkit"
            short = SHORT if "run" in words else []
            if "check-plugin" not in words:  # a test of its own
                code, _, err = call(*words[1:], *short)
                assert code == 0, (words, err)
            ran.append(words)
    assert len(ran) >= 3
    for words in ran:
        if "upscale" in words:
            with Image.open("out/photo.jpg") as picture:
                assert picture.size == (120, 80)


def test_a_run_that_was_stopped_goes_on_with_what_the_loss_has_learnt(installed, tmp_path):
    # An observer that asks the process to stop, as Ctrl-C does.
    stopper = tmp_path / "stopper.py"
    stopper.write_text(
        "import os, signal, srkit\n"
        "class Stopper:\n"
        "    def logged(self, step, values):\n        if step == 2: os.kill(os.getpid(), signal.SIGTERM)\n"
        "@srkit.hookimpl\ndef srkit_components():\n"
        "    yield srkit.Component('observer', 'stopper', f'{__name__}:Stopper')\n"
    )
    registry = discover([str(stopper)])
    settings = ["data.dataset.count=2", "validate=[]", "train.deterministic=run", "train.device=cpu"]
    settings += ["train.steps=6", "train.log_every=1"]

    def train(out: str, *observers: str) -> dict[str, bytes]:
        recipe = EXAMPLES / "srkit-uncertainty" / "recipe.toml"
        srkit.run(recipe, out=tmp_path / out, set=settings, observers=observers, registry=registry)
        files = ("last.safetensors", *(f"checkpoints/step_00000006/{name}.safetensors" for name in PARTS))
        return {file: (tmp_path / out / file).read_bytes() for file in files}

    with pytest.raises(Stopped):
        train("stopped", "stopper")
    assert train("stopped") == train("straight")


PARTS = ("losses", "optimizer", "weights")


@pytest.mark.slow
def test_the_examples_are_installed_by_pip(tmp_path):
    if not {"pip", "setuptools"} <= {found.name for found in importlib.metadata.distributions()}:
        pytest.skip("this environment has no pip, or no setuptools, to install without the network")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    python = virtual_environment(tmp_path / "env")

    def run(*arguments: str) -> str:
        command = [python, "-m", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, cwd=tmp_path / "examples")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    offline = ["--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--quiet"]
    run("pip", "install", *offline, *(part for name in DISTRIBUTIONS for part in ("-e", f"{name}[test]")))
    told = json.loads(run("srkit", "list", "--json"))
    assert {*DISTRIBUTIONS} <= {row["distribution"] for row in told["components"]}
    assert told["failures"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_types_of_an_example_are_right(name, monkeypatch):
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, name.replace("-", "_")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, cwd=EXAMPLES / name)
    assert run.stdout == "Success: no issues found in 2 source files\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "gain"),  # in dB; the READMEs have 1.57, 1.72 and 2.84
    [("one_file/tiny.toml", 1.2), ("srkit-fsrcnn/recipe.toml", 1.2), ("srkit-uncertainty/recipe.toml", 2.4)],
)
def test_a_recipe_ends_well_above_bicubic(recipe, gain, installed, tmp_path):
    registry = discover([str(EXAMPLES / "one_file/tiny.py")])
    result = srkit.run(EXAMPLES / recipe, out=tmp_path / "run", set=["train.device=cpu"], registry=registry)
    own, bicubic = (row["mean"]["psnr_y"] for row in result.tables[0]["rows"])
    assert own > bicubic + gain
