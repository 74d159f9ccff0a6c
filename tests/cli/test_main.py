import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from srkit.cli import VERBS, main
from srkit.recipe.packaged import packaged_recipes
from tests.conftest import ROOT, TINY, plugin

HEAVY = ("torch", "numpy", "cv2", "h5py")


def loaded_by(*arguments, names):
    """Return which of `names` a process has imported at the end of `srkit ...`."""
    program = (
        "import sys\nfrom srkit.cli import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit: pass\n"
        f"print(*[name for name in {names!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return run.stderr.split()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_that_is_slow(option):
    assert loaded_by(option, names=(*HEAVY, "rich", "attrs", "attr", "cattrs", "pluggy", "PIL")) == []


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"]])
def test_list_imports_nothing_heavy(arguments):
    assert loaded_by(*arguments, names=HEAVY) == []


def test_import_srkit_imports_no_other_package():
    program = "import sys, srkit; print(*[n for n in ('torch', 'numpy', 'attrs', 'pluggy') if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_python_m_srkit_is_the_command(srkit_command):
    run = srkit_command("--version")
    assert (run.returncode, run.stdout, run.stderr) == (0, f"srkit {importlib.metadata.version('srkit')}\n", "")


def test_no_arguments_show_the_help_and_every_command(call):
    code, out, err = call()
    assert (code, out) == (2, "")
    assert all(f"  {verb} " in err for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "srkit: unknown command 'lst'; did you mean 'list'?\n"),
        (["--jsn", "list"], "srkit: unrecognized arguments: --jsn; see srkit --help\n"),
        (["list", "--jsn"], "srkit list: unknown argument '--jsn'; did you mean '--json'?\n"),
        (["list", "loss", "l1"], "srkit list: unknown argument 'l1'; see srkit list --help\n"),
        (["show"], "srkit show: the following arguments are required: NAME; see srkit show --help\n"),
        (
            ["degrade", "bicubic", "a", "b", "--scale", "two"],
            "srkit degrade: argument --scale: 'two' is no number; see srkit degrade --help\n",
        ),
        (
            ["prepare", "a", "b", "--scale", "2,two"],
            "srkit prepare: argument --scale: 'two' is no whole number; see srkit prepare --help\n",
        ),
        (
            ["new"],
            "srkit new: the following arguments are required: recipe|plugin, NAME; see srkit new --help\n",
        ),
        (["train", "quickstart"], "srkit: unknown command 'train'; did you mean 'run'?\n"),
        (["resume", "runs/x"], "srkit: unknown command 'resume'; did you mean 'run'?\n"),
        (["test", "x"], "srkit: unknown command 'test'; did you mean 'eval'?\n"),
        (["predict", "x"], "srkit: unknown command 'predict'; did you mean 'upscale'?\n"),
        (["completion", "bsh"], "srkit completion: argument shell: there is no 'bsh'; did you mean 'bash'?\n"),
        (
            ["run", "quickstart", "--steps", "5"],
            "srkit run: unknown argument '--steps'; did you mean '--set train.steps=5'?\n",
        ),
        (
            ["check", "quickstart", "--batch=8"],
            "srkit check: unknown argument '--batch=8'; did you mean '--set data.batch=8'?\n",
        ),
        (
            ["run", "quickstart", "--validate-every"],
            "srkit run: unknown argument '--validate-every'; did you mean '--set train.validate_every='?\n",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_on_stderr(call, arguments, message):
    assert call(*arguments) == (2, "", message)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_its_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"usage: srkit {verb} " in capsys.readouterr().out


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)], ids=lambda words: "".join(words) or "srkit")
def test_the_help_is_folded_to_the_terminals_width(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*verb, "--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_what_stands_in_columns_is_not_folded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(["schema", "--help"])
    text = capsys.readouterr().out
    assert "\nPrint a JSON Schema of recipes with all installed\ncomponents, so that an editor completes and" in text
    assert "\n\n    srkit schema > srkit.schema.json\n\nand in a recipe" in text


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal(call):
    assert call("check", "x\x1b[31m.toml")[2] == (
        "srkit check: there is no recipe x�[31m.toml, neither a file nor a packaged one; "
        f"there are: {', '.join(packaged_recipes())}\n"
    )


def test_a_reader_that_leaves_is_no_error(tmp_path):
    command = [sys.executable, "-m", "srkit", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device that is always full is Linux's")
@pytest.mark.parametrize("words", ["show a2n", "list --json", "schema", "list loss", "list --help"])
def test_a_full_disk_is_one_line(words, tmp_path):
    command = [sys.executable, "-m", "srkit", *words.split()]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    verb = words.split()[0]
    assert run.stderr == f"srkit {verb}: stdout: cannot be written: No space left on device\n"
    assert run.returncode == 1


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "after it"])
def test_a_plugin_file_is_named_before_the_command_or_after_it(call, nearest, before):
    place = [["list", "-p", nearest], ["-p", nearest, "list"]][before]
    code, out, _ = call(*place)
    assert code == 0
    assert "nearest.py" in next(line for line in out.splitlines() if " nearest " in line)


