"""How fast a film is enlarged, beside its frames as images: the same network, frames and machine, in one run.

A film of drawn images that move, x2. The network alone, without files, is what no way can be faster than.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

import srkit
from srkit.cli import main as srkit_main
from srkit.engine.scoring.tiler import Tiler
from srkit.engine.weights.model import save_model

FRAMES, ROUNDS = 32, 3
SIZES = ((90, 160), (180, 320))
RATE = Fraction(24000, 1001)


def save_film(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "16"})
        stream.height, stream.width = frames[0].shape[:2]
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return FRAMES / (time.perf_counter() - started)


def quietly(*arguments: object) -> None:
    assert srkit_main([str(argument) for argument in arguments]) == 0


def measure(folder: Path, size: tuple[int, int]) -> None:
    height, width = size
    wide = srkit.create("dataset", "leaves", count=1, size=width + FRAMES).read(0)
    frames = [np.ascontiguousarray(wide[:height, shift : shift + width]) for shift in range(FRAMES)]
    torch.manual_seed(0)
    network = srkit.create("architecture", "espcn", scale=2)
    save_model(
        folder / "espcn.safetensors", network.state_dict(), {"architecture": "espcn", "settings": {}, "scale": 2}
    )
    save_film(folder / "film.mp4", frames)
    (folder / "frames").mkdir(exist_ok=True)
    for number, image in enumerate(frames):
        srkit.save_image(folder / f"frames/{number:03d}.png", image)
    tiler = Tiler(network, torch.device("cpu"))
    together = min(16, 250_000 // (height * width))  # as on a GPU
    up = ["upscale", folder / "espcn.safetensors"]
    ways: dict[str, Callable[[], object]] = {
        "network alone, one by one": lambda: [tiler.upscale(image) for image in frames],
        f"network alone, {together} at once": lambda: [
            tiler.upscale_together(frames[at : at + together]) for at in range(0, FRAMES, together)
        ],
        "film, h264": lambda: quietly(*up, folder / "film.mp4", "-o", folder / "large.mkv", "--overwrite"),
        "film, ffv1": lambda: quietly(
            *up, folder / "film.mp4", "-o", folder / "lossless.mkv", "--codec", "ffv1", "--overwrite"
        ),
        "images, PNG": lambda: quietly(*up, folder / "frames", "-o", folder / "large", "--overwrite"),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            rates[name].append(timed(way))
    for name, found in rates.items():
        print(f"{width}x{height}  {name:32} {statistics.median(found):7.1f} frames/s")


def main() -> None:
    print(
        f"{torch.get_num_threads()} threads, {os.cpu_count()} cores, {FRAMES} frames, espcn x2, PyAV {av.__version__}"
    )
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), size)
    print(f"most memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
