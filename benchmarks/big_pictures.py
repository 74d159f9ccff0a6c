"""Large pictures in little memory: python benchmarks/big_pictures.py [--weights FILE] [--only streaming|photographs]

"streaming": A2N on 1280x720, stage by stage beside the whole image: CPU time, memory, and the largest difference. The
weights are a state dict of A2N for x2 or x4, or drawn and made strong for x4; the image is drawn, or made of PHOTOS.
"photographs": drawn photographs of 6000x4000, as telephones and editors save them, by x2 with `srkit upscale --memory
1.5G`, and whether they are what the whole image becomes. Each is measured as a process: its largest resident set, with
Python, torch and the pictures in it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 720, 1280
TALL, WIDE = 4000, 6000
MEMORY = "1.5G"
PHOTOGRAPHS = {
    "jpeg": "a.jpg",
    "rotated": "r.jpg",
    "cmyk": "c.jpg",
    "alpha": "t.png",
    "16 bits": "d.png",
    "16 bits, alpha": "b.png",
}
# Bytes that the whole image at once takes. With less, only the resident set is measured.
WHOLE = {"edsr": 12 * 2**30, "a2n": 30 * 2**30}
NETWORKS: dict[str, dict[str, Any]] = {"edsr": {"features": 8, "blocks": 2}, "a2n": {"features": 8, "blocks": 2}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of photographs, which are laid side by side")
    parser.add_argument("--only", choices=("streaming", "photographs"))
    parser.add_argument("--kinds", nargs="+", default=list(PHOTOGRAPHS), help="photographs of these kinds alone")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="by these networks alone")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)  # what a process is to do, and its words
    given = parser.parse_args()
    if given.do is not None:
        does = {function.__name__: function for function in (measure, save, write, compare)}
        print(does[given.do[0]](*given.do[1:]))
        return
    for part, lines in (
        ("streaming", streaming(given.weights, given.photos)),
        ("photographs", photographs(given.kinds, given.networks)),
    ):
        if given.only in (None, part):
            for line in lines:
                print(line, flush=True)


def apart(*words: object) -> str:
    """Return what a process prints that does one thing. A child's largest resident set is at least its parent's."""
    command = [sys.executable, __file__, "--do", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout.strip()


def streaming(weights: Path | None, photos: Path | None) -> Iterator[str]:
    """Yield the lines of A2N's table."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            way: json.loads(apart("measure", way, Path(folder) / f"{way}.npy", weights or "", photos or ""))
            for way in ("whole", "strips")
        }
        whole, strips = (np.load(Path(folder) / f"{way}.npy", mmap_mode="r") for way in ("whole", "strips"))
        off = max(float(np.abs(whole[..., y, :] - strips[..., y, :]).max()) for y in range(whole.shape[2]))
    yield f"A2N x{whole.shape[2] // HEIGHT}, {WIDTH}x{HEIGHT}, one thread"
    for way, one in found.items():
        yield f"{way}: {one['seconds']:.1f} s of the CPU, {one['mebibytes']:,.0f} MiB"
    time_share, memory_share = (found["strips"][key] / found["whole"][key] for key in ("seconds", "mebibytes"))
    yield f"strips: {time_share:.2f} of the time, {memory_share:.3f} of the memory, {off * 255:.1e} grey levels off"


def measure(way: str, out: str, weights: str, photos: str) -> str:
    """Return, as JSON, the seconds of the CPU and the mebibytes that an image takes beside what there was before."""
    import torch

    import srkit
    from srkit.engine.scoring.streaming import stages_of, streamed
    from srkit.engine.scoring.tiler import ROWS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    state = torch.load(weights, map_location="cpu", weights_only=True) if weights else {}
    state = state.get("state_dict", state)
    scale = 2 if state and "HRconv2.weight" not in state else 4
    network = srkit.create("architecture", "a2n", scale=scale, img_range=255.0 if state else 1.0).eval()
    if not state:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.3 if parameter.dim() > 1 else 1.0)
    else:
        network.load_state_dict(state)
    image = mosaic(Path(photos)) if photos else drawn(HEIGHT, WIDTH)
    lr = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]  # channels_last
    with torch.no_grad():
        network(lr[..., :64, :64].contiguous())
        before, began = most_memory(), time.process_time()
        if way == "whole":
            sr = network(lr.contiguous())  # as the authors have it
        else:
            sr = torch.empty(1, 3, scale * HEIGHT, scale * WIDTH)
            stages = stages_of(network, (HEIGHT, WIDTH))
            for part in streamed(stages, lambda rows, columns: lr[..., rows, columns], HEIGHT, WIDTH, rows=ROWS):
                if part is not None:
                    sr[..., part.rows, part.columns] = part.sr
        seconds, mebibytes = time.process_time() - began, most_memory() - before
    np.save(out, sr.numpy())
    return json.dumps({"seconds": seconds, "mebibytes": mebibytes})


