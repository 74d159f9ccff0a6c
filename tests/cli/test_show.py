import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

import srkit
from srkit.engine.builder import Builder
from srkit.errors import RecipeError
from srkit.plugin.discovery import discover, installed
from tests.cli.conftest import narrow
from tests.conftest import ROOT, TINY, plugin


def shown(call, name):
    code, out, err = call("show", name, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)["components"]


def line_of(path, begins):
    """Return the line of a file, from 1, that begins so."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(begins))


def test_show_says_all_of_a_component(call):
    code, out, err = call("show", "a2n")
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        "a2n  Attention in Attention Network",
        f"architecture of srkit {srkit.__version__}; arXiv:2104.09497",
        f"{ROOT / 'plugins/srkit_a2n/network.py'}:{line_of('plugins/srkit_a2n/network.py', 'class A2N(')}",
        "scales 2, 3, 4; tileable false",
        "",
        "setting                type      default   meaning",
        "features               integer   40        channels of the trunk; at least 4",
        "blocks                 integer   16        attention-in-attention blocks of the trunk",
        "upsampling_features    integer   24        channels after enlarging",
        "img_range              number    1.0       what the network works in: 1, or 255 for the authors' weights; "
        "input and output stay in 0..1",
        "non_attention_kernel   1 or 3    3         kernel size of the plain branch: 3, or 1 for the smaller A2N-M",
        "",
        "scale   parameters   multi-adds to 1280x720",
        "x2       1,036,443                 247.47 G",
        "x3       1,036,443                 117.51 G",
        "x4       1,047,459                  72.40 G",
        "",
        "[architecture]",
        'type = "a2n"',
        "features = 40",
        "blocks = 16",
        "upsampling_features = 24",
        "img_range = 1.0",
        "non_attention_kernel = 3",
    ]


def test_a_narrow_terminal_breaks_no_name():
    lines = narrow(60, "show", "a2n").splitlines()
    names = [line.split()[0] for line in lines if " integer " in line or " number " in line]
    assert names == ["features", "blocks", "upsampling_features", "img_range"]


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        # arXiv:2104.09497 in full digits; LR is 640x360, 426x240 and 320x180.
        ("a2n", [(2, 1_036_443, 247.47), (3, 1_036_443, 117.51), (4, 1_047_459, 72.40)]),
        # By hand at scale 2: 9 * (3 * 64 + 33 * 64**2 + 4 * 64**2 + 4 * 64 * 3) * 640 * 360 is 316.25e9.
        ("edsr", [(2, 1_369_859, 316.25), (3, 1_554_499, 160.06), (4, 1_517_571, 114.23)]),
    ],
)
def test_the_sizes_of_a_network_are_counted_as_papers_count_them(call, name, sizes):
    (found,) = shown(call, name)
    assert [(s["scale"], s["parameters"], round(s["multiply_adds"] / 1e9, 2)) for s in found["sizes"]] == sizes


def test_json_holds_each_setting(call):
    (found,) = shown(call, "a2n")
    assert found["settings"][0] == {
        "name": "features",
        "type": "integer",
        "required": False,
        "default": 40,
        "meaning": "channels of the trunk; at least 4.",
    }
    assert found["target"] == "srkit_a2n.network:A2N"
    assert found["file"] == str(ROOT / "plugins/srkit_a2n/network.py")
    assert found["line"] == line_of("plugins/srkit_a2n/network.py", "class A2N(")
    assert found["reason"] == ""


def test_a_name_of_two_kinds_shows_both(call):
    assert [found["kind"] for found in shown(call, "bicubic")] == ["architecture", "degradation"]
    out = call("show", "bicubic")[1]
    assert "[architecture]\n" in out
    assert "[data.degradation]\n" in out


def test_an_unknown_name_names_the_nearest(call):
    assert call("show", "edrs") == (2, "", "srkit show: there is no component 'edrs'; did you mean 'edsr'?\n")


# What nobody can guess stands in the tables as a comment to fill in.
FILLED_IN = {
    "folder": {"path": '"photos"'},
    "h5": {"path": '"photos.h5"'},
    "litdata": {"path": '"photos.litdata"'},
    "lmdb": {"path": '"photos.lmdb"'},
    "multistep": {"milestones": "[2, 4]"},
    "mix": {"datasets": '["leaves"]'},
    "kernel": {"path": '"kernel.txt"'},
    "maybe": {"augmentation": '"hflip"'},
    "one_of": {"augmentations": '["hflip", "vflip"]'},
    "sequence": {"schedules": '["constant", "cosine"]', "lengths": "[2]"},
}


def components():
    """Those of srkit's own that can be used here without a file; the networks of spandrel have tests of their own."""
    found = [entry.component for entry in installed() if not entry.component.missing]
    found = [component for component in found if not component.facts.get("needs")]
    return [(c.kind, c.name) for c in found if not c.name.startswith("spandrel")]