@pytest.mark.parametrize("verb", [["list"], ["show", "l1"], ["check", "quickstart"], ["run", "quickstart"]])
def test_a_plugin_file_that_fails_ends_every_command(call, tmp_path, verb):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    message = f"srkit {verb[0]}: -p {path}: importing it failed with ZeroDivisionError: division by zero"
    message += " (broken.py:1)\n"
    assert call("-p", path, *verb) == (2, "", message)
    assert sorted(os.listdir()) == ["broken.py"]


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "after it"])
def test_a_network_of_a_plugin_file_is_trained(call, nearest, tiny, before):
    start = TINY.index("[architecture]")
    own = '[architecture]\ntype = "nearest"\n\n' + TINY[TINY.index("[data]") :]
    tiny.write_text(TINY[:start] + own.replace("steps = 6", "steps = 1"))
    place = [["run", "-p", nearest, "tiny.toml"], ["-p", nearest, "run", "tiny.toml"]][before]
    code, out, _ = call(*place)
    assert code == 0
    assert "bicubic" in out
    assert os.path.isfile("runs/tiny/best.safetensors")
    assert f"srkit -p {nearest} upscale runs/tiny/best.safetensors photo.jpg -o out/tiny/  #" in out


NOTHING = "".join(
    f"    yield srkit.Component({kind!r}, 'nothing', f'{{__name__}}:nothing')\n"
    for kind in ("architecture", "loss", "dataset", "degradation", "augmentation", "metric", "optimizer", "observer")
)
NOTHING = f"""\
import srkit

def nothing(*given, **settings):
    print("made")

@srkit.hookimpl
def srkit_components():
{NOTHING}"""


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("architecture.type=nothing", "architecture 'nothing' makes a NoneType, no torch Module"),
        ("loss=['nothing']", "loss 'nothing' makes a NoneType, which cannot be called"),
        (
            "data.dataset.type=nothing",
            "dataset 'nothing' makes a NoneType, which has no __len__, no name, no size, no read, no lr, "
            "no fingerprint",
        ),
        ("data.degradation.type=nothing", "degradation 'nothing' makes a NoneType, which cannot be called"),
        ("data.augment=['nothing']", "augmentation 'nothing' makes a NoneType, which cannot be called"),
        ("metric=['nothing']", "metric 'nothing' makes a NoneType, which cannot be called"),
        ("optimizer.type=nothing", "optimizer 'nothing' makes a NoneType, no torch Optimizer"),
        (
            "observer=['nothing']",
            "observer 'nothing' makes a NoneType, which has none of run_started, logged, validated, pictured, saved, "
            "run_ended",
        ),
    ],
)
def test_a_target_that_returns_nothing_is_a_problem_of_the_recipe(call, tiny, verb, override, message):
    Path("nothing.py").write_text(NOTHING)
    code, _, err = call("-p", "nothing.py", verb, "tiny.toml", "--set", override)
    assert code == 2
    assert err.splitlines()[-1].removeprefix(f"srkit {verb}: ") == f"--set {override}: {message}"


