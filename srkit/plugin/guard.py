"""What loading a plugin must leave as it was, the process above all, and what becomes of those that do not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs

LIMIT = 10.0  # seconds that a plugin may take to load in a process of its own
FILE_LIMIT = 60.0  # the same for a file, which may import torch
PATIENCE = 60.0  # seconds in this process: a first import from a disk that is cold takes long, too
TRIAL = """\
import json, os, signal, sys
signal.signal(signal.SIGALRM, signal.SIG_IGN)  # the process that waits for this one has the clock
sys.path[:], plugins, pipe = json.loads(sys.argv[1])
from srkit.plugin.discovery import try_out
try_out(plugins, lambda: os.write(pipe, b"."))
"""

# By what it is called: how torch has it at first.
FIRST: dict[str, Any] = {
    "torch's default dtype": "torch.float32",
    "torch's default device": "cpu",
    "whether torch keeps gradients": True,
    "torch's deterministic mode": False,
}


CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")


class PluginFailed(Exception):
    """A module or a file is no plugin, or its import fails."""


class Fatal(PluginFailed):
    """The import of a plugin ends the process, or does not come back."""


class _TimeIsUp(BaseException):
    """Raised within an import; that `except Exception` does not take it is what it is for."""


def refuse(changed: Sequence[str]) -> None:
    """Raise PluginFailed where something was changed."""
    if changed:
        raise PluginFailed(f"importing it changes {', '.join(changed)}, on which all depend (it was set back)")


@contextlib.contextmanager
def unchanged() -> Iterator[list[str]]:
    """Yield a list; afterwards it names what was changed, and that is set back.

    torch is looked at where it is there: it is not imported for this. Raises PluginFailed for an end of the process,
    and for a KeyboardInterrupt that no Ctrl-C has caused, Fatal where it takes too long.
    """
    before, changed = _state(), list[str]()
    with _same_process(changed), _no_exit(), _own_interrupts(), _in_time():
        try:
            yield changed
        finally:
            after = _state()
            changed += [what for what in FIRST if after[what] != before[what]]
            if changed:
                _set(*before.values())


@contextlib.contextmanager
def _same_process(changed: list[str]) -> Iterator[None]:
    """Set back what was taken away of sys.path and the like, the current folder, and closed streams."""
    lists: dict[str, list[Any]] = {f"sys.{name}": getattr(sys, name) for name in ("path", "meta_path", "path_hooks")}
    first = {what: list(members) for what, members in lists.items()}
    with contextlib.suppress(OSError):
        folder = os.getcwd()
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr", "__stdout__", "__stderr__")}
    kept = {fd: os.dup(fd) for fd in (1, 2) if _is_open(fd)}
    try:
        yield
    finally:
        for what, members in lists.items():
            name = what.removeprefix("sys.")
            now = list(getattr(sys, name) or ())
            if any(member not in now for member in first[what]):  # to add something is common, and does no harm
                now = first[what]
                changed.append(what)
            members[:] = now
            setattr(sys, name, members)
        with contextlib.suppress(OSError):
            if os.getcwd() != folder:
                os.chdir(folder)
                changed.append("the current folder")
        closed = False
        for fd, copy in kept.items():
            if not _is_open(fd):
                os.dup2(copy, fd)
                closed = True
            os.close(copy)
            stream = streams["__stdout__" if fd == 1 else "__stderr__"]
            if stream is not None and stream.closed:
                opened = open(fd, "w", encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
                streams = {name: opened if old is stream else old for name, old in streams.items()}
                closed = True
        for name, stream in streams.items():
            setattr(sys, name, stream)
        if closed:
            changed.append("stdout or stderr, which it closes")


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """Raise PluginFailed where `os._exit` is called in this process."""
    leave, process = os._exit, os.getpid()

    def refused(status: int) -> None:
        if os.getpid() != process:  # a child that was forked ends so
            leave(status)
        raise PluginFailed(f"importing it ends the process: os._exit({status})")

    os._exit = refused  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


@contextlib.contextmanager
def _own_interrupts() -> Iterator[None]:
    """Raise PluginFailed for a KeyboardInterrupt that is not of a signal."""
    mine = threading.current_thread() is threading.main_thread()
    mine = mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signals = list[int]()

    def interrupt(number: int, frame: Any) -> None:
        signals.append(number)
        signal.default_int_handler(number, frame)

    if mine:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        if signals or not mine:
            raise
        raise PluginFailed("importing it raises KeyboardInterrupt, as Ctrl-C does") from error
    finally:
        if mine and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raise Fatal after `PATIENCE`: in the main thread, where nothing else has the clock, and only in Python's own
    code, since a signal's handler waits for that of C to return."""
    mine = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGALRM")
    if not mine or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise _TimeIsUp

    signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TimeIsUp:
        raise Fatal(_no_return(PATIENCE)) from None
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _no_return(limit: float) -> str:
    return f"importing it does not come back within {limit:g} s"