@pytest.mark.parametrize(("kind", "name"), components())
def test_the_table_of_every_component_is_accepted_where_it_is_pasted(call, tiny, kind, name):
    if name == "litdata":
        pytest.importorskip("litdata")
    text = next(found["toml"] for found in shown(call, name) if found["kind"] == kind)
    for setting, value in FILLED_IN.get(name, {}).items():
        text = text.replace(f"# {setting} = ...", f"{setting} = {value}")
    if name in ("h5", "litdata", "lmdb"):
        assert call("prepare", "photos", f"photos.{name}")[0] == 0
    if name == "kernel":
        Path("kernel.txt").write_text("0 1 0\n1 4 1\n0 1 0\n")
    if kind == "discriminator":
        text = f'[[loss]]\ntype = "adversarial"\n{text}'
    if kind == "distortion":
        text = f'[data.degradation]\ntype = "chain"\n{text}'
    table = tomllib.loads(text)
    recipe = tomllib.loads(TINY)
    recipe["data"].update(table.pop("data", {}))
    tiny.write_text(tomli_w.dumps({**recipe, **table}))
    Builder(discover()).load(tiny)


def test_a_setting_without_a_usable_default_is_a_comment(call, tmp_path, tiny):
    (tmp_path / "mine.py").write_text(
        "import pathlib\n\n"
        "def make(*, rate: float, name: str | None = None, ceiling: float = float('inf'),\n"
        "         words: dict[str, int] = {'a b': 1}, path: pathlib.Path = pathlib.Path('x'), flag: bool = True):\n"
        "    '''Args:\n        rate: how fast.\n    '''\n"
        "    return lambda sr, hr: (sr - hr).abs().mean()\n\n" + plugin('"loss", "mine", f"{__name__}:make"')
    )
    code, out, err = call("show", "-p", "mine.py", "mine")
    text = out[out.index("[[loss]]") :]
    assert (code, err) == (0, "")
    assert text == (
        "[[loss]]\n"
        'type = "mine"\n'
        "# rate = ...  # required, number\n"
        "# name = ...  # string\n"
        "# ceiling = ...  # number\n"
        'words = { "a b" = 1 }\n'
        'path = "x"\n'
        "flag = true\n"
    )
    tiny.write_text(TINY + text)
    with pytest.raises(RecipeError) as error:
        Builder(discover(["mine.py"])).load(tiny)
    line = len(TINY.splitlines()) + 1
    assert str(error.value) == f"{tiny}:{line}: missing setting 'rate' of loss 'mine' (number)"
    assert json.loads(call("show", "-p", "mine.py", "mine", "--json")[1])["components"][0]["name"] == "mine"


def test_a_name_of_two_distributions_is_written_in_full(sites, call):
    for name in ("one", "two"):
        text = plugin(f'"loss", "same", "srkit_{name}:make"') + "\ndef make(): pass\n"
        sites.add(f"srkit-{name}", {f"srkit_{name}.py": text}, f"{name} = srkit_{name}")
    assert [found["toml"] for found in shown(call, "same")] == [
        '[[loss]]\ntype = "srkit-one:same"',
        '[[loss]]\ntype = "srkit-two:same"',
    ]
    (found,) = shown(call, "srkit-two:same")
    assert found["toml"] == '[[loss]]\ntype = "srkit-two:same"'
    assert (found["name"], found["recipe_name"]) == ("same", "srkit-two:same")
    assert call("show", "srkit-two:same")[1].splitlines()[:2] == ["srkit-two:same", "loss of srkit-two 1.0"]


def test_a_network_that_cannot_be_counted_says_why(call, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n\nprint('imported')\n\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, *, scale: int, depth: int):\n        super().__init__()\n\n"
        + plugin('"architecture", "mine", f"{__name__}:Net", facts={"scales": (2,)}')
    )
    code, out, err = call("show", "-p", "mine.py", "mine", "--json")
    assert (code, err) == (0, "imported\n")
    assert json.loads(out)["components"][0]["sizes"] == [{"scale": 2, "reason": "not counted: it needs depth"}]


def test_a_function_has_the_line_of_its_first_decorator(call, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import functools\n\n"
        "def twice(function):\n"
        "    @functools.wraps(function)\n"
        "    def call(**settings): return function(**settings)\n"
        "    return call\n\n"
        "@twice\n"
        "def make(): pass\n\n" + plugin('"loss", "mine", f"{__name__}:make"')
    )
    (found,) = json.loads(call("show", "-p", "mine.py", "mine", "--json")[1])["components"]
    assert (found["file"], found["line"]) == (str(tmp_path / "mine.py"), 8)


@pytest.mark.parametrize("target", ["builtins:dict", "itertools:count"])
def test_a_target_that_is_not_in_python_has_no_file(call, tmp_path, target):
    (tmp_path / "mine.py").write_text(plugin(f'"loss", "mine", "{target}"'))
    (found,) = json.loads(call("show", "-p", "mine.py", "mine", "--json")[1])["components"]
    assert (found["file"], found["line"]) == ("", None)


