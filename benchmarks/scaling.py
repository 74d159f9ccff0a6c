"""What a second process gains, and what the exchange of gradients costs: two processes on two cores, over gloo.

Two processes of one thread beside one process of two threads, in updates a second of the same batches; the exchange
alone of 1 million and 20 million parameters, in srkit's buckets, in the ordered sums of elastic mode, and in
DistributedDataParallel's. All are measured in turns, in one run. It prints a table for RESULTS.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

import srkit
from srkit.engine.data.batches import Batch
from srkit.engine.distributed import World, joined
from srkit.engine.learning.learner import network_learner
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import Options, Trainer

ROUNDS, PATCH, BATCH = 3, 24, 8
NETWORKS = {"small A2N": {"features": 16, "blocks": 4, "upsampling_features": 12}, "full A2N": {}}
UPDATES = {"small A2N": 8, "full A2N": 1}  # of a round
RIVALS = {"full A2N (1 M)": ("a2n", {}), "EDSR of 20 M": ("edsr", {"features": 184, "blocks": 32})}
SIZES = {"1 M": 1_000_000, "20 M": 20_000_000}  # parameters
CPU = torch.device("cpu")


def main() -> None:
    """Measure, and print a table."""
    if "RANK" in os.environ:
        with joined(os.environ) as world:
            print(json.dumps(measure(world)) if world.is_first else (measure(world) and ""), flush=True)
        return
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):  # in turns: what else the machine does is in both
        for processes in (1, 2):
            for name, values in start(processes).items():
                found.setdefault(f"{name}, {processes}", []).append(statistics.median(values))
    print("| what | figure |\n|---|---|")
    for name in NETWORKS:
        ratios = [two / one for one, two in zip(found[f"{name}, 1"], found[f"{name}, 2"], strict=True)]
        one, two = (statistics.median(found[f"{name}, {processes}"]) for processes in (1, 2))
        print(
            f"| {name} x2: updates a second (batch {BATCH}, LR patch {PATCH}) of one process with two threads, of two "
            f"with one | {one:.2f}, {two:.2f}: {spread(ratios)} times |"
        )
    for name in RIVALS:
        ratios = [flat / ddp for flat, ddp in zip(found[f"{name}, flat, 2"], found[f"{name}, ddp, 2"], strict=True)]
        print(
            f"| update of {name}, 2 samples: flat buckets after backward beside DDP's, time | {spread(ratios)} times |"
        )
    for size in SIZES:
        ways = {way: found[f"{size}, {way}, 2"] for way in ("flat", "ordered", "ddp", "backward, flat")}
        print(f"| exchange of {size} parameters between two processes | {seconds(ways['flat'])} |")
        print(f"| the same, ordered sums of elastic mode | {seconds(ways['ordered'])} |")
        ratios = [flat / ddp for flat, ddp in zip(ways["backward, flat"], ways["ddp"], strict=True)]
        print(
            f"| backward and exchange of {size}, flat message beside DDP's buckets | {spread(ratios)} times its time |"
        )


def spread(values: list[float]) -> str:
    """Return a median with the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def seconds(values: list[float]) -> str:
    """Return a median in milliseconds."""
    return f"{1000 * statistics.median(values):.0f} ms ({1000 * min(values):.0f} to {1000 * max(values):.0f})"


def start(processes: int) -> dict[str, list[float]]:
    """Start one process of two threads, or two of one, and return what they measured."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = []
    for rank in range(processes):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
            "OMP_NUM_THREADS": str(2 // processes),
            "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait measure what else the machine does
        }
        started.append(subprocess.Popen([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True))
    first, *_ = [process.communicate()[0] for process in started]
    assert not any(process.returncode for process in started)
    found: dict[str, list[float]] = json.loads(first)
    return found


def measure(world: World) -> dict[str, list[float]]:
    """Return updates a second of each network, and with two processes the seconds of each exchange."""
    torch.set_num_threads(2 // world.size)
    found = {name: [updates(world, name)] for name in NETWORKS}
    if world.size > 1:
        for name in RIVALS:
            found |= {f"{name}, {way}": times for way, times in rivals(world, name).items()}
        for size, count in SIZES.items():
            found |= {f"{size}, {way}": times for way, times in exchanges(world, count).items()}
    return found


def updates(world: World, name: str) -> float:
    """Return the updates a second that training makes, its batches at hand."""
    torch.manual_seed(1)
    network = srkit.create("architecture", "a2n", scale=2, **NETWORKS[name])
    first, last = world.slots(BATCH)
    lr, hr = (torch.rand(BATCH, 3, side, side)[first:last] for side in (PATCH, 2 * PATCH))
    terms = [Term("l1", nn.L1Loss(), 1.0, is_sum=False)]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    learner = network_learner(network, terms, optimizer, lambda step: 1.0)
    trainer = Trainer(network, terms, [learner], CPU, Options(steps=1_000, seed=1), world)
    network.train()
    trainer.step(Batch(lr, hr))
    return UPDATES[name] / timed(world, lambda: [trainer.step(Batch(lr, hr)) for _ in range(UPDATES[name])])


def rivals(world: World, name: str) -> dict[str, list[float]]:
    """Return the seconds of updates of one sample a process, gradients averaged after backward and by DDP."""
    architecture, settings = RIVALS[name]
    network = srkit.create("architecture", architecture, scale=2, **settings)
    parallel = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    lr, hr = torch.rand(1, 3, PATCH, PATCH), torch.rand(1, 3, 2 * PATCH, 2 * PATCH)

    def update(way: str) -> None:
        sr = (network if way == "flat" else parallel)(lr)
        (sr - hr).abs().mean().backward()
        if way == "flat":
            world.sum([p.grad for p in network.parameters() if p.grad is not None])
        optimizer.step()
        optimizer.zero_grad()

    found: dict[str, list[float]] = {"flat": [], "ddp": []}
    for turn in range(4):
        for way, times in found.items():
            seconds = timed(world, lambda way=way: update(way))  # type: ignore[misc]
            times += [seconds] if turn else []  # the first of each is not counted
    return found


def exchanges(world: World, count: int) -> dict[str, list[float]]:
    """Return the seconds of summing the gradients of so many parameters, and of backward with it and with DDP's."""
    side = 1_000
    network = nn.Sequential(*(nn.Linear(side, side, bias=False) for _ in range(count // side**2)))
    data = torch.rand(4, side)
    gradients = [torch.rand_like(parameter) for parameter in network.parameters()]
    parallel = DistributedDataParallel(network)

    def flat() -> None:
        network(data).square().mean().backward()
        world.sum([p.grad for p in network.parameters() if p.grad is not None])

    ways: dict[str, Callable[[], Any]] = {
        "flat": lambda: world.sum(gradients),
        "ordered": lambda: world.sum(gradients, ordered=True),
        "ddp": lambda: parallel(data).square().mean().backward(),
        "backward, flat": flat,
    }
    for way in ways.values():
        way()
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(5):
        for way, function in ways.items():
            network.zero_grad()
            found[way].append(timed(world, function))
    return found


def timed(world: World, function: Callable[[], Any]) -> float:
    """Return the seconds from when all processes begin to when this one has done it."""
    world.wait()
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
