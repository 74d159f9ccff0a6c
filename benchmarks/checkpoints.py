"""Checkpoints of A2N with Adam and a moving average beside torch.save and torch.load of the same tensors.

    python -m benchmarks --only save_cost

A save is whole: a snapshot, sha256, fsync of each file and of the directories, and renamed. A load checks the sha256,
and ends with the same tensors as torch's. What a run waits for is the snapshot; the rest is done in a thread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

import srkit
from benchmarks.timing import interleaved, ratio
from srkit import files
from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.trainer import Options, Trainer, trainer_of
from srkit.engine.running import checkpoint
from srkit.engine.weights import flat

ROUNDS = 11


def trained() -> Trainer:
    """Return a trainer after a step, so that the optimizer has its moments."""
    torch.manual_seed(0)
    network: nn.Module = srkit.create("architecture", "a2n", scale=4)
    network.to(memory_format=torch.channels_last)
    optimizer = srkit.create("optimizer", "adam", network.parameters(), lr=1e-4)
    terms = [Term("l1", srkit.create("loss", "l1"), 1.0, False)]
    options = Options(steps=10, seed=1, ema=0.999)
    trainer = trainer_of(network, terms, optimizer, lambda step: 1.0, torch.device("cpu"), options)
    trainer.step(Batch(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 64, 64)))
    return trainer


def ratios() -> Iterator[tuple[str, float]]:
    """Yield the ratios of this script."""
    torch.set_num_threads(1)
    trainer = trained()
    assert trainer.ema is not None
    modules = {"network": trainer.network, "ema": trainer.ema.module, "optimizer": trainer.learner.optimizer}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place, plain = checkpoint.place(folder, trainer.done), folder / "plain.pt"
        snapshots = checkpoint.Snapshots()

        def load() -> None:
            for file, data in files.read_directory(place).items():
                if file.endswith(".safetensors"):
                    flat.from_bytes(data)

        seconds = interleaved(
            {
                "torch.save": lambda: torch.save({key: one.state_dict() for key, one in modules.items()}, plain),
                "save": lambda: files.write_directory(place, snapshots.take(trainer, {})()),
                "snapshot": lambda: snapshots.take(trainer, {}),
                "torch.load": lambda: torch.load(plain, weights_only=True),
                "load": load,
            },
            ROUNDS,
        )
    yield "save_cost", ratio(seconds, "save", "torch.save")
    yield "stall_cost", ratio(seconds, "snapshot", "torch.save")
    yield "load_vs_torch", ratio(seconds, "torch.load", "load")
