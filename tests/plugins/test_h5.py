import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import srkit_datasets
from h5py import h5d
from srkit_datasets import packed
from srkit_datasets.folder import Folder
from srkit_datasets.h5 import H5
from srkit_datasets.h5_writer import H5Writer

import srkit
from srkit import ImageRecord, InputRejected, Manifest, Window, imaging
from srkit.component import read_settings
from srkit.encoding import encode_png
from srkit.manifest import lr_side


def noise(height, width, *, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)


def shrunk(image, scale):
    height, width = (side // scale * scale for side in image.shape[:2])
    return np.ascontiguousarray(image[:height:scale, :width:scale])


# Sizes and depths of all kinds, one that is no multiple of a scale, and names that no file system would take.
IMAGES = {
    "baby": noise(24, 32, seed=1),
    "2/../é": noise(17, 21, seed=2),
    "deep": noise(20, 40, seed=3, dtype=np.uint16),
    "": noise(33, 9, seed=4),
}


def pack(kind, path, images=IMAGES, scales=(2, 4)):
    """Write images and their LR with the writer of a format; return the manifest."""
    writer = srkit.create("writer", kind, path=path)
    sides = {"hr": [], **{lr_side(scale): [] for scale in scales}}
    for name, image in images.items():
        all_sides = {"hr": image, **{lr_side(scale): shrunk(image, scale) for scale in scales}}
        writer.add(name, all_sides)
        for side, pixels in all_sides.items():
            sides[side].append(ImageRecord.of(pixels))
    manifest = Manifest(tuple(images), {side: tuple(records) for side, records in sides.items()}, {"by": "a test"})
    writer.finish(manifest)
    writer.close()
    return manifest


def put_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image))


def same(found, expected):
    return found.dtype == expected.dtype and np.array_equal(found, expected)


def same_as_folder(kind, tmp_path):
    """Say whether a packed dataset has the folder's pixels, in whole images and in 200 windows of each of its sides."""
    images = {f"{i}": image for i, image in enumerate(IMAGES.values())}
    for name, image in images.items():
        put_png(tmp_path / "set" / "HR" / f"{name}.png", image)
        for scale in (2, 4):
            put_png(tmp_path / "set" / "LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png", shrunk(image, scale))
    pack(kind, tmp_path / "packed", images)
    folder, source = Folder(path=str(tmp_path / "set")), srkit.create("dataset", kind, path=str(tmp_path / "packed"))
    rng = np.random.default_rng(0)
    for ours, theirs in ((source, folder), *((source.lr(scale), folder.lr(scale)) for scale in (2, 4))):
        assert len(ours) == len(theirs)
        for index in range(len(theirs)):
            assert (ours.name(index), ours.size(index)) == (theirs.name(index), theirs.size(index))
            assert same(ours.read(index), theirs.read(index))
        for _ in range(200):
            index = int(rng.integers(len(theirs)))
            sides = theirs.size(index)
            lengths = [int(rng.integers(1, side + 1)) for side in sides]
            starts = [int(rng.integers(side - length + 1)) for side, length in zip(sides, lengths, strict=True)]
            window = Window(*starts, *lengths)
            assert same(ours.read(index, window), theirs.read(index, window))
    return True


def threads_agree(source, images):
    expected = list(images.values())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda turn: source.read(turn % len(expected)), range(400)))
    return all(same(image, expected[turn % len(expected)]) for turn, image in enumerate(found))


def run(script, *arguments):
    """Run a script in a process of its own, where warnings are errors, and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


# A parent and its children, before and after each has read: each prints whether the pixels are right.
FORKS = """
    import os, sys
    import numpy as np
    import srkit

    kind, path, pixels = sys.argv[1:]
    expected = np.load(pixels)

    def look(*sources):
        right = all(np.array_equal(source.read(i), expected[i]) for source in sources for i in range(len(expected)))
        os.write(1, f"{right}\\n".encode())

    def in_child(*sources):
        pid = os.fork()
        if pid == 0:
            look(*sources, srkit.create("dataset", kind, path=path))
            if len(sources) == 1:
                in_child(*sources, *sources)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    source, another = (srkit.create("dataset", kind, path=path) for _ in range(2))
    in_child(source)
    source.read(0)
    in_child(source, another)
    look(source, another)
    in_child(source)
"""


def forks_agree(kind, tmp_path, **options):
    images = {f"{i}": noise(12, 14, seed=i) for i in range(6)}
    pack(kind, tmp_path / "packed", images, scales=())
    np.save(tmp_path / "pixels.npy", np.stack(list(images.values())))
    return run(FORKS, kind, tmp_path / "packed", tmp_path / "pixels.npy") == ["True"] * 6


# Opens and reads copies of a file that end at each of some lengths; prints what became of each, the signals included.
TRUNCATED = """
    import collections, os, sys
    from pathlib import Path
    import srkit

    kind, path, file = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    data = file.read_bytes()
    outcomes = collections.Counter()
    for length in sorted({*range(0, 400, 29), *range(0, len(data), len(data) // 60), len(data) - 1}):
        file.write_bytes(data[:length])
        pid = os.fork()
        if pid == 0:
            try:
                source = srkit.create("dataset", kind, path=path)
                for side in (source, source.lr(2)):
                    for index in range(len(side)):
                        side.read(index)
            except srkit.InputRejected:
                os._exit(3)
            os._exit(0)
        outcomes[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])] += 1
    print(dict(outcomes) == {3: sum(outcomes.values())} or dict(outcomes))
"""

# Writes until the file is as long as it may be: that is how a full disk looks.
FULL = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    import srkit

    kind, path, side = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    writer = srkit.create("writer", kind, path=path)
    image = np.zeros((side, side, 3), np.uint8)
    try:
        for number in range(10_000):
            writer.add(str(number), {"hr": image})
    except OSError as error:
        print(error)
    writer.close()
"""


def rejected(function, *args, **settings):
    with pytest.raises(InputRejected) as error:
        function(*args, **settings)
    return str(error.value)


# What srkit writes


def test_what_was_written_reads_back(tmp_path):
    pack("h5", tmp_path / "a.h5")
    source = H5(path=str(tmp_path / "a.h5"))
    assert [source.name(index) for index in range(len(source))] == list(IMAGES)
    for index, image in enumerate(IMAGES.values()):
        assert source.size(index) == image.shape[:2]
        assert same(source.read(index), image)
        for scale in (2, 4):
            assert same(source.lr(scale).read(index), shrunk(image, scale))


def test_the_pixels_are_those_of_the_folder_dataset(tmp_path):
    assert same_as_folder("h5", tmp_path)


def test_a_scale_that_was_not_written_is_none(tmp_path):
    pack("h5", tmp_path / "a.h5")
    assert H5(path=str(tmp_path / "a.h5")).lr(3) is None


def test_the_manifest_reads_back(tmp_path):
    manifest = pack("h5", tmp_path / "a.h5")
    source = H5(path=str(tmp_path / "a.h5"))
    assert source.manifest() == manifest
    assert source.fingerprint() == source.lr(2).fingerprint() == manifest.fingerprint


def test_what_was_found_is_told(tmp_path):
    pack("h5", tmp_path / "data" / "a.h5") if (tmp_path / "data").mkdir() else None
    pack("h5", tmp_path / "data" / "b.h5", {"a": IMAGES["baby"]}, scales=())
    assert H5(path=str(tmp_path / "data" / "a.h5")).describe() == "4 HR images in data/a.h5, LR x2, x4 beside them"
    assert H5(path=str(tmp_path / "data" / "b.h5")).describe() == "1 HR image in data/b.h5, no LR beside it"
