"""Files that were damaged or made to harm: each is read as what it is or rejected, quickly, and no more happens."""

from __future__ import annotations

import faulthandler
import io
import os
import random
import resource
import signal
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.features
import pytest
import torch
from PIL import Image

import srkit
from srkit import files
from srkit.engine.weights.model import save_model
from srkit.engine.weights.reading import read_weights
from srkit.errors import InputRejected, RecipeError
from srkit.images.encoding import encode_png
from srkit.images.reading import open_picture
from srkit.plugin.discovery import discover
from srkit.recipe.reading import read_recipe
from tests.conftest import CHAOS_N, CHAOS_SEED, photograph
from tests.engine.weights.test_reading import mutated
from tests.recipe.test_reading import mutations

pytestmark = pytest.mark.chaos

EACH = 100  # inputs of a child
SECONDS = 10  # of computing, for all of them but the first few none takes a hundredth
MEMORY = 3 * 2**30


def in_children(count: int, work: Callable[[int, random.Random], bool], *, each: int = EACH) -> int:
    """Call `work(number, rng)` for numbers below `count` in forked processes; return how many it was true of.

    Each process has its memory and the computing for an input limited. A crash, a signal or an exception is the test's
    failure, and says the number.
    """
    print(f"SRKIT_CHAOS_SEED={CHAOS_SEED}")
    good = 0
    for first in range(0, count, each):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(read)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                faulthandler.disable()
                signal.signal(signal.SIGPROF, signal.SIG_DFL)
                true = 0
                for number in range(first, min(first + each, count)):
                    signal.setitimer(signal.ITIMER_PROF, SECONDS)
                    os.write(write, f"{number} ".encode())
                    true += work(number, random.Random(f"{CHAOS_SEED} {number}"))
                os.write(write, f"good {true}".encode())
                code = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)
        os.close(write)
        with open(read) as pipe:
            told = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 0, f"input {told.split()[-1]} of seed {CHAOS_SEED} ended its process with {code}"
        good += int(told.split()[-1])
    return good


def pictures() -> list[tuple[str, bytes]]:
    """A small file of each format and of most of its forms."""
    image = Image.fromarray(photograph(1, 16, 18))
    grey, palette = image.convert("L"), image.convert("P", palette=Image.Palette.ADAPTIVE)
    alpha = image.convert("RGBA")
    alpha.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112], exif[305] = 6, "made by a test"
    plans = [
        ("png", image, {"exif": exif, "icc_profile": b"x" * 200, "dpi": (72, 72)}),
        ("png", palette, {"transparency": 3}),
        ("png", grey, {"bits": 8}),
        ("jpeg", image, {"exif": exif, "progressive": True}),
        ("jpeg", image.convert("CMYK"), {}),
        ("webp", alpha, {"lossless": True, "exif": exif}),
        ("tiff", image, {"compression": "tiff_lzw"}),
        ("tiff", alpha, {"compression": "tiff_adobe_deflate"}),
        ("tiff", grey, {}),
        ("bmp", palette, {}),
    ]
    if "avif" in PIL.features.modules and PIL.features.check("avif"):
        plans.append(("avif", image, {"exif": exif}))
    made = []
    for suffix, picture, options in plans:
        buffer = io.BytesIO()
        picture.save(buffer, suffix, **options)
        made.append((suffix, buffer.getvalue()))
    deep = np.random.default_rng(1).integers(0, 2**16, (16, 18, 3), np.uint16)
    return [*made, ("png", encode_png(deep))]


def test_mutated_images_are_pictures_or_rejected(tmp_path, tally):
    seeds = pictures()

    def read(number, rng):
        suffix, data = seeds[number % len(seeds)]
        path = tmp_path / f"mutated.{suffix}"
        path.write_bytes(mutated(data, rng))
        picture = named = None
        try:
            picture = open_picture(path)
        except InputRejected as error:
            named = error.path
        if picture is None:
            assert named == str(path)
            return False
        assert picture.pixels.ndim == 3
        assert picture.pixels.dtype in (np.uint8, np.uint16)
        return True

    count = 10_000 * CHAOS_N
    good = in_children(count, read)
    assert 0.02 * count < good < 0.9 * count  # both happen
    tally("mutated images", count)


def test_mutated_model_files_are_weights_or_rejected(tmp_path, tally):
    state = {f"layer.{i}.weight": torch.arange(12.0).reshape(3, 4) + i for i in range(4)}
    whole = tmp_path / "whole.safetensors"
    save_model(whole, state, {"architecture": "x", "settings": {}, "scale": 2})
    data = whole.read_bytes()

    def read(number, rng):
        path = tmp_path / "mutated.safetensors"
        path.write_bytes(mutated(data, rng))
        try:
            found = read_weights(path)
        except InputRejected:
            return False
        assert sum(tensor.nbytes for tensor in found.values()) <= len(data) + 200
        return True

    count = 5_000 * CHAOS_N
    assert in_children(count, read) < 0.5 * count
    tally("mutated model files", count)


