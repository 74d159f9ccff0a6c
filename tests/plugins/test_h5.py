import os
import subprocess
import sys
import textwrap
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import srkit_datasets
from h5py import h5d
from srkit_datasets import h5, packed
from srkit_datasets.folder import Folder
from srkit_datasets.h5 import H5
from srkit_datasets.h5_writer import H5Writer

import srkit
from srkit import ImageRecord, InputRejected, Manifest, Window
from srkit.cli import main
from srkit.images import opening
from srkit.images.encoding import encode_png
from srkit.images.manifest import lr_side
from srkit.plugin.settings import read_settings
from tests.conftest import HANGS

DATA = os.environ.get("SRKIT_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="SRKIT_TEST_DATA is not set")


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
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
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
    srkit.create("dataset", kind, path=path)  # so that all is imported before it forks
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

# Reads every image of a file, which then becomes shorter, and reads on.
SHRINKS = """
    import os, sys
    import srkit

    source = srkit.create("dataset", sys.argv[1], path=sys.argv[2])
    sides = [source, source.lr(2)]

    def read():
        for side in sides:
            for index in range(len(side)):
                side.read(index)

    read()
    os.truncate(sys.argv[3], 4096)
    read()
"""


def after_it_shrank(kind, path, file):
    """Return (exit code, stderr) of a process that reads a file that becomes shorter."""
    command = [sys.executable, "-c", textwrap.dedent(SHRINKS), kind, str(path), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    return done.returncode, done.stderr


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
    (tmp_path / "data").mkdir()
    pack("h5", tmp_path / "data" / "a.h5")
    pack("h5", tmp_path / "data" / "b.h5", {"a": IMAGES["baby"]}, scales=())
    assert H5(path=str(tmp_path / "data" / "a.h5")).describe() == "4 HR images in data/a.h5, LR x2, x4 beside them"
    assert H5(path=str(tmp_path / "data" / "b.h5")).describe() == "1 HR image in data/b.h5, no LR beside it"


def test_a_window_is_read_without_its_image(tmp_path):
    pack("h5", tmp_path / "a.h5")
    source = H5(path=str(tmp_path / "a.h5"))
    window = source.read(0, Window(2, 3, 4, 5))
    assert source.windowed
    assert not window.flags.owndata  # a view of the file
    assert not window.flags.writeable


def test_a_whole_image_is_a_copy_that_torch_takes_without_a_warning(tmp_path):
    pack("h5", tmp_path / "a.h5")
    assert H5(path=str(tmp_path / "a.h5")).read(0).flags.writeable


def test_threads_read_alike(tmp_path):
    pack("h5", tmp_path / "a.h5")
    assert threads_agree(H5(path=str(tmp_path / "a.h5")), IMAGES)


def test_forked_processes_read_alike(tmp_path):
    assert forks_agree("h5", tmp_path)


def test_two_datasets_may_have_one_file(tmp_path):
    pack("h5", tmp_path / "a.h5")
    first, second = (H5(path=str(tmp_path / "a.h5")) for _ in range(2))
    assert same(first.read(0), second.read(0))
    del first
    assert same(second.read(1), list(IMAGES.values())[1])


def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    pack("h5", tmp_path / "a.h5")
    assert len(H5(path="~/a.h5", lr="~/a.h5")) == len(IMAGES)


def test_others_read_what_was_written(tmp_path):
    pack("h5", tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes()[8] == 0  # the superblock's version: HDF5 of 2008 reads it
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == {"hr", "lr_x2", "lr_x4", "manifest"}
        assert list(file["hr"]) == ["00000000", "00000001", "00000002", "00000003"]
        assert same(file["hr/00000002"][:], IMAGES["deep"])
        plan = file["hr/00000002"].id.get_create_plist()
        assert plan.get_layout() == h5d.CONTIGUOUS


def test_a_file_that_was_compressed_later_reads_alike(tmp_path):
    pack("h5", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file, h5py.File(tmp_path / "b.h5", "w") as packed_again:
        packed_again["manifest"] = file["manifest"][:]
        for side in ("hr", "lr_x2", "lr_x4"):
            for name, image in file[side].items():
                packed_again.create_dataset(f"{side}/{name}", data=image[:], chunks=True, compression="gzip")
    source = H5(path=str(tmp_path / "b.h5"))
    assert threads_agree(source, IMAGES)
    assert same(source.lr(2).read(0, Window(3, 2, 7, 9)), shrunk(IMAGES["baby"], 2)[3:10, 2:11])


def test_swapped_bytes_are_swapped_back(tmp_path):
    pack("h5", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["hr/00000002"]
        file["hr/00000002"] = IMAGES["deep"].astype(">u2")
    assert same(H5(path=str(tmp_path / "a.h5")).read(2), IMAGES["deep"])


def test_a_writer_does_not_touch_what_is_there(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"mine")
    with pytest.raises(OSError, match="exists") as error:
        H5Writer(path=tmp_path / "a.h5")
    assert str(error.value) == "[Errno 17] File exists"
    assert (tmp_path / "a.h5").read_bytes() == b"mine"


@pytest.mark.parametrize("side", [10, 40, 200])
def test_a_full_disk_is_one_error_of_the_writer(tmp_path, side):
    assert run(FULL, "h5", tmp_path / "a.h5", side) == ["[Errno 27] File too large"]


# What others write


def floats(image):
    return (image.transpose(2, 0, 1) / np.float32(255)).astype(np.float32)


PHOTOS = {"0": noise(16, 24, seed=5), "1": noise(18, 17, seed=6), "10": noise(20, 21, seed=7), "2": noise(9, 8, seed=8)}
NATURAL = ["0", "1", "2", "10"]


def put(path, groups, **options):
    """Write groups of images: {"hr": {"0": array}}."""
    with h5py.File(path, "w") as file:
        for group, images in groups.items():
            file.create_group(group)
            for name, image in images.items():
                file[group].create_dataset(name, data=image, **options)
    return str(path)


def blog(path, hr="hr", lr="lr", scale=4, **options):
    large = {name: floats(image) for name, image in PHOTOS.items()}
    small = {name: floats(shrunk(image, scale)) for name, image in PHOTOS.items()}
    return put(path, {hr: large, lr: small}, **options)


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}], ids=["contiguous", "chunked"])
@pytest.mark.parametrize("groups", [{}, {"hr": "gt", "lr": "lq"}], ids=["hr lr", "gt lq"])
def test_floats_become_the_8_bits_that_they_were(tmp_path, groups, options):
    source = H5(path=blog(tmp_path / "a.h5", **groups, **options))
    assert [source.name(index) for index in range(4)] == NATURAL
    for index, name in enumerate(NATURAL):
        assert source.size(index) == PHOTOS[name].shape[:2]
        assert same(source.read(index), PHOTOS[name])
        assert same(source.read(index, Window(1, 3, 6, 4)), PHOTOS[name][1:7, 3:7])
        assert same(source.lr(4).read(index), shrunk(PHOTOS[name], 4))
    assert source.windowed
    assert source.manifest() is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_of_any_width_are_read(tmp_path, dtype):
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    source = H5(path=put(tmp_path / "a.h5", {"hr": {"0": floats(image).astype(dtype)}}))
    assert same(source.read(0), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)], ids=["channels last", "channels first"])
