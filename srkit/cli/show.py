"""Show a component: its settings with type, default and meaning, its source, and a table to paste into a recipe."""

from __future__ import annotations

import argparse
import contextlib
import inspect
from typing import Any

from srkit.cli import output
from srkit.component import read_settings, type_name
from srkit.contracts import KINDS
from srkit.errors import ComponentError, did_you_mean
from srkit.plugins import discover
from srkit.registry import Entry

# Where a recipe has a component of each kind.
HEADERS = {
    "architecture": "[architecture]",
    "loss": "[[loss]]",
    "dataset": "[data.dataset]",
    "degradation": "[data.degradation]",
    "augmentation": "[[data.augment]]",
    "metric": "[[metric]]",
    "optimizer": "[optimizer]",
    "schedule": "[schedule]",
    "observer": "[[observer]]",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="a component, as `srkit list` names it")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Show every component of that name."""
    registry = discover(arguments.plugins)
    entries = registry.by_name(arguments.name)
    if not entries:
        names = {entry.component.name for entry in registry}
        raise ComponentError(f"there is no component '{arguments.name}'{did_you_mean(arguments.name, names)}")
    described = [_describe(entry) for entry in entries]
    if arguments.json:
        output.print_json({"schema": 1, "components": described})
        return 0
    for description in described:
        _print(description)
    return 0


def _describe(entry: Entry) -> dict[str, Any]:
    component = entry.component
    target = component.load()
    settings = read_settings(target, KINDS[component.kind].given)
    file = ""
    with contextlib.suppress(TypeError, OSError):
        file = inspect.getsourcefile(inspect.unwrap(target)) or ""
    return {
        "kind": component.kind,
        "name": component.name,
        "summary": component.summary,
        "source": component.source,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
        "target": component.target,
        "file": file,
        "facts": dict(component.facts),
        "settings": [
            {
                "name": setting.name,
                "type": type_name(setting.type),
                "required": setting.required,
                "default": None if setting.required else setting.default,
                "meaning": setting.doc,
            }
            for setting in settings.values()
        ],
        **({"sizes": _sizes(entry)} if component.kind == "architecture" else {}),
    }


def _sizes(entry: Entry) -> list[dict[str, Any]]:
    from srkit.engine.cost import cost

    return [cost(entry.component, scale) for scale in entry.component.facts.get("scales", (2, 3, 4))]


def _print(found: dict[str, Any]) -> None:
    out = output.console()
    out.print(f"[bold]{output.clean(found['name'])}[/bold]  {output.clean(found['summary'])}")
    out.print(
        f"[dim]{found['kind']} of {output.clean(found['distribution'])} {output.clean(found['version'])}"
        + (f"; {output.clean(found['source'])}" if found["source"] else "")
        + "[/dim]"
    )
    if found["file"]:
        out.print(f"[dim]{output.clean(found['file'])}[/dim]", soft_wrap=True)
    if found["facts"]:
        facts = "; ".join(f"{key}: {output.clean(value)}" for key, value in found["facts"].items())
        out.print(f"[dim]{facts}[/dim]")
    if found["settings"]:
        rows = [
            [
                f"[bold]{setting['name']}[/bold]",
                output.clean(setting["type"]),
                "[yellow]required[/yellow]" if setting["required"] else output.clean(_default(setting["default"])),
                output.clean(setting["meaning"]),
            ]
            for setting in found["settings"]
        ]
        out.print()
        out.print(output.grid(rows, ["setting", "type", "default", "meaning"]))
    if found.get("sizes"):
        rows = [
            [f"x{size['scale']}", f"{size['parameters']:,}", f"{size['multiply_adds'] / 1e9:.2f} G"]
            if "parameters" in size
            else [f"x{size['scale']}", "-", output.clean(size["reason"])]
            for size in found["sizes"]
        ]
        out.print()
        out.print(output.grid(rows, ["scale", "parameters", "multi-adds at 1280x720 output"], numbers_from=1))
    out.print()
    out.print(output.clean(_toml(found)))
    out.print()


def _default(value: Any) -> str:
    return "none" if value is None else output.dumps(value)


def _toml(found: dict[str, Any]) -> str:
    lines = [HEADERS[found["kind"]], f'type = "{found["name"]}"']
    for setting in found["settings"]:
        if setting["required"]:
            lines.append(f"{setting['name']} = ...  # {setting['type']}")
        elif setting["default"] is None:
            lines.append(f"# {setting['name']} = ...  # {setting['type']}")
        else:
            lines.append(f"{setting['name']} = {output.dumps(setting['default'])}")
    return "\n".join(lines)