def test_mutated_checkpoints_are_whole_or_rejected(tmp_path, tally):
    contents = {"weights.safetensors": os.urandom(300), "progress.json": b'{"step": 3}' * 4}
    files.write_directory(tmp_path / "whole", contents)
    manifest = (tmp_path / "whole" / files.MANIFEST).read_bytes()
    everything = {**contents, files.MANIFEST: manifest}
    folder = tmp_path / "mutated"
    folder.mkdir()

    def read(number, rng):
        names = list(everything)
        hurt = files.MANIFEST if number % 2 else rng.choice(names)
        for name, data in everything.items():
            (folder / name).write_bytes(mutated(data, rng) if name == hurt else data)
        if number % 7 == 0:
            (folder / rng.choice(names)).unlink()
        if number % 11 == 0:  # two files in each other's place
            (folder / names[0]).write_bytes(everything[names[1]])
        rejected = None
        try:
            found = files.read_directory(folder)
        except InputRejected as error:
            rejected = error
        if rejected is not None:
            assert Path(rejected.path).parent == folder
            return False
        # A manifest that leaves a file out, say, is one of fewer files, each as it was.
        assert all(contents.get(name) == data or name == files.MANIFEST for name, data in found.items())
        return found == contents

    count = 2_000 * CHAOS_N
    assert in_children(count, read) < 0.5 * count
    tally("mutated checkpoints", count)


def test_mutated_recipes_are_recipes_or_have_their_problems(tmp_path, tally, monkeypatch):
    monkeypatch.chdir(tmp_path)
    count = 5_000 * CHAOS_N
    texts = list(mutations(count, CHAOS_SEED))
    registry = discover()
    Path("canary").touch()

    def read(number, rng):
        Path("x.toml").write_bytes(texts[number])
        try:
            read_recipe("x.toml", registry)
        except RecipeError as error:
            found = error.problems
        else:
            return True
        assert found
        assert all(line.isprintable() for line in found)
        return False

    good = in_children(count, read)
    assert 0.02 * count < good < 0.9 * count
    assert sorted(os.listdir()) == ["canary", "x.toml"]
    tally("mutated recipes", count)


def test_mutated_h5_and_lmdb_are_read_or_rejected_and_kill_nobody(tmp_path, tally):
    from tests.plugins.test_h5 import noise, pack

    images = {f"{i:03d}": noise(6, 7, seed=i) for i in range(30)}
    pack("h5", tmp_path / "a.h5", images, scales=())
    pack("lmdb", tmp_path / "a.lmdb", images, scales=())
    places = {"h5": tmp_path / "a.h5", "lmdb": tmp_path / "a.lmdb" / "data.mdb"}
    whole = {kind: path.read_bytes() for kind, path in places.items()}
    for kind in places:  # so that all is imported before it forks
        srkit.create("dataset", kind, path=str(tmp_path / f"a.{kind}"))

    def read(number, rng):
        kind = ("h5", "lmdb")[number % 2]
        data = bytearray(mutated(whole[kind], rng))
        for _ in range(4):
            data[rng.randrange(len(data))] = rng.randrange(256)
        places[kind].unlink()
        places[kind].write_bytes(data)
        try:
            source = srkit.create("dataset", kind, path=str(tmp_path / f"a.{kind}"))
            for index in range(len(source)):
                source.read(index)
        except InputRejected:
            return False
        return True

    count = 200 * CHAOS_N
    in_children(count, read, each=1)
    tally("mutated HDF5 files and LMDBs", count)


# Bombs: a few bytes that claim, or become, very much


def png(width, height, data=b"", *, extra=b""):
    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def text_chunks(count):
    body = b"tEXta\0b"
    one = (3).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return one * count


def tiff(width, height, *, strips=1):
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, strips, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, 8)]
    body = b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + n.to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, kind, n, value in entries
    )
    return b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + body + bytes(4)


def bombs():
    webp = (
        b"RIFF" + (30).to_bytes(4, "little") + b"WEBPVP8L" + (17).to_bytes(4, "little") + b"\x2f" + b"\xff" * 16 + b"\0"
    )
    bmp = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    bmp += (60_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    jpeg = (
        b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x22\0\2\x11\1\3\x11\1\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0"
    )
    return {
        "png-side": png(2**31 - 1, 1),
        "png-pixels": png(20_000, 20_000),
        "png-few": png(9_000, 9_000, zlib.compress(bytes(5_000_000), 9)),
        "png-text": png(8, 8, zlib.compress(bytes(25 * 8)), extra=text_chunks(200_000)),
        "png-long": png(1, 65_535, zlib.compress(bytes(4 * 65_535))),
        "tiff-pixels": tiff(60_000, 60_000),
        "tiff-strips": tiff(8, 60_000, strips=2**31),
        "tiff-side": tiff(2**32 - 1, 1),
        "webp": webp,
        "bmp": bmp,
        "jpeg": jpeg,
        "jpeg-scans": jpeg + jpeg[21:] * 5_000 + b"\xff\xd9",
    }


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_costs_anything(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    open_picture_of_nothing(tmp_path)

    def read(number, rng):
        before = resource.getrusage(resource.RUSAGE_SELF)
        rejected = True
        try:
            size = open_picture(path).pixels.size
            rejected = name not in ("png-text", "png-long")
            assert size <= 3 * 65_535
        except InputRejected:
            pass
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert spent < 2.0, f"{spent:.2f} s"
        assert after.ru_maxrss - before.ru_maxrss < 100 * 1024, f"{after.ru_maxrss - before.ru_maxrss} KiB"
        return rejected or name in ("png-text", "png-long")

    assert in_children(1, read) == 1


def open_picture_of_nothing(folder):
    """Import what the first picture imports."""
    srkit.save_image(folder / "small.png", photograph(0, 8, 8))
    open_picture(folder / "small.png")
