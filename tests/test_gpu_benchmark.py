"""What can be known without a GPU: that its command works, and that a step of training reads no value."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import srkit
from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import PRECISIONS, Options, trainer_of
from tests.conftest import HANGS, ROOT

COMMAND = ROOT / "benchmarks" / "gpu.py"
CPU, META = torch.device("cpu"), torch.device("meta")
SKIPPED = (
    "it needs spandrel",
    "left out with --small",
    "only CUDA tells what waits for it",
    "only CUDA has graphs",
)


def test_the_command_checks_and_measures_on_the_cpu(tmp_path):
    file = tmp_path / "found.json"
    command = [sys.executable, str(COMMAND), "--device", "cpu", "--small", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["device"] == "CPU"
    assert found["torch"] == torch.__version__
    for line in found["lines"]:
        reasons = [reason for reason in SKIPPED if line["found"].startswith(reason)]
        assert line["outcome"] == ("skipped" if reasons else "passed"), line
        row = [text for text in done.stdout.splitlines() if text.startswith(f"{line['name']}  ")]
        assert len(row) == 1
        assert row[0].split(line["name"], 1)[1].split() == [line["outcome"], *line["found"].split()]
    names = {line["name"] for line in found["lines"] if line["outcome"] == "passed"}
    assert {"network a2n", "batches from a file", "a killed run continues in float16", "eval"} <= names
    speeds = {figure["name"]: figure for figure in found["speed"]}
    assert {"eager PyTorch, float32", *(f"srkit, {name}" for name in PRECISIONS)} <= speeds.keys()
    assert all(figure["updates_per_s"] > 0 for figure in speeds.values())
    assert speeds["eager PyTorch, float32"]["times_eager"] == 1
    assert speeds["eager PyTorch, float32"]["data_share"] == 0


def test_a_check_that_fails_does_not_stop_the_rest(gpu):
    def fails():
        raise gpu.Failed("3 values differ")

    def skips():
        raise gpu.Skipped("no GPU")

    checks = [("a", fails), ("b", lambda: 1 / 0), ("c", skips), ("d", lambda: "the same")]
    lines = gpu.run_checks(checks)
    assert [(line.name, line.outcome) for line in lines] == [
        ("a", "failed"),
        ("b", "failed"),
        ("c", "skipped"),
        ("d", "passed"),
    ]
    assert lines[1].found.startswith("ZeroDivisionError: division by zero (tests/test_gpu_benchmark.py:")
    assert [lines[i].found for i in (0, 2, 3)] == ["3 values differ", "no GPU", "the same"]


def test_a_failed_check_makes_the_exit_code_1(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "all_checks", lambda setup: [("a", lambda: 1 / 0), ("b", lambda: "the same")])
    monkeypatch.setattr(gpu, "speed", lambda setup: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    assert gpu.main() == 1
    outcomes = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()[3:]}
    assert outcomes == {"a": "failed", "b": "passed", "speed": "failed"}


@pytest.fixture
def gpu():
    """The command as a module."""
    spec = importlib.util.spec_from_file_location("gpu_benchmark", COMMAND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fake(FakeTensorMode):
    """Tensors without values. A copy of a network has to be of the same mode."""

    def __deepcopy__(self, memo):
        return self


class Told(torch.optim.Optimizer):
    """An optimizer that is told of gradients that are not finite, as torch's fused ones are, which know no meta."""

    _step_supports_amp_scaling = True

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=group["lr"])


class Reading(nn.Module):
    """A loss that looks at its value."""

    def forward(self, sr, hr):
        loss = (sr - hr).abs().mean()
        return loss / max(1.0, loss.item())


class LeftBehind(nn.Module):
    """A loss with a tensor that is on the CPU."""

    def __init__(self):
        super().__init__()
        self.weights = torch.ones(3, 1, 1, device=CPU)

    def forward(self, sr, hr):
        return (self.weights * (sr - hr)).abs().mean()


class NoWaitingCopies(TorchDispatchMode):
    """Refuses copies to the device that wait until it has done all before them, as torch's own default is."""

    def __torch_dispatch__(self, function, types, arguments=(), words=None):
        made = function(*arguments, **(words or {}))
        copies = function is torch.ops.aten._to_copy.default and made.is_meta and not arguments[0].is_meta
        assert not copies or words.get("non_blocking"), "a copy from the CPU, for which the device is waited for"
        return made


def steps(device, loss=None, *, optimizer, count=3, mode=None, **options):
    """Take some steps of a small A2N with everything on a device."""
    with mode or contextlib.nullcontext():
        with device:
            network = srkit.create("architecture", "a2n", scale=2, features=4, blocks=1, upsampling_features=4)
            lr, hr = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16)
        losses = [Term("loss", loss or srkit.create("loss", "l1"), 1.0, False)]
        made = optimizer(network.parameters(), lr=1e-3)
        trainer = trainer_of(
            network,
            losses,
            made,
            lambda step: 1.0,
            device,
            Options(steps=count, seed=1, **options),
        )
        for _ in range(count):
            trainer.step(Batch(lr, hr))
    assert trainer.done == count


def fused(parameters, lr):
    """Adam as srkit makes it where all is on CUDA; others make torch's scaler read whether gradients are finite."""
    return torch.optim.Adam(parameters, lr, fused=True)


OPTIONS = [
    pytest.param({}, id="plain"),
    pytest.param({"ema": 0.9}, id="ema"),
    pytest.param({"clip": 1.0}, id="clip"),
    pytest.param({"accumulate": 2}, id="accumulate"),
    pytest.param({"ema": 0.9, "clip": 1.0, "accumulate": 2}, id="all"),
]
# torch looks for the memory of a tensor that it copies; one without values has none.
copied_without_values = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor:UserWarning")


@copied_without_values
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_reads_no_value(precision, options):
    steps(CPU, optimizer=fused, mode=Fake(), precision=PRECISIONS[precision], **options)


def test_a_loss_that_reads_its_value_is_found():
    with pytest.raises(DataDependentOutputException):
        steps(CPU, Reading(), optimizer=fused, mode=Fake())


def test_an_optimizer_that_is_not_fused_makes_the_scaler_read():
    with pytest.raises(DataDependentOutputException):
        steps(CPU, optimizer=torch.optim.SGD, mode=Fake())


@pytest.fixture
def without_autocast(monkeypatch):
    """Autocast knows no meta, and float32 needs none."""
    monkeypatch.setattr(torch, "autocast", lambda *given, **words: contextlib.nullcontext())


@pytest.mark.usefixtures("without_autocast")
@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_leaves_no_tensor_on_the_cpu(options):
    steps(META, optimizer=Told, **options)


@pytest.mark.usefixtures("without_autocast")
def test_a_loss_that_leaves_a_tensor_on_the_cpu_is_found():
    with pytest.raises(RuntimeError, match="meta is not on the expected device cpu"):
        steps(META, LeftBehind(), optimizer=Told)


@pytest.mark.usefixtures("without_autocast")
@pytest.mark.parametrize("options", OPTIONS)
def test_a_step_copies_nothing_for_which_the_device_is_waited_for(options):
    steps(META, optimizer=Told, mode=NoWaitingCopies(), **options)


@pytest.mark.usefixtures("without_autocast")
def test_a_loss_that_copies_a_tensor_each_time_is_found():
    weight = torch.ones(3, 1, 1)
    with pytest.raises(AssertionError, match="a copy from the CPU"):
        steps(META, lambda sr, hr: (weight.to(sr) * (sr - hr)).abs().mean(), optimizer=Told, mode=NoWaitingCopies())
