"""The scripts that complete the command; bash's is asked as bash asks it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from srkit.cli import VERBS
from srkit.cli.completion import NAMED, command_tree
from srkit.plugin.contracts import KINDS
from srkit.recipe.packaged import packaged_recipes
from tests.conftest import plugin


@pytest.fixture
def complete(call, tmp_path):
    """What bash offers for the last word of a command line, in an empty folder."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")

    def run(line, *arguments):
        code, out, err = call("completion", "bash", *arguments)
        assert (code, err) == (0, "")
        words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
        program = (
            f"source /dev/stdin <<'SCRIPT'\n{out}\nSCRIPT\n"
            f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}\n"
            'read -ra registered <<< "$(complete -p srkit)"\n'
            '"${registered[-2]}"\n'
            'printf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run([bash, "--norc", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    return run


def test_bash_completes_every_verb(complete):
    assert complete("srkit ") == list(VERBS)
    assert complete("srkit comp") == ["compare", "completion"]
    assert complete("srkit -p mine.py sh") == ["show"]


def test_bash_completes_the_options_of_a_verb(complete):
    assert complete("srkit eval --met") == ["--metric"]
    assert complete("srkit list --") == ["--help", "--scale", "--fact", "--json"]


def test_bash_completes_choices(complete):
    assert complete("srkit eval x --forward ") == ["whole", "chop", "tiles"]
    assert complete("srkit completion ") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("srkit show a2", ["a2n"]),
        ("srkit list arch", ["architecture"]),
        ("srkit eval x --metric ssim", ["ssim", "ssim_y"]),
        ("srkit eval x --protocol ", ["paper", "blog"]),
        ("srkit upscale x --architecture e", ["edsr", "espcn"]),
        ("srkit degrade pil", ["pillow_bicubic"]),
        ("srkit prepare a b --to lm", ["lmdb"]),
        ("srkit prepare a b --degradation pil", ["pillow_bicubic"]),
        ("srkit new recipe quick", ["quickstart"]),
    ],
)
def test_bash_completes_the_names_of_components_kinds_and_recipes(complete, line, expected):
    assert complete(line) == expected


def test_bash_completes_recipes_by_name_and_by_file(complete, tmp_path):
    for name in ("mine.toml", "mine.txt"):
        (tmp_path / name).touch()
    (tmp_path / "runs").mkdir()
    assert complete("srkit run ") == [*packaged_recipes(), "mine.toml", "runs"]
    assert complete("srkit check quickstart mi") == ["mine.toml"]


def test_bash_completes_files_and_folders(complete, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "run.py").touch()
    assert sorted(complete("srkit upscale r")) == ["run.py", "runs"]
    assert complete("srkit run quickstart --out r") == ["runs"]
    assert sorted(complete("srkit show -p r")) == ["run.py", "runs"]


def test_names_are_those_of_p_too_and_never_run_as_a_program(complete, tmp_path):
    (tmp_path / "mine.py").write_text(
        plugin("""
            "loss", "mine/loss", "builtins:dict"
            "loss", "mine$(touch\\tcanary)".replace("\\t", "$IFS"), "builtins:dict"
            "loss", "`mine`", "builtins:dict"
        """)
    )
    assert complete("srkit show min", "-p", "mine.py") == ["mine/loss"]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_every_verb_its_options_and_names(call, shell):
    code, out, err = call("completion", shell)
    assert (code, err) == (0, "")
    words = set(out.replace("(", " ").replace(")", " ").split())
    assert set(VERBS) <= words | {word.rstrip(")") for word in words}
    for word in ("quickstart", "pillow_bicubic", "architecture"):
        assert word in out
    assert out.splitlines()[0].startswith("#compdef srkit" if shell == "zsh" else "# AUTOMATICALLY GENERATED")


def test_every_argument_that_is_named_is_there():
    names = {what: ["name"] for what in ("kinds", "examples", "components", "protocols", "recipes", *KINDS)}
    verbs = next(action for action in command_tree(names)._actions if action.dest == "verb").choices
    there = {(verb, action.dest) for verb, parser in verbs.items() for action in parser._actions}
    assert NAMED.keys() <= there
    assert set(NAMED.values()) <= names.keys()


@pytest.mark.parametrize(
    "word", ["-completion/completions/srkit", "~/.bashrc", "~/.zfunc/_srkit", "completions/srkit.fish"]
)
def test_its_help_says_how_to_install_it(capsys, word):
    from srkit.cli import main

    with pytest.raises(SystemExit) as done:
        main(["completion", "--help"])
    assert done.value.code == 0
    assert word in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["completion", "--help"]])
def test_no_other_command_imports_shtab(arguments):
    program = (
        "import sys\nfrom srkit.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print('shtab' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "False\n"


def test_an_unknown_shell_is_one_line(call):
    code, out, err = call("completion", "tcsh")
    assert (code, out) == (2, "")
    assert err == "srkit completion: argument shell: there is no 'tcsh'; there are: bash, fish, zsh\n"
