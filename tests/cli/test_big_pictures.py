"""Pictures in parts: as telephones and editors save them, in bounded memory, and what is said of parts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit.engine.weights.model import save_model
from srkit.images.encoding import encode_png
from srkit.images.reading import open_picture
from srkit.testing.samples import stirred
from tests.conftest import HANGS, photograph

SETTINGS = {"edsr": {"features": 8, "blocks": 2}, "a2n": {"features": 8, "blocks": 2}}


def save(name):
    """Write a small network with strong weights, so that what it sees shows; return its file."""
    torch.manual_seed(0)
    network = stirred(srkit.create("architecture", name, scale=2, **SETTINGS[name]), 1.3)
    described = {"architecture": name, "settings": SETTINGS[name], "scale": 2}
    save_model(Path(f"{name}.safetensors"), network.state_dict(), described)
    return f"{name}.safetensors"


def draw(kind, height=150, width=180):
    """Write a photograph as telephones and editors save them; return its name."""
    pixels = photograph(1, height, width)
    if kind == "16 bits":
        data = encode_png(pixels.astype(np.uint16) * 256 + np.uint16(77))
    elif kind == "alpha":
        alpha = np.clip(np.linspace(-50, 400, width), 0, 255).astype(np.uint8)[None, :, None].repeat(height, axis=0)
        data = encode_png(np.concatenate((pixels, alpha), axis=2))
    else:
        exif = Image.Exif()
        exif[0x0112] = 6 if kind == "rotated" else 1
        image = Image.fromarray(pixels)
        (image.convert("CMYK") if kind == "cmyk" else image).save("photo.jpg", quality=93, exif=exif)
        return "photo.jpg"
    with open("photo.png", "wb") as file:
        file.write(data)
    return "photo.png"


@pytest.mark.parametrize("name", ["edsr", "a2n"])
@pytest.mark.parametrize("kind", ["jpeg", "16 bits", "alpha", "cmyk", "rotated"])
def test_a_photograph_in_parts_has_the_pixels_of_the_whole(call, name, kind):
    model, photo = save(name), draw(kind)
    for out, words in (("whole.png", []), ("parts.png", ["--tile", "48"])):
        assert call("upscale", model, photo, "-o", out, *words) == (
            0,
            "",
            f"1 of 1 images enlarged x2, in {out}\n",
        )
    whole, parts = open_picture("whole.png"), open_picture("parts.png")
    level = 257 if kind == "16 bits" else 1
    assert parts.pixels.dtype == (np.uint16 if kind == "16 bits" else np.uint8)
    assert parts.pixels.shape[:2] == ((360, 300) if kind == "rotated" else (300, 360))
    differ = parts.pixels.astype(int) - whole.pixels
    assert np.abs(differ).max() <= level
    assert (np.abs(differ) >= level).mean() < 1e-3
    assert (parts.alpha is None) == (kind != "alpha")
    assert parts.alpha is None or np.abs(parts.alpha.astype(int) - whole.alpha).max() <= 1


# The peak of this process, not of the one that began it, which a child's `ru_maxrss` would be at least.
PEAK = """\
import pathlib, re, sys
from srkit.cli import main
code = main(sys.argv[1:])
status = pathlib.Path("/proc/self/status").read_text()
print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
sys.exit(code)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_large_photograph_takes_no_more_memory_than_it_may(call, tmp_path, suffix):
    model = save("edsr")
    Image.fromarray(photograph(1, 500, 500)).resize((2000, 1500)).save("photo.jpg", quality=93)
    arguments = ["upscale", model, "photo.jpg", "-o", f"out.{suffix}", "--memory", "500M", "--device", "cpu"]
    run = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, timeout=HANGS)
    assert (run.returncode, run.stderr) == (0, f"1 of 1 images enlarged x2, in out.{suffix}\n")
    assert int(run.stdout) < 500 * 1024  # as a whole it takes 300 bytes a pixel beside what there is: 1.2 GB
    with Image.open(f"out.{suffix}") as image:
        assert image.size == (4000, 3000)


