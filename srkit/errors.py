"""Every error that a person can mend, and the nearest name to a mistyped one.

SrkitError                 printed without a traceback; its exit code is the command's
├── UsageError             2   a command or a call that cannot be meant so
├── RecipeError            2   every problem of a recipe, a line each
├── ComponentError         2   an unknown or ambiguous component, or a setting that it does not have
├── InputRejected          3   a file that is not what it should be
└── RunFailed              1   a run that had to end: it diverged, or its disk is full
    ├── Stopped           75   a run that was asked to stop and has saved a checkpoint
    └── Elsewhere              of several processes, those that end because another one did, with its exit code
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import traceback
from collections.abc import Iterable, Sequence

PRIVATE = "srkit_folder_"  # begins the names of the packages that `srkit.plugin.files` makes
_LINE_END = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LINE_END_OF_NAME = re.compile("\n(?!  )|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def escaped(text: str) -> str:
    """Return foreign text with everything escaped that a terminal would obey: line ends, control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class SrkitError(Exception):
    """The root of the tree above. Raised itself only where no branch fits."""

    exit_code = 1


class UsageError(SrkitError):
    """Raised for arguments that contradict each other or name what is not there."""

    exit_code = 2


class ComponentError(SrkitError):
    """Raised for a component that is unknown, ambiguous or cannot be imported, and for settings it does not have."""

    exit_code = 2


class RecipeError(SrkitError):
    """Raised for a recipe with problems; `problems` holds one line each, sorted by place, `notes` what helps beyond."""

    exit_code = 2

    def __init__(self, problems: Sequence[str], notes: Sequence[str] = ()) -> None:
        super().__init__("\n".join([*problems, *notes]))
        self.problems = tuple(problems)
        self.notes = tuple(notes)


class InputRejected(SrkitError):
    """Raised for a file that cannot be used; `path` and `reason` say which and why, `more` are lines on others like it.

    Names of files stay on one line: of a reason's lines, those after the first begin with two blanks.
    """

    exit_code = 3

    def __init__(self, path: str | os.PathLike[str], reason: str, more: Sequence[str] = ()) -> None:
        shown = _LINE_END.sub(_escaped, os.fspath(path))
        super().__init__("\n".join([f"{shown}: {_LINE_END_OF_NAME.sub(_escaped, reason)}", *more]))
        self.path = os.fspath(path)
        self.reason = reason


class RunFailed(SrkitError):
    """Raised when a run cannot go on; what it saved before is untouched."""

    exit_code = 1


class Stopped(RunFailed):
    """Raised when a run was asked to stop and has saved a checkpoint: the same command continues it."""

    exit_code = 75


class Elsewhere(RunFailed):
    """Raised in a process of a run that ends because another one did: that one says why, and has the same exit code."""

    def __init__(self, exit_code: int = 1) -> None:
        super().__init__("another process of this run has ended")
        self.exit_code = exit_code


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` was probably meant to be, or None."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of `names`, or the names there are, or nothing."""
    names = sorted(set(names))
    near = nearest(name, names)
    if near is not None:
        return f"; did you mean '{near}'?"
    return f"; there are: {', '.join(names)}" if names else ""


def describe(error: BaseException) -> str:
    """Return an error as one line, "ImportError: no module named x"."""
    text = " ".join(str(error).split()).partition(" Exception raised from ")[0]  # torch adds the stack of its C++
    text = public(text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def public(text: str) -> str:
    """Return a text in which the modules beside a one-file plugin have the names that its author knows."""
    return re.sub(rf"\b{PRIVATE}[0-9a-f]+\.", "", text)


def located(error: BaseException) -> str:
    """Return an error as one line, with the place in the component's own file that it came from."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:  # the place is not that of a frame
        return f"{type(error).__name__}: {error.msg} ({_shown(error.filename)}:{error.lineno})"
    own = os.path.join(os.path.dirname(__file__), "")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_machinery(f.filename)]
    last = frames[-1] if frames else None
    if last is None or last.filename.startswith(own):
        return describe(error)
    text = describe(error)
    if isinstance(error, AssertionError) and not str(error) and last.line:
        text += f": {last.line}"  # which is all that `assert scale in (2, 4)` has to say
    return f"{text} ({_shown(last.filename)}:{last.lineno})"


def reason_of(error: BaseException) -> str:
    """Return why a component's target refused to make something, as one line: the words of a ValueError or of an error
    of this tree; of any other its type, too, and its place in the component's own file."""
    text = " ".join(str(error).split())
    return text if text and isinstance(error, ValueError | SrkitError) else located(error)


def own_words(error: BaseException) -> str:
    """Return the words of a ValueError that a component itself raised when it was called, as one line, which are meant
    for people; "" for any other, whose type and place help its author."""
    frames = traceback.extract_tb(error.__traceback__)
    is_own = bool(frames) and not _is_machinery(frames[-1].filename) and (frames[-1].line or "").startswith("raise ")
    return " ".join(str(error).split()) if isinstance(error, ValueError) and is_own else ""


def _is_machinery(file: str) -> bool:
    """Say whether a frame is of torch or of Python's import, which only pass on what a component raised."""
    own = os.path.join(os.path.dirname(__file__), "plugin", "files.py")
    return "/torch/" in file or file.startswith("<frozen ") or file in (importlib.__file__, own)


def _shown(file: str) -> str:
    return file.removeprefix(os.path.join(os.getcwd(), ""))
