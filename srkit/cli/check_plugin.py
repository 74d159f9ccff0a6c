"""Run a component's contract: each check with its result and, where it fails, with what to do.

NAME is a component ("my_net"), or a distribution ("srkit-xyz") for all that it gives; with -p FILE it may be left out.
What each check promises stands in docs/contracts.md.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from srkit.cli import output
from srkit.errors import ComponentError, RunFailed, UsageError, did_you_mean, nearest
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Entry, Registry
from srkit.plugin.settings import REQUIRED, read_settings
from srkit.recipe.reading import read_part

if TYPE_CHECKING:
    from srkit.testing.running import Result

STYLE = {"passed": "green", "failed": "red", "declared": "yellow", "skipped": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a component or a distribution, as `srkit list` has it")
    parser.add_argument(
        "--set", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help="a setting of the component"
    )
    parser.add_argument("--slow", action="store_true", help="the slow checks, too: torch.compile")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Check each component; the exit code is 1 where a check failed."""
    registry = discover(arguments.plugins, arguments.ambient)
    entries = _entries(registry, arguments.name)
    if arguments.overrides and len(entries) > 1:
        names = ", ".join(f"{entry.component.kind} '{registry.name_of(entry)}'" for entry in entries)
        advice = "" if arguments.name else ": name one of them"
        raise UsageError(f"--set is for one component, and here are {names}{advice}")
    import torch

    from srkit.testing.check import Subject
    from srkit.testing.running import results

    torch.set_num_threads(1)  # the images are small, and other threads would wait for each other
    out = output.console()
    documents, failed = [], 0
    for i, entry in enumerate(entries):
        needed = _needed(entry) if len(entries) > 1 else []
        if needed:
            if arguments.json:
                documents.append({**_document(entry, []), "needs": needed})
            else:
                _print_needed(out, registry, entry, needed, first=i == 0)
            continue
        subject = Subject(entry, registry, _settings(registry, entry, arguments.overrides))
        found = []
        # What a plugin prints is no part of the table.
        with out.status("") as status, contextlib.redirect_stdout(sys.stderr):
            for result in results(subject, slow=arguments.slow):
                status.update(f"{entry.component.name}: {result.check.name}")
                found.append(result)
        failed += sum(result.outcome == "failed" for result in found)
        if arguments.json:
            documents.append(_document(entry, found))
            continue
        if i:
            out.print()
        _print(out, entry, found)
    if arguments.json:
        output.print_json({"schema": 1, "components": documents}, arguments.stdout)
    return RunFailed.exit_code if failed else 0


def _entries(registry: Registry, name: str | None) -> list[Entry]:
    """Return what a name is of: components of that name, or all of a distribution; without one, all of the files."""
    if name is None:
        entries = [entry for entry in registry if entry.origin.is_file]
        if not entries:
            raise UsageError("which component, or which distribution? `srkit list` has the names")
        return entries
    distribution = re.sub(r"[-_.]+", "-", name).lower()
    entries = registry.by_name(name) or [entry for entry in registry if entry.origin.distribution == distribution]
    usable = [entry for entry in entries if not entry.component.missing]
    if usable:
        return usable
    if entries:
        raise ComponentError(f"{entries[0].component.kind} '{name}' cannot be used: {entries[0].component.missing}")
    for failure in registry.failures:
        if failure.names & {name, distribution}:
            raise ComponentError(str(failure)) from failure.error
    names = {known for entry in registry for known in (entry.component.name, entry.origin.distribution)}
    more = registry.failed(name) or ("" if nearest(name, names) else registry.of_files())
    hint = f"{did_you_mean(name, names)}{more}"
    raise ComponentError(f"there is no component and no distribution '{name}'{hint}")


def _settings(registry: Registry, entry: Entry, overrides: Sequence[str]) -> dict[str, Any]:
    if not overrides:
        return {}
    return dict(read_part(registry, entry.component.kind, entry.full_name, overrides).settings)


def _needed(entry: Entry) -> list[str]:
    """Return the settings without which a component cannot be made; the checks report everything else that is wrong."""
    try:
        known = read_settings(entry.component.load(), KINDS[entry.component.kind].given)
    except Exception:
        return []
    return [name for name, setting in known.items() if setting.default is REQUIRED]


def _print_needed(out: Any, registry: Registry, entry: Entry, needed: Sequence[str], *, first: bool) -> None:
    if not first:
        out.print()
    component, name = entry.component, output.clean(registry.name_of(entry))
    out.print(f"[bold]{name}[/bold]  [dim]{component.kind} of {output.clean(entry.origin)}[/dim]")
    settings = " ".join(f"--set {setting}=..." for setting in needed)
    out.print(f"not checked: it needs {', '.join(needed)}: srkit check-plugin {name} {settings}", soft_wrap=True)


def _document(entry: Entry, found: Sequence[Result]) -> dict[str, Any]:
    return {
        "kind": entry.component.kind,
        "name": entry.component.name,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
        "checks": [
            {
                "name": result.check.name,
                "promise": result.check.promise,
                "outcome": result.outcome,
                "found": result.found,
                "instead": result.instead,
            }
            for result in found
        ],
    }


def _print(out: Any, entry: Entry, found: Sequence[Result]) -> None:
    component = entry.component
    out.print(
        f"[bold]{output.clean(component.name)}[/bold]  [dim]{component.kind} of {output.clean(entry.origin)}[/dim]"
    )
    rows = []
    for result in found:
        style = STYLE[result.outcome]
        told = output.clean(result.found)
        if result.outcome == "skipped":
            told = f"[dim]{told}[/dim]"
        rows.append([result.check.name, f"[{style}]{result.outcome}[/{style}]", told])
        if result.instead:
            rows.append(["", "", f"[bold]{output.clean(result.instead)}[/bold]"])
    out.print(output.grid(rows, ["check", "result", "found, and what to do"], whole=[0, 1]))
    counts: Counter[str] = Counter(result.outcome for result in found)
    out.print(", ".join(f"{counts[outcome]} {outcome}" for outcome in STYLE if counts[outcome]))
    # What is not made cannot be meant so.
    failures = [result.check for result in found if result.outcome == "failed" and not result.check.demanded]
    cannot = ("is_made_with_defaults", "deviations_are_checks")
    failed = next((check.name for check in failures if check.name not in cannot), None)
    if failed is not None:
        text = f'To declare that this is intended: facts={{"deviations": {{"{failed}": "why"}}}}'
        out.print(f"[dim]{output.clean(text)}[/dim]", soft_wrap=True)
