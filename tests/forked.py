"""Several processes that train one run, forked from one that has imported torch: they start in a moment."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from tests import forking
from tests.conftest import ROOT

FAULTS = '''
import os, signal, time
import torch
import srkit

class Fault(torch.nn.Module):
    """l1, in which one process does what FAULT says: "kill 1 8" for rank 1 at step 8."""

    done = False

    def forward(self, sr, hr, step):
        what, rank, at = os.environ.get("FAULT", "none 0 -1").split()
        if int(at) == step and not self.done and rank in (os.environ.get("RANK", "0"), "all"):
            self.done = True
            if what == "raise":
                raise ValueError("the loss has a fault")
            elif what == "hang":
                time.sleep(10_000)
            else:
                os.kill(os.getpid(), getattr(signal, what))
        return (sr - hr).abs().mean()

class Normed(torch.nn.Sequential):
    """A network with batch norm, whose statistics each process has of its own samples."""

    def __init__(self, scale: int):
        layers = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 3 * scale**2, 1)
        super().__init__(*layers, torch.nn.PixelShuffle(scale))


class Spectral(torch.nn.Sequential):
    """A network whose spectral norm is estimated anew each time that it is called."""

    def __init__(self, scale: int):
        conv = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(3, 3 * scale**2, 3, padding=1))
        super().__init__(conv, torch.nn.PixelShuffle(scale))


class Relative(torch.nn.Module):
    """A loss that looks at a batch as a whole."""

    def forward(self, sr, hr):
        return (sr.mean() - hr.mean()) ** 2


class Watching:
    """An observer that never returns."""

    def logged(self, step, values):
        time.sleep(10_000)


class Stuck:
    """A metric that never returns in the second process."""

    def __call__(self, sr, hr):
        if os.environ.get("RANK") == "1" and bool((sr != hr).any()):
            time.sleep(10_000)
        return 0.0


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("metric", "stuck", f"{__name__}:Stuck", facts={"better": "higher", "color": "Y"})
    yield srkit.Component("observer", "watching", f"{__name__}:Watching")
    yield srkit.Component("loss", "fault", f"{__name__}:Fault")
    yield srkit.Component("loss", "relative", f"{__name__}:Relative")
    yield srkit.Component("architecture", "normed", f"{__name__}:Normed")
    yield srkit.Component("architecture", "spectral", f"{__name__}:Spectral")
'''


def start(size: int, out: str, *settings: str, **more: Any) -> dict[str, Any]:
    """Return a start of so many processes.

    `more` is a "fault", the seconds of "hangs" and of "works", files of "plugins", the rank that "stays" until the
    others end, and a "folder" with {rank} in its name that each works in.
    """
    return {"size": size, "out": out, "set": settings, **more}


def make(*given: dict[str, Any]) -> tuple[list[list[int]], str]:
    """Make these starts one after the other, and return the exit codes of each one's processes, and their stderr.

    An SrkitError is a line there, behind the rank of the process that raised it.
    """
    Path("faults.py").write_text(FAULTS)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = forking.run("-m", "tests.forked", input=json.dumps(given), env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")], done.stderr


def _main() -> None:
    from torch.distributed import TCPStore

    import srkit.engine.running.stages  # noqa: F401  imported before the fork
    from srkit.engine import distributed

    for given in json.load(sys.stdin):
        distributed.HANGS = given.get("hangs", distributed.HANGS)
        distributed.WORKS = given.get("works", distributed.WORKS)
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        environment = {
            "FAULT": given.get("fault", ""),
            "WORLD_SIZE": str(given["size"]),
            "LOCAL_WORLD_SIZE": str(given["size"]),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
        ranks = {}
        for rank in range(given["size"]):
            child = os.fork()
            if not child:
                os.environ.update({k: v for k, v in environment.items() if v} | {"RANK": str(rank)})
                os.environ["LOCAL_RANK"] = str(rank)
                _train(rank, given)
            ranks[child] = rank
        codes = dict.fromkeys(range(given["size"]), 0)
        while ranks:
            if list(ranks.values()) == [given.get("stays")]:
                os.kill(next(iter(ranks)), 9)
            pid, status = os.wait()
            codes[ranks.pop(pid)] = os.waitstatus_to_exitcode(status)
        print(json.dumps(list(codes.values())), flush=True)


def _train(rank: int, given: dict[str, Any]) -> None:
    import srkit
    from srkit.errors import Elsewhere
    from srkit.plugin.discovery import discover

    code = 0
    try:
        registry = discover([*given.get("plugins", []), "faults.py"])
        os.chdir(given.get("folder", ".").format(rank=rank))
        srkit.run(
            "tiny.toml",
            out=given["out"],
            set=given["set"],
            registry=registry,
        )
    except Elsewhere as error:
        code = error.exit_code
    except srkit.SrkitError as error:
        print(f"{rank}: {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main()
