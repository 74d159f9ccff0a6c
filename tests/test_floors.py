"""Which module may import which: read from the sources, so that a forgotten path cannot hide an import."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import srkit
from tests.conftest import ROOT

# From the ground up. A room is a package, or a module that stands alone: it imports from lower floors, and a module of
# a package from its own package, too.
FLOORS = [
    ["choosing", "errors", "folding", "matlab", "version"],
    ["files", "protocol", "plugin"],
    ["images", "recipe", "video"],
    [
        *("runs", "engine.device", "engine.heartbeat", "engine.memory", "engine.networks", "engine.reading"),
        *("engine.streams", "engine.supervising"),
    ],
    ["engine.builder", "engine.distributed", "reports"],
    ["engine.data", "engine.weights"],
    ["engine.learning", "engine.scoring", "engine.speed"],
    ["engine.exporting", "engine.running"],
    ["sweeps"],
    ["api"],
    ["testing"],
    ["cli"],
    ["__main__"],
]
PUBLIC = {"srkit", "srkit.folding"}  # what plugins import
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
MOST = 9  # modules of a room, but for cli, which has one for each command, and testing, which has one for each kind

CORE = sorted((ROOT / "srkit").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


def label(path):
    return str(path.relative_to(ROOT))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nodes(tree: ast.AST, *, lazy: bool, typing: bool) -> Iterator[ast.AST]:
    """Walk a tree; `lazy`: also what functions do when called, `typing`: also what only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING" and not typing:
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy:
            continue
        yield child
        yield from nodes(child, lazy=lazy, typing=typing)


def imports(path, *, lazy=True, typing=False) -> set[str]:
    """Return the modules that a file imports: for `from srkit import toml` it is srkit.recipe.toml."""
    found: set[str] = set()
    for node in nodes(ast.parse(path.read_text()), lazy=lazy, typing=typing):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}:{node.lineno}: a relative import"
            names = {f"{node.module}.{name.name}" for name in node.names}
            modules = {name for name in names if name in MODULES}
            found |= modules
            if len(modules) < len(names):
                found.add(str(node.module))
    return found


MODULES = {module_name(path) for path in [*CORE, *PLUGINS]}


def room(module):
    """Return the room of a module: "plugin" for srkit.plugin.kind, "engine.data" for srkit.engine.data.ring."""
    _, first, *others = module.split(".")
    return f"{first}.{others[0]}" if first == "engine" and others else first


INSIDE = sorted(name for name in MODULES if name.startswith("srkit.") and name != "srkit.engine")


def test_every_room_has_its_floor():
    assert {room(name) for name in INSIDE} == FLOOR.keys()


@pytest.mark.parametrize("name", sorted({*FLOOR} - {"cli", "testing"}))
def test_a_room_has_few_modules(name):
    assert len([module for module in INSIDE if room(module) == name and module != f"srkit.{name}"]) <= MOST


@pytest.mark.parametrize("path", [path for path in CORE if module_name(path) in INSIDE], ids=label)
def test_a_module_imports_from_lower_floors(path):
    own = module_name(path)
    for other in imports(path) & set(INSIDE):
        assert FLOOR[room(other)] < FLOOR[room(own)] or room(other) == room(own), f"{own} imports {other}"


def refuse_circles(edges):
    while edges:
        free = {name for name, others in edges.items() if not (others - {name}) & edges.keys()}
        assert free, f"a circle among {sorted(edges)}"
        edges = {name: others for name, others in edges.items() if name not in free}


def test_there_are_no_circles():
    refuse_circles({module_name(path): imports(path) & MODULES for path in [*CORE, *PLUGINS]})


def test_there_are_no_circles_of_packages():
    edges = {}
    for path in [*CORE, *PLUGINS]:
        package = module_name(path).rpartition(".")[0] or module_name(path)
        others = {name.rpartition(".")[0] or name for name in imports(path) & MODULES}
        # Both hold the modules that everything uses, and rooms: what these do to each other is a matter of floors.
        edges.setdefault(package, set()).update(others - {"srkit", "srkit.engine"})
    refuse_circles(edges)


@pytest.mark.parametrize("path", CORE, ids=label)
def test_torch_is_in_the_engine_alone(path):
    heavy = {"torch", "safetensors", "torchvision"} & {name.split(".")[0] for name in imports(path)}
    parts = path.relative_to(ROOT / "srkit").parts
    # A command imports torch, if at all, when it is called: `srkit check` needs the name of a device.
    if parts[0] in ("cli", "api.py"):
        heavy &= {name.split(".")[0] for name in imports(path, lazy=False)}
        assert not {name for name in imports(path, lazy=False) if name.startswith("srkit.engine")}
    assert not heavy or parts[0] in ("engine", "testing", "folding.py")  # the latter is for plugins alone


@pytest.mark.parametrize("path", CORE, ids=label)
def test_the_core_imports_no_plugin(path):
    assert not {name for name in imports(path, typing=True) if name.startswith("srkit_")}


@pytest.mark.parametrize("path", PLUGINS, ids=label)
def test_a_plugin_imports_the_public_names_of_srkit_and_nothing_else_of_it(path):
    package = module_name(path).split(".")[1]
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used = {name.name for name in node.names}
            assert not {name for name in used if name.startswith("srkit.")}
        elif isinstance(node, ast.ImportFrom):
            used = {str(node.module)}
            assert node.module in PUBLIC or not str(node.module).startswith("srkit.")
            if node.module == "srkit":
                assert {name.name for name in node.names} <= set(srkit.__all__)
        else:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "srkit":
                assert node.attr in srkit.__all__
            continue
        assert {name.split(".")[0] for name in used if name.startswith("srkit_")} <= {package}


@pytest.mark.parametrize("path", [path for path in PLUGINS if path.name == "__init__.py"], ids=label)
def test_a_plugin_that_is_listed_imports_nothing_heavy(path):
    allowed = {"srkit", "collections", "__future__", "typing"}
    assert {name.split(".")[0] for name in imports(path, lazy=False)} <= allowed


@pytest.mark.parametrize("path", [*CORE, *PLUGINS], ids=label)
def test_nothing_runs_code_that_it_has_read(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {name.name.split(".")[0] for name in node.names} | {str(getattr(node, "module", "")).split(".")[0]}
            assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
        elif isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("eval", "exec", "os.system", "yaml.load", "os.popen")
            unsafe = {(word.arg, ast.unparse(word.value)) for word in node.keywords}
            assert not unsafe & {("weights_only", "False"), ("shell", "True"), ("allow_pickle", "True")}
            if ast.unparse(node.func) == "torch.load":
                assert ("weights_only", "True") in unsafe


@pytest.mark.parametrize("path", [*CORE, *PLUGINS], ids=label)
def test_nothing_speaks_to_a_network_or_unpacks_an_archive(path):
    found = {name.split(".")[0] for name in imports(path)}
    assert not found & {"urllib", "http", "ftplib", "smtplib", "ssl", "requests", "aiohttp", "httpx", "xmlrpc"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("extractall", "getoutput", "getstatusoutput", "unpack_archive", "load_module")


@pytest.mark.parametrize("path", CORE, ids=label)
def test_only_files_py_renames_flushes_and_removes(path):
    """Where tests inject faults: an operation elsewhere would not be seen."""
    if label(path) == "srkit/files.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in ("os.rename", "os.replace", "os.fsync", "shutil.rmtree", "shutil.move")


@pytest.mark.parametrize("path", [*CORE, *PLUGINS], ids=label)
def test_every_module_says_in_a_sentence_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
