import importlib.metadata
import json
import re

import pytest

from tests.cli.conftest import narrow
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
    kind, *names = [line[0] for line in listed(out)[1:]]  # the kind stands in its first row alone
    assert kind == "loss"
    assert {"charbonnier", "l1", "l2"} <= set(names)
    assert names == sorted(names)
    assert call("list", "losses")[1] == out


def test_an_unknown_kind_names_the_nearest(call):
    assert call("list", "metrik") == (2, "", "srkit list: unknown kind 'metrik'; did you mean 'metric'?\n")


def test_a_broken_plugin_is_a_line_with_its_reason_and_no_error(sites, call):
    sites.add("srkit-broken", {"srkit_broken.py": "raise ValueError('not [b]today[/b] \\x1b[1m')"}, "b = srkit_broken")
    code, out, err = call("list")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == (
        "broken  plugin 'b' of srkit-broken 1.0 failed to load: ValueError: not [b]today[/b] �[1m "
        "(site/srkit_broken.py:1)"
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
    assert psnr_y.keys() == {
        "kind",
        "name",
        "recipe_name",
        "summary",
        "source",
        "facts",
        "missing",
        "distribution",
        "version",
    }
    assert (psnr_y["distribution"], psnr_y["version"]) == ("srkit", VERSION)
    assert document["failures"] == [
        {
            "plugin": "b",
            "distribution": "srkit-broken",
            "version": "2.1",
            "reason": "SystemExit: 3 (site/srkit_broken.py:1)",
        }
    ]


def test_what_a_plugin_prints_when_imported_is_not_in_the_json(sites, srkit_command):
    text = "print('hello')\n" + plugin('"loss", "loud", "srkit_loud:make", summary="loud"')
    sites.add("srkit-loud", {"srkit_loud.py": text}, "loud = srkit_loud")
    run = srkit_command("list", "--json")
    assert run.stderr == "hello\n"
    assert "loud" in {entry["name"] for entry in json.loads(run.stdout)["components"]}


def test_a_narrow_terminal_cuts_the_summary_and_folds_nothing():
    lines = narrow(60, "list", "dataset").splitlines()
    assert [line.split()[-2:] for line in lines[1:]] == [["srkit", VERSION]] * (len(lines) - 1)
    assert {len(line) for line in lines} == {60}
    assert "…" in lines[1]


def test_what_is_missing_is_told_whole_in_a_narrow_terminal(sites):
    text = plugin('"loss", "more", "srkit_more:make", summary="More", missing="it needs more: pip install --all more"')
    sites.add("srkit-more", {"srkit_more.py": text}, "more = srkit_more")
    lines = narrow(40, "list", "loss").splitlines()
    assert "pip" not in "".join(lines[:-1])
    assert lines[-1] == "missing loss 'more': it needs more: pip install --all more"


def test_json_has_the_name_that_recipes_write(sites, call):
    for name in ("one", "two"):
        sites.add(
            f"srkit-{name}", {f"srkit_{name}.py": plugin(f'"loss", "same", "srkit_{name}:make"')}, f"a = srkit_{name}"
        )
    found = json.loads(call("list", "loss", "--json")[1])["components"]
    assert [(entry["name"], entry["recipe_name"]) for entry in found if entry["name"] in ("l1", "same")] == [
        ("l1", "l1"),
        ("same", "srkit-one:same"),
        ("same", "srkit-two:same"),
    ]


FACTS = """
"architecture", "any", "srkit_facts:make"
"architecture", "x4", "srkit_facts:make", facts={"scales": (4,), "tileable": True}
"architecture", "x2", "srkit_facts:make", facts={"scales": (2, 3), "tileable": False, "min_size": 16}
"degradation", "noise", "srkit_facts:make", facts={"scales": (4,), "deterministic": False, "draws": 3}
"degradation", "plain", "srkit_facts:make"
"loss", "plain", "srkit_facts:make"
"augmentation", "plain", "srkit_facts:make"
"metric", "lpips", "srkit_facts:make", facts={"better": "lower"}
"metric", "plain", "srkit_facts:make"
"""


@pytest.fixture
def named(sites, call):
    """The names that `srkit list` prints of those above: kind/name of each."""
    sites.add("srkit-facts", {"srkit_facts.py": plugin(FACTS)}, "facts = srkit_facts")

    def run(*arguments):
        code, out, err = call("list", "--json", *arguments)
        assert (code, err) == (0, "")
        found = json.loads(out)["components"]
        return [f"{entry['kind']}/{entry['name']}" for entry in found if entry["distribution"] == "srkit-facts"]

    return run


def test_of_a_scale_only_what_has_it_or_has_any_is_listed(named):
    assert named("--scale", 4) == ["architecture/any", "architecture/x4", "degradation/noise", "degradation/plain"]
    assert named("architecture", "--scale", 3) == ["architecture/any", "architecture/x2"]


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        ("tileable=true", ["architecture/x4"]),
        ("tileable=false", ["architecture/x2"]),
        ("better=lower", ["metric/lpips"]),
        ('better="lower"', ["metric/lpips"]),
        ("draws=3", ["degradation/noise"]),
        ("min_size=16", ["architecture/x2"]),
        ("scales=3", ["architecture/any", "architecture/x2", "degradation/plain"]),
        ("scales=[2, 3]", ["architecture/any", "architecture/x2", "degradation/plain"]),
    ],
)
def test_of_a_fact_only_what_states_it_is_listed(named, fact, expected):
    assert named("--fact", fact) == expected


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        ("deterministic=true", ["degradation/plain"]),
        ("reduction=mean", ["loss/plain"]),
        ("min_size=1", ["architecture/any", "architecture/x4", "loss/plain"]),
        ("better=higher", ["metric/plain"]),
        ("color=RGB", ["metric/lpips", "metric/plain"]),
    ],
)
def test_what_a_component_does_not_state_is_what_the_core_takes_it_for(named, fact, expected):
    assert named("--fact", fact) == expected


