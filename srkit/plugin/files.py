"""One-file plugins, and the modules beside each, which no other plugin's folder shares."""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from srkit.errors import PRIVATE, located
from srkit.plugin.guard import PluginFailed, refuse, unchanged


class Folder(ModuleType):
    """The package, by a private name, of the modules beside a one-file plugin.

    A module in it that says `import model` gets the folder's `model`, when it is imported or at any time later, though
    another plugin's folder has one, too. What is installed under that name goes first, so that a folder hides nothing.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"{PRIVATE}{_digest(path)}")
        self.__path__ = [path]
        self._has: dict[str, bool] = {}
        self._importlib = _Importlib(self)
        self.builtins = {**vars(builtins), "__import__": self._import}

    @staticmethod
    def of(path: str) -> Folder:
        """Return the folder of a path: one a process."""
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        found = sys.modules.get(f"{PRIVATE}{_digest(path)}")
        if not isinstance(found, Folder):
            found = Folder(path)
            sys.modules[found.__name__] = found
        return found

    def name_of(self, name: str) -> str:
        """Return the name by which `import NAME` of a module in the folder is found."""
        top = name.partition(".")[0]
        if top not in self._has:
            here = PathFinder.find_spec(top, list(self.__path__)) is not None
            self._has[top] = here and not _is_elsewhere(top)
        return f"{self.__name__}.{name}" if self._has[top] else name

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Do what `importlib.import_module` does, for a module in the folder."""
        return importlib.import_module(name if name.startswith(".") else self.name_of(name), package)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what an import statement does, for a module in the folder."""
        found = self.name_of(name) if level == 0 else name
        module = builtins.__import__(found, globals, locals, fromlist or (), level)
        if module is importlib:
            return self._importlib
        # Without `from`, the statement binds the first of the names.
        return module if found == name or fromlist else sys.modules[f"{self.__name__}.{name.partition('.')[0]}"]


class _Importlib(ModuleType):
    """`importlib` for the modules in a folder: many collections of networks import their modules by it."""

    def __init__(self, folder: Folder) -> None:
        super().__init__("importlib")
        self.import_module = folder.import_module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)


class _Loader(SourceFileLoader):
    """Gives a module its folder's import statement, which Python looks up in a module's `__builtins__`."""

    def __init__(self, name: str, path: str, folder: Folder) -> None:
        super().__init__(name, path)
        self._folder = folder

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._folder.builtins
        super().exec_module(module)


class _Finder:
    """Finds the modules of folders by their private names."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        folder = sys.modules.get(name.partition(".")[0])
        if not isinstance(folder, Folder):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.loader.path, folder)
        return spec


def import_file(path: Path) -> ModuleType:
    """Import a one-file plugin under its own name, or a private one where that would shadow another module.

    It may import its neighbours, as a script may, but for those whose name is an installed module's: it hides nothing.
    Raises PluginFailed, with what the file raised as its cause.
    """
    if os.path.isdir(path):
        raise PluginFailed("is a folder, and no file")
    if not os.path.lexists(path):
        raise PluginFailed("there is no such file")
    if path.suffix != ".py":
        raise PluginFailed("is no Python file: its name does not end in .py")
    if not os.path.isfile(path):
        raise PluginFailed("is no regular file")
    place = os.path.realpath(path.parent)
    folder = Folder.of(place)
    stem = path.stem if path.stem.isidentifier() else f"file_{_digest(path.name)}"
    private = f"{folder.__name__}.{stem}"
    name = stem if stem == path.stem and _is_free(path) else private
    loader = _Loader(name, os.path.abspath(path), folder)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # So that a target "name:Class" is found, and a neighbour that imports the file.
    sys.modules[name] = sys.modules[private] = module
    if place not in sys.path:
        sys.path.append(place)  # for what others import for it, by the name of a module
    try:
        with unchanged() as changed:
            loader.exec_module(module)
    except KeyboardInterrupt as error:
        error.add_note(f"while {path} was imported")
        raise
    except BaseException as error:
        sys.modules.pop(name, None)
        sys.modules.pop(private, None)
        if isinstance(error, PluginFailed):
            raise
        raise PluginFailed(f"importing it failed with {located(error)}") from error
    refuse(changed)
    return module


def folder_of(module: ModuleType) -> Folder | None:
    """Return the folder of a one-file plugin's module; None for any other."""
    loader = getattr(module, "__loader__", None)
    return loader._folder if isinstance(loader, _Loader) else None


def _is_free(path: Path) -> bool:
    """Say whether a file's name may be its module's: it hides no other module."""
    return path.stem not in sys.modules and not _is_elsewhere(path.stem)


def _is_elsewhere(top: str) -> bool:
    """Say whether a module of a name is installed, or found in another place than the folders of one-file plugins.

    What is installed may lie in such a folder: srkit itself, where that is its clone.
    """
    if top == __name__.partition(".")[0]:
        return True
    folders = {path for module in list(sys.modules.values()) if isinstance(module, Folder) for path in module.__path__}
    if top in sys.modules:
        file = getattr(sys.modules[top], "__file__", None) or next(iter(getattr(sys.modules[top], "__path__", ())), "")
        place = os.path.dirname(os.path.realpath(file))
        if not {place, os.path.dirname(place)} & folders:
            return True
    others = [entry for entry in sys.path if os.path.realpath(entry) not in folders]
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(top, others if finder is PathFinder else None, None)
        except (AttributeError, ImportError, ValueError):
            continue
        if found is not None:
            return True
    return False


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:12]
