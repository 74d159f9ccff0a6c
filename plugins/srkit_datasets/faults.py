"""A word where a file that is mapped into memory becomes shorter: the system then kills the process without one."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
from pathlib import Path

_EXIT = 3  # that of a rejected input

# Takes what is said to where a run reports. It is on stderr already, and Python would put there what nobody takes.
_logger = logging.getLogger("srkit.faults")
_logger.propagate = False
_logger.addHandler(logging.NullHandler())

# Kept by the process, since a handler of signals is: the length of each mapped file by its place, and the handler.
_lengths: dict[str, int] = {}
_installed: list[object] = []


def watch(path: Path, length: int) -> None:
    """Name this file, which has `length` bytes now, should a read of its memory fail because it became shorter."""
    _lengths[os.path.abspath(path)] = length
    if not _installed and hasattr(signal, "SIGBUS"):
        _install()


def _install() -> None:
    """Set a handler by the C library: Python runs its own after a return to the failed read.

    The signal comes in the midst of a copy, where neither Python nor a library is changing anything, and the handler
    does not go back to it. So it may write files as any code does; other threads go on meanwhile.
    """
    library = ctypes.CDLL(None)
    library.signal.restype, library.signal.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before: list[int | None] = []

    def on_fault(number: int) -> None:
        lines = [line for path, length in _lengths.items() if (line := _line(path, length))]
        if not lines:  # another memory's fault
            library.signal(number, before[0])
            return
        os.write(2, "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
        with contextlib.suppress(Exception):
            for line in lines:
                _logger.critical("%s", line)
        os._exit(_EXIT)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_fault)
    _installed.append(handler)
    before.append(library.signal(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p)))


def _line(path: str, length: int) -> str:
    """Return what is to be said of a file, or nothing where it is as long as it was."""
    with contextlib.suppress(OSError):
        found = os.stat(path).st_size
        if found < length:
            return (
                f"{path}: became shorter while it was read: it has {found:,} bytes of {length:,}; "
                "put the whole file back, and the same command continues"
            )
    return ""
