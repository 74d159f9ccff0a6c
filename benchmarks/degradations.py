"""The second-order degradation of Real-ESRGAN beside the usual way to compute it, in turn.

    OMP_NUM_THREADS=1 python benchmarks/degradations.py PHOTOS

The usual way is restated from the paper (arXiv:2107.10833, sections 3.1 to 3.4): kernels made sample by sample in
numpy, images filtered by unfolding their windows (a sample at a time, or they would fill the memory), one resize factor
for the whole batch, a differentiable JPEG of floats. "grouped" filters by a grouped convolution instead. Batches of 32
at HR 256, scale 4. A ratio is the median of the rounds; times on the CPU are CPU seconds of one thread. With a GPU both
run there.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import srkit
from srkit.engine.data.sampling import stream

BATCH, SIDE, SCALE, K = 32, 256, 4, 21
ROUNDS = 3


def photographs(folder: Path) -> Tensor:
    """Return 32 windows of a folder's images, [32, 3, 256, 256]."""
    found = []
    for path in srkit.list_images(folder):
        image = srkit.read_image(path)
        if min(image.shape[:2]) >= SIDE:
            found.append(torch.from_numpy(image[:SIDE, :SIDE].copy()).permute(2, 0, 1).float() / 255)
        if len(found) == BATCH:
            return torch.stack(found)
    raise SystemExit(f"{folder}: {len(found)} images of {SIDE}x{SIDE} or more; {BATCH} are needed")


# The usual way.


