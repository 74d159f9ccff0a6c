import importlib
import os
import pickle
import shutil
import subprocess
import sys

import pytest

from srkit.errors import ComponentError, UsageError
from srkit.plugin.discovery import discover
from srkit.plugin.files import Folder
from tests.conftest import ROOT, plugin

LAZY = """\
import importlib
import os
import pickle

import srkit
from model.network import WHO


def make():
    def loss(sr, hr):
        import model.later
        from model import last

        by_name = importlib.import_module("model.named").WHO
        return [WHO, model.later.WHO, last.WHO, by_name]

    return loss


def in_a_child():
    def loss(sr, hr):
        reader, writer = os.pipe()
        if os.fork() == 0:
            from model.child import WHO

            os.write(writer, WHO.encode())
            os._exit(0)
        os.close(writer)
        os.wait()
        return os.read(reader, 100).decode()

    return loss


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("loss", "NAME", f"{__name__}:make")
    yield srkit.Component("loss", "NAME_child", f"{__name__}:in_a_child")
    yield srkit.Component("loss", "NAME_beside", "model.beside:make")
"""


@pytest.fixture
def two(tmp_path):
    """Two one-file plugins; each has a package `model` and a `utils.py` beside it, which say whose they are."""
    paths = []
    for name in ("first", "second"):
        folder = tmp_path / name / "model"
        folder.mkdir(parents=True)
        for module in ("__init__", "later", "last", "named", "child"):
            (folder / f"{module}.py").write_text(f"WHO = '{name} {module}'\n")
        (folder / "network.py").write_text("from utils import WHO\nfrom . import later\nimport model.last\n")
        (folder / "beside.py").write_text(f"def make(): return lambda sr, hr: '{name} beside'\n")
        (folder.parent / "utils.py").write_text(f"WHO = '{name} utils'\n")
        paths.append(folder.parent / f"{name}_plugin.py")
        paths[-1].write_text(LAZY.replace("NAME", name))
    return [str(path) for path in paths]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_each_file_has_its_own_neighbours_at_import_and_whenever_it_is_used(two, order):
    registry = discover([two[i] for i in order])
    for name in ("first", "second"):
        found = registry.create("loss", name)(None, None)
        assert found == [f"{name} utils", f"{name} later", f"{name} last", f"{name} named"]
        assert registry.create("loss", f"{name}_child")(None, None) == f"{name} child"
        assert registry.create("loss", f"{name}_beside")(None, None) == f"{name} beside"


def test_two_files_of_one_name_and_one_folder_share_nothing_and_all(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "count.py").write_text("calls = []\n")
        for file in ("net", "net-b"):
            text = f"import count\ncount.calls.append('{file}')\ndef make(): return lambda sr, hr: count.calls\n"
            component = f'"loss", "{name}_{file}", f"{{__name__}}:make"'
            (tmp_path / name / f"{file}.py").write_text(text + plugin(component))
    registry = discover([str(tmp_path / name / f"{file}.py") for name in ("one", "two") for file in ("net", "net-b")])
    for name in ("one", "two"):
        assert registry.create("loss", f"{name}_net")(None, None) == ["net", "net-b"]


def test_a_module_that_a_neighbour_lacks_is_named_as_its_author_knows_it_with_its_place(two, tmp_path):
    (tmp_path / "first/model/network.py").write_text("import model.nothing\n")
    with pytest.raises(UsageError) as error:
        discover([two[0]])
    assert str(error.value) == (
        f"-p {two[0]}: importing it failed with ModuleNotFoundError: No module named 'model.nothing' "
        f"({tmp_path}/first/model/network.py:1)"
    )


def test_a_target_beside_a_file_that_fails_is_named_as_its_author_knows_it(two, tmp_path):
    (tmp_path / "first/model/beside.py").write_text("\n1 / 0\n")
    with pytest.raises(ComponentError) as error:
        discover([two[0]]).create("loss", "first_beside")
    assert str(error.value) == (
        "loss 'first_beside' cannot be used: importing model.beside:make failed with ZeroDivisionError: "
        f"division by zero ({tmp_path}/first/model/beside.py:2)"
    )


