"""Show what is installed: each component with its kind, name, summary and distribution, and each broken plugin."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from srkit.cli import output, scale
from srkit.errors import UsageError, did_you_mean
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Entry, Registry
from srkit.plugin.settings import of_type
from srkit.recipe import toml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--scale", type=scale, metavar="N", help="only what has that scale: networks, degradations")
    parser.add_argument(
        "--fact",
        dest="facts",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="only what states that fact, as in tileable=true or better=lower; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """List components; a broken plugin is a line, never an error."""
    kind = {k.plural: k.name for k in KINDS.values()}.get(arguments.kind, arguments.kind)
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{did_you_mean(kind, KINDS)}")
    wanted = [_parse(text, kind) for text in arguments.facts]
    if arguments.scale is not None:
        wanted.append(_known(f"--scale {arguments.scale}", "scales", arguments.scale, kind))
    registry = discover(arguments.plugins, arguments.ambient, tried=True)
    entries = [
        entry
        for entry in registry
        if kind in (None, entry.component.kind) and all(_states(entry.component, *fact) for fact in wanted)
    ]
    if arguments.json:
        output.print_json(_document(registry, entries), arguments.stdout)
    else:
        _print(registry, entries)
    return 0


def _document(registry: Registry, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "schema": 1,
        "components": [
            {
                "kind": entry.component.kind,
                "name": entry.component.name,
                "recipe_name": registry.name_of(entry),
                "summary": entry.component.summary,
                "source": entry.component.source,
                "facts": dict(entry.component.facts),
                "missing": entry.component.missing,
                "distribution": entry.origin.distribution,
                "version": entry.origin.version,
            }
            for entry in entries
        ],
        "clashes": registry.clashes(),
        "failures": [
            {
                "plugin": failure.plugin,
                "distribution": failure.origin.distribution,
                "version": failure.origin.version,
                "reason": failure.reason,
            }
            for failure in registry.failures
        ],
        "slow": registry.slow,
    }


def _print(registry: Registry, entries: Sequence[Entry]) -> None:
    out = output.console()
    rows = [_row(registry, entry) for entry in entries]
    for row, before in itertools.pairwise(reversed(rows)):
        row[0] = "" if row[0] == before[0] else row[0]  # a kind stands once
    if rows:
        out.print(output.grid(rows, ["kind", "name", "summary", "from"], cut=2))
    else:
        print("srkit list: nothing installed fits", file=sys.stderr)
    for entry in entries:
        component = entry.component
        for word, what in (("missing", component.missing), ("needs  ", component.facts.get("needs"))):
            if what:  # whole, on its own line: it says what to type
                text = f"{component.kind} '{registry.name_of(entry)}': {what}"
                out.print(f"[dim]{word} {output.clean(text)}[/dim]", soft_wrap=True)
    for clash in registry.clashes():
        out.print(f"[yellow]clash[/yellow]   {output.clean(clash)}", soft_wrap=True)
    for slow in registry.slow:
        out.print(f"[yellow]slow[/yellow]    {output.clean(slow)}", soft_wrap=True)
    for failure in registry.failures:
        out.print(f"[red]broken[/red]  {output.clean(failure)}", soft_wrap=True)


def _row(registry: Registry, entry: Entry) -> list[str]:
    """Return a component's kind, name, summary and distribution; dim where something must be installed first."""
    component = entry.component
    scales = component.facts.get("scales")
    only = f" [dim](x{', x'.join(map(str, scales))})[/dim]" if scales else ""
    name, summary = output.clean(registry.name_of(entry)), output.clean(component.summary)
    return [
        f"[dim]{component.kind}[/dim]",
        f"[dim]{name}[/dim]" if component.missing else f"[bold]{name}[/bold]",
        f"[dim]{summary}[/dim]" if component.missing else summary + only,
        f"[dim]{output.clean(entry.origin)}[/dim]",
    ]


def _parse(text: str, kind: str | None) -> tuple[str, Any]:
    """Return the key and value of `--fact KEY=VALUE`: VALUE is TOML, or else a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--fact {text}: write KEY=VALUE, as in --fact tileable=true")
    try:
        parsed = toml.parse(f"value = {value}")["value"]
    except toml.TomlProblem:
        parsed = value
    return _known(f"--fact {text}", key, parsed, kind)


def _known(option: str, key: str, value: Any, kind: str | None) -> tuple[str, Any]:
    """Return a fact. Raises UsageError where the kind, or every kind, has none of that name and type."""
    known = {name: fact for row in KINDS.values() if kind in (None, row.name) for name, fact in row.facts.items()}
    if key not in known:
        raise UsageError(
            f"{option}: {kind or 'no kind'} has {'no' if kind else 'a'} fact '{key}'{did_you_mean(key, known)}"
        )
    if not any(known[key].holds(form) for form in (value, [value])):  # an entry of a list will do
        raise UsageError(f"{option}: the fact is {of_type(known[key].type)}")
    return key, value


def _states(component: Component, key: str, value: Any) -> bool:
    """Say whether a fact holds for a component; one that its kind has not holds for none. Of a list, any entry does."""
    if key not in KINDS[component.kind].facts:
        return False
    facts: Mapping[str, Any] = component.facts
    if key == "scales" and key not in facts:
        return True
    stated = facts.get(key, KINDS[component.kind].facts[key].default)
    if isinstance(stated, list | tuple):
        return list(stated) == value or value in stated
    return type(stated) is type(value) and stated == value
