"""The draws of streams beside torch's own random numbers, in turn.

    OMP_NUM_THREADS=1 python benchmarks/draws.py

A ratio is the median of the rounds. With a GPU the same is timed there, the draws are compared with the CPU's bit by
bit, and a CUDA graph that makes them is replayed with other keys.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from srkit.engine.data.sampling import Stream, stream, uniforms

SAMPLES, SHAPE = 32, (3, 96, 96)
COUNT = 3 * 96 * 96
ROUNDS = 30
SLOTS = np.arange(SAMPLES)


def made(device: torch.device, step: int = 0) -> Stream:
    """Return the draws of a batch."""
    return stream(1, "noise", step, SLOTS, device)


def seconds(way: Callable[[], object]) -> float:
    """Return how long a way takes, the device's work included."""
    started = time.perf_counter()
    way()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def report(device: torch.device) -> None:
    """Print the ratios to torch on a device."""
    shape = (SAMPLES, *SHAPE)
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "uniform": (lambda: made(device).uniform(COUNT), lambda: torch.rand(SAMPLES, COUNT, device=device)),
        "normal": (lambda: made(device).normal(*SHAPE), lambda: torch.randn(shape, device=device)),
    }
    if device.type == "cpu":
        ways["numpy's Philox, all slots at once"] = (lambda: uniforms(1, "noise", 0, SLOTS, COUNT), ways["uniform"][1])
    for name, (ours, torchs) in ways.items():
        ours(), torchs()
        ratio = statistics.median(seconds(ours) / seconds(torchs) for _ in range(ROUNDS))
        print(f"{device}: {name} takes {ratio:.2f} of torch's time for {list(shape)}")


def numbers(drawn: Stream) -> Tensor:
    """Return draws of each kind."""
    parts = [drawn.uniform(COUNT), drawn.normal(*SHAPE).flatten(1), drawn.of("child").uniform(COUNT)]
    return torch.cat(parts, dim=1)


def main() -> None:
    """Print all."""
    cpu = torch.device("cpu")
    report(cpu)
    if not torch.cuda.is_available():
        return
    gpu = torch.device("cuda")
    report(gpu)
    print("the same bits as on the CPU:", torch.equal(numbers(made(gpu)).cpu(), numbers(made(cpu))))
    keys = made(gpu).keys.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = numbers(Stream(keys))
    keys.copy_(made(gpu, step=7).keys)
    graph.replay()
    print("a replayed graph draws the step of its keys:", torch.equal(captured.cpu(), numbers(made(cpu, step=7))))


if __name__ == "__main__":
    main()