def test_less_memory_than_there_is_without_images_is_told_once(call, photographs):
    model = save("edsr")
    told = r"--memory: Python and torch alone take [\d,.]+ [MG]iB, more than 1\.0 MiB: images go in small parts"
    for command in (["upscale", model, "photos", "-o", "out"], ["eval", model, "--data", "photos"]):
        code, _, err = call(*command, "--memory", "1M", "--device", "cpu")
        assert code == 0, err
        first, *others = err.splitlines()
        assert re.fullmatch(told, first)
        assert not [line for line in others if "--memory" in line]


def test_a_network_whose_parts_make_up_no_whole_says_so(call):
    torch.manual_seed(0)
    network = srkit.create("architecture", "cbam", scale=2, features=8, blocks=1)
    described = {"architecture": "cbam", "settings": {"features": 8, "blocks": 1}, "scale": 2}
    save_model(Path("cbam.safetensors"), network.state_dict(), described)
    photo = draw("jpeg")
    assert call("upscale", "cbam.safetensors", photo, "-o", "out/", "--tile", "64") == (
        0,
        "",
        "180x150 goes in tiles, which do not make up this network's output: seams may be seen\n"
        "1 of 1 images enlarged x2, in out/\n",
    )


def test_scores_of_parts_are_those_of_the_whole_or_say_what_they_are(call, photographs, caplog):
    scores = {}
    for name in ("edsr", "a2n"):
        model = save(name)
        for words in ((), ("--tile", "16")):
            code, out, _ = call("eval", model, "--data", "photos", "--table", "csv", *words)
            assert code == 0
            assert "forward whole" in out
            scores[name, words] = out.splitlines()[1]
        assert scores[name, ()] == scores[name, ("--tile", "16")]
    assert caplog.messages == []
    torch.manual_seed(0)
    network = srkit.create("architecture", "cbam", scale=2, features=8, blocks=1)
    described = {"architecture": "cbam", "settings": {"features": 8, "blocks": 1}, "scale": 2}
    save_model(Path("cbam.safetensors"), network.state_dict(), described)
    code, out, _ = call("eval", "cbam.safetensors", "--data", "photos", "--memory", "3G", "--table", "csv")
    assert code == 0
    assert "forward tiles" in out
    assert caplog.messages == ["tiles do not make up the output of cbam: these are scores of tiles"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory", "2"], "argument --memory: '2' is no size of memory: write 800M or 2G"),
        (["--memory", "0G"], "argument --memory: '0G' is no size of memory: write 800M or 2G"),
        (["--tile", "8"], "argument --tile: a tile has a side of at least 16 pixels, not 8"),
        (["--tile", "64", "--memory", "2G"], "argument --memory: not allowed with argument --tile"),
        (["--quality", "0"], "argument --quality: '0' is no quality, 1 to 100"),
    ],
)
def test_words_that_mean_nothing_are_refused(call, words, message):
    err = f"srkit upscale: {message}; see srkit upscale --help\n"
    assert call("upscale", save("edsr"), draw("jpeg"), "-o", "out/", *words) == (2, "", err)


def test_a_device_that_is_not_there_is_named(call):
    model, photo = save("edsr"), draw("jpeg")
    message = "srkit upscale: --device is 'gpu', which is no device: auto, cpu, cuda, cuda:1 or mps\n"
    assert call("upscale", model, photo, "-o", "out/", "--device", "gpu") == (2, "", message)
    if not torch.cuda.is_available():
        message = "srkit upscale: --device is 'cuda:7', but there is no such GPU here; \"auto\" takes what there is\n"
        assert call("upscale", model, photo, "-o", "out/", "--device", "cuda:7") == (2, "", message)


@pytest.mark.parametrize("text", ["2G", "2g", "2GiB", "2048M", "2.0 GB"])
def test_sizes_of_memory_are_those_of_powers_of_two(text):
    from srkit.cli.enlarging import memory

    assert memory(text) == 2 * 2**30
