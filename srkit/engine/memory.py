"""How much memory is free, and errors that say there was too little."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from srkit.errors import RunFailed

UNKNOWN = 8 * 2**30  # where the system does not say: macOS, Windows

# What torch says where there is too little: of the CPU on Linux, Windows and macOS, and of devices.
_OF_TORCH = re.compile(r"DefaultCPUAllocator|not enough memory|can't allocate memory|out of memory", re.IGNORECASE)
_BYTES = re.compile(r"tried to allocate (\d+) bytes")
_WORDS = re.compile(r"(?:Unable to allocate|Tried to allocate) ([\d.]+ [KMGTPE]?i?B)")

# By the version of Linux' control groups: a limit, what is used of it, and what of that can be had again.
NAMES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many bytes could be had: of the machine, and of the container or the job that this process is in.

    A process that takes more than its group may is killed without a word.
    """
    return min([*_machine(proc), *_groups(proc, groups)], default=UNKNOWN)


def used_memory(proc: Path = Path("/proc")) -> int:
    """Return how many bytes of memory this process takes; where the system does not say, the most it has taken."""
    try:
        return int((proc / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def return_what_is_free() -> None:
    """Let glibc give freed memory back at once, from a megabyte on, and not keep it in pieces that fit nothing later.

    It keeps what is smaller than the largest block that was freed, up to 32 MB, as blocks of a convolution are: a
    process that computes tile after tile grows to twice what it needs. Other systems have no such call.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)


_M_MMAP_THRESHOLD = -3  # malloc.h


def lacks_memory(error: BaseException) -> bool:
    """Say whether an error of Python, numpy or torch, on whatever device, means that there was too little memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _OF_TORCH.search(str(error)) is not None


def shortage(error: BaseException, doing: str = "", advice: str = "") -> str:
    """Return a line on an error of which `lacks_memory` is true.

    "there is too little memory for step 3: 4.8 GiB were asked for, 2.1 GiB are free; try a smaller data.batch"
    """
    sizes = [f"{size_text(free_memory())} are free"]
    text = str(error)
    if found := _BYTES.search(text):
        sizes.insert(0, f"{size_text(int(found[1]))} were asked for")
    elif found := _WORDS.search(text):
        sizes.insert(0, f"{found[1]} were asked for")
    line = f"there is too little memory{' ' if doing else ''}{doing}: {', '.join(sizes)}"
    return f"{line}; {advice}" if advice else line


@contextlib.contextmanager
def reported(doing: str, advice: str) -> Iterator[None]:
    """Raise RunFailed with a line in place of an error that means too little memory; others pass through."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise RunFailed(shortage(error, doing, advice)) from error


def size_text(count: int) -> str:
    """Return so many bytes for people: "1.5 GiB"."""
    unit = next((unit for unit in (4, 3, 2, 1) if count >= 1024**unit), 1)
    return f"{count / 1024**unit:,.1f} {('KiB', 'MiB', 'GiB', 'TiB')[unit - 1]}"


def _machine(proc: Path) -> Iterator[int]:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return


def _groups(proc: Path, groups: Path) -> Iterator[int]:
    """Yield what each group that this process is in leaves; those above it count, too."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = groups / "memory" if controllers else groups
        folder = root / path.lstrip("/")  # in a container it may be the host's path, and not be there
        for group in [folder, *folder.parents]:
            if group.is_relative_to(root):
                yield from _left(group, *NAMES[1 if controllers else 2])


def _left(group: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    try:
        most = int((group / limit).read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield max(0, most - int((group / used).read_text()) + int(statistics.get(cached, 0)))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return
