"""The command line: finds the verb, imports its module, prints what went wrong."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import math
import os
import re
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TextIO, cast

from srkit.errors import RunFailed, SrkitError, UsageError, did_you_mean, nearest
from srkit.version import __version__

# Each is a module here. An imported one is a name of this package, so nothing here can use the builtins `list`, `eval`.
VERBS = {
    "list": "what is installed: networks, losses, datasets, metrics...",
    "show": "a component's settings, its code and a table to paste",
    "check": "find every mistake of a recipe, and look at its data",
    "run": "train a recipe, or continue its run",
    "sweep": "train a recipe with lists of settings and several seeds",
    "eval": "score networks on folders of images, beside bicubic",
    "bench": "time and memory of networks, side by side",
    "compare": "runs side by side: settings, scores, curves",
    "report": "a page on runs: scores, curves, pictures",
    "upscale": "enlarge images",
    "convert": "any checkpoint to a file that describes itself",
    "export": "a network for another runtime: ONNX, ncnn, OpenVINO...",
    "degrade": "make LR images from HR images",
    "prepare": "pack images for training: LMDB, HDF5 or a folder of tiles",
    "fit": "make the file that a metric needs, of photographs: niqe",
    "new": "a recipe to change, or a plugin to begin with",
    "check-plugin": "whether a component keeps its contract, and what to do",
    "schema": "a JSON schema of recipes, for editors that complete",
    "completion": "a script that completes srkit's commands in bash, zsh or fish",
}

# What other programs call them; `run` continues a run, too.
OTHER_WORDS = {
    **dict.fromkeys(("train", "resume", "continue"), "run"),
    **dict.fromkeys(("test", "evaluate", "score"), "eval"),
    **dict.fromkeys(("benchmark", "time", "speed", "profile"), "bench"),
    **dict.fromkeys(("predict", "infer", "inference", "enhance", "enlarge"), "upscale"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 1 the run failed, 2 usage or recipe, 3 input rejected, 75 stopped with a checkpoint.
    """
    with contextlib.redirect_stdout(cast("TextIO", _Stdout(sys.stdout))):
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    prog, traced = "srkit", False
    try:
        parser = _parser()
        arguments = parser.parse_args(argv)
        traced = arguments.traceback or "--traceback" in arguments.rest
        if arguments.verb is None:
            parser.print_help(sys.stderr)
            return UsageError.exit_code
        if arguments.verb not in VERBS:
            meant = OTHER_WORDS.get(arguments.verb)
            near = f"; did you mean '{meant}'?" if meant else did_you_mean(arguments.verb, VERBS)
            raise UsageError(f"unknown command '{arguments.verb}'{near}")
        prog = f"srkit {arguments.verb}"
        with _process_of_command() if argv is None else contextlib.nullcontext():
            code = _run(prog, arguments)
        sys.stdout.flush()
        return code
    except SrkitError as error:
        if traced:
            print_traceback(error)
        print(error_text(error, prog), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would be a traceback
        print("srkit: interrupted", *getattr(error, "__notes__", ()), file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        from srkit.engine.memory import lacks_memory, shortage

        if not lacks_memory(error):
            raise
        print(f"{prog}: {printable(shortage(error))}", file=sys.stderr)
        return RunFailed.exit_code
    except BrokenPipeError:  # the reader of a pipe has gone
        return 0
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EACCES) or not isinstance(error.filename, str | os.PathLike):
            raise
        # Of a path that was given: no file has a name so long, and many places ask first whether it is there.
        if traced:
            print_traceback(error)
        print(f"{prog}: {printable(os.fspath(error.filename))}: {error.strerror}", file=sys.stderr)
        return UsageError.exit_code


@contextlib.contextmanager
def _process_of_command() -> Iterator[None]:
    """Let plugins that crash be survived: this process is the command, and may begin again."""
    from srkit.plugin.guard import BEGINNING, Beginning  # attrs, which --help and --version do without

    with contextlib.suppress(OSError):
        BEGINNING.set(Beginning.of_this())
    try:
        yield
    finally:
        BEGINNING.set(None)


def print_traceback(error: BaseException) -> None:
    """Print where an error was raised, and where each was that it comes of, the first of them first."""
    import traceback

    cause = error.__cause__ or error.__context__
    if cause is not None:
        print_traceback(cause)
    traceback.print_exception(error, chain=False)


class _Stdout:
    """Stdout, which names itself where it cannot be written: a plain OSError would say no file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        if self._stream.closed and sys.__stdout__ is not None:  # by a plugin, and opened again since
            self._stream = sys.__stdout__
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._named():
            write = self.__getattr__("write")
            try:
                return cast("int", write(text))
            except UnicodeEncodeError:  # a file's name that is not UTF-8, or a locale without most characters
                encoding = self._stream.encoding or "utf-8"
                return cast("int", write(text.encode(encoding, "backslashreplace").decode(encoding)))

    def flush(self) -> None:
        with self._named():
            self._stream.flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Python flushes stdout once more at its exit, and would complain.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise RunFailed(f"stdout: cannot be written: {error.strerror}") from None


def _run(prog: str, arguments: argparse.Namespace) -> int:
    module = importlib.import_module(f"srkit.cli.{arguments.verb.replace('-', '_')}")
    verb = _Parser(prog=prog, description=module.__doc__, formatter_class=_Folded, allow_abbrev=False)
    module.add_arguments(verb)
    _add_shared(verb)
    _refuse_dashes(arguments.rest)
    given, unknown = verb.parse_known_args(arguments.rest)
    if unknown:
        raise UsageError(f"unknown argument '{unknown[0]}'; {verb.instead(unknown[0], arguments.rest)}")
    given.plugins = [*arguments.plugins, *given.plugins]
    given.traceback |= arguments.traceback
    given.ambient = os.environ.get("SRKIT_PLUGINS", "")
    given.stdout = sys.stdout
    # One document and nothing else: what a plugin prints, when it is imported or called, goes to stderr.
    asked = vars(given)
    document = asked.get("json") or asked.get("table")
    quiet = contextlib.redirect_stdout(sys.stderr) if document else contextlib.nullcontext()
    try:
        with quiet:
            code: int = module.main(given)
    except SystemExit as error:  # of a plugin: no command of ours ends the process
        from srkit.errors import located

        raise RunFailed(f"a plugin ended the process: {located(error)}") from error
    return code


def _refuse_dashes(rest: Sequence[str]) -> None:
    """Raise UsageError for a file that would be read as an option."""
    for text in rest:
        if text == "--":
            return
        if text.startswith("-") and "/" not in text and os.path.isfile(text):
            raise UsageError(f"'{text}' is a file, but begins like an option: write ./{text}, or -- before the files")


def error_text(error: SrkitError, prog: str = "") -> str:
    """Return what is printed of an error: a line, or a line a problem."""
    text = str(error) or type(error).__name__
    lines = [printable(line) for part in (text, *getattr(error, "__notes__", ())) for line in part.splitlines()]
    return f"{prog}: {lines[0]}" if prog and len(lines) == 1 else "\n".join(lines)


def printable(text: object) -> str:
    """Return foreign text as a line without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in str(text))


