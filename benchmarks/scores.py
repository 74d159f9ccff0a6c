"""How long each metric takes for an image of 512x512, beside ssim_y.

    OMP_NUM_THREADS=1 python benchmarks/scores.py

All metrics that are installed, in turn, in one thread; the time is the median of the rounds, that of the files and of
what is made once left out. The networks of those that want a file of weights have drawn ones, which take as long.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import srkit_features.lpips
import torch
from metrics import picture
from srkit_metrics.niqe import Niqe
from srkit_resize.matlab import enlarge, shrink

import srkit

SIDE, ROUNDS = 512, 7


def drawn(network: str, folder: Path) -> Path:
    """Write a file of drawn weights, whose name carries the beginning of its sha256."""
    state = {
        f"features.{name}": tensor for name, tensor in srkit_features.lpips.NETWORKS[network][0]().state_dict().items()
    }
    path = folder / "weights.pth"
    torch.save(state, path)
    return path.rename(folder / f"{network}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")


def settings(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return the settings that a metric is tried with."""
    match name:
        case "lpips":
            return [
                {"network": network, "weights": drawn(network, folder)} for network in srkit_features.lpips.NETWORKS
            ]
        case "dists":
            return [{"weights": drawn("vgg", folder)}]
        case "niqe":
            path = folder / "niqe.npz"
            path.write_bytes(Niqe.fit(np.rot90(picture(SIDE, SIDE), turns) for turns in range(4)))
            return [{"parameters": path}]
    return [{}]


def main() -> None:
    torch.set_num_threads(1)
    hr = picture(SIDE, SIDE)
    sr = enlarge(shrink(hr, 4), 4)
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for component in srkit.components():
            if component.kind != "metric" or component.missing:
                continue
            for given in settings(component.name, Path(folder)):
                images = (sr, hr) if component.facts.get("reference", True) else (sr,)
                name = " ".join(filter(None, [component.name, given.get("network")]))
                made[name] = srkit.create("metric", component.name, **given), images
        for _ in range(ROUNDS):
            for name, (score, images) in made.items():
                start = time.perf_counter()
                score(*images)
                times.setdefault(name, []).append(time.perf_counter() - start)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, seconds in sorted(medians.items(), key=lambda entry: entry[1]):
        print(f"{name:14} {seconds * 1000:8.1f} ms {seconds / medians['ssim_y']:8.2f} times ssim_y")


if __name__ == "__main__":
    main()