def test_integers_are_read_with_the_channels_at_either_end(tmp_path, dtype, axes):
    image = noise(10, 12, dtype=dtype)
    source = H5(path=put(tmp_path / "a.h5", {"hr": {"0": image.transpose(axes)}}))
    assert source.size(0) == (10, 12)
    assert same(source.read(0), image)
    assert same(source.read(0, Window(2, 3, 5, 4)), image[2:7, 3:7])


def test_floats_a_little_outside_are_the_nearest_level(tmp_path):
    image = np.array([-9e-5, 1 + 9e-5] * 24, np.float32).reshape(3, 4, 4)
    assert set(np.unique(H5(path=put(tmp_path / "a.h5", {"hr": {"0": image}})).read(0))) == {0, 255}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.001, "has values from 0.5 to 1.001; floats must be in 0..1"),
        (-0.001, "has values from -0.001 to 0.5; floats must be in 0..1"),
        (254, "has values from 0.5 to 254; floats must be in 0..1"),
        (np.nan, "has values that are not finite; floats must be in 0..1"),
        (np.inf, "has values that are not finite; floats must be in 0..1"),
    ],
)
def test_floats_that_are_no_levels_are_refused_with_their_name(tmp_path, value, reason):
    image = np.full((3, 8, 8), 0.5, np.float32)
    image[1, 6, 7] = value
    source = H5(path=put(tmp_path / "a.h5", {"hr": {"0": image}}))
    assert rejected(source.read, 0) == f"{tmp_path / 'a.h5'}: hr/0: {reason}"
    assert (source.read(0, Window(0, 0, 6, 8)) == 128).all()