def whole_number(text: str) -> int:
    """Return an argument that is a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None


def scale(text: str) -> int:
    """Return an argument that is a scale."""
    number = whole_number(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"a scale is at least 1, not {number}")
    return number


def any_scale(text: str) -> float:
    """Return an argument that is a scale, a whole number or another."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
    if not 1 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"a scale is at least 1, not {number:g}")
    return int(number) if number == int(number) else number


class _Folded(argparse.RawDescriptionHelpFormatter):
    """Folds a description's paragraphs to the terminal's width, but for what stands in columns."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wrapper = textwrap.TextWrapper(width, break_on_hyphens=False)  # an option's name is one word
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(p if re.search("^ |[^ ]  ", p, re.M) else wrapper.fill(p) for p in paragraphs)


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong with a command line, to be printed like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:  # argparse would never name the nearest
            name = "/".join(action.option_strings) or action.metavar or action.dest
            raise UsageError(f"argument {name}: there is no '{value}'{did_you_mean(value, action.choices)}")

    def instead(self, unknown: str, rest: Sequence[str]) -> str:
        """Return what to write in place of an argument that is none of `rest`, the command line."""
        option, equals, value = unknown.partition("=")
        key = _recipe_key(option) if self.prog in ("srkit check", "srkit run") else ""
        if key:
            value = value if equals else "".join(rest[rest.index(unknown) + 1 :][:1])
            return f"did you mean '--set {key}={value}'?"
        near = nearest(option, self._option_string_actions)
        return f"did you mean '{near}'?" if near else f"see {self.prog} --help"


def _recipe_key(option: str) -> str:
    """Return the key of a recipe that an option was named after, "train.steps" for "--steps", or nothing."""
    import attrs

    from srkit.recipe.recipe import Data, Recipe, Train

    name = option.removeprefix("--").replace("-", "_")
    keys = [("train.", Train), ("data.", Data), ("", Recipe)]
    return next((f"{table}{name}" for table, cls in keys if name in attrs.fields_dict(cls)), "")


def _parser() -> _Parser:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items())
    parser = _Parser(
        prog="srkit",
        usage="srkit [-p FILE] COMMAND ...",
        description="Super-resolution training with networks, losses, datasets and metrics as plugins.",
        epilog=f"commands:\n{verbs}\n\n`srkit COMMAND --help` says more. To begin: srkit run quickstart",
        formatter_class=_Folded,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"srkit {__version__}")
    _add_shared(parser)
    parser.add_argument("verb", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="plugins",
        metavar="FILE",
        action="append",
        default=[],
        help="add a one-file plugin, or a module; may be given several times",
    )
    parser.add_argument("--traceback", action="store_true", help="print where in the code an error comes from, too")