def kernel_of(chance: np.random.Generator, sigma: tuple[float, float]) -> np.ndarray:
    """Return one kernel, 21x21, as the paper draws them."""
    side = int(chance.choice(np.arange(7, 22, 2)))
    places = np.arange(side) - side // 2
    x, y = np.meshgrid(places, places)
    if chance.uniform() < 0.1:
        cutoff = chance.uniform(math.pi / (3 if side < 13 else 5), math.pi)
        r = torch.from_numpy(np.hypot(x, y))
        kernel = (cutoff * torch.special.bessel_j1(cutoff * r) / (2 * math.pi * r)).numpy()
        kernel[side // 2, side // 2] = cutoff**2 / (4 * math.pi)
    else:
        kind = chance.choice(6, p=[0.45, 0.25, 0.12, 0.03, 0.12, 0.03])
        first, second = chance.uniform(*sigma, 2)
        angle = chance.uniform(-math.pi, math.pi)
        u = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        covariance = u @ np.diag([first**2, (first if kind % 2 == 0 else second) ** 2]) @ u.T
        grid = np.stack([x, y], 2).astype(float)
        q = np.sum(grid @ np.linalg.inv(covariance) * grid, 2)
        if kind < 2:
            kernel = np.exp(-0.5 * q)
        elif kind < 4:
            kernel = np.exp(-0.5 * q ** chance.uniform(0.5, 4))
        else:
            kernel = 1 / (1 + q ** chance.uniform(1, 2))
    pad = (K - side) // 2
    return np.pad(kernel / kernel.sum(), pad)


def kernels_of(chance: np.random.Generator, sigma: tuple[float, float], device: torch.device) -> Tensor:
    """Return a kernel for each sample."""
    return torch.from_numpy(np.stack([kernel_of(chance, sigma) for _ in range(BATCH)])).float().to(device)


def unfolded(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter by unfolding."""
    h, w = images.shape[2:]
    padded = F.pad(images, (K // 2,) * 4, mode="reflect")
    each = zip(padded, kernels, strict=True)
    return torch.stack([kernel.view(1, K * K) @ F.unfold(x[:, None], K) for x, kernel in each]).view(-1, 3, h, w)


def grouped(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter by a convolution of as many groups as there are planes."""
    n, c, h, w = images.shape
    padded = F.pad(images, (K // 2,) * 4, mode="reflect").view(1, n * c, h + K - 1, w + K - 1)
    each = kernels[:, None].repeat(1, c, 1, 1).view(n * c, 1, K, K)
    return F.conv2d(padded, each, groups=n * c).view(n, c, h, w)


class Jpeg:
    """A differentiable JPEG: floats, means of four colours, rounding with a gradient."""

    def __init__(self, device: torch.device) -> None:
        from srkit_degradations.libjpeg import CHROMA, LUMA

        self.tables = [torch.tensor(t, device=device).view(8, 8).float() for t in (LUMA, CHROMA)]
        k, x = torch.arange(8)[:, None], torch.arange(8)[None]
        dct = torch.cos((2 * x + 1) * k * math.pi / 16) * torch.where(k == 0, math.sqrt(1 / 8), 0.5)
        self.dct = dct.to(device)
        self.ycc = torch.tensor(
            [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=device
        )

    def plane(self, x: Tensor, table: Tensor, factor: Tensor) -> Tensor:
        n, h, w = x.shape
        blocks = x.view(n, h // 8, 8, w // 8, 8).transpose(2, 3)
        steps = table * factor[:, None, None, None, None]
        levels = torch.einsum("ij,nabjk,lk->nabil", self.dct, blocks, self.dct) / steps
        whole = levels.round()
        levels = (whole + (levels - whole) ** 3) * steps
        back = torch.einsum("ji,nabjk,kl->nabil", self.dct, levels, self.dct)
        return back.transpose(2, 3).reshape(n, h, w)

    def __call__(self, images: Tensor, quality: Tensor) -> Tensor:
        h, w = images.shape[2:]
        x = F.pad(images.clamp(0, 1) * 255, (0, -w % 16, 0, -h % 16), mode="replicate")
        y, cb, cr = torch.einsum("ij,njhw->inhw", self.ycc, x)
        factor = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
        y = self.plane(y - 128, self.tables[0], factor) + 128
        halves = [self.plane(F.avg_pool2d(p[:, None], 2)[:, 0], self.tables[1], factor)[:, None] for p in (cb, cr)]
        cb, cr = (F.interpolate(half, scale_factor=2)[:, 0] for half in halves)
        rgb = torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 1)
        return (rgb / 255).clamp(0, 1)[..., :h, :w]


def usual(images: Tensor, filtered: Callable[[Tensor, Tensor], Tensor], seed: int) -> Tensor:
    """Return LR of a batch by the usual way."""
    chance, device, size = np.random.default_rng(seed), images.device, SIDE // SCALE
    torch.manual_seed(seed)
    jpeg = Jpeg(device)

    def resized(x: Tensor, base: int, limits: tuple[float, float], shares: list[float]) -> Tensor:
        which = chance.choice(3, p=shares)
        factor = (chance.uniform(1, limits[1]), chance.uniform(limits[0], 1), 1)[which]
        return F.interpolate(x, (round(base * factor),) * 2, mode=str(chance.choice(["area", "bilinear", "bicubic"])))

    def noisy(x: Tensor, sigma: tuple[float, float], scale: tuple[float, float]) -> Tensor:
        grey = torch.rand(len(x), 1, 1, 1, device=device) < 0.4
        if chance.uniform() < 0.5:
            z = torch.randn_like(x)
            strength = torch.empty(len(x), 1, 1, 1, device=device).uniform_(*sigma) / 255
            return (x + torch.where(grey, z[:, :1], z) * strength).clamp(0, 1)
        x = x.clamp(0, 1)
        strength = torch.empty(len(x), 1, 1, 1, device=device).uniform_(*scale)
        counts = torch.poisson(x * 255) / 255 - x
        luma = x.mean(1, keepdim=True)
        return (x + torch.where(grey, torch.poisson(luma * 255) / 255 - luma, counts) * strength).clamp(0, 1)

    def compressed(x: Tensor) -> Tensor:
        return jpeg(x, torch.empty(len(x), device=device).uniform_(30, 95))

    x = filtered(images, kernels_of(chance, (0.2, 3.0), device))
    x = compressed(noisy(resized(x, SIDE, (0.15, 1.5), [0.2, 0.7, 0.1]), (1, 30), (0.05, 3)))
    if chance.uniform() < 0.8:
        x = filtered(x, kernels_of(chance, (0.2, 1.5), device))
    x = noisy(resized(x, size, (0.3, 1.2), [0.3, 0.4, 0.3]), (1, 25), (0.05, 2.5))
    last = kernels_of(chance, (0.2, 1.5), device)
    mode = str(chance.choice(["area", "bilinear", "bicubic"]))
    if chance.uniform() < 0.5:
        return compressed(filtered(F.interpolate(x, (size, size), mode=mode), last))
    return filtered(F.interpolate(compressed(x), (size, size), mode=mode), last)


def main() -> None:
    """Print the time of a batch and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    folder = parser.parse_args().photos
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    torch.set_num_threads(1)
    hr, size = photographs(folder).to(device), (SIDE // SCALE,) * 2
    part = srkit.load_recipe("realesrgan_x4").data.degradation
    assert part is not None
    settings = {name: value for name, value in part.settings.items() if name != "usm"}  # neither way sharpens HR
    chain = srkit.create("degradation", "chain", scale=SCALE, **settings)

    def ours(seed: int) -> Tensor:
        return chain(hr, size, stream(1, "degradation", seed, np.arange(BATCH), device))

    ways: dict[str, Callable[[int], Tensor]] = {
        "srkit": ours,
        "usual, unfolded": lambda seed: usual(hr, unfolded, seed),
        "usual, grouped": lambda seed: usual(hr, grouped, seed),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(-1, ROUNDS):
        for name, way in ways.items():
            started = clock()
            way(seed % 1000)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if seed >= 0:
                taken[name].append(clock() - started)
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:16} {middle * 1e3:8.0f} ms a batch of {BATCH}, {BATCH / middle:6.0f} samples/s")
    for name in list(ways)[1:]:
        ratio = statistics.median(a / b for a, b in zip(taken["srkit"], taken[name], strict=True))
        print(f"srkit takes {ratio:.3f} of the time of: {name}")


if __name__ == "__main__":
    main()
