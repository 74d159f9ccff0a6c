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
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pluggy

from srkit.errors import UsageError, located
from srkit.plugin import component as hookspecs
from srkit.plugin.component import Component
from srkit.plugin.files import Folder, folder_of, import_file
from srkit.plugin.guard import BEGINNING, Fatal, Mark, PluginFailed, fatal, refuse, unchanged
from srkit.plugin.registry import OWN, Failure, Origin, Registry
from srkit.version import __version__

GROUP = "srkit"
HOOK = "srkit_components"
SLOW = 1.0  # seconds; srkit's own listing takes a fifth

log = logging.getLogger("srkit")


@functools.cache
def installed() -> Registry:
    """Return the registry of what is installed, and of the environment's SRKIT_PLUGINS, read once a process."""
    return discover(ambient=os.environ.get("SRKIT_PLUGINS", ""))


def discover(extra: Sequence[str] = (), ambient: str = "", *, tried: bool = False) -> Registry:
    """Load every installed plugin, and the files or modules named in `extra` and in `ambient`, a list as PATH is one.

    A plugin that fails in any way becomes a failure of the registry; the others are not disturbed. One that crashes the
    process or never comes back would take all with it: with `tried`, or where that has happened to the last process
    that loaded these plugins, each is imported in another process first. A crash lets a command begin again, so that
    this is the case; without `tried`, a plugin that was left out so is warned of.
    Raises UsageError for an `extra` that is neither a file nor a module, or that fails: it was asked for by name.
    """
    registry = Registry()
    found = list(_entry_points(registry))
    asked = {_identity(name) for name in extra}
    named = [name for name in dict.fromkeys(filter(None, ambient.split(os.pathsep))) if _identity(name) not in asked]
    foreign = [*(module for _, module, origin in found if origin.distribution != OWN), *extra, *named]
    suspects = [name for name in foreign if tried or Mark.of(_identity(name)).is_left()]
    reasons = fatal(suspects)
    for name, module, origin in found:
        before = len(registry.failures)
        if module in reasons:
            registry.failures.append(Failure(name, origin, reasons[module], Fatal()))
        elif origin.distribution == OWN:
            _load(registry, name, module, origin)
        else:
            with _watched(module, module in suspects):
                _load(registry, name, module, origin)
        _mark_fatal(module, registry.failures[before:])
    for name in [*extra, *named]:
        failure = _load_named(registry, name, reasons.get(name, ""), name in suspects)
        _mark_fatal(name, [failure] if failure else [])
        if failure and name in extra:
            raise UsageError(f"-p {name or repr(name)}: {failure.reason}") from failure.error
        if failure:
            registry.failures.append(failure)
    if not tried:
        for failure in registry.failures:
            if isinstance(failure.error, Fatal):
                log.warning("%s", failure)
    for clash in registry.clashes(of_files=True):
        log.warning("%s", clash)
    return registry


def try_out(plugins: Sequence[str], done: Callable[[], object]) -> None:
    """Load plugins by their modules or files, one after the other; call `done` first, and after each of them."""
    done()
    for name in plugins:
        _load_named(Registry(), name)
        done()


@contextlib.contextmanager
def _watched(name: str, suspect: bool) -> Iterator[None]:
    """Load a plugin within, by its module or file. A crash begins the command again: once, so a suspect does not."""
    mark, beginning = Mark.of(_identity(name)), BEGINNING.get()
    crash = beginning.after_a_crash(mark) if beginning and not suspect else contextlib.nullcontext()
    with mark.loading(), crash:
        yield


def _mark_fatal(name: str, failures: Sequence[Failure]) -> None:
    """Let the next command try this plugin, by its module or file, in another process first, where it was fatal."""
    if any(isinstance(failure.error, Fatal) for failure in failures):
        Mark.of(_identity(name)).leave()


def _load_named(registry: Registry, name: str, fatal: str = "", suspect: bool = False) -> Failure | None:
    """Load a file or a module by its name; return what was wrong with it. `fatal` is why it must not be loaded."""
    where = Origin("SRKIT_PLUGINS")
    if fatal:
        return Failure(name, where, fatal, Fatal())
    before = len(registry.failures)
    with _watched(name, suspect):
        try:
            module = name if not _looks_like_a_file(name) else import_file(Path(name))
        except PluginFailed as error:
            return Failure(name, where, str(error), error.__cause__ or error)
        _load(registry, name, module, Origin(Path(name).name))
    if len(registry.failures) == before:
        return None
    failure = registry.failures.pop()
    if isinstance(failure.error, ModuleNotFoundError) and f"{name}.".startswith(f"{failure.error.name}."):
        hint = f"; did you mean -p {name}.py?" if os.path.isfile(f"{name}.py") else ""
        return Failure(name, where, f"there is no module '{name}'{hint}")
    return Failure(name, where, failure.reason, failure.error)


