"""Prepared datasets: the pixels of their source, tiles that cover it, all or nothing whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import srkit
from srkit.cli import main
from srkit.engine.data.preparing import Tiles
from srkit.engine.data.verifying import compare
from srkit.images.manifest import HR, ImageRecord, Manifest, Shard
from srkit.images.opening import KINDS
from tests.conftest import CHAOS_N, CHAOS_SEED, HANGS, calls, installed_names, photograph

FORMATS = {"h5": "set.h5", "lmdb": "set.lmdb", "folder": "set"}
KILLS = 8 * CHAOS_N


@pytest.fixture
def call(photographs, monkeypatch, capsys):
    """Run `srkit prepare ...` here, beside photos/; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(photographs.parent)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["prepare", *map(str, arguments)])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def opened(path, kind=None):
    return srkit.create("dataset", kind or {v: k for k, v in FORMATS.items()}[str(path)], path=str(path))


def images(source):
    return {source.name(i): source.read(i) for i in range(len(source))}


def assert_same(first, second):
    assert list(first) == list(second)
    for name, image in first.items():
        assert image.dtype == second[name].dtype
        assert np.array_equal(image, second[name]), name


def remains(folder="."):
    return sorted(path.name for path in Path(folder).iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("format_", FORMATS)
def test_whole_images_are_kept_as_they_are(call, format_):
    Image.fromarray(np.full((1, 3, 3), 7, np.uint8)).save("photos/tiny.png")
    path = FORMATS[format_]
    code, out, err = call("photos", path)
    assert (code, err) == (0, "")
    size = out.split(";")[1].split()[0]
    assert out.splitlines() == [
        f"ok  {path}  5 images; {size} MiB",
        "    from         5 HR images in photos, no LR beside them",
        f'    in a recipe  dataset = {{ type = "{format_}", path = "{path}" }}',
    ]
    assert_same(images(opened(path)), images(opened("photos", "folder")))
    assert opened(path).lr(2) is None
    assert remains() == []


@pytest.mark.parametrize("format_", FORMATS)
def test_lr_of_several_scales_is_kept_beside_hr_as_degrade_makes_it(call, format_):
    path = FORMATS[format_]
    assert call("photos", path, "--scale", 2, "--scale", 4)[0] == 0
    source = opened(path)
    for scale in (2, 4):
        assert main(["degrade", "bicubic", "photos", f"x{scale}", "--scale", str(scale)]) == 0
        assert_same(images(source.lr(scale)), images(opened(f"x{scale}", "folder")))
    assert source.lr(3) is None
    assert source.manifest().scales == [2, 4]
    assert source.manifest().made["lr"] == {"x2": "bicubic", "x4": "bicubic"}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.skipif(sys.platform == "darwin", reason="its names are text")
def test_a_name_that_is_no_text_is_refused(call, format_):
    os.rename(b"photos/p1.png", b"photos/caf\xe9.png")
    code, _, err = call("photos", FORMATS[format_])
    assert code == 3
    assert "'caf\\udce9': its name is no text in UTF-8; rename the image\n" in err
    assert not Path(FORMATS[format_]).exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_sixteen_bits_are_kept(call, format_):
    deep = photograph(3, 33, 20).astype(np.uint16) * 256 + 7
    srkit.save_image("photos/deep.png", deep)
    assert call("photos", FORMATS[format_])[0] == 0
    assert_same(images(opened(FORMATS[format_])), images(opened("photos", "folder")))


def test_lr_that_lies_elsewhere_can_be_named(call):
    assert main(["degrade", "pillow_bicubic", "photos", "small", "--scale", "2"]) == 0
    assert call("photos", "set.lmdb", "--lr", "small", "--scale", "2")[0] == 0
    assert_same(images(opened("set.lmdb").lr(2)), images(opened("small", "folder")))


def test_several_scales_may_be_written_with_commas(call):
    assert call("photos", "set.h5", "--scale", "4,2")[0] == 0
    assert opened("set.h5").manifest().scales == [2, 4]


def test_lr_files_beside_hr_are_taken_unless_a_degradation_is_named(call, photographs):
    photographs.rename("HR")
    Path("set5").mkdir()
    Path("HR").rename("set5/HR")
    assert main(["degrade", "pillow_bicubic", "set5/HR", "set5/LR_bicubic/X2", "--scale", "2"]) == 0
    assert call("set5", "files.h5", "--scale", 2)[0] == 0
    assert call("set5", "named.h5", "--scale", 2, "--degradation", "bicubic")[0] == 0
    files, named = (opened(name, "h5") for name in ("files.h5", "named.h5"))
    assert_same(images(files.lr(2)), images(opened("set5/LR_bicubic/X2", "folder")))
    assert not np.array_equal(files.lr(2).read(0), named.lr(2).read(0))
    assert files.manifest().made["lr"] == {"x2": "files"}


@pytest.mark.parametrize("format_", FORMATS)
def test_tiles_are_windows_of_the_image_and_their_lr_windows_of_its_lr(call, format_):
    path = FORMATS[format_]
    code, out, _ = call("photos", path, "--crop", 24, "--step", 16, "--scale", 2, "--scale", 4)
    assert code == 0
    whole, source = opened("photos", "folder"), opened(path)
    assert main(["degrade", "bicubic", "photos", "lr", "--scale", "4"]) == 0
    found, small = images(source), images(source.lr(4))
    lr = images(opened("lr", "folder"))
    tiles = Tiles(24, 16, 4)
    expected, expected_lr = {}, {}
    for name, image in images(whole).items():
        for number, (top, left, height, width) in enumerate(tiles.windows(*image.shape[:2]), 1):
            tile = f"{name}_s{number:03d}"
            expected[tile] = image[top : top + height, left : left + width]
            expected_lr[tile] = lr[name][top // 4 : (top + height) // 4, left // 4 : (left + width) // 4]
    assert_same(found, expected)
    assert_same(small, expected_lr)
    assert f"{len(found)} tiles of 24 every 16 pixels" in out


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    unit=st.sampled_from([1, 2, 3, 4, 12]),
    crop=st.integers(1, 20),
    step=st.integers(1, 20),
)
def test_tiles_cover_the_image_to_its_last_row_and_column(height, width, unit, crop, step):
    tiles = Tiles(crop * unit, min(step, crop) * unit, unit)
    windows = tiles.windows(height, width)
    covered = np.zeros((height, width), bool)
    for top, left, tall, wide in windows:
        assert top % unit == left % unit == 0
        assert tall == (crop * unit if height // unit >= crop else height)
        assert wide == (crop * unit if width // unit >= crop else width)
        assert top + tall <= height
        assert left + wide <= width
        covered[top : top + tall, left : left + wide] = True
    kept = [side if side // unit < crop else side // unit * unit for side in (height, width)]
    assert covered[: kept[0], : kept[1]].all()
    assert len(set(windows)) == len(windows)


def test_an_image_that_is_smaller_than_a_tile_is_kept_whole_with_its_name(call):
    assert call("photos", "set.h5", "--crop", 48, "--step", 24)[0] == 0
    names = [opened("set.h5").name(i) for i in range(len(opened("set.h5")))]
    assert names == ["p0_s001", "p0_s002", "p1_s001", "p1_s002", "p2", *(f"p3_s00{i}" for i in range(1, 5))]
    assert opened("set.h5").size(4) == (40, 41)


def test_bad_images_are_all_named_and_nothing_is_written(call):
    Path("photos/p1.png").write_bytes(b"<html>")
    Path("photos/p3.png").write_bytes(Path("photos/p3.png").read_bytes()[:200])
    code, out, err = call("photos", "set.lmdb")
    assert (code, out) == (3, "")
    lines = err.splitlines()
    assert lines[0] == f"photos/p1.png: is not {KINDS}: it begins with b'<html>'"
    assert lines[1].startswith("photos/p3.png: cannot be decoded: ")
    assert lines[2:] == [
        "srkit prepare: set.lmdb: was not written: 2 of 4 images cannot be used (--skip-bad leaves them out)"
    ]
    assert not Path("set.lmdb").exists()
    assert remains() == []


def test_bad_images_are_left_out_where_that_is_asked_for(call):
    Path("photos/p1.png").write_bytes(b"<html>")
    code, out, err = call("photos", "set.h5", "--skip-bad")
    assert code == 0
    assert err.startswith("photos/p1.png: ")
    assert out.startswith("ok  set.h5  3 images; ")
    assert [opened("set.h5").name(i) for i in range(3)] == ["p0", "p2", "p3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give SRC and DST, or --verify DST; see srkit prepare --help"),
        (["photos"], "give SRC and DST, or --verify DST; see srkit prepare --help"),
        (["photos", "photos"], "photos is there already; remove it first, or give another DST"),
        (["photos", "x", "--verify", "y"], "--verify DST stands alone: without SRC"),
        (["photos", "x", "--step", "8"], "--step goes with --crop: the size of the tiles"),
        (
            ["photos", "x", "--crop", "8", "--step", "9"],
            "--step 9 is larger than --crop 8: it would leave gaps between tiles",
        ),
        (
            ["photos", "x", "--crop", "-8"],
            "--crop must be at least 1, not -8",
        ),
        (["photos", "x", "--scale", "2", "--scale", "1"], "--scale must be at least 2, not 1"),
        (["photos", "x", "--threads", "0"], "--threads must be at least 1, not 0"),
        (
            ["photos", "x", "--degradation", "bicubic"],
            "--degradation goes with --scale: how much smaller LR is",
        ),
        (
            ["photos", "x", "--degradation", "denoise_x1"],
            "recipe denoise_x1 has scale 1, and the LR that is packed has scale 2 at least",
        ),
        (
            ["photos", "x", "--scale", "2", "--set", "mode=double"],
            "--set goes with --degradation: whose setting it is",
        ),
        (
            ["photos", "x", "--scale", "3", "--scale", "2", "--crop", "20"],
            "--crop 20 is no multiple of 6, so the LR of a tile would not begin at a pixel; give 18 or 24",
        ),
        (["photos", "x.h55"], "x.h55 would be a folder; end it with .h5 or .litdata or .lmdb, or leave the ending out"),
        (["photos", "x.lmdb", "--to", "h5"], "x.lmdb ends as lmdb does, and would be h5; give it another name"),
        (
            ["photos", "x", "--to", "lmbd"],
            f"unknown writer 'lmbd'; did you mean 'lmdb'? (installed: {installed_names('writer')})",
        ),
        (
            ["photos", "x", "--from", "foldr"],
            "unknown dataset 'foldr'; did you mean 'folder'? (installed: folder, h5, leaves, litdata, lmdb, mix)",
        ),
    ],
)
def test_what_cannot_be_meant_is_told(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("x").exists()


def test_an_image_smaller_than_the_scale_is_named(call):
    Image.fromarray(np.full((3, 30, 3), 7, np.uint8)).save("photos/flat.png")
    code, _, err = call("photos", "set.h5", "--scale", 4)
    assert code == 3
    assert err.splitlines()[0] == "flat: is smaller than the scale, 4"


def test_a_place_that_cannot_be_written_is_named(call):
    Path("file").write_text("")
    code, _, err = call("photos", "file/set.h5")
    assert code == 1
    assert err == "srkit prepare: file/set.h5: cannot be written: Not a directory\n"


def test_two_at_once_are_told(call):
    import filelock

    Path(".aside-set.h5").mkdir()
    with filelock.FileLock(".aside-set.h5/.lock"):
        code, _, err = call("photos", "set.h5")
    assert code == 2
    assert err == "srkit prepare: another process is writing set.h5; wait for it, or give another DST\n"


@pytest.mark.parametrize("format_", FORMATS)
def test_a_full_disk_leaves_nothing(call, format_, tmp_path):
    """The size of a file is limited, as a full disk would limit it."""
    rng = np.random.default_rng(1)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8)).save(f"photos/big{i}.png")
    program = (
        "import resource, signal, sys; from srkit.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); "
        f"sys.exit(main(['prepare', 'photos', '{FORMATS[format_]}']))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=HANGS)
    assert found.returncode == 1, found.stderr
    assert "cannot be written: " in found.stderr
    assert "Traceback" not in found.stderr
    assert not Path(FORMATS[format_]).exists()
    assert remains() == []


@pytest.mark.parametrize("format_", FORMATS)
def test_verify_passes_what_was_written_and_names_what_is_not(call, format_):
    path = Path(FORMATS[format_])
    assert call("photos", path, "--scale", 2)[0] == 0
    assert call("--verify", path) == (0, f"ok  {path}  4 images, LR x2: every pixel is as it was written\n", "")
    if format_ == "folder":
        changed = photograph(0, 48, 64)
        changed[7, 7] ^= 1
        srkit.save_image("set/HR/p0.png", changed)
    else:  # one bit of one pixel, where the file holds it
        file = path if format_ == "h5" else path / "data.mdb"
        data = bytearray(file.read_bytes())
        place = data.index(photograph(0, 48, 64)[10].tobytes())
        data[place + 5] ^= 1
        file.chmod(0o644)
        file.write_bytes(data)
    code, out, err = call("--verify", path)
    assert (code, out) == (3, "")
    assert err.splitlines() == [
        f"{path}: hr/p0: has other pixels than were written",
        f"{path}: 1 of 8 images are not what was written",
    ]


def test_the_source_can_be_any_dataset(call):
    code, out, err = call("leaves", "drawn.h5")
    assert (code, out.splitlines()[0].partition("  ")[2].partition(";")[0], err) == (0, "drawn.h5  24 images", "")
    assert call("h5:drawn.h5", "again.lmdb")[0] == 0
    told = "srkit prepare: --lr and --recursive go with a path, and leaves says all by itself\n"
    assert call("leaves", "x.h5", "--recursive") == (2, "", told)
    told = "srkit prepare: leavs:x: unknown dataset 'leavs'; did you mean 'leaves'?"
    assert call("leavs:x", "x.h5")[2].startswith(told)


def test_the_folders_below_are_packed_where_asked(call):
    Path("photos/cats").mkdir()
    shutil.copy("photos/p0.png", "photos/cats/p0.png")
    left_out = "left out: 1 folder with images (cats: --recursive takes it)"
    assert left_out in " ".join(call("photos", "four.h5")[1].split())
    assert "  5 images;" in call("photos", "five.h5", "--recursive")[1]
    assert srkit.create("dataset", "h5", path="five.h5").name(4) == "cats/p0"
    told = "srkit prepare: --set recursive=true: unknown setting 'recursive' of dataset 'h5'"
    assert call("four.h5", "x.h5", "--recursive")[2].startswith(told)


def test_verify_names_files_that_are_missing_or_new(call):
    assert call("photos", "set")[0] == 0
    Path("set/HR/p2.png").unlink()
    Image.fromarray(photograph(0, 9, 9)).save("set/HR/p9.png")
    assert call("--verify", "set")[2].splitlines()[:2] == [
        "set: hr/p2: is not there",
        "set: hr/p9: is not in the manifest",
    ]


def test_names_of_another_form_of_unicode_are_the_same_to_verify(call):
    Path("photos/p1.png").rename("photos/caf\u00e9.png")
    assert call("photos", "set", "--scale", "2")[0] == 0
    for path in ("set/HR/caf\u00e9.png", "set/LR_bicubic/X2/caf\u00e9x2.png"):
        Path(path).rename(path.replace("\u00e9", "e\u0301"))
    assert call("--verify", "set") == (0, "ok  set  4 images, LR x2: every pixel is as it was written\n", "")
    shutil.rmtree("set/LR_bicubic")
    shutil.copy("set/HR/p2.png", "set/HR/caf\u00e9.png")  # now there are both, and the one of that very name is meant
    assert call("--verify", "set")[2].splitlines()[0] == "set: hr/caf\u00e9: is 41x40 uint8, was 48x64 uint8"


def test_comparing_with_a_manifest_is_linear_in_the_number_of_images():
    class Name(str):
        def __hash__(self):  # each look-up of a name is a call
            return super().__hash__()

    class Source:
        def __init__(self, count):
            self.names = [Name(i) for i in range(count)]

        def __len__(self):
            return len(self.names)

        def name(self, index):
            return self.names[index]

        def read(self, index, window=None):
            return np.zeros((1, 1, 3), np.uint8)

    def work(count):
        source = Source(count)
        record = ImageRecord.of(source.read(0))
        manifest = Manifest(tuple(source.names), {HR: (record,) * count})
        return calls(lambda: compare(source, manifest, 1))

    assert work(400) - work(200) < 1.2 * (work(200) - work(1))


def test_a_side_that_is_gone_counts_as_all_its_images(call):
    assert call("photos", "set", "--scale", "2,4")[0] == 0
    shutil.rmtree("set/LR_bicubic/X4")
    assert call("--verify", "set")[2].splitlines() == [
        "set: lr_x4: is not there",
        "set: 4 of 12 images are not what was written",
    ]


def test_tiles_that_no_image_is_larger_than_are_said(call):
    assert "4 images; kept whole: none is larger than a tile of 200;" in call("photos", "s.h5", "--crop", 200)[1]


def test_verify_wants_a_manifest(call):
    code, _, err = call("--verify", "photos")
    assert (code, err) == (3, "srkit prepare: photos: has no manifest: it was not written by srkit prepare\n")


def test_a_damaged_lmdb_does_not_take_the_command_with_it(call):
    assert call("photos", "set.lmdb")[0] == 0
    file = Path("set.lmdb/data.mdb")
    data = bytearray(file.read_bytes())
    for place in range(8192, len(data), 512):
        data[place : place + 16] = b"\xff" * 16
    file.write_bytes(data)
    command = [sys.executable, "-m", "srkit", "prepare", "--verify", "set.lmdb"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert found.returncode == 3, found.stderr
    assert "set.lmdb" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_format_that_the_name_does_not_tell_is_in_the_manifest(call):
    assert call("photos", "data", "--to", "lmdb")[0] == 0
    assert sorted(path.name for path in Path("data").iterdir()) == ["MANIFEST.json", "data.mdb"]
    assert call("--verify", "data")[0] == 0
    assert call("data", "copy.hdf5")[0] == 0
    assert call("--verify", "copy.hdf5")[0] == 0
    Path("copy.hdf5").rename("copy.h5")
    assert_same(images(opened("copy.h5", "h5")), images(opened("photos", "folder")))


def test_the_same_images_have_one_fingerprint_in_every_format(call):
    for path in FORMATS.values():
        assert call("photos", path, "--scale", 2)[0] == 0
    manifests = [opened(path).manifest() for path in FORMATS.values()]
    assert len({manifest.fingerprint for manifest in manifests}) == 1
    assert manifests[0].made == {"format": "h5", "crop": 0, "step": 0, "lr": {"x2": "bicubic"}}
    assert Manifest.from_bytes(Path("set/MANIFEST.json").read_bytes()) == manifests[2]


# Children are forked from a process that has imported everything, so that a kill costs a fraction of a second. A child
# is killed at a call, of Python's or of C, that is drawn among as many as a whole build makes.
KILLER = """
import json, os, random, signal, sys
from pathlib import Path
from srkit.cli import main
import srkit, srkit.engine.data.preparing
path, format_, seed, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
arguments = ["prepare", "photos", path, "--to", format_, "--scale", "2", "--crop", "64", "--step", "32"]
srkit.create("dataset", format_, path="photos") if format_ == "folder" else None
srkit.components()

def run(last=0):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        calls = 0

        def call(frame, event, argument):
            nonlocal calls
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(call)
        try:
            code = main(arguments)
        except BaseException:
            code = 9
        sys.setprofile(None)
        os.write(write, str(calls).encode())
        os._exit(code)
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(read) as pipe:
        return code, pipe.read()

def remove():
    os.system(f"rm -rf {path}")

code, calls = run()
assert code == 0
expected = srkit.create("dataset", format_, path=path).manifest().fingerprint
remove()
rng = random.Random(seed)
killed = 0
for _ in range(kills):
    killed += run(rng.randrange(1, int(calls)))[0] == -signal.SIGKILL
    if os.path.lexists(path):
        from srkit.engine.data.verifying import _verify
        found = _verify(Path(path), format_, (), 1)
        assert not isinstance(found, str) and found.damaged == (), found
        assert srkit.create("dataset", format_, path=path).manifest().fingerprint == expected
        remove()
assert run()[0] == 0
print(json.dumps({"killed": killed, "left": [n for n in os.listdir() if n.startswith(".")]}))
"""


@pytest.mark.chaos
@pytest.mark.parametrize("format_", FORMATS)
def test_a_killed_build_leaves_nothing_that_looks_whole(call, tally, format_):
    for i in range(12):
        Image.fromarray(photograph(30 + i, 160, 160)).save(f"photos/more{i}.png")
    path = FORMATS[format_]
    command = [sys.executable, "-c", KILLER, path, format_, str(CHAOS_SEED), str(KILLS)]
    print(f"SRKIT_CHAOS_SEED={CHAOS_SEED}")
    found = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["left"] == []
    tally(f"kill -9 of srkit prepare to {format_}", told["killed"])
    assert told["killed"] >= 0.75 * KILLS  # threads that wait for each other make some calls more or fewer


SIGNALLED = """
import os, srkit

class Signalled:
    def __init__(self, *, path: str):
        self.source = srkit.create("dataset", "folder", path=path)

    def __getattr__(self, name):
        return getattr(self.source, name)

    def __len__(self):
        return len(self.source)

    def read(self, index, window=None):
        if index == 20:
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        return self.source.read(index, window)

@srkit.hookimpl
def srkit_components():
    yield srkit.Component("dataset", "signalled", f"{__name__}:Signalled")
"""


@pytest.mark.parametrize(
    ("path", "number"), [("set.lmdb", signal.SIGINT), ("set.h5", signal.SIGINT), ("set.h5", signal.SIGTERM)]
)
def test_a_signal_leaves_nothing(call, path, number):
    for i in range(40):
        Image.fromarray(photograph(i, 100, 100)).save(f"photos/more{i}.png")
    Path("signalled.py").write_text(SIGNALLED)
    command = [sys.executable, "-m", "srkit", "-p", "signalled.py", "prepare", "photos", path, "--from", "signalled"]
    command += ["--scale", "2", "--crop", "64", "--step", "8"]
    environment = {**os.environ, "SIGNAL": str(int(number))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, env=environment)
    assert (done.stderr, done.returncode) == ("srkit: interrupted\n", 130)
    assert not Path(path).exists()
    assert remains() == []


@pytest.mark.parametrize("format_", ["h5", "lmdb"])
def test_shards_together_are_the_whole(call, format_):
    assert call("photos", f"whole.{format_}", "--scale", 2)[0] == 0
    for number, count in ((1, "1 image"), (2, "1 image"), (3, "2 images")):
        code, out, err = call("photos", f"part_{number}.{format_}", "--scale", 2, "--shard", f"{number}/3")
        assert (code, err) == (0, "")
        assert out.startswith(f"ok  part_{number}.{format_}  {count}; shard {number}/3; LR x2 by bicubic; ")
    parts, whole = (srkit.create("dataset", format_, path=f"{name}.{format_}") for name in ("part_*", "whole"))
    assert_same(images(parts), images(whole))
    assert_same(images(parts.lr(2)), images(whole.lr(2)))
    assert parts.fingerprint() == whole.fingerprint()
    assert call("--verify", f"part_*.{format_}", "--from", format_) == (
        0,
        f"ok  part_*.{format_}  4 images, LR x2: every pixel is as it was written\n",
        "",
    )


def test_shards_are_packed_again_into_one_file(call):
    for number in (1, 2):
        assert call("photos", f"part_{number}.h5", "--shard", f"{number}/2")[0] == 0
    code, out, _ = call("part_*.h5", "whole.h5")
    assert code == 0
    assert out.splitlines()[1] == "    from         4 HR images in 2 files, part_1.h5 to part_2.h5, no LR beside them"
    assert_same(images(opened("whole.h5", "h5")), images(opened("photos", "folder")))


def test_a_shard_without_images_is_refused(call):
    assert call("photos", "set.h5", "--shard", "1/9") == (
        2,
        "",
        "srkit prepare: --shard 1/9: has none of the 4 images; give fewer shards\n",
    )
    assert not Path("set.h5").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/3/5", "a/b", "-1/2", "1/0"])
def test_what_is_no_shard_is_refused(call, shard):
    code, _, err = call("photos", "set.h5", f"--shard={shard}")
    assert code == 2
    assert err.startswith(f"srkit prepare: argument --shard: '{shard}' is no part: write 1/4 to 4/4 for four")


@given(st.integers(0, 50), st.integers(1, 20))
def test_shards_have_each_image_once_and_as_many_as_the_others(count, of):
    parts = [Shard(number, of).part(count) for number in range(1, of + 1)]
    assert [index for part in parts for index in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
