"""The command within this process, and a network whose output is known to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from srkit.cli import main
from srkit.engine.weights.model import save_model
from tests import forking

# The nearest pixel, a little wrong for blue, so that channels which must agree have to be made to.
NEAREST = """\
import srkit
import torch
import torch.nn.functional as F


class Nearest(torch.nn.Module):
    def __init__(self, *, scale: int, blue: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.gain = torch.nn.Parameter(torch.tensor([1.0, 1.0, blue])[:, None, None])

    def forward(self, x):
        return F.interpolate(x * self.gain, scale_factor=self.scale, mode="nearest")


@srkit.hookimpl
def srkit_components():
    yield srkit.Component("architecture", "nearest", f"{__name__}:Nearest", summary="the nearest pixel")
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run `srkit ...` here, in an empty folder; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


@pytest.fixture
def nearest(tmp_path) -> Path:
    """A one-file plugin with a network that repeats each pixel."""
    path = tmp_path / "nearest.py"
    path.write_text(NEAREST)
    return path


@pytest.fixture
def model(tmp_path, nearest) -> Path:
    """A self-describing file of that network for scale 2; it needs `-p nearest.py`."""
    return save_nearest(tmp_path / "repeat.safetensors")


def narrow(width: int, *arguments: str) -> str:
    """Return what `srkit ...` prints in a terminal of so many columns, as a process."""
    program = (
        "import rich.console as c, srkit.cli.output as o\nfrom srkit.cli import main\n"
        f"o.console = lambda **_: c.Console(width={width})\nmain({list(arguments)!r})"
    )
    done = forking.run("-c", program)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save_nearest(path: Path, *, scale: int = 2, blue: float = 1.0) -> Path:
    weights = {"gain": torch.tensor([1.0, 1.0, blue])[:, None, None]}
    save_model(path, weights, {"architecture": "nearest", "settings": {"blue": blue}, "scale": scale})
    return path
