"""Show what is installed: each component with its kind, name, summary and distribution, and each broken plugin."""

from __future__ import annotations

import argparse

from srkit.cli import output
from srkit.contracts import KINDS
from srkit.errors import UsageError, did_you_mean
from srkit.plugins import discover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """List components; a broken plugin is a line, never an error."""
    kind = {k.plural: k.name for k in KINDS.values()}.get(arguments.kind, arguments.kind)
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{did_you_mean(kind, KINDS)}")
    registry = discover(arguments.plugins)
    entries = [entry for entry in registry if kind in (None, entry.component.kind)]
    if arguments.json:
        output.print_json(
            {
                "schema": 1,
                "components": [
                    {
                        "kind": entry.component.kind,
                        "name": entry.component.name,
                        "summary": entry.component.summary,
                        "source": entry.component.source,
                        "facts": dict(entry.component.facts),
                        "missing": entry.component.missing,
                        "distribution": entry.origin.distribution,
                        "version": entry.origin.version,
                    }
                    for entry in entries
                ],
                "failures": [
                    {
                        "plugin": failure.plugin,
                        "distribution": failure.origin.distribution,
                        "version": failure.origin.version,
                        "reason": failure.reason,
                    }
                    for failure in registry.failures
                ],
            },
            arguments.stdout,
        )
        return 0
    out = output.console()
    previous, rows = "", []
    for entry in entries:
        component = entry.component
        shown = "" if component.kind == previous else component.kind
        previous = component.kind
        scales = component.facts.get("scales")
        only = f" [dim](x{', x'.join(map(str, scales))})[/dim]" if scales else ""
        rows.append(
            [
                f"[dim]{shown}[/dim]",
                f"[{'dim' if component.missing else 'bold'}]{output.clean(component.name)}[/]",
                f"[dim]{output.clean(component.missing)}[/dim]"
                if component.missing
                else output.clean(component.summary) + only,
                f"[dim]{output.clean(entry.origin)}[/dim]",
            ]
        )
    if rows:
        out.print(output.grid(rows, ["kind", "name", "summary", "from"], cut=2))
    for failure in registry.failures:
        out.print(f"[red]broken[/red]  {output.clean(failure)}", soft_wrap=True)
    return 0