def test_of_a_target_that_cannot_be_imported_the_rest_is_shown_and_the_reason(sites, call):
    facts = 'summary="gone", source="a book", facts={"reduction": "sum"}'
    text = plugin(f'"loss", "lost", "srkit_lost_target:make", {facts}')
    target = "import nowhere_at_all\n"
    sites.add("srkit-lost", {"srkit_lost.py": text, "srkit_lost_target.py": target}, "lost = srkit_lost")
    reason = (
        "loss 'lost' cannot be used: importing srkit_lost_target:make failed with ModuleNotFoundError: "
        "No module named 'nowhere_at_all' (site/srkit_lost_target.py:1)"
    )
    code, out, err = call("show", "lost")
    assert (code, err) == (2, f"srkit show: {reason}\n")
    assert out.splitlines() == [
        "lost  gone",
        "loss of srkit-lost 1.0; a book",
        str(sites.folder / "srkit_lost_target.py"),
        'reduction "sum"',
    ]
    code, out, err = call("show", "lost", "--json")
    assert (code, err) == (2, f"srkit show: {reason}\n")
    (found,) = json.loads(out)["components"]
    assert found["reason"] == reason
    assert (found["summary"], found["facts"], found["settings"], found["toml"]) == (
        "gone",
        {"reduction": "sum"},
        [],
        "",
    )
    assert (found["file"], found["line"]) == (str(sites.folder / "srkit_lost_target.py"), None)


def test_a_module_that_is_not_there_has_no_file(sites, call):
    text = plugin('"loss", "lost", "srkit_lost.nowhere:make"')
    sites.add("srkit-lost", {"srkit_lost.py": text}, "lost = srkit_lost")
    code, out, err = call("show", "lost")
    assert (code, out.splitlines()) == (2, ["lost", "loss of srkit-lost 1.0"])
    assert err == (
        "srkit show: loss 'lost' cannot be used: importing srkit_lost.nowhere:make failed with ModuleNotFoundError: "
        "No module named 'srkit_lost.nowhere'; 'srkit_lost' is not a package\n"
    )


def test_what_is_missing_is_the_reason(sites, call):
    text = plugin('"architecture", "more", "srkit_more:make", missing="it needs more: pip install more"')
    sites.add("srkit-more", {"srkit_more.py": text}, "more = srkit_more")
    code, out, err = call("show", "more")
    assert (code, out.splitlines()[:2]) == (2, ["more", "architecture of srkit-more 1.0"])
    assert err == "srkit show: architecture 'more' cannot be used: it needs more: pip install more\n"


def test_one_that_cannot_be_used_does_not_hide_its_namesake(sites, call):
    sites.add("srkit-lost", {"srkit_lost.py": plugin('"loss", "hflip", "no_such_module:make"')}, "lost = srkit_lost")
    code, out, err = call("show", "hflip")
    assert code == 2
    assert out.splitlines()[-2:] == ["[[data.augment]]", 'type = "hflip"']
    assert err.startswith("srkit show: loss 'hflip' cannot be used: ")


def test_what_a_target_prints_when_imported_is_not_in_the_json(sites, call):
    text = plugin('"loss", "loud", "loud_target:make"')
    target = "print('hello')\ndef make(): print('made')\n"
    sites.add("srkit-loud", {"srkit_loud.py": text, "loud_target.py": target}, "loud = srkit_loud")
    code, out, err = call("show", "loud", "--json")
    assert (code, err) == (0, "hello\n")
    assert json.loads(out)["components"][0]["name"] == "loud"


def test_of_what_failed_to_load_the_reason_is_shown(sites, call):
    sites.add("srkit-tv", {"srkit_tv.py": "raise ValueError('not today')"}, "tv = srkit_tv")
    code, out, err = call("show", "tv")
    assert (code, out) == (2, "")
    assert err.startswith("srkit show: there is no component 'tv'; there are: a2n, ")
    assert err.endswith(" (plugin 'tv' of srkit-tv 1.0 failed to load: ValueError: not today (site/srkit_tv.py:1))\n")


def test_a_forgotten_p_is_named_and_so_is_what_was_loaded(call, tmp_path):
    code, out, err = call("show", "vast_hat")
    assert (code, out) == (2, "")
    assert err.endswith("; if a one-file plugin has it, add -p FILE\n")
    (tmp_path / "mine.py").write_text(plugin('"loss", "mine", "mine:make"'))
    assert call("-p", "mine.py", "show", "vast_hat")[2].endswith("; loaded with -p or SRKIT_PLUGINS: mine.py\n")
    code, out, err = call("-p", "mine.py", "check-plugin", "vast_hat")
    assert (code, err.endswith("; loaded with -p or SRKIT_PLUGINS: mine.py\n")) == (2, True)
