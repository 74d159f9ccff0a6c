import importlib.metadata
import json
import subprocess
import sys

from tests.conftest import plugin

VERSION = importlib.metadata.version("srkit")


def listed(text):
    return [line.split() for line in text.splitlines()]


def test_each_component_has_a_line_with_kind_name_summary_and_distribution(call):
    code, out, err = call("list")
    lines = listed(out)
    assert (code, err) == (0, "")
    assert lines[0] == ["kind", "name", "summary", "from"]
    summary = ["Attention", "in", "Attention", "Network", "(x2,", "x3,", "x4)"]
    assert lines[1] == ["architecture", "a2n", *summary, "srkit", VERSION]
    assert lines[2][0] == "bicubic"  # the kind is written once


def test_a_kind_alone_is_listed_under_its_singular_or_plural(call):
    code, out, _ = call("list", "loss")
    assert code == 0
    assert [line[0] for line in listed(out)[1:]] == ["loss", "l1", "l2"]
    assert call("list", "losses")[1] == out


def test_an_unknown_kind_names_the_nearest(call):
    assert call("list", "metrik") == (2, "", "srkit list: unknown kind 'metrik'; did you mean 'metric'?\n")


def test_a_broken_plugin_is_a_line_with_its_reason_and_no_error(sites, call):
    sites.add("srkit-broken", {"srkit_broken.py": "raise ValueError('not [b]today[/b] \\x1b[1m')"}, "b = srkit_broken")
    code, out, err = call("list")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == (
        "broken  plugin 'b' of srkit-broken 1.0 failed to load: ValueError: not [b]today[/b] �[1m"
    )


def test_a_summary_is_shown_as_it_was_written(sites, call):
    text = plugin('"loss", "odd", "srkit_odd:make", summary="[red]:smile: a[0] \\x1b[31m"')
    sites.add("srkit-odd", {"srkit_odd.py": text}, "odd = srkit_odd")
    line = next(line for line in call("list", "loss")[1].splitlines() if " odd " in line)
    assert line.split() == ["odd", "[red]:smile:", "a[0]", "�[31m", "srkit-odd", "1.0"]


def test_json_is_one_document_with_components_and_failures(sites, call):
    sites.add("srkit-broken", {"srkit_broken.py": "raise SystemExit(3)"}, "b = srkit_broken", version="2.1")
    code, out, err = call("list", "metric", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["schema"] == 1
    assert {entry["kind"] for entry in document["components"]} == {"metric"}
    psnr_y = next(entry for entry in document["components"] if entry["name"] == "psnr_y")
    assert psnr_y.keys() == {"kind", "name", "summary", "source", "facts", "missing", "distribution", "version"}
    assert (psnr_y["distribution"], psnr_y["version"]) == ("srkit", VERSION)
    assert document["failures"] == [
        {"plugin": "b", "distribution": "srkit-broken", "version": "2.1", "reason": "SystemExit: 3"}
    ]


def test_what_a_plugin_prints_when_imported_is_not_in_the_json(sites, srkit_command):
    text = "print('hello')\n" + plugin('"loss", "loud", "srkit_loud:make", summary="loud"')
    sites.add("srkit-loud", {"srkit_loud.py": text}, "loud = srkit_loud")
    run = srkit_command("list", "--json")
    assert run.stderr == "hello\n"
    assert "loud" in {entry["name"] for entry in json.loads(run.stdout)["components"]}


def test_a_narrow_terminal_cuts_the_summary_and_folds_nothing(tmp_path):
    program = (
        "import rich.console as c, srkit.cli.output as o\nfrom srkit.cli import main\n"
        "o.console = lambda **_: c.Console(width=60)\nmain(['list', 'dataset'])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert [line.split()[-2:] for line in lines[1:]] == [["srkit", VERSION]] * (len(lines) - 1)
    assert {len(line) for line in lines} == {60}
    assert "…" in lines[1]
