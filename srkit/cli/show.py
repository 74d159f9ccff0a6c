"""Show a component: its settings with type, default and meaning, where its code is, and a table to paste into a recipe.

Of one that cannot be used, what is known without it is shown, then the reason, with exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from srkit.cli import output
from srkit.errors import ComponentError, did_you_mean, nearest, public
from srkit.plugin.component import Component
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Entry
from srkit.plugin.settings import Setting, read_settings, type_name
from srkit.reports.texts import toml_value

# Where a recipe has a component of each kind.
HEADERS = {
    "architecture": "[architecture]",
    "loss": "[[loss]]",
    "discriminator": "[loss.discriminator]",
    "dataset": "[data.dataset]",
    "degradation": "[data.degradation]",
    "distortion": "[[data.degradation.steps]]",
    "augmentation": "[[data.augment]]",
    "metric": "[[metric]]",
    "optimizer": "[optimizer]",
    "schedule": "[schedule]",
    "observer": "[[observer]]",
}
COMMANDS = {"writer": "srkit prepare SRC DST --to {}", "exporter": "srkit export MODEL --to {}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="a component, as `srkit list` names it")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Show every component of that name. Raises ComponentError at last where one of them cannot be used."""
    registry = discover(arguments.plugins, arguments.ambient)
    entries = registry.by_name(arguments.name)
    if not entries:
        names = {entry.component.name for entry in registry}
        more = registry.failed(arguments.name) or ("" if nearest(arguments.name, names) else registry.of_files())
        hint = f"{did_you_mean(arguments.name, names)}{more}"
        raise ComponentError(f"there is no component '{arguments.name}'{hint}")
    described, errors = zip(*(_describe(entry, registry.name_of(entry)) for entry in entries), strict=True)
    if arguments.json:
        output.print_json({"schema": 1, "components": described}, arguments.stdout)
    else:
        for i, description in enumerate(described):
            _print(description, first=i == 0)
    arguments.stdout.flush()  # before what stderr says
    if errors := [error for error in errors if error]:
        raise ComponentError("\n".join(map(str, errors))) from errors[0]
    return 0


def _describe(entry: Entry, name: str) -> tuple[dict[str, Any], ComponentError | None]:
    """Return all that is known of a component, as JSON's types, and why it cannot be used; `name` is what recipes call
    it."""
    component = entry.component
    settings: Mapping[str, Setting] = {}
    problem, (file, line) = None, _module_file(component)
    try:
        target = component.load()
        file, line = _place(target)
        settings = read_settings(target, KINDS[component.kind].given)
    except ComponentError as error:
        problem = error
    described = [
        {
            "name": setting.name,
            "type": type_name(setting.type),
            "required": setting.required,
            "default": None if setting.required else setting.default,
            "meaning": setting.doc,
        }
        for setting in settings.values()
    ]
    found = {
        "kind": component.kind,
        "name": component.name,
        "recipe_name": name,
        "summary": component.summary,
        "source": component.source,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
        "target": public(component.target),
        "file": file,
        "line": line,
        "reason": str(problem or ""),
        "facts": dict(component.facts),
        "settings": described,
        "toml": "" if problem else _toml(component.kind, name, described),
    }
    if component.kind == "architecture" and not problem:
        found["sizes"] = _sizes(entry)
    return found, problem


def _place(target: Callable[..., Any]) -> tuple[str, int | None]:
    """Return the file and the line, from 1, of a class or function; of one in C, say, ("", None)."""
    target = inspect.unwrap(target)
    file, line = "", None
    with contextlib.suppress(TypeError, OSError):
        file = inspect.getsourcefile(target) or ""
        line = inspect.getsourcelines(target)[1] or None
    return file, line


def _module_file(component: Component) -> tuple[str, int | None]:
    """Return the file of a target's module, which is not imported, where there is one."""
    with contextlib.suppress(Exception):  # its package is imported to find it, and may do anything
        spec = importlib.util.find_spec(component.target.partition(":")[0])
        if spec is not None and spec.has_location:
            return spec.origin or "", None
    return "", None


def _sizes(entry: Entry) -> list[dict[str, Any]]:
    from srkit.engine.networks.cost import cost

    return [cost(entry.component, scale) for scale in entry.component.facts.get("scales", (2, 3, 4))]


def _toml(kind: str, name: str, settings: Sequence[Mapping[str, Any]]) -> str:
    """Return a table to paste into a recipe; what has no default, or one that TOML cannot write, is a comment.

    It is empty for a kind that recipes do not name.
    """
    if kind not in HEADERS:
        return ""
    lines = [HEADERS[kind], f"type = {toml_value(name)}"]
    for setting in settings:
        value = _written(setting["default"])
        required = "required, " if setting["required"] else ""
        if value is None:
            lines.append(f"# {setting['name']} = ...  # {required}{setting['type']}")
        else:
            lines.append(f"{setting['name']} = {value}")
    return "\n".join(lines)


def _written(value: Any) -> str | None:
    """Return a default as TOML, or None for one that a recipe cannot have."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    try:
        return toml_value(value)
    except TypeError:
        return None


def _print(found: Mapping[str, Any], *, first: bool) -> None:
    out = output.console()
    if not first:
        out.print()
    out.print(f"[bold]{output.clean(found['recipe_name'])}[/bold]  {output.clean(found['summary'])}")
    origin = f"{found['kind']} of {found['distribution']} {found['version']}".rstrip()
    out.print(f"[dim]{output.clean(origin)}{'; ' if found['source'] else ''}{output.clean(found['source'])}[/dim]")
    if found["file"]:
        place = f"{found['file']}:{found['line']}" if found["line"] else found["file"]
        out.print(f"[dim]{output.clean(place)}[/dim]", soft_wrap=True)
    if found["facts"]:
        facts = "; ".join(f"{key} {_default(value).strip('[]')}" for key, value in found["facts"].items())
        out.print(f"[dim]{output.clean(facts)}[/dim]")
    if found["settings"]:
        rows = [
            [
                f"[bold]{setting['name']}[/bold]",
                output.clean(setting["type"]),
                "[yellow]required[/yellow]" if setting["required"] else output.clean(_default(setting["default"])),
                output.clean(setting["meaning"].rstrip(".")),
            ]
            for setting in found["settings"]
        ]
        out.print()
        out.print(output.grid(rows, ["setting", "type", "default", "meaning"], whole=[0]))
    if found.get("sizes"):
        out.print()
        counted = [size for size in found["sizes"] if "parameters" in size]
        if counted:
            out.print(_sizes_grid(counted))
        for reason in dict.fromkeys(size["reason"] for size in found["sizes"] if "reason" in size):
            out.print(f"[dim]parameters and multi-adds: {output.clean(reason)}[/dim]")
    if found["reason"]:
        return
    out.print()
    for line in found["toml"].splitlines() or [COMMANDS.get(found["kind"], "").format(found["name"])]:
        out.print(output.clean(line), soft_wrap=True)


def _sizes_grid(sizes: Sequence[Mapping[str, Any]]) -> Any:
    rows = [[f"x{size['scale']}", f"{size['parameters']:,}", f"{size['multiply_adds'] / 1e9:.2f} G"] for size in sizes]
    return output.grid(rows, ["scale", "parameters", "multi-adds to 1280x720"], numbers_from=1)


def _default(value: Any) -> str:
    return "none" if value is None else _written(value) or str(value)
