"""srkit check-plugin."""

from __future__ import annotations

import json

import pytest

from srkit.cli import main
from tests.cli.conftest import narrow
from tests.testing.test_cases import NETWORK


@pytest.fixture
def tiny_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(NETWORK)


def test_each_check_has_its_result_and_what_fails_what_to_do(tiny_network, capsys):
    assert main(["-p", "tiny.py", "check-plugin", "tiny"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny  architecture of tiny.py"
    assert lines[1].split() == ["check", "result", "found,", "and", "what", "to", "do"]
    assert ["output_is_scaled", "passed"] in [line.split() for line in lines]
    at = next(i for i, line in enumerate(lines) if line.startswith("every_parameter_learns"))
    assert lines[at].split(maxsplit=2)[1:] == ["failed", "no gradient reaches unused.weight, unused.bias"]
    assert lines[at + 1].strip() == (
        "use them in forward, or leave them out; a detach() or no_grad() on the way stops it, too"
    )
    assert lines[-2:] == [
        "15 passed, 1 failed, 7 skipped",
        'To declare that this is intended: facts={"deviations": {"every_parameter_learns": "why"}}',
    ]


def test_without_a_name_all_of_the_files_is_checked(tiny_network, capsys):
    assert main(["-p", "tiny.py", "check-plugin"]) == 1
    assert capsys.readouterr().out.startswith("tiny  architecture of tiny.py\n")


ARRAYS = """
    yield srkit.Component("dataset", "arrays", f"{__name__}:Arrays", summary="in a file of arrays")


class Arrays:
    def __init__(self, *, path: str) -> None: ...
"""


def test_of_several_components_one_that_needs_a_setting_is_not_checked_and_it_is_said_how(tiny_network, capsys):
    with open("tiny.py", "a") as file:
        file.write(ARRAYS)
    passing = ["--set", "kernel=3"]
    assert main(["-p", "tiny.py", "check-plugin", *passing]) == 2
    assert capsys.readouterr().err == (
        "srkit check-plugin: --set is for one component, and here are architecture 'tiny', dataset 'arrays': "
        "name one of them\n"
    )
    assert main(["-p", "tiny.py", "check-plugin"]) == 1  # for a parameter of tiny's that learns nothing
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny  architecture of tiny.py"
    assert lines[-2:] == [
        "arrays  dataset of tiny.py",
        "not checked: it needs path: srkit check-plugin arrays --set path=...",
    ]
    assert main(["-p", "tiny.py", "check-plugin", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["components"][1]["needs"] == ["path"]


def test_what_cannot_be_made_is_not_called_a_deviation(tiny_network, capsys):
    with open("tiny.py", "a") as file:
        file.write(ARRAYS)
    assert main(["-p", "tiny.py", "check-plugin", "arrays"]) == 1
    assert '"is_made_with_defaults": "why"' not in capsys.readouterr().out


def test_a_narrow_terminal_breaks_no_name_of_a_check():
    lines = narrow(60, "check-plugin", "l1").splitlines()
    names = [line.split()[0] for line in lines if " passed " in line]
    assert "gradient_is_finite_at_equality" in names
    assert len(names) == 16


def test_all_checks_passed_is_exit_code_0(capsys):
    assert main(["check-plugin", "espcn"]) == 0
    assert capsys.readouterr().out.endswith("\n17 passed, 6 skipped\n")


def test_settings_may_be_given(tiny_network, capsys):
    assert main(["-p", "tiny.py", "check-plugin", "tiny", "--set", "kernel=4", "--json"]) == 1
    (component,) = json.loads(capsys.readouterr().out)["components"]
    failed = {check["name"]: check for check in component["checks"] if check["outcome"] == "failed"}
    assert (
        failed["output_is_scaled"]["found"]
        == "at scale 2, LR [1, 3, 13, 17] becomes [1, 3, 28, 36], not [1, 3, 26, 34]"
    )
    assert failed["output_is_scaled"]["promise"].startswith("SR is as much larger than LR as the scale says")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which component, or which distribution? `srkit list` has the names"),
        (["tinny"], "there is no component and no distribution 'tinny'; did you mean 'tiny'?"),
        (
            ["tiny", "--set", "kernl=3"],
            "--set kernl=3: unknown setting 'kernl' of architecture 'tiny'; did you mean 'kernel'?",
        ),
        (
            ["bicubic", "--set", "mode=double"],
            "--set is for one component, and here are architecture 'bicubic', degradation 'bicubic'",
        ),
    ],
)
def test_what_cannot_be_meant_is_said(tiny_network, capsys, arguments, message):
    files = ["-p", "tiny.py"] if arguments else []
    assert main([*files, "check-plugin", *arguments]) == 2
    assert capsys.readouterr().err.strip().removeprefix("srkit check-plugin: ") == message


def test_a_plugin_that_failed_to_load_says_why(sites, capsys):
    sites.add("srkit-bad", {"srkit_bad.py": "1 / 0"}, "bad = srkit_bad")
    for name in ("bad", "srkit-bad", "srkit_bad"):
        assert main(["check-plugin", name]) == 2
        assert capsys.readouterr().err == (
            "srkit check-plugin: plugin 'bad' of srkit-bad 1.0 failed to load: ZeroDivisionError: division by zero "
            f"({sites.folder}/srkit_bad.py:1)\n"
        )


def test_a_distribution_is_all_that_it_gives(sites, capsys):
    text = NETWORK.replace('f"{__name__}:Tiny"', '"srkit_pair:Tiny"')
    text += '    yield srkit.Component("architecture", "other", "srkit_pair:Tiny", summary="the same")\n'
    sites.add("srkit-pair", {"srkit_pair.py": text}, "pair = srkit_pair")
    assert main(["check-plugin", "srkit_pair", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["components"]
    assert [component["name"] for component in found] == ["other", "tiny"]
    light = {check["name"]: check["found"] for check in found[0]["checks"]}["importing_is_light"]
    assert light == "importing it imports torch, numpy"