def _set(dtype: str, device: str, gradients: bool, deterministic: bool) -> None:
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_default_dtype(getattr(torch, dtype.removeprefix("torch.")))
    torch.set_default_device(None if device == "cpu" else device)
    torch.set_grad_enabled(gradients)
    torch.use_deterministic_algorithms(deterministic)


def _state() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if not hasattr(torch, "are_deterministic_algorithms_enabled"):  # not imported, or not wholly
        return FIRST
    assert torch is not None
    values = (
        str(torch.get_default_dtype()),
        str(torch.get_default_device()),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
    return dict(zip(FIRST, values, strict=True))


@attrs.frozen
class Mark:
    """A file that is there while a process loads a plugin: where the process has ended, that plugin has ended it."""

    path: Path

    @classmethod
    def of(cls, plugin: str) -> Mark:
        """Return the mark of a plugin, by its module or file."""
        key = hashlib.sha256(f"{sys.prefix}\0{plugin}".encode(errors="surrogateescape")).hexdigest()[:16]
        return cls(Path(tempfile.gettempdir()) / f"srkit-{os.getuid()}-{key}")

    def is_left(self) -> bool:
        """Say whether a process has ended that was loading the plugin."""
        try:
            if self.path.lstat().st_uid != os.getuid():
                return False
            process = int(self.path.read_text())
            if process:
                os.kill(process, 0)
        except (OSError, ValueError) as error:
            return isinstance(error, ProcessLookupError)
        return process == 0

    def leave(self, process: int = 0) -> None:
        """Leave it: for good, or while a process lives."""
        with contextlib.suppress(OSError):
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            os.write(file, str(process).encode())
            os.close(file)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Leave it, and take it away once the plugin has been loaded, or has failed to load."""
        self.leave(os.getpid())
        try:
            yield
        except KeyboardInterrupt:  # it has not come back, so far
            self.leave()
            raise
        except BaseException:
            self._take_away()
            raise
        self._take_away()

    def _take_away(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


@attrs.frozen
class Beginning:
    """How this process began, so that it can begin again in its place: with the same number, terminal and files."""

    program: str
    words: list[str]
    folder: str
    environment: dict[str, str]

    @classmethod
    def of_this(cls) -> Beginning:
        """Return that of this process. Raises OSError where its folder is gone."""
        return cls(sys.executable, sys.orig_argv, os.getcwd(), dict(os.environ))

    @contextlib.contextmanager
    def after_a_crash(self, mark: Mark) -> Iterator[None]:
        """Begin again where the process crashes within, with the mark left: then it is known which plugin that was.

        The handler is called by the C library: Python would run its own after a return to what has crashed. No other
        process waits for this one meanwhile, so that it costs a plugin that is well no time. A crash for lack of stack
        leaves none for the handler, and ends the process as ever.
        """
        import ctypes

        library = ctypes.CDLL(None)
        library.signal.restype, library.signal.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
        numbers = [getattr(signal, name) for name in CRASHES if hasattr(signal, name)]

        def on_crash(number: int) -> None:
            library.signal(number, None)  # where this comes back, the crash ends the process
            mark.leave()
            if mark.is_left():  # or else it would crash again and again
                os.chdir(self.folder)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
                os.execve(self.program, self.words, self.environment)

        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_crash)
        before = {number: library.signal(number, ctypes.cast(handler, ctypes.c_void_p)) for number in numbers}
        try:
            yield
        finally:
            for number, function in before.items():
                own = library.signal(number, function)
                if own != ctypes.cast(handler, ctypes.c_void_p).value:  # the plugin's, as of faulthandler
                    library.signal(number, own)


# Of the process that is a command, and nothing else: another program's is not to begin again.
BEGINNING: ContextVar[Beginning | None] = ContextVar("BEGINNING", default=None)


def fatal(plugins: Sequence[str]) -> dict[str, str]:
    """Return {plugin: reason} of those, by module or file, that end a process when it loads them, or never come back.

    They are loaded in a process of their own, a new one after each that is fatal.
    """
    reasons = dict[str, str]()
    rest = list(plugins)
    while rest:
        done, reason = _trial(rest)
        if reason:
            reasons[rest[done]] = reason
        rest = rest[done + 1 :]
    return reasons


def _trial(plugins: list[str]) -> tuple[int, str]:
    """Return how many plugins a new process has loaded, and what went wrong with the next one, or nothing."""
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-c", TRIAL, json.dumps([sys.path, plugins, writer])]
    nothing = subprocess.DEVNULL
    child = subprocess.Popen(
        command, pass_fds=[writer], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    os.close(writer)
    done = -1  # it says first that it is there
    try:
        while done < len(plugins):
            limit = FILE_LIMIT if plugins[done].endswith(".py") else LIMIT
            if done >= 0 and not select.select([reader], [], [], limit)[0]:
                return done, _no_return(limit)
            if not os.read(reader, 1):
                break
            done += 1
    finally:
        os.close(reader)
        if done != len(plugins) and child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if done == len(plugins) or done < 0:  # without the process itself nothing is known of the plugins
        return len(plugins), ""
    code = child.returncode
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return done, f"importing it ends the process {how}"