def test_a_scale_that_the_sizes_do_not_fit_is_none(tmp_path):
    source = H5(path=blog(tmp_path / "a.h5"))
    assert source.lr(2) is source.lr(3) is None


def test_what_was_found_of_others_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    assert H5(path=blog(tmp_path / "data" / "a.h5")).describe() == "4 HR images in data/a.h5, LR x4 beside them"
    put(tmp_path / "data" / "b.h5", {"hr": {"0": floats(PHOTOS["0"])}})
    assert H5(path=str(tmp_path / "data" / "b.h5")).describe() == "1 HR image in data/b.h5, no LR beside it"


def test_hr_without_lr_is_named(tmp_path):
    path = blog(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["lr/1"], file["lr/10"]
    assert (
        rejected(H5(path=path).lr, 4)
        == f"{path}: has no LR image for 2 of 4 HR images: 1, 10; looked for 1; nothing is left over there"
    )


def test_lr_of_another_size_than_the_others_is_named(tmp_path):
    path = blog(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["lr/10"]
        file["lr/10"] = floats(noise(5, 6))
    assert rejected(H5(path=path).lr, 4) == (f"{path}: lr/10: is 6x5, but HR is 21x20, which needs 5x5 at scale 4")


def test_lr_may_lie_in_another_file(tmp_path):
    hr = put(tmp_path / "hr.h5", {"hr": {name: floats(image) for name, image in PHOTOS.items()}})
    for scale in (2, 4):
        small = {f"{name}x{scale}": floats(shrunk(image, scale)) for name, image in PHOTOS.items()}
        put(tmp_path / f"x{scale}.h5", {"lr": small})
    source = H5(path=hr, lr=str(tmp_path / "x{scale}.h5"))
    for scale in (2, 4):
        beside = source.lr(scale)
        assert [beside.name(index) for index in range(len(beside))] == NATURAL
        assert all(same(beside.read(i), shrunk(PHOTOS[name], scale)) for i, name in enumerate(NATURAL))
    assert rejected(source.lr, 3) == f"{tmp_path / 'x3.h5'}: is not there"
    assert source.describe() == f"4 HR images in {tmp_path.name}/hr.h5, LR in {tmp_path.name}/x{{scale}}.h5"


def test_lr_may_be_a_file_that_srkit_wrote(tmp_path):
    pack("h5", tmp_path / "hr.h5", scales=())
    pack("h5", tmp_path / "lr.h5", {name: shrunk(IMAGES[name], 2) for name in reversed(IMAGES)}, scales=())
    source = H5(path=str(tmp_path / "hr.h5"), lr=str(tmp_path / "lr.h5"))
    assert all(same(source.lr(2).read(i), shrunk(image, 2)) for i, image in enumerate(IMAGES.values()))
    assert rejected(source.lr, 4) == (
        f"{tmp_path / 'lr.h5'}: hr/baby: is 16x12, but HR is 32x24, which needs 8x6 at scale 4"
    )


def test_lr_alone_is_no_dataset(tmp_path):
    path = put(tmp_path / "a.h5", {"lr": {"0": floats(PHOTOS["0"])}})
    assert rejected(H5, path=path) == f"{path}: holds LR images alone; give it as lr, and HR as path"


def test_the_fingerprint_of_others_is_that_of_names_and_pixels(tmp_path):
    def fingerprint(images, **options):
        return H5(path=put(tmp_path / "a.h5", {"hr": images}, **options)).fingerprint()

    images = {name: floats(image) for name, image in PHOTOS.items()}
    found = fingerprint(images)
    assert len(found) == 16
    assert fingerprint(images, chunks=(1, 4, 4), compression="gzip") == found
    assert fingerprint({**images, "3": images["0"]}) != found
    assert fingerprint({**images, "1": images["1"].astype(np.float64)}) != found
    images["1"][1, 7, 7] = 0.123
    assert fingerprint(images) != found


def test_of_large_images_the_top_and_the_bottom_count(tmp_path):
    image = np.zeros((1000, 1200, 3), np.uint8)
    path = put(tmp_path / "a.h5", {"hr": {"0": image}})
    found = H5(path=path).fingerprint()
    for row, counts in ((0, True), (500, False), (999, True)):
        with h5py.File(path, "a") as file:
            file["hr/0"][row, 7] = 1
        assert (H5(path=path).fingerprint() != found) == counts
        with h5py.File(path, "a") as file:
            file["hr/0"][row, 7] = 0


# Files that are refused


def test_a_missing_file_is_named_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rejected(H5, path="data/a.h5") == f"data/a.h5: is not there; looked for in {tmp_path}"
    assert rejected(H5, path=f"{tmp_path}/a.h5") == f"{tmp_path}/a.h5: is not there"


def test_a_folder_is_no_file(tmp_path):
    assert (
        rejected(H5, path=str(tmp_path))
        == f'{tmp_path}: is a folder; give the HDF5 file, or take another dataset: type = "folder" or "lmdb"'
    )


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    assert rejected(H5, path=str(tmp_path / "a.h5")) == f"{tmp_path / 'a.h5'}: is not a file"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "is empty"), (b"<!DOCTYPE html>", "is no HDF5 file: it begins with b'<!DOCTYPE ht'")],
)
def test_what_is_no_hdf5_is_told(tmp_path, data, reason):
    (tmp_path / "a.h5").write_bytes(data)
    assert rejected(H5, path=str(tmp_path / "a.h5")) == f"{tmp_path / 'a.h5'}: {reason}"


