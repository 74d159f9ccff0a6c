"""README and docs are executed: their commands, plugins and Python, page by page, each in an empty folder."""

from __future__ import annotations

import inspect
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path

import attrs
import pytest
from PIL import Image

from srkit.cli import VERBS, main
from srkit.plugin import component
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import installed
from srkit.recipe.layers import fields
from srkit.recipe.packaged import packaged_recipes
from srkit.recipe.recipe import Data, Recipe, Start, Train, Validate
from srkit.testing.page import page
from tests.conftest import HANGS, ROOT, photograph

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
RECIPES = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
TOGETHER = "\n".join([TEXT, *(path.read_text(encoding="utf-8") for path in DOCS)])


def blocks(text: str) -> list[tuple[str, str, str]]:
    """The language, the file's name or "", and the text of each example."""
    return re.findall(r'^```(\w+)(?: title="([^"\s]+)")?\n(.*?)^```$', text, re.M | re.S)


def commands(block: str) -> list[list[str]]:
    joined = block.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.strip() and line[0] != "#"]


def test_the_first_block_holds_the_two_commands_that_a_stranger_needs():
    language, _, text = blocks(TEXT)[0]
    assert language == "sh"
    assert text.splitlines() == [
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e . && srkit run recipes/quickstart.toml",
        "pip install -e '.[test]' && pytest",
    ]


def test_the_readme_is_at_most_150_lines():
    assert len(TEXT.splitlines()) <= 150


SHORT = ["--set", "train.steps=4", "--set", "schedule.type=constant", "--set", "data.threads=1"]
FEW = ["--set", "data.dataset.count=4"]


def short(words: list[str]) -> list[str]:
    """Return a command that trains for a few steps, and on few images where it draws them: that is most of its work."""
    if not {"run", "sweep"} & {*words}:
        return words
    drawn = {"quickstart", "quickstart.toml", "gan_quickstart"} & {*words} and "data.dataset" not in " ".join(words)
    return [*words, *SHORT, *(FEW if drawn and "run" in words else [])]


@pytest.fixture
def reader(tmp_path, monkeypatch, capsys):
    """An empty folder with photographs; runs the examples of a text there and returns how many commands ran."""
    monkeypatch.chdir(tmp_path)
    for folder, size in (("photos", (200, 208)), ("photos_valid", (80, 96)), ("Set5", (80, 96))):
        Path(folder).mkdir()
        for i in range(3):
            Image.fromarray(photograph(i, *size)).save(f"{folder}/{i}.png")
    Image.fromarray(photograph(9, 40, 60)).save("photo.jpg")

    def run(found) -> int:
        namespace: dict[str, object] = {}
        ran = 0
        shown = ""
        for language, name, text in found:
            if (
                name == "output"
            ):  # ```text title="output": lines of what the commands before have printed, "..." for others
                lines = {" ".join(line.split()) for line in shown.splitlines()}
                assert {" ".join(line.split()) for line in text.splitlines()} - {"..."} <= lines, shown
            elif name:  # ```python title="my_net.py": a file of the reader's, whose name stands in the line before, too
                Path(name).write_text(text)
            elif language == "python":
                with redirect_stdout(io.StringIO()):
                    exec(compile(text, "README.md", "exec"), namespace)
            elif language == "toml":
                tomllib.loads(text)
            elif language == "sh":
                capsys.readouterr()
                for words in commands(text):
                    assert words[0] == "srkit", words
                    assert main(short(words[1:])) == 0, (words, capsys.readouterr().err)
                    ran += 1
                shown = capsys.readouterr().out
        return ran

    return run


def test_every_other_example_of_the_readme_runs(reader):
    assert main(short(["run", "quickstart"])) == 0  # what the first block has trained
    assert reader(blocks(TEXT)[1:]) >= 8


def recipe_and_mistakes() -> tuple[str, str]:
    """The recipe of the docs, and what is said of it with the three mistakes that are named there."""
    found = blocks(RECIPES)
    position = next(i for i, (_, name, _) in enumerate(found) if name == "my.toml")
    return found[position][2], found[position + 1][2]


def test_the_recipe_of_the_docs_is_right(reader, capsys):
    Path("my.toml").write_text(recipe_and_mistakes()[0])
    assert main(["check", "my.toml"]) == 0, capsys.readouterr().err


