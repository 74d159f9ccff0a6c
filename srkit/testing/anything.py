"""What every component must do, of any kind."""

from __future__ import annotations

import inspect
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srkit.engine.networks.calling import takes
from srkit.engine.networks.checking import checked
from srkit.errors import ComponentError, describe, did_you_mean, nearest
from srkit.plugin import discovery
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import GROUP
from srkit.plugin.settings import NAMED, REQUIRED, read_settings, untyped_parameters
from srkit.testing.check import Check, Inapplicable, Subject, fail, refuse_missing_package
from srkit.testing.imported import OWN, Imported, imported


def importing_is_light(subject: Subject) -> None:
    """Importing the plugin, which `srkit list` does, imports neither torch nor numpy nor anything as heavy, and
    takes less than a second."""
    if subject.entry.origin.is_file:
        raise Inapplicable("a plugin of one file is imported whole")
    found = _imported(subject)
    instead = 'let the module with the hook declare only, and name the target by a string, "package.module:Name"'
    if found.heavy:
        fail(f"importing it imports {', '.join(found.heavy)}", instead)
    if found.seconds >= discovery.SLOW:
        fail(f"importing it takes {found.seconds:.1f} s, and every command waits for it", instead)


def importing_changes_nothing(subject: Subject) -> None:
    """Importing the target leaves alone what is the whole process's: random states, torch's default dtype and number of
    threads, signal handlers, environment variables."""
    changes = _imported(subject).changed
    whose = {OWN: "the plugin", subject.component.target.partition(":")[0]: subject.component.target}
    told = [f"importing {what} changes {', '.join(changes[name])}" for name, what in whose.items() if changes.get(name)]
    if told:
        fail("; ".join(told), "do it where it is needed, and undo it")


def _imported(subject: Subject) -> Imported:
    """Return what importing all of the subject's distribution, or its file, does; once a process."""
    origin = subject.entry.origin
    own = [entry.component for entry in subject.registry if entry.origin == origin and not entry.component.missing]
    targets = tuple(dict.fromkeys(component.target.partition(":")[0] for component in own))
    modules: tuple[str, ...] = ()
    file = ""
    if origin.is_file:
        file = str(getattr(sys.modules.get(targets[0]), "__file__", "") or "")
    else:
        found = metadata.distribution(origin.distribution).entry_points
        modules = tuple(point.value for point in found if point.group == GROUP)
    result = imported(modules, file, targets, tuple(sys.path))
    if result.error:
        fail(f"importing it in a new process fails: {result.error}", "mend that first")
    return result


def says_what_it_is(subject: Subject) -> None:
    """It has a summary; each setting has a type, or a default that shows it, and a line in the docstring's section
    `Args:`."""
    component = subject.component
    if not component.summary:
        fail("it has no summary", 'give Component(..., summary="what it is, in a line")')
    target = component.load()
    settings = read_settings(target, KINDS[component.kind].given)
    untyped = untyped_parameters(target, KINDS[component.kind].given)
    unclear = {p.name: p.default for p in untyped if isinstance(p.default, list | tuple | dict)}
    if unclear:
        name, default = next(iter(unclear.items()))
        fail(
            f"{_named('parameter', [*unclear])} without a type that recipes could set",
            f"write {name}: {_type_of(default)} = {default!r}",
        )
    silent = [name for name, setting in settings.items() if not setting.doc]
    if silent:
        fail(
            f"{_named('setting', silent)} without a meaning",
            f'add to the docstring, under a line "Args:", the line "    {silent[0]}: what it does."',
        )


def _type_of(value: Any) -> str:
    """Return how the type of a default is written, so that recipes can set it."""
    if not isinstance(value, list | tuple | dict):
        return type(value).__name__
    members = list(value.values() if isinstance(value, dict) else value)
    member = _type_of(members[0]) if members else "float"
    if isinstance(value, dict):
        return f"dict[str, {member}]"
    return f"list[{member}]" if isinstance(value, list) else f"tuple[{member}, ...]"


def _named(noun: str, names: list[str]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _parameters(subject: Subject) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(subject.component.load()).parameters)


def is_made_with_defaults(subject: Subject) -> None:
    """It is made from what its kind is given and the defaults of its settings."""
    component = subject.component
    target = component.load()
    parameters, given = _parameters(subject), KINDS[component.kind].given
    swallows = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in set(given) - {KINDS[component.kind].first, NAMED}:
        near = nearest(name, parameters)
        if name not in parameters and (near or not (swallows or _is_optional(subject, name))):
            instead = f"call it with {near}={name}" if near else f"use {name}"
            fail(
                f"it takes no '{name}'{did_you_mean(name, parameters)}",
                f"write a subclass or a function that has the parameter '{name}', to {instead} (see docs/plugins.md)",
            )
    known = read_settings(target, given)
    needed = [name for name, s in known.items() if s.default is REQUIRED and name not in subject.settings]
    if needed:
        fail(
            f"it needs {', '.join(needed)}",
            f"give {needed[0]} a default, or check it with --set {needed[0]}=... (in a test, check({needed[0]}=...))",
        )
    try:
        with tempfile.TemporaryDirectory() as folder:
            weight = nn.Parameter(torch.zeros(1))
            words = {"parameters": [weight], NAMED: [("", weight)], "steps": 100, "path": Path(folder) / "made"}
            made = subject.make(**words)
            if component.kind == "writer":
                made.close()
    except Exception as error:
        refuse_missing_package(error)
        if subject.settings:
            fail(f"with these settings, making it raises {describe(error)}", "check it with settings that it takes")
        fail(f"making it raises {describe(error)}", "let the defaults, with every scale that it states, be good ones")
    try:
        checked(component, made)
    except ComponentError as error:
        fail(str(error), f"let it return what docs/contracts.md says of a component of kind '{component.kind}'")


def _is_optional(subject: Subject, name: str) -> bool:
    """Say whether a target need not declare a word: a network of one scale knows it, and one of any needs none."""
    if name == "scale":
        target: Any = subject.component.load()
        called = getattr(target, "forward", target.__call__)
        return len(subject.facts.get("scales", ())) == 1 or takes(called, "size")
    return name in ("steps", "half")


CHECKS = (
    Check(importing_is_light),
    Check(importing_changes_nothing),
    Check(says_what_it_is),
    Check(is_made_with_defaults, first=True),
)
