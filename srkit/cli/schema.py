"""Print a JSON Schema of recipes with all installed components, so that an editor completes and underlines.

    srkit schema > srkit.schema.json

and in a recipe, as its first line:

    #:schema ./srkit.schema.json

Editors with taplo read it (VS Code: Even Better TOML). It knows what was installed when it was made: make it anew after
installing a plugin. -p FILE adds a one-file plugin's components."""

from __future__ import annotations

import argparse

from srkit.cli import output
from srkit.plugin.discovery import discover
from srkit.recipe.schema import recipe_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none. What it prints is JSON always, so what plugins print goes to stderr."""
    parser.set_defaults(json=True)


def main(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    output.print_json(recipe_schema(discover(arguments.plugins, arguments.ambient)), arguments.stdout)
    return 0
