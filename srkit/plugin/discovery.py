"""Installed plugins to a registry, and the broken ones to its failures."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from srkit.errors import UsageError, describe
from srkit.plugin import hookspecs
from srkit.plugin.component import Component
from srkit.plugin.guard import unchanged
from srkit.plugin.registry import OWN, Failure, Origin, Registry
from srkit.version import __version__

GROUP = "srkit"
HOOK = "srkit_components"

log = logging.getLogger("srkit")


@functools.cache
def installed() -> Registry:
    """Return the registry of what is installed, and of the environment's SRKIT_PLUGINS, read once a process."""
    return discover(ambient=os.environ.get("SRKIT_PLUGINS", ""))


def discover(extra: Sequence[str] = (), ambient: str = "") -> Registry:
    """Load every installed plugin, and the files or modules named in `extra` and in `ambient`, a list as PATH is one.

    A plugin that fails in any way becomes a failure of the registry; the others are not disturbed.
    Raises UsageError for an `extra` that is neither a file nor a module, or that fails: it was asked for by name.
    """
    registry = Registry()
    for name, module_name, origin in _entry_points(registry):
        _load(registry, name, module_name, origin)
    for name in extra:
        reason = _load_named(registry, name)
        if reason:
            raise UsageError(f"-p {name}: {reason}")
    asked = {_identity(name) for name in extra}
    for name in dict.fromkeys(filter(None, ambient.split(os.pathsep))):
        if _identity(name) not in asked:
            reason = _load_named(registry, name)
            if reason:
                registry.failures.append(Failure(name, Origin("SRKIT_PLUGINS"), reason))
    for clash in registry.clashes(of_files=True):
        log.warning("%s", clash)
    return registry


def _load_named(registry: Registry, name: str) -> str:
    """Load a file or a module by its name; return what was wrong with it, or nothing."""
    try:
        module = name if not _looks_like_a_file(name) else import_file(Path(name))
    except PluginFailed as error:
        return str(error)
    failed = len(registry.failures)
    _load(registry, name, module, Origin(Path(name).name))
    reason = registry.failures.pop().reason if len(registry.failures) > failed else ""
    if reason == f"ModuleNotFoundError: No module named '{name}'":
        hint = f"; did you mean -p {name}.py?" if os.path.isfile(f"{name}.py") else ""
        return f"there is no module '{name}'{hint}"
    return reason


def _identity(name: str) -> str:
    return os.path.realpath(name) if _looks_like_a_file(name) else name


def _entry_points(registry: Registry) -> Iterator[tuple[str, str, Origin]]:
    """Yield (entry point, module, origin) of every distribution, once each.

    importlib.metadata.entry_points() is not used: one malformed file of any distribution breaks it for all.
    """
    seen: set[str] = set()
    here = os.path.realpath(os.curdir)
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if f"[{GROUP}]" not in text:
                continue
            # A downloaded folder may hold a *.dist-info: a plugin never comes from the current folder.
            if os.path.realpath(str(distribution.locate_file(""))) == here:
                continue
            name = re.sub(r"[-_.]+", "-", distribution.name).lower()
            if name in seen:
                continue
            seen.add(name)
            origin = Origin(name, distribution.version)
            unfit = _unfit(distribution) if name != OWN else ""
        except Exception:
            continue  # not a distribution that could be named, so nothing to report of it
        for line in _section(text):
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals or not re.fullmatch(r"[\w.]+", value):
                registry.failures.append(Failure(line, origin, f"malformed entry point {line!r}; write name = module"))
            elif unfit:
                registry.failures.append(Failure(key, origin, unfit))
            else:
                yield key, value, origin


def _unfit(distribution: importlib.metadata.Distribution) -> str:
    """Return why a distribution does not go with this srkit, or nothing: pip, told to, installs it nevertheless."""
    for text in distribution.requires or ():
        if not text.lower().startswith("srkit"):
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        here = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if here and needed.name.lower() == "srkit" and not needed.specifier.contains(__version__, prereleases=True):
            return f"it is for srkit {needed.specifier}, and this is srkit {__version__}"
    return ""