def test_the_mistakes_of_the_docs_are_reported_in_their_words(reader, capsys):
    recipe, told = recipe_and_mistakes()
    for right, wrong in (("blocks = 4", "blocs = 4"), ("batch = 16", 'batch = "16"'), ("steps = 5000", "stpes = 5000")):
        assert recipe.count(right) == 1
        assert f"`{wrong}`" in RECIPES
        recipe = recipe.replace(right, wrong)
    Path("my.toml").write_text(recipe)
    assert main(["check", "my.toml"]) == 2
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCS], ids=lambda path: path.name)
def test_the_name_of_each_file_to_save_stands_before_it(path):
    text = path.read_text(encoding="utf-8")
    for fence, name in re.findall(r'^(```\w+ title="(\S+\.\w+)")\n', text, re.M):
        assert text[: text.index(fence)].rstrip().endswith(f"`{name}`:"), name


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCS], ids=lambda path: path.name)
def test_the_site_and_the_tests_understand_each_fence(path):
    text = path.read_text(encoding="utf-8")
    fences = re.findall(r"^```.*$", text, re.M)
    assert len(fences) == 2 * len(blocks(text)), [f for f in fences if not re.fullmatch(r'```(\w+( title="\S+")?)?', f)]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_example_of_the_docs_runs(path, reader):
    if path.name == "video.md":
        pytest.importorskip("tests.video.films").save_film(Path("film.mp4"), count=4, size=(48, 64))
    reader(blocks(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCS], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / target).exists(), target


def test_the_readmes_recipe_is_right(reader, capsys):
    Path("readme.toml").write_text(next(text for language, _, text in blocks(TEXT) if language == "toml"))
    assert main(["check", "readme.toml"]) == 0, capsys.readouterr().err


def test_the_docs_name_every_command_and_every_kind():
    components = (ROOT / "docs/components.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"srkit {verb}" in TOGETHER, verb
    for kind in KINDS:
        assert f"| `{kind}` |" in components, kind


def test_the_docs_name_every_key_of_a_recipe_every_component_and_every_recipe():
    for cls in (Recipe, Data, Validate, Start, Train):
        for field in fields(cls):
            assert f"`{field.name}`" in RECIPES, field.name
    components = (ROOT / "docs/components.md").read_text(encoding="utf-8")
    for entry in installed():
        name = entry.component.name.partition("/")[0]  # "spandrel/swinir" is one of the networks of spandrel
        assert f"`{name}`" in components, name
    for recipe in packaged_recipes():
        assert f"`{recipe}`" in RECIPES, recipe
    assert attrs.has(Recipe)


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "docs/index.md"], ids=lambda path: path.name)
def test_the_first_pages_link_to_every_page_of_the_docs(path):
    text = path.read_text(encoding="utf-8")
    linked = {Path(target).name for target in re.findall(r"\]\((?!https?:)([^)#]+)", text)}
    assert {page.name for page in DOCS} - {"index.md"} - linked == set()


def test_the_page_of_contracts_is_what_they_are():
    assert (ROOT / "docs/contracts.md").read_text(encoding="utf-8") == page()


def test_the_docs_name_each_hook_with_its_exact_signature_each_kind_and_each_command():
    texts = {path.name: path.read_text(encoding="utf-8") for path in DOCS}
    hooks = [hook for name, hook in vars(component).items() if name.startswith("srkit_")]
    assert hooks
    for hook in hooks:
        signature = f"{hook.__name__}{inspect.signature(hook)}".replace("'", "")
        for name in ("plugins.md", "contracts.md"):
            assert f"`{signature}`" in texts[name], signature
    for kind in KINDS:
        assert f"\n## `{kind}`\n" in texts["contracts.md"]


@pytest.mark.parametrize("code", ["0", "1", "2", "3", "75"])
def test_the_docs_explain_each_exit_code(code):
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {code} \|", text, re.M)


def test_python_m_srkit_is_the_same_command(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "srkit", "--version"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ}
    )
    assert run.stdout.startswith("srkit 0.")


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("SRKIT_TEST_DATA") is None, reason="SRKIT_TEST_DATA is not set")
def test_the_table_of_published_figures_is_what_its_command_prints():
    data = Path(os.environ["SRKIT_TEST_DATA"])
    weights = data / "golden/weights/aan_x2.pt"
    command = [sys.executable, "benchmarks/published.py", str(data / "data"), str(weights)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert f"\n{done.stdout}\n" in (ROOT / "docs/scores.md").read_text(encoding="utf-8")