def test_a_truncated_file_is_told(tmp_path):
    pack("h5", tmp_path / "a.h5")
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data[:-100])
    assert rejected(H5, path=str(tmp_path / "a.h5")) == (
        f"{tmp_path / 'a.h5'}: cannot be opened: truncated file: eof = {len(data) - 100}, sblock->base_addr = 0, "
        f"stored_eof = {len(data)}"
    )


def test_a_file_truncated_anywhere_kills_nobody(tmp_path):
    pack("h5", tmp_path / "a.h5")
    assert run(TRUNCATED, "h5", tmp_path / "a.h5", tmp_path / "a.h5") == ["True"]


def test_a_file_that_becomes_shorter_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "a.h5"
    pack("h5", path)
    length = path.stat().st_size
    assert after_it_shrank("h5", path, path) == (
        3,
        f"{path}: became shorter while it was read: it has 4,096 bytes of {length:,}; "
        "put the whole file back, and the same command continues\n",
    )


# Makes the file of a run shorter at the run's first log.
SHRINKING = """
import os, srkit

class Shrinking:
    def __init__(self, *, path: str):
        self.path = path
    def logged(self, step, values):
        os.truncate(self.path, 4096)

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("observer", "shrinking", f"{__name__}:Shrinking")
"""


def test_a_run_whose_file_becomes_shorter_has_the_reason_in_its_log(tiny, srkit_command):
    assert main(["prepare", "photos", "a.h5", "--scale", "2"]) == 0
    length = Path("a.h5").stat().st_size
    Path("shrinking.py").write_text(SHRINKING)
    settings = ["data.dataset={type='h5', path='a.h5'}", "data.cache=none", "validate=[]", "train.steps=1000"]
    settings += ["train.log_every=1", "observer=[{type='shrinking', path='a.h5'}]"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = srkit_command("-p", "shrinking.py", "run", "tiny.toml", "--out", "run", *words)
    line = (
        f"{Path('a.h5').absolute()}: became shorter while it was read: it has 4,096 bytes of {length:,}; "
        "put the whole file back, and the same command continues"
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, line)
    assert Path("run/log.txt").read_text().splitlines()[-1].partition("  ")[2] == line


def test_floats_are_read_in_bands(tmp_path, monkeypatch):
    monkeypatch.setattr(h5, "_BAND", 3 * 32 * 5)
    image = noise(24, 32, seed=1)
    path = put(tmp_path / "a.h5", {"hr": {"0": image.transpose(2, 0, 1) / 255, "1": image / np.float32(255)}})
    source = H5(path=str(path))
    for index in range(2):
        assert same(source.read(index), image)
        assert same(source.read(index, Window(3, 4, 17, 20)), image[3:20, 4:24])


@needs_data
def test_a_file_of_a_fill_value_alone_is_refused():
    path = f"{DATA}/cases/fill_value.h5"
    assert rejected(H5(path=path).size, 0) == f"{path}: hr/a: has no pixels: nothing was ever written to it"


def test_a_file_that_is_replaced_in_use_is_noticed(tmp_path):
    pack("h5", tmp_path / "a.h5")
    script = """
        import os, sys
        import srkit

        source = srkit.create("dataset", "h5", path=sys.argv[1])
        os.replace(sys.argv[2], sys.argv[1])
        if os.fork() == 0:
            try:
                source.read(0)
            except srkit.InputRejected as error:
                os.write(1, f"{error.reason}\\n".encode())
            os._exit(0)
        os.wait()
    """
    pack("h5", tmp_path / "b.h5", {"other": IMAGES["deep"]})
    assert run(script, tmp_path / "a.h5", tmp_path / "b.h5") == ["was replaced while it was in use; start again"]


U8 = np.zeros((8, 12, 3), np.uint8)


def soft(file):
    file["elsewhere"] = U8
    file.create_group("hr")["0"] = h5py.SoftLink("/elsewhere")


def external_link(file):
    file.create_group("hr")["0"] = h5py.ExternalLink("other.h5", "/hr/0")


def virtual(file):
    layout = h5py.VirtualLayout((8, 12, 3), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "hr/0", (8, 12, 3))
    file.create_group("hr").create_virtual_dataset("0", layout)


def external_pixels(file):
    file.create_dataset("hr/0", (8, 12, 3), "u1", external=[("secret", 0, 288)])


def huge_chunk(file):
    file.create_dataset("hr/0", (8, 12, 3), "u1", maxshape=(None, None, 3), chunks=(30_000, 30_000, 3))


def filled(file):
    file.create_dataset("hr/0", (2_000, 2_000, 3), "f8", chunks=(100, 100, 3), fillvalue=0.5)


def half_filled(file):
    file.create_dataset("hr/0", (2_000, 2_000, 3), "u1", chunks=(100, 100, 3), fillvalue=9)[:100] = 7


TWICE = zlib.compress(zlib.compress(bytes(12_000_000), 9), 9)  # one deflate alone keeps a byte of a thousand


def packed_tightly(file):
    shape = (2_000, 2_000, 3)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk(shape)
    plan.set_deflate(9)
    plan.set_deflate(9)
    group = file.create_group("hr").id
    dataset = h5d.create(group, b"0", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(shape), plan)
    dataset.write_direct_chunk((0, 0, 0), TWICE)


HOSTILE = {
    "fill value": (filled, "has no pixels: nothing was ever written to it"),
    "half a fill value": (half_filled, "has 20 of its 400 chunks: the others were never written"),
    "packed tightly": (packed_tightly, f"is packed too tightly for pixels: {len(TWICE)} bytes are to be 12,000,000"),
    "soft link": (soft, "is a link to another place, which is not followed"),
    "external link": (external_link, "is a link to another place, which is not followed"),
    "virtual": (virtual, "keeps its pixels in other files, which are not opened"),
    "external pixels": (external_pixels, "keeps its pixels in other files, which are not opened"),
    "huge chunk": (huge_chunk, "is stored in chunks of [30000, 30000, 3], which are too large"),
    "a group": (lambda file: file.create_group("hr/0"), "is not a dataset"),
    "never written": (
        lambda file: file.create_dataset("hr/0", (8, 12, 3), "u1"),
        "has no pixels: nothing was ever written to it",
    ),
    "no size": (lambda file: file.create_dataset("hr/0", data=U8[:0]), "has no pixels: nothing was ever written to it"),
    "no space": (
        lambda file: file.create_dataset("hr/0", data=h5py.Empty("f4")),
        "is no array of numbers (shape None, float32)",
    ),
    "text": (lambda file: file.create_dataset("hr/0", data="x"), "is no array of numbers (shape (), object)"),
    "grey": (
        lambda file: file.create_dataset("hr/0", data=U8[..., 0]),
        "has the shape [8, 12]; [3, h, w] and [h, w, 3] are read",
    ),
    "all in one": (
        lambda file: file.create_dataset("hr/0", data=U8[None]),
        "has the shape [1, 8, 12, 3]; [3, h, w] and [h, w, 3] are read",
    ),
    "either": (
        lambda file: file.create_dataset("hr/0", data=U8[:3]),
        "has the shape [3, 12, 3]: its channels may be the first or the last axis",
    ),
    "32 bits": (
        lambda file: file.create_dataset("hr/0", data=U8.astype(np.int32)),
        "is int32; floats in 0..1, uint8 and uint16 are read",
    ),
    "long": (
        lambda file: file.create_dataset("hr/0", (70_000, 2, 3), "u1", chunks=(9, 2, 3)),
        "is 2x70000; a side may have at most 65,535 pixels",
    ),
    "large": (
        lambda file: file.create_dataset("hr/0", (3, 20_000, 10_000), "f4", chunks=(3, 9, 9)),
        "is 10000x20000, 200.0 megapixels; at most 100 are read",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_dataset_is_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    put("other.h5", {"hr": {"0": U8}})
    Path("secret").write_bytes(bytes(288))
    write, reason = HOSTILE[case]
    with h5py.File("a.h5", "w") as file:
        write(file)
    source = H5(path="a.h5")
    assert rejected(source.read, 0) == rejected(source.size, 0) == f"a.h5: hr/0: {reason}"


WITHOUT_IMAGES = {
    "no group": (
        lambda file: file.create_group("data"),
        "has neither srkit's manifest nor a group of images: looked for hr, gt, lr, lq",
    ),
    "empty group": (lambda file: file.create_group("hr"), "has no images in its group hr"),
    "no group but a dataset": (
        lambda file: file.create_dataset("hr", data=U8),
        "hr: is not a group with a dataset for each image",
    ),
    "soft link": (
        lambda file: file.__setitem__("hr", h5py.SoftLink("/x")),
        "hr: is a link to another place, which is not followed",
    ),
    "external link": (
        lambda file: file.__setitem__("hr", h5py.ExternalLink("other.h5", "/hr")),
        "hr: is a link to another place, which is not followed",
    ),
    "a manifest elsewhere": (
        lambda file: file.__setitem__("manifest", h5py.ExternalLink("other.h5", "/hr/0")),
        "manifest: is a link to another place, which is not followed",
    ),
    "another manifest": (
        lambda file: file.create_dataset("manifest", data=U8),
        "has a dataset 'manifest' that srkit did not write",
    ),
    "no manifest": (
        lambda file: file.create_dataset("manifest", data=np.frombuffer(b"[]", np.uint8)),
        "its manifest cannot be used: no manifest: TypeError",
    ),
}


@pytest.mark.parametrize("case", WITHOUT_IMAGES)
def test_a_file_without_images_is_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    put("other.h5", {"hr": {"0": U8}})
    write, reason = WITHOUT_IMAGES[case]
    with h5py.File("a.h5", "w") as file:
        write(file)
    assert rejected(H5, path="a.h5") == f"a.h5: {reason}"


def test_a_changed_manifest_is_refused(tmp_path):
    manifest = pack("h5", tmp_path / "a.h5")
    data = bytearray(manifest.to_bytes())
    data[data.index(b"baby")] ^= 1
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["manifest"][:] = np.frombuffer(bytes(data), np.uint8)
    assert (
        rejected(H5, path=str(tmp_path / "a.h5"))
        == f"{tmp_path / 'a.h5'}: its manifest cannot be used: a manifest that was changed"
    )


def test_a_manifest_of_giants_is_refused(tmp_path):
    record = ImageRecord((70_000, 9), "uint8", "0")
    data = Manifest(("a",), {"hr": (record,)}).to_bytes()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["manifest"] = np.frombuffer(data, np.uint8)
    assert rejected(H5, path=str(tmp_path / "a.h5")) == (
        f"{tmp_path / 'a.h5'}: hr/a: is 9x70000; a side may have at most 65,535 pixels"
    )


def test_pixels_that_are_not_what_the_manifest_says_are_refused(tmp_path):
    pack("h5", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["hr/00000000"], file["lr_x2/00000001"], file["hr/00000002"]
        file["hr/00000000"] = IMAGES["baby"][:5]
        file["hr/00000002"] = IMAGES["deep"].astype(np.uint8)
    source = H5(path=str(tmp_path / "a.h5"))
    label = f"{tmp_path / 'a.h5'}: "
    assert rejected(source.read, 0) == f"{label}hr/baby: is [5, 32, 3] uint8 where the manifest says [24, 32, 3] uint8"
    assert rejected(source.read, 2) == (
        f"{label}hr/deep: is [20, 40, 3] uint8 where the manifest says [20, 40, 3] uint16"
    )
    assert rejected(source.lr(2).read, 1).startswith(f"{label}lr_x2/2/../é: is damaged: ")


def test_damage_inside_of_a_compressed_image_is_named(tmp_path):
    path = put(tmp_path / "a.h5", {"hr": {"0": noise(30, 30)}}, chunks=(30, 30, 3), compression="gzip")
    with h5py.File(path) as file:
        place = file["hr/0"].id.get_chunk_info(0).byte_offset
    data = bytearray(Path(path).read_bytes())
    data[place + 50 : place + 60] = bytes(10)
    Path(path).write_bytes(data)
    assert rejected(H5(path=path).read, 0).startswith(f"{path}: hr/0: is damaged: ")  # and HDF5's words, which change


# What the rest of srkit takes for granted


def test_the_limits_are_those_of_image_files():
    assert (packed.MAX_SIDE, packed.MAX_PIXELS) == (opening.MAX_SIDE, opening.MAX_PIXELS)


@pytest.mark.parametrize("name", ["h5", "lmdb"])
def test_the_components_name_their_targets_and_every_setting_is_explained(name):
    for component in srkit_datasets.srkit_components():
        if component.name == name:
            settings = read_settings(component.load(), given=("path",) if component.kind == "writer" else ())
            assert list(settings) == ([] if component.kind == "writer" else ["path", "lr"])
            assert all(setting.doc for setting in settings.values())