def _section(text: str) -> Iterator[str]:
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and line and not line.startswith(("#", ";")):
            yield line


def _load(registry: Registry, name: str, module: str | ModuleType, origin: Origin) -> None:
    """Import one plugin and add what it yields: all of it, or none of it and a failure."""
    try:
        # What a plugin prints when it is imported must not land in a command's --json.
        with contextlib.redirect_stdout(sys.stderr), unchanged() as changed:
            components = _components(importlib.import_module(module) if isinstance(module, str) else module, name)
        _refuse(changed)
        trial = Registry()
        for component in components:
            trial.add(component, origin)
        for component in components:
            registry.add(component, origin)
    except KeyboardInterrupt:
        raise
    except PluginFailed as error:
        registry.failures.append(Failure(name, origin, str(error)))
    except BaseException as error:  # SystemExit included: a plugin may do anything when it is imported
        registry.failures.append(Failure(name, origin, describe(error)))


def _components(module: ModuleType, name: str) -> list[Component]:
    """Return what the hook of a plugin yields. Raises PluginFailed, or what the plugin raises."""
    manager = pluggy.PluginManager(GROUP)  # one each: a plugin that is wrong cannot stop the next
    for found, hook in vars(module).items():
        if getattr(hook, f"{GROUP}_impl", None) is None:
            continue
        if found != HOOK:
            raise PluginFailed(f"it has a hook '{found}', and srkit's is called '{HOOK}'")
        arguments = list(inspect.signature(hook).parameters)
        if arguments:
            raise PluginFailed(f"its hook {HOOK} takes {', '.join(arguments)}, and is given nothing: write {HOOK}()")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    if not manager.get_hookcallers(module):
        raise PluginFailed(f"it has no hook {HOOK}; is @srkit.hookimpl missing?")
    results = manager.hook.srkit_components()
    if not results:
        raise PluginFailed(f"its hook {HOOK} returns None: let it yield components, or return a list of them")
    try:
        components = list(results[0])
    except TypeError:
        if isinstance(results[0], Iterable):
            raise  # of the plugin's own, within its hook
        raise PluginFailed(f"its hook {HOOK} {_returns(results[0])}") from None
    for component in components:
        if not isinstance(component, Component):
            raise PluginFailed(f"its hook {HOOK} {_returns(component, 'yields')}")
    return components


def _returns(value: object, verb: str = "returns") -> str:
    what = "a component itself" if isinstance(value, Component) else f"a {type(value).__name__}"
    return f"{verb} {what}: let it yield components, or return a list of them"


class PluginFailed(Exception):
    """A file is no plugin, or its import fails."""


def _refuse(changed: Sequence[str]) -> None:
    if changed:
        raise PluginFailed(f"importing it changes {', '.join(changed)}, on which all networks depend (it was set back)")


def _looks_like_a_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def import_file(path: Path) -> ModuleType:
    """Import a one-file plugin under its own name, or a private one where that would shadow another module.

    It may import its neighbours, as a script may: its folder comes last on sys.path, and so hides nothing. Raises
    PluginFailed.
    """
    if path.is_dir():
        raise PluginFailed("is a folder, and no file")
    if not path.is_file():
        raise PluginFailed("there is no such file")
    if path.suffix != ".py":
        raise PluginFailed("is no Python file: its name does not end in .py")
    name = path.stem if path.stem.isidentifier() and _is_free(path) else f"srkit_file_{abs(hash(path.stem)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that a target "name:Class" is found
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        with unchanged() as changed:
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        raise PluginFailed(f"importing it failed with {describe(error)}") from error
    _refuse(changed)
    return module


def _is_free(path: Path) -> bool:
    """Say whether a file's name may be its module's: it hides no other module."""
    if path.stem in sys.modules:
        return False
    try:
        found = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        return False
    return found is None or os.path.realpath(found.origin or "") == os.path.realpath(path)


def provenance(registry: Registry) -> dict[str, Any]:
    """Return {distribution: version} of everything that gave a component, for a run's record."""
    return {entry.origin.distribution: entry.origin.version for entry in registry}