def test_a_class_beside_a_file_can_be_pickled_and_its_module_found_again(tmp_path):
    (tmp_path / "shapes_beside.py").write_text("class Shape:\n    side = 3\n")
    text = "from shapes_beside import Shape\ndef make(): return lambda sr, hr: Shape()\n"
    (tmp_path / "with_shape.py").write_text(text + plugin('"loss", "shape", f"{__name__}:make"'))
    shape = discover([str(tmp_path / "with_shape.py")]).create("loss", "shape")(None, None)
    assert pickle.loads(pickle.dumps(shape)).side == 3
    assert importlib.import_module(type(shape).__module__).Shape is type(shape)


def test_a_network_beside_a_file_can_be_compiled(tmp_path):
    import torch

    (tmp_path / "net_beside.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
        "        from factor_beside import FACTOR\n\n        return x * FACTOR\n"
    )
    (tmp_path / "factor_beside.py").write_text("FACTOR = 3\n")
    text = "from net_beside import Net\ndef make(): return Net()\n"
    (tmp_path / "with_net.py").write_text(text + plugin('"loss", "net", f"{__name__}:make"'))
    network = discover([str(tmp_path / "with_net.py")]).create("loss", "net")
    assert torch.compile(network, backend="eager")(torch.ones(2)).tolist() == [3, 3]


ODD = {
    "..": "is a folder, and no file",
    ".": "is a folder, and no file",
    "/": "is a folder, and no file",
    "a/b/": "is a folder, and no file",
    "fifo.py": "is no regular file",
    "no such file": "there is no such file",
    "x\0y.py": "there is no such file",
    "n" * 300 + ".py": "there is no such file",
    "mine.py:Net": "there is no such file",
    ".py": "there is no such file",
    "a..b": "there is no such file",
    "weights.pt": "is no Python file: its name does not end in .py",
    "json": "it has no hook srkit_components; is @srkit.hookimpl missing?",
    "json.nothing": "there is no module 'json.nothing'",
    "no_such_module": "there is no module 'no_such_module'",
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_is_given_for_a_plugin_is_a_line_that_says_what_it_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "weights.pt").write_bytes(b"PK")
    os.mkfifo(tmp_path / "fifo.py")
    with pytest.raises(UsageError) as error:
        discover([name])
    assert str(error.value) == f"-p {name}: {ODD[name]}"


def test_a_name_that_is_empty_is_shown_as_such(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        discover([""])
    assert str(error.value) == "-p '': is a folder, and no file"


@pytest.mark.parametrize(("folder", "name"), [("", "srkit.errors"), ("plugins", "srkit_a2n")])
def test_what_is_installed_is_not_imported_again_by_a_file_beside_it(folder, name, monkeypatch):
    beside = Folder(str(ROOT / folder))
    monkeypatch.setitem(sys.modules, beside.__name__, beside)
    assert beside.name_of(name) == name


def test_a_file_in_the_folder_that_srkit_is_imported_from_is_a_plugin(tmp_path):
    shutil.copytree(ROOT / "srkit", tmp_path / "srkit", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tiny.py").write_text("def make(): return 7\n" + plugin('"loss", "tiny", f"{__name__}:make"'))
    program = (
        "import srkit\nfrom srkit.plugin.discovery import discover\n"
        "print(srkit.__file__, discover(['tiny.py'], ambient='').create('loss', 'tiny'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", f"{tmp_path / 'srkit' / '__init__.py'} 7\n")


@pytest.mark.parametrize("name", ["my net.py", "7.py", "my-net.py", "ñandú.py", "class.py"])
def test_a_file_may_have_any_name(tmp_path, name):
    text = "def make(): return lambda sr, hr: 7\n"
    (tmp_path / name).write_text(text + plugin('"loss", "seven", f"{__name__}:make"'))
    assert discover([str(tmp_path / name)]).create("loss", "seven")(None, None) == 7


def test_a_file_leaves_no_module_behind_where_it_fails(tmp_path):
    before = set(sys.modules)
    (tmp_path / "fails_at_once.py").write_text("1 / 0")
    with pytest.raises(UsageError):
        discover([str(tmp_path / "fails_at_once.py")])
    assert {name for name in set(sys.modules) - before if "fails_at_once" in name} == set()