def most_memory() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def photographs(kinds: list[str], networks: list[str]) -> Iterator[str]:
    """Yield a line a photograph and network."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        yield f"{WIDE}x{TALL} by x2, srkit upscale --memory {MEMORY}: the largest resident set"
        for name in networks:
            model = folder / f"{name}.safetensors"
            apart("save", name, model)
            for kind in kinds:
                path = folder / PHOTOGRAPHS[kind]
                apart("write", kind, path)
                seconds, mebibytes = upscale(model, path, folder / "out")
                found = next((folder / "out").iterdir())
                has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
                equal = apart("compare", model, path, found) if has > WHOLE[name] else "too large to compare here"
                yield f"{name} {kind}: {mebibytes:,.0f} MiB, {seconds:.0f} s, {equal}"
                path.unlink()
                found.unlink()


def save(name: str, path: str) -> None:
    """Write a file of a network that srkit made."""
    import torch

    import srkit
    from srkit.engine.weights.model import save_model

    torch.manual_seed(0)
    network = srkit.create("architecture", name, scale=2, **NETWORKS[name])
    save_model(Path(path), network.state_dict(), {"architecture": name, "settings": NETWORKS[name], "scale": 2})


def drawn(height: int, width: int) -> NDArray[np.uint8]:
    """Return squares of several sizes on a gradient, with noise: flat and busy parts, uint8 [h, w, 3]."""
    rng = np.random.default_rng(0)
    image = np.linspace(20, 120, height, dtype=np.float32)[:, None, None] * np.ones((1, width, 3), np.float32)
    for side, strength in ((200, 60), (25, 25), (3, 8)):
        levels = rng.uniform(-strength, strength, (-(-height // side), -(-width // side), 3)).astype(np.float32)
        image += levels.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return np.clip(image, 0, 255).astype(np.uint8)


def mosaic(folder: Path) -> NDArray[np.uint8]:
    """Return an image of photographs side by side, uint8 [HEIGHT, WIDTH, 3]."""
    import srkit

    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    paths = itertools.cycle(srkit.list_images(folder))
    for top in range(0, HEIGHT, 320):
        for left in range(0, WIDTH, 320):
            part = srkit.read_image(next(paths))[: min(320, HEIGHT - top), :320]
            image[top : top + part.shape[0], left : left + part.shape[1]] = part
    return image


def write(kind: str, path: str) -> None:
    """Write a photograph of a kind."""
    from PIL import Image

    from srkit.images.encoding import encode_png

    pixels = drawn(TALL, WIDE)
    if "alpha" in kind:
        alpha = np.clip(np.linspace(-50, 400, WIDE), 0, 255).astype(np.uint8)[None, :, None].repeat(TALL, axis=0)
        pixels = np.concatenate((pixels, alpha), axis=2)
    if "16 bits" in kind:
        Path(path).write_bytes(encode_png(pixels.astype(np.uint16) * 257))
    elif "alpha" in kind:
        Path(path).write_bytes(encode_png(pixels))
    else:
        exif = Image.Exif()
        exif[0x0112] = 6 if kind == "rotated" else 1  # turned by a quarter
        image = Image.fromarray(pixels)
        (image.convert("CMYK") if kind == "cmyk" else image).save(path, quality=93, exif=exif)


def upscale(model: Path, path: Path, out: Path) -> tuple[float, float]:
    """Return the seconds that the command takes, and its largest resident set in MiB."""
    command = [sys.executable, "-m", "srkit", "upscale", str(model), str(path), "-o", f"{out}/", "--memory", MEMORY]
    began = time.monotonic()
    child = subprocess.Popen([*command, "--device", "cpu"])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return time.monotonic() - began, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def compare(model: str, path: str, found: str) -> str:
    """Say how a file differs from what the network makes of the whole image at once."""
    import srkit
    from srkit.images import opening
    from srkit.images.reading import open_picture
    from srkit.images.underlay import filled_under

    opening.MAX_DECODED = 2**30  # 16 bits of 12000x8000 are more than srkit reads of a file that it does not know
    picture, network = open_picture(path), srkit.load(model)
    image = picture.pixels if picture.alpha is None else filled_under(picture.pixels, picture.alpha)
    whole = at_once(network, image)
    del image, picture
    written = open_picture(found)
    if written.jpeg is not None:  # which is lossy: the whole image is saved as the other one was
        from attrs import evolve

        from srkit.images.writing import save_picture

        again = Path(found).with_name("again.jpg")
        save_picture(again, evolve(written, pixels=whole))
        whole = open_picture(again).pixels
        again.unlink()
    differ = sum(int((a != b).sum()) for a, b in zip(whole, written.pixels, strict=True))
    most = max(int(np.abs(a.astype(np.int32) - b).max()) for a, b in zip(whole, written.pixels, strict=True))
    return f"{differ} of {whole.size:,} values differ from the whole image's, by {most} at most"


def at_once(network: Any, image: NDArray[Any]) -> NDArray[Any]:
    import torch

    from srkit.engine.data.conversions import to_batch, to_rest

    with torch.no_grad():
        return to_rest(network(to_batch(image, torch.device("cpu"))), image.dtype)


if __name__ == "__main__":
    main()
