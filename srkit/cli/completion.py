"""Print a script that completes srkit's commands, options and names. To install it:

bash   srkit completion bash > ~/.local/share/bash-completion/completions/srkit
       (without bash-completion, in ~/.bashrc: source <(srkit completion bash))
zsh    srkit completion zsh > ~/.zfunc/_srkit
       (in ~/.zshrc, before compinit: fpath+=~/.zfunc)
fish   srkit completion fish > ~/.config/fish/completions/srkit.fish

The names of components and packaged recipes are those of now: print it anew after installing a plugin.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from srkit.cli import VERBS, scaffold
from srkit.plugin.contracts import KINDS
from srkit.plugin.discovery import discover
from srkit.plugin.registry import Registry
from srkit.protocol import METHODS
from srkit.recipe.packaged import packaged_recipes

SHELLS = ("bash", "zsh", "fish")

# What an argument names that has no `choices` of its own: components of a kind, all components, kinds...
NAMED = {
    ("list", "kind"): "kinds",
    ("show", "name"): "components",
    ("check-plugin", "name"): "components",
    ("new", "name"): "recipes",
    ("new", "kind"): "examples",
    ("eval", "metrics"): "metric",
    ("eval", "protocols"): "protocols",
    ("eval", "architecture"): "architecture",
    ("upscale", "architecture"): "architecture",
    ("convert", "architecture"): "architecture",
    ("export", "to"): "exporter",
    ("export", "architecture"): "architecture",
    ("degrade", "type"): "degradation",
    ("prepare", "to"): "writer",
    ("prepare", "origin"): "dataset",
    ("prepare", "degradation"): "degradation",
}
PATHS = ("MODEL", "RUN", "INPUT", "IN", "OUT", "SRC", "DST", "PATH", "[NAME=]PATH")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def main(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    names = _names(discover(arguments.plugins, arguments.ambient))
    print(shtab.complete(command_tree(names), shell=arguments.shell))
    return 0


def _names(registry: Registry) -> dict[str, list[str]]:
    """Return what is completed, by what NAMED calls it. Shells expand words, so those with other signs are left out."""
    found: dict[str, Iterable[str]] = {kind: [e.component.name for e in registry.of_kind(kind)] for kind in KINDS}
    found |= {
        "kinds": KINDS,
        "examples": scaffold.EXAMPLES,
        "components": sorted({entry.component.name for entry in registry}),
        "protocols": METHODS,
        "recipes": packaged_recipes(),
    }
    return {what: [w for w in dict.fromkeys(words) if re.fullmatch(r"\w[\w./+-]*", w)] for what, words in found.items()}


def command_tree(names: Mapping[str, list[str]]) -> argparse.ArgumentParser:
    """Return one parser of the whole command; each verb's module is imported."""
    root = argparse.ArgumentParser(prog="srkit")
    root.add_argument("--version", action="version", version="", help="print the version")
    _add_plugins(root)
    verbs = root.add_subparsers(dest="verb")
    for verb, text in VERBS.items():
        parser = verbs.add_parser(verb, help=text, description=text)
        importlib.import_module(f"srkit.cli.{verb.replace('-', '_')}").add_arguments(parser)
        _add_plugins(parser)
        for action in parser._actions:
            _complete(action, NAMED.get((verb, action.dest)), names)
    return root


def _add_plugins(parser: argparse.ArgumentParser) -> None:
    import shtab

    action: Any = parser.add_argument("-p", metavar="FILE", action="append", help="add a one-file plugin, or a module")
    action.complete = shtab.glob("*.py")


def _complete(action: Any, named: str | None, names: Mapping[str, list[str]]) -> None:
    """Say what completes an argument: `choices` and `complete` are what shtab looks for."""
    import shtab

    if named is not None:
        action.choices = names[named]
    elif action.metavar == "RECIPE":
        action.complete = _recipe_files(names["recipes"])
    elif action.metavar == "DIR":
        action.complete = shtab.DIRECTORY
    elif action.metavar in PATHS:
        action.complete = shtab.FILE


def _recipe_files(recipes: Iterable[str]) -> dict[str, Any]:
    """Return a completion of the packaged recipes' names, of TOML files and of folders."""
    words = " ".join(map(shlex.quote, recipes))
    return {
        "bash": "_srkit_recipe_files",
        "zsh": "_srkit_recipe_files",
        "fish": "(__srkit_recipe_files)",
        "preamble": {
            "bash": (
                "_srkit_recipe_files() {\n"
                f'  compgen -W "{words}" -- "$1"\n'
                "  compgen -f -X '!*.toml' -- \"$1\"\n"
                '  compgen -d -- "$1"\n'
                "}"
            ),
            "zsh": f"_srkit_recipe_files() {{\n  compadd -- {words}\n  _files -g '*.toml'\n}}",
            "fish": (f"function __srkit_recipe_files\n  printf '%s\\n' {words}\n  __fish_complete_suffix .toml\nend"),
        },
    }