UNSTATED = """
import srkit

def noisy(*, scale: int):
    return lambda hr, draws: hr

def sized(*, scale: int):
    return lambda hr, size, draws: hr

def whole(*, scale: int):
    return lambda hr: hr

def alone():
    return lambda sr: 1.0

def compared():
    return lambda sr, hr: 1.0

@srkit.hookimpl
def srkit_components():
    for name in ("noisy", "sized"):
        yield srkit.Component("degradation", name, f"{__name__}:{name}")
    yield srkit.Component("degradation", "whole", f"{__name__}:whole", facts={"deterministic": False})
    yield srkit.Component("metric", "alone", f"{__name__}:alone")
    yield srkit.Component("metric", "compared", f"{__name__}:compared", facts={"reference": False})
"""
DETERMINISTIC = "state deterministic=False of one that takes a batch and draws, and of no other"
REFERENCE = "state reference=False of one that looks at SR alone, and of no other"


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.degradation=noisy",
            f"degradation 'noisy' cannot be called with hr: missing a required argument: 'draws'; {DETERMINISTIC}",
        ),
        (
            "data.degradation=sized",
            "degradation 'sized' cannot be called with hr and size: missing a required argument: 'draws'; "
            f"{DETERMINISTIC}",
        ),
        (
            "data.degradation=whole",
            f"degradation 'whole' cannot be called with hr and draws: too many positional arguments; {DETERMINISTIC}",
        ),
        (
            "metric=['alone']",
            f"metric 'alone' cannot be called with sr and hr: too many positional arguments; {REFERENCE}",
        ),
        (
            "metric=['compared']",
            f"metric 'compared' cannot be called with sr: missing a required argument: 'hr'; {REFERENCE}",
        ),
    ],
)
def test_what_is_called_otherwise_than_its_facts_say_is_a_problem_of_the_recipe(call, tiny, verb, override, message):
    Path("unstated.py").write_text(UNSTATED)
    code, _, err = call("-p", "unstated.py", verb, "tiny.toml", "--set", override)
    assert (code, err) == (2, f"{'' if verb == 'check' else 'srkit run: '}--set {override}: {message}\n")


def test_a_plugin_that_ends_the_process_is_told(call, tiny):
    text = plugin('"loss", "leaves", f"{__name__}:leaves"')
    Path("exits.py").write_text(f"{text}\ndef leaves():\n    raise SystemExit(3)\n")
    code, _, err = call("-p", "exits.py", "run", "tiny.toml", "--set", "loss=['leaves']")
    assert (code, err) == (2, "srkit run: --set loss=['leaves']: SystemExit: 3 (exits.py:8)\n")


READS = """
import srkit
from pathlib import Path
import numpy as np

class Reads:
    def __init__(self, *, path: Path):
        self.path = path
    def __len__(self):
        return 3
    def name(self, index):
        return f"image {index}"
    def size(self, index):
        return 32, 40
    def read(self, index, window=None):
        if index == 1:
            raise KeyError("no such thing")
        image = np.zeros((32, 40, 3), np.uint8)
        return image if window is None else image[: window.height, : window.width]
    def lr(self, scale):
        return None
    def fingerprint(self):
        return "x"

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("dataset", "reads", f"{__name__}:Reads")
"""


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_an_image_at_which_a_dataset_raises_is_named_with_the_line(call, tiny, cache):
    Path("reads.py").write_text(READS)
    change = ["--set", "data.dataset={type='reads', path='x'}", "--set", f"data.cache={cache}", "--set", "data.batch=8"]
    code, _, err = call("-p", "reads.py", "run", "tiny.toml", *change)
    assert code == 3
    assert "image 1: cannot be read: KeyError: 'no such thing' (reads.py:17)" in err


def test_a_module_is_a_plugin_by_its_name(sites, call):
    (sites.folder / "my_module.py").write_text(plugin('"loss", "mine", "my_module:make", summary="mine"'))
    assert "mine" in call("-p", "my_module", "list", "loss")[1]