def _identity(name: str) -> str:
    return os.path.realpath(name) if _looks_like_a_file(name) and "\0" not in name else name


def _looks_like_a_file(name: str) -> bool:
    return name.endswith(".py") or os.path.isfile(name) or not all(part.isidentifier() for part in name.split("."))


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
    """Return why a distribution does not go with this srkit or this torch, or nothing.

    pip, made to, installs it nevertheless. torch is not imported to learn its version.
    """
    for text in distribution.requires or ():
        if not text.lower().startswith(("srkit", "torch")):
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        name = needed.name.lower()
        if name not in ("srkit", "torch") or not (needed.marker is None or needed.marker.evaluate({"extra": ""})):
            continue
        version = __version__ if name == "srkit" else _version(name)
        if version and not needed.specifier.contains(version, prereleases=True):
            return f"it is for {name} {needed.specifier}, and this is {name} {version}"
    return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
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
    start = time.perf_counter()
    try:
        # What a plugin prints when it is imported must not land in a command's --json.
        with contextlib.redirect_stdout(sys.stderr), unchanged() as changed:
            imported = importlib.import_module(module) if isinstance(module, str) else module
            components = _components(imported, name)
        refuse(changed)
        trial = Registry()
        for component in components:
            trial.add(component, origin)
            own, _, attribute = component.target.partition(":")
            if own == imported.__name__ and callable(target := getattr(imported, attribute, None)):
                component.refuse_keys(target)  # at once, as it is imported already
        for component in components:
            registry.add(component, origin)
    except KeyboardInterrupt as error:
        error.add_note(f"while plugin '{name}' of {origin} was loaded")
        raise
    except PluginFailed as error:
        registry.failures.append(Failure(name, origin, str(error), error.__cause__ or error))
    except BaseException as error:  # SystemExit included: a plugin may do anything when it is imported
        registry.failures.append(Failure(name, origin, located(error), error))
    seconds = time.perf_counter() - start
    if seconds >= SLOW and not origin.is_file:  # a file is imported whole
        registry.slow.append(f"plugin '{name}' of {origin} takes {seconds:.1f} s to load, in every command")


def _components(module: ModuleType, name: str) -> list[Component]:
    """Return what the hook of a plugin yields. Raises PluginFailed, or what the plugin raises."""
    hooks = {found: hook for found, hook in vars(module).items() if _is_hook(hook)}
    if HOOK not in hooks:
        wrong = next((name for name, hook in hooks.items() if hook.__module__ == module.__name__), None)
        if wrong:  # one of another module, under whatever name, is that module's
            raise PluginFailed(f"it has a hook '{wrong}', and srkit's is called '{HOOK}'")
        raise PluginFailed(f"it has no hook {HOOK}; is @srkit.hookimpl missing?")
    arguments = list(inspect.signature(hooks[HOOK]).parameters)
    if arguments:
        raise PluginFailed(f"its hook {HOOK} takes {', '.join(arguments)}, and is given nothing: write {HOOK}()")
    manager = pluggy.PluginManager(GROUP)  # one each: a plugin that is wrong cannot stop the next
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
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
    folder = folder_of(module)
    return [_within(folder, component) if folder else component for component in components]


def _is_hook(value: object) -> bool:
    return inspect.isroutine(value) and getattr(value, f"{GROUP}_impl", None) is not None


def _within(folder: Folder, component: Component) -> Component:
    """Return a component of a one-file plugin, whose target may be in a module beside it."""
    if not isinstance(component.target, str) or component.target.partition(":")[0] in sys.modules:
        return component
    return attrs.evolve(component, target=folder.name_of(component.target))


def _returns(value: object, verb: str = "returns") -> str:
    what = "a component itself" if isinstance(value, Component) else f"a {type(value).__name__}"
    return f"{verb} {what}: let it yield components, or return a list of them"


def provenance(registry: Registry) -> dict[str, Any]:
    """Return {distribution: version} of everything that gave a component, for a run's record."""
    return {entry.origin.distribution: entry.origin.version for entry in registry}