def test_several_facts_must_all_hold(named):
    assert named("--scale", 4, "--fact", "tileable=true") == ["architecture/x4"]
    assert named("--fact", "draws=3", "--fact", "deterministic=true") == []


def test_where_nothing_fits_stderr_says_so(call):
    assert call("list", "metric", "--fact", "color=Lab") == (0, "", "srkit list: nothing installed fits\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fact", "tilable=true"], "--fact tilable=true: no kind has a fact 'tilable'; did you mean 'tileable'?"),
        (["metric", "--fact", "bettr=lower"], "--fact bettr=lower: metric has no fact 'bettr'; did you mean 'better'?"),
        (["--fact", "tileable"], "--fact tileable: write KEY=VALUE, as in --fact tileable=true"),
        (["--fact", "tileable=yes"], "--fact tileable=yes: the fact is a boolean"),
        (["--fact", "draws=true"], "--fact draws=true: the fact is an integer"),
        (["--fact", "better=lowr"], '--fact better=lowr: the fact is "higher" or "lower"'),
        (["--fact", "scales=x2"], "--fact scales=x2: the fact is a list of integers"),
        (["--scale", "0"], "argument --scale: a scale is at least 1, not 0; see srkit list --help"),
    ],
)
def test_a_fact_that_is_none_is_one_line(call, arguments, message):
    assert call("list", *arguments) == (2, "", f"srkit list: {message}\n")


def test_a_scale_of_a_kind_that_has_none_is_an_error(call):
    code, out, err = call("list", "metric", "--scale", "2")
    assert (code, out) == (2, "")
    assert err.startswith("srkit list: --scale 2: metric has no fact 'scales'; there are: better, border")


def test_a_slow_plugin_is_a_row(sites, call, monkeypatch):
    sites.add("srkit-slow", {"srkit_slow.py": plugin('"loss", "slow", "srkit_slow:make"')}, "slow = srkit_slow")
    monkeypatch.setattr("srkit.plugin.discovery.SLOW", 0.0)
    row = r"slow    plugin 'slow' of srkit-slow 1\.0 takes \d+\.\d s to load, in every command"
    assert re.search(f"^{row}$", call("list", "loss")[1], re.M)
    assert any("srkit-slow 1.0" in line for line in json.loads(call("list", "--json")[1])["slow"])


def test_a_summary_of_a_million_characters_is_cut(sites, call):
    text = plugin('"loss", "long", "srkit_long:make", summary="x " * 500_000')
    sites.add("srkit-long", {"srkit_long.py": text}, "long = srkit_long")
    assert max(map(len, call("list", "loss")[1].splitlines())) < 300
    (found,) = [c for c in json.loads(call("list", "loss", "--json")[1])["components"] if c["name"] == "long"]
    assert len(found["summary"]) == 200
