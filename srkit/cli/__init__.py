"""The command line: finds the verb, imports its module, prints what went wrong."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import srkit
from srkit.errors import SrkitError

VERBS = {
    "list": "what is installed: networks, losses, datasets, metrics...",
    "show": "a component's settings, its source and a table to paste into a recipe",
    "check": "find every mistake of a recipe, and look at its data",
    "run": "train a recipe, or continue its run",
    "eval": "score networks on folders of images, beside bicubic",
    "upscale": "enlarge images",
    "degrade": "make LR images from HR images",
    "new": "copy a recipe here, to change it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 1 the run failed, 2 usage or recipe, 3 input rejected, 75 stopped with a checkpoint.
    """
    parser = _parser()
    arguments = parser.parse_args(sys.argv[1:] if argv is None else list(argv))
    if arguments.verb is None:
        parser.print_help()
        return 2
    if arguments.verb not in VERBS:
        from srkit.errors import did_you_mean

        print(f"srkit: unknown command '{arguments.verb}'{did_you_mean(arguments.verb, VERBS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"srkit.cli.{arguments.verb}")
    verb = argparse.ArgumentParser(
        prog=f"srkit {arguments.verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(verb)
    verb.add_argument(
        "-p", dest="plugins", metavar="FILE", action="append", default=[], help="add a one-file plugin, or a module"
    )
    given = verb.parse_args(arguments.rest)
    given.plugins = [*arguments.plugins, *given.plugins]
    try:
        code: int = module.main(given)
    except SrkitError as error:
        print(f"srkit {arguments.verb}: {error}" if "\n" not in str(error) else str(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("srkit: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; Python would complain once more at its exit
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="srkit",
        usage="srkit [-p FILE] COMMAND ...",
        description="Super-resolution training with networks, losses, datasets and metrics as plugins.",
        epilog=f"commands:\n{verbs}\n\n`srkit COMMAND --help` says more. To begin: srkit run quickstart",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"srkit {srkit.__version__}")
    parser.add_argument(
        "-p", dest="plugins", metavar="FILE", action="append", default=[], help="add a one-file plugin, or a module"
    )
    parser.add_argument("verb", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
