"""How much memory is free."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

UNKNOWN = 8 * 2**30  # where the system does not say: macOS, Windows

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
