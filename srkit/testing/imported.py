"""What importing a plugin does to its process, seen from a process of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import attrs

# What srkit's own listing does without, and what plugins commonly need: seconds, or hundreds of megabytes.
HEAVY = (
    "torch",
    "numpy",
    "cv2",
    "h5py",
    "PIL",
    "lmdb",
    "scipy",
    "skimage",
    "matplotlib",
    "pandas",
    "torchvision",
    "timm",
)
OWN = ""  # the name of the plugin's own modules, all of them


@attrs.frozen
class Imported:
    """What came with the plugin's own modules, and what the import of each module changed; OWN has theirs.

    `seconds` is how long the own modules took.
    """

    heavy: tuple[str, ...]
    changed: dict[str, list[str]]
    error: str = ""
    seconds: float = 0.0


@functools.lru_cache(maxsize=64)
def imported(modules: tuple[str, ...], file: str, targets: tuple[str, ...], path: tuple[str, ...]) -> Imported:
    """Import a plugin in a new process: its entry points' modules, or its file, and then the modules of its targets.

    `path` is where modules are found, sys.path. Once a process for each plugin: it takes seconds.
    """
    told = {"modules": modules, "file": file, "targets": targets, "path": path}
    found = _in_a_child(told, first=False)
    if not found.heavy or found.error:
        return found
    # What its own modules do to torch is seen where torch was there before them.
    return attrs.evolve(found, changed=_in_a_child(told, first=True).changed)


def _in_a_child(told: dict[str, Any], *, first: bool) -> Imported:
    """Import these modules in a new process, with torch first or when it comes."""
    # By its path, and without it on sys.path: `-m` would import this package, and torch with it.
    command = [sys.executable, "-P", __file__, json.dumps({**told, "torch_first": first})]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if run.returncode != 0:
        return Imported((), {}, (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1])
    return Imported(**json.loads(run.stdout.splitlines()[-1]))


def _light_looks() -> dict[str, Callable[[], Any]]:
    """Return ways to look at what belongs to the whole process, by what they look at."""
    import os
    import random
    import signal

    return {
        "the random state of Python": random.getstate,
        "signal handlers": lambda: {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environment variables": lambda: dict(os.environ),
        "the current folder": os.getcwd,
    }


def _heavy_looks() -> dict[str, Callable[[], Any]]:
    """Return the same of numpy and torch, which are imported for it."""
    import numpy as np
    import torch

    return {
        "the random state of numpy": lambda: str(np.random.get_state()),
        "the random state of torch": lambda: torch.get_rng_state().tolist(),
        "torch's default dtype": torch.get_default_dtype,
        "torch's default device": torch.get_default_device,
        "torch's number of threads": torch.get_num_threads,
        "whether torch keeps gradients": torch.is_grad_enabled,
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled,
    }


class Watched:
    """What is looked at, and how it was when it was last looked at."""

    def __init__(self) -> None:
        self._looks: dict[str, Callable[[], Any]] = {}
        self._seen: dict[str, Any] = {}

    def watch(self, looks: dict[str, Callable[[], Any]]) -> None:
        """Look at more, and at all of it now: to look may import torch."""
        self._looks |= looks
        self._seen = {what: look() for what, look in self._looks.items()}

    def changed(self) -> list[str]:
        """Return what is not as it was."""
        now = {what: look() for what, look in self._looks.items()}
        found = [what for what in now if now[what] != self._seen[what]]
        self._seen = now
        return found


def main(told: str) -> None:
    """Import what a JSON text names and print an Imported as JSON."""
    import contextlib
    import importlib
    import time
    from pathlib import Path

    asked = json.loads(told)
    sys.path[:] = asked["path"]
    with contextlib.redirect_stdout(sys.stderr):
        watched = Watched()
        if asked["torch_first"]:
            watched.watch(_heavy_looks())
        watched.watch(_light_looks())
        before = set(sys.modules)
        import srkit.plugin.component  # noqa: F401 (what every plugin imports, and no plugin waits for)

        start = time.perf_counter()
        for module in asked["modules"]:
            importlib.import_module(module)
        seconds = time.perf_counter() - start
        heavy = [name for name in HEAVY if name in sys.modules and name not in before]
        changed = {OWN: watched.changed()}
        if not asked["torch_first"]:
            watched.watch(_heavy_looks())
        if asked["file"]:
            from srkit.plugin.files import import_file

            import_file(Path(asked["file"]))
        for module in asked["targets"]:
            with contextlib.suppress(Exception):  # another check tells what an import raises
                importlib.import_module(module)
            changed[module] = watched.changed()
    print(json.dumps({"heavy": heavy, "changed": changed, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