def test_readme_and_docs_name_no_command_that_is_not_there():
    pages = [path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]]
    text = "\n".join(re.findall(r"^```(?:sh|console)\n(.*?)^```", "\n".join(pages), re.M | re.S))
    text = text.replace("$ srkit", "srkit")
    named = {line.split()[1] for line in text.splitlines() if line.startswith("srkit ") and len(line.split()) > 1}
    assert {verb for verb in named if not verb.startswith("-")} <= set(VERBS)


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "after it"])
def test_traceback_prints_where_an_error_and_its_cause_come_from(srkit_command, tmp_path, before):
    (tmp_path / "bad.py").write_text("def broken():\n    1 / 0\n\n\nbroken()\n")
    words = ["-p", "bad.py", "list"]
    run = srkit_command(*(["--traceback", *words] if before else [*words, "--traceback"]))
    message = "-p bad.py: importing it failed with ZeroDivisionError: division by zero (bad.py:2)"
    lines = run.stderr.splitlines()
    assert run.returncode == 2
    assert lines[-1] == f"srkit list: {message}"
    assert "ZeroDivisionError: division by zero" in lines
    assert f"srkit.errors.UsageError: {message}" in lines
    assert f'  File "{tmp_path}/bad.py", line 2, in broken' in lines
    assert srkit_command(*words).stderr == f"srkit list: {message}\n"


def test_traceback_prints_the_cause_of_an_error_of_a_command(sites, srkit_command):
    sites.add("srkit-bad", {"srkit_bad.py": "\n1 / 0\n"}, "bad = srkit_bad")
    run = srkit_command("check-plugin", "bad", "--traceback")
    assert f'  File "{sites.folder}/srkit_bad.py", line 2, in <module>' in run.stderr.splitlines()


@pytest.mark.parametrize("words", ["check quickstart --set loss=bad", "show bad", "run quickstart --set loss=bad"])
def test_traceback_prints_where_a_target_fails(sites, srkit_forked, words):
    sites.add("srkit-bad", {"srkit_bad.py": plugin('"loss", "bad", "bad_target:make"')}, "bad = srkit_bad")
    (sites.folder / "bad_target.py").write_text("\n1 / 0\n")
    line = f'  File "{sites.folder}/bad_target.py", line 2, in <module>'
    words = [word.replace("loss=", "loss.type=") for word in words.split()]
    run = srkit_forked(*words, "--traceback")
    assert run.returncode == 2
    assert line in run.stderr.splitlines()
    assert "Traceback" not in srkit_forked(*words).stderr


def test_what_a_locale_cannot_write_is_written_out(call, nearest, model, photographs, srkit_command):
    """A name that is no UTF-8, and a stdout that refuses what its encoding lacks."""
    names = [b"\xff.png", "\xe4.png".encode()]
    for source, name in zip(sorted(photographs.iterdir()), names, strict=False):
        os.rename(source, os.path.join(os.fsencode(photographs), name))
    words = ["-p", nearest, "eval", model, "--data", photographs]
    for encoding in ("ascii:strict", "utf-8:strict"):
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        found = srkit_command(*words, "--json", env=env)
        assert (found.returncode, found.stderr) == (0, "")
        images = json.loads(found.stdout)["tables"][0]["rows"][0]["images"]
        assert sorted(images) == ["p2", "p3", "\xe4", "\udcff"]
        found = srkit_command(*words, "--table", "csv", env=env)
        assert (found.returncode, found.stderr) == (0, "")
        assert "repeat,\\udcff,psnr_y" in found.stdout


LONG = "x" * 300


@pytest.mark.parametrize(
    "command",
    [
        f"prepare photos {LONG}",
        f"degrade bicubic photos {LONG} --scale 2",
        f"degrade bicubic {LONG} lr --scale 2",
        f"upscale {LONG} photos -o out",
        f"eval {LONG} --data photos",
        f"eval --images a={LONG} --data photos --scale 2",
        f"convert {LONG} out.safetensors",
        f"check {LONG}",
        f"run {LONG}",
        f"check tiny.toml --set start.weights={LONG}",
        f"run tiny.toml --out {LONG}",
    ],
)
def test_a_path_that_is_too_long_is_one_line(call, tiny, command):
    code, out, err = call(*command.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"srkit {command.split()[0]}: {LONG}")
    assert "File name too long" in err
    assert len(err.splitlines()) == 1


def test_an_input_among_others_that_is_too_long_is_named(call, model, nearest, photographs):
    code, _, err = call("-p", nearest, "upscale", model, "photos", LONG, "-o", "out")
    assert (code, err) == (2, f"srkit upscale: {LONG}: File name too long\n")
